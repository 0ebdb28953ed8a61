/* Loop methods for sockets: each returns a coroutine that does its work when awaited.  sock_connect(),
   which may have to resolve a name first, and sock_sendfile() are finished in the Python package. */
#include "api/methods.h"

#include "net/sendfile.h"
#include "net/sock_call.h"
#include "py/args.h"

/* Bind (sock, first, second) and make the call. */
static PyObject *
sock_call(LoopObject *self, const fl_sock_op *op, const fl_signature *signature,
          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[3] = {NULL};
    if (fl_args_bind(self->state, signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    return fl_sock_call_new(self, op, given[0], given[1], given[2]);
}

PyDoc_STRVAR(Loop_sock_recv_doc,
             "sock_recv($self, sock, n)\n--\n\n"
             "Coroutine: receive at most n bytes from a non-blocking socket and return bytes.");

static PyObject *
Loop_sock_recv(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"sock_recv", 2, 2, 2, {FL_PARAM(sock), FL_PARAM(n)}};
    return sock_call(self, &fl_sock_recv, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_recv_into_doc,
             "sock_recv_into($self, sock, buf)\n--\n\n"
             "Coroutine: receive into a writable buffer and return the number of bytes.");

static PyObject *
Loop_sock_recv_into(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "sock_recv_into", 2, 2, 2, {FL_PARAM(sock), FL_PARAM(buf)}};
    return sock_call(self, &fl_sock_recv_into, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_recvfrom_doc,
             "sock_recvfrom($self, sock, bufsize)\n--\n\n"
             "Coroutine: receive a datagram of at most bufsize bytes; return (bytes, address).");

static PyObject *
Loop_sock_recvfrom(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "sock_recvfrom", 2, 2, 2, {FL_PARAM(sock), FL_PARAM(bufsize)}};
    return sock_call(self, &fl_sock_recvfrom, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_recvfrom_into_doc,
             "sock_recvfrom_into($self, sock, buf, nbytes=0)\n--\n\n"
             "Coroutine: receive a datagram into a writable buffer; return (number of bytes, address).\n\n"
             "nbytes 0 stands for the length of the buffer.");

static PyObject *
Loop_sock_recvfrom_into(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "sock_recvfrom_into", 2, 3, 3, {FL_PARAM(sock), FL_PARAM(buf), FL_PARAM(nbytes)}};
    return sock_call(self, &fl_sock_recvfrom_into, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_sendall_doc, "sock_sendall($self, sock, data)\n--\n\n"
                                    "Coroutine: send all of a bytes-like object.\n\n"
                                    "After an error nobody knows how much of it was sent.");

static PyObject *
Loop_sock_sendall(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"sock_sendall", 2, 2, 2, {FL_PARAM(sock), FL_PARAM(data)}};
    return sock_call(self, &fl_sock_sendall, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_sendto_doc,
             "sock_sendto($self, sock, data, address)\n--\n\n"
             "Coroutine: send a datagram to address and return the number of bytes sent.");

static PyObject *
Loop_sock_sendto(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "sock_sendto", 3, 3, 3, {FL_PARAM(sock), FL_PARAM(data), FL_PARAM(address)}};
    return sock_call(self, &fl_sock_sendto, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_accept_doc,
             "sock_accept($self, sock)\n--\n\n"
             "Coroutine: accept a connection; return (non-blocking socket, address).");

static PyObject *
Loop_sock_accept(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"sock_accept", 1, 1, 1, {FL_PARAM(sock)}};
    return sock_call(self, &fl_sock_accept, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_connect_resolved_doc,
             "_sock_connect_resolved($self, sock, address)\n--\n\n"
             "Coroutine: connect a socket to an address that needs no look-up.");

static PyObject *
Loop_sock_connect_resolved(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const fl_signature signature = {
        "_sock_connect_resolved", 2, 2, 2, {FL_PARAM(sock), FL_PARAM(address)}};
    return sock_call(self, &fl_sock_connect, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(
    Loop_sock_sendfile_some_doc,
    "_sock_sendfile_some($self, sock, fd, offset, count)\n--\n\n"
    "Coroutine: by sendfile(2), send at most count bytes of the file fd from offset on, as soon as\n"
    "the socket takes any.  Return the number of bytes sent, 0 at the end of the file.");

static PyObject *
Loop_sock_sendfile_some(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "_sock_sendfile_some",
        4,
        4,
        4,
        {FL_PARAM(sock), FL_PARAM(fd), FL_PARAM(offset), FL_PARAM(count)}};
    PyObject *given[4];
    if (fl_args_bind(self->state, &signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    PyObject *part = PyTuple_Pack(3, given[1], given[2], given[3]);
    PyObject *call =
        part == NULL ? NULL : fl_sock_call_new(self, &fl_sock_sendfile, given[0], part, NULL);
    Py_XDECREF(part);
    return call;
}

PyMethodDef fl_sock_methods[] = {
    {"sock_recv", FL_FASTCALL(Loop_sock_recv), FL_KEYWORDS, Loop_sock_recv_doc},
    {"sock_recv_into", FL_FASTCALL(Loop_sock_recv_into), FL_KEYWORDS, Loop_sock_recv_into_doc},
    {"sock_recvfrom", FL_FASTCALL(Loop_sock_recvfrom), FL_KEYWORDS, Loop_sock_recvfrom_doc},
    {"sock_recvfrom_into", FL_FASTCALL(Loop_sock_recvfrom_into), FL_KEYWORDS,
     Loop_sock_recvfrom_into_doc},
    {"sock_sendall", FL_FASTCALL(Loop_sock_sendall), FL_KEYWORDS, Loop_sock_sendall_doc},
    {"sock_sendto", FL_FASTCALL(Loop_sock_sendto), FL_KEYWORDS, Loop_sock_sendto_doc},
    {"sock_accept", FL_FASTCALL(Loop_sock_accept), FL_KEYWORDS, Loop_sock_accept_doc},
    {"_sock_connect_resolved", FL_FASTCALL(Loop_sock_connect_resolved), FL_KEYWORDS,
     Loop_sock_connect_resolved_doc},
    {"_sock_sendfile_some", FL_FASTCALL(Loop_sock_sendfile_some), FL_KEYWORDS,
     Loop_sock_sendfile_some_doc},
    {NULL},
};
