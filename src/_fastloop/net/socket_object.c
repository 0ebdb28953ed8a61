/* Socket objects. */
#include "net/socket_object.h"

#include "py/call.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

int
fl_socket_object_fileno(PyObject *sock)
{
    int fd = PyObject_AsFileDescriptor(sock);
    if (fd < 0 && PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        return fl_raise_errno(-EBADF);
    }
    return fd;
}

void
fl_socket_set_nodelay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void
fl_socket_object_detach(PyObject *sock)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *done = PyObject_CallMethod(sock, "detach", NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable(sock);
    }
    Py_XDECREF(done);
    PyErr_SetRaisedException(raised);
}

/* sock.__init__(fileno=fd), then sock.setblocking(False).  0 or -1. */
static int
socket_initialise(PyObject *sock, int fd)
{
    PyObject *init = PyObject_GetAttrString(sock, "__init__");
    PyObject *kwargs = Py_BuildValue("{si}", "fileno", fd);
    PyObject *none = PyTuple_New(0);
    PyObject *done = init && kwargs && none ? PyObject_Call(init, none, kwargs) : NULL;
    Py_XDECREF(init);
    Py_XDECREF(kwargs);
    Py_XDECREF(none);
    if (done != NULL) {
        Py_SETREF(done, PyObject_CallMethod(sock, "setblocking", "i", 0));
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *
fl_socket_object(fl_state *state, int fd)
{
    /* in two steps: half made, it would close the descriptor when it is dropped */
    PyObject *sock = PyObject_CallMethod(state->socket, "__new__", "O", state->socket);
    if (sock != NULL && socket_initialise(sock, fd) < 0) {
        fl_socket_object_detach(sock);
        Py_CLEAR(sock);
    }
    return sock;
}

PyObject *
fl_socket_object_closed(fl_state *state, int family)
{
    PyObject *sock = PyObject_CallFunction(state->socket, "ii", family, SOCK_STREAM);
    PyObject *done = sock == NULL ? NULL : PyObject_CallMethodNoArgs(sock, state->str_close);
    if (done == NULL) {
        Py_CLEAR(sock);
    }
    Py_XDECREF(done);
    return sock;
}
