/* StreamTransport: the transport of a connected socket, as asyncio.Transport. */
#include "net/stream.h"

#include "loop/exit.h"
#include "net/socket_object.h"
#include "net/socket_stream.h"
#include "net/transport_info.h"
#include "py/args.h"
#include "py/call.h"
#include "py/types.h"
#include "task/future.h"

#include <errno.h>
#include <structmember.h>
#include <unistd.h>

/* -- making ---------------------------------------------------------------------------------------- */

static int
stream_begin(StreamObject *self, LoopObject *loop, int fd, PyObject *protocol)
{
    fl_outbox_init(&self->outbox);
    if (fl_transport_init(&self->transport, loop, &fl_socket_stream_ops.base, fd, protocol) < 0 ||
        fl_sink_adopt(&self->transport, protocol) < 0) {
        self->io.fd = -1; /* it stays the caller's */
        return -1;
    }
    return 0;
}

int
fl_stream_accept(LoopObject *loop, int fd, const fl_inet *peer, PyObject *protocol,
                 ServerObject *server)
{
    PyTypeObject *type = loop->state->StreamTransport_type;
    StreamObject *self = (StreamObject *)type->tp_alloc(type, 0);
    if (self == NULL || stream_begin(self, loop, fd, protocol) < 0) {
        Py_XDECREF(self);
        close(fd);
        return -1;
    }
    self->peer = *peer;
    self->server = (ServerObject *)Py_XNewRef(server);
    if (server != NULL) {
        fl_server_attach(server, &self->server_link);
    }
    fl_transport_call_made(&self->transport);
    Py_DECREF(self);
    return 0;
}

static void
stream_note_peer(StreamObject *self)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof(storage);
    if (getpeername(self->io.fd, (struct sockaddr *)&storage, &len) == 0) {
        fl_inet_set(&self->peer, (struct sockaddr *)&storage, len);
        if (storage.ss_family == AF_INET || storage.ss_family == AF_INET6) {
            fl_socket_set_nodelay(self->io.fd);
        }
    }
}

enum { ARG_LOOP, ARG_SOCK, ARG_PROTOCOL, ARG_WAITER, ARG_EXTRA, ARG_SERVER, ARGS };

/* The types of the arguments.  0, or -1 with TypeError. */
static int
stream_check_arguments(fl_state *state, PyObject **given)
{
    PyObject *server = given[ARG_SERVER], *extra = given[ARG_EXTRA];
    if (!PyObject_TypeCheck(given[ARG_LOOP], state->BaseLoop_type)) {
        PyErr_Format(PyExc_TypeError, "loop must be a fastloop.Loop, got %R", given[ARG_LOOP]);
        return -1;
    }
    if (fl_arg_given(server) && !PyObject_TypeCheck(server, state->BaseServer_type)) {
        PyErr_Format(PyExc_TypeError, "server must be a fastloop server, got %R", server);
        return -1;
    }
    if (fl_arg_given(extra) && !PyDict_Check(extra)) {
        PyErr_Format(PyExc_TypeError, "extra must be a dict, got %R", extra);
        return -1;
    }
    return 0;
}

static PyObject *
StreamTransport_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const fl_signature signature = {"StreamTransport",
                                           3,
                                           6,
                                           ARGS,
                                           {FL_PARAM(loop), FL_PARAM(sock), FL_PARAM(protocol),
                                            FL_PARAM(waiter), FL_PARAM(extra), FL_PARAM(server)}};
    PyObject *given[ARGS];
    fl_state *state = fl_state_of(type);
    if (state == NULL || fl_args_bind_tuple(state, &signature, args, kwargs, given) < 0 ||
        stream_check_arguments(state, given) < 0) {
        return NULL;
    }
    int fd = fl_socket_object_fileno(given[ARG_SOCK]);
    StreamObject *self = fd < 0 ? NULL : (StreamObject *)type->tp_alloc(type, 0);
    if (self == NULL ||
        stream_begin(self, (LoopObject *)given[ARG_LOOP], fd, given[ARG_PROTOCOL]) < 0) {
        Py_XDECREF(self);
        return NULL;
    }
    self->extra = fl_arg_given(given[ARG_EXTRA]) ? Py_NewRef(given[ARG_EXTRA]) : NULL;
    stream_note_peer(self);
    if (fl_transport_hold(&self->transport, given[ARG_SOCK]) < 0 ||
        fl_transport_schedule_made(&self->transport, given[ARG_WAITER]) < 0) {
        fl_transport_disown(&self->transport);
        Py_DECREF(self);
        return NULL;
    }
    if (fl_arg_given(given[ARG_SERVER])) {
        self->server = (ServerObject *)Py_NewRef(given[ARG_SERVER]);
        fl_server_attach(self->server, &self->server_link);
    }
    return (PyObject *)self;
}

int
fl_stream_traverse(StreamObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->empty_waiter);
    Py_VISIT(self->layer);
    return fl_transport_traverse(&self->transport, visit, arg);
}

int
fl_stream_clear(StreamObject *self)
{
    Py_CLEAR(self->empty_waiter);
    fl_transport_clear(&self->transport);
    return 0;
}

void
fl_stream_dealloc(StreamObject *self)
{
    if (fl_transport_begin_dealloc(&self->transport)) {
        Py_CLEAR(self->empty_waiter);
        PyObject *layer = self->layer; /* io.ops needs it to the end */
        fl_transport_end_dealloc(&self->transport);
        Py_XDECREF(layer);
    }
}

/* -- writing --------------------------------------------------------------------------------------- */

/* What write() and writelines() check first.  0 or -1. */
static int
stream_check_write(StreamObject *self, const char *method)
{
    if (self->eof) {
        PyErr_Format(PyExc_RuntimeError, "Cannot call %s() after write_eof()", method);
        return -1;
    }
    if (self->empty_waiter != NULL) {
        PyErr_Format(PyExc_RuntimeError, "unable to %s; sendfile is in progress", method);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(write_doc,
             "write($self, /, data)\n--\n\n"
             "Send data (bytes, bytearray or memoryview) without blocking.\n\n"
             "What one callback writes is sent together when it returns.  Raises TypeError for other\n"
             "types and RuntimeError after write_eof().");

static PyObject *
StreamTransport_write(StreamObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *data = fl_args_one(self->loop->state, "write", FL_PARAM(data), args, nargs, kwnames);
    PyObject *bytes = data == NULL ? NULL : fl_arg_bytes(data, FL_WRITE_TYPE_ERROR);
    if (bytes == NULL || stream_check_write(self, "write") < 0) {
        Py_XDECREF(bytes);
        return NULL;
    }
    return fl_stream_write(self, bytes) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(writelines_doc,
             "writelines($self, /, list_of_data)\n--\n\n"
             "Send all bytes-like objects of an iterable, as write() would one by one.");

static PyObject *
StreamTransport_writelines(StreamObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    PyObject *iterable =
        fl_args_one(self->loop->state, "writelines", FL_PARAM(list_of_data), args, nargs, kwnames);
    bool allowed = iterable != NULL && stream_check_write(self, "writelines") == 0;
    int given = allowed ? PyObject_IsTrue(iterable) : -1;
    if (given <= 0) {
        return given < 0 ? NULL : Py_NewRef(Py_None);
    }
    return fl_stream_write_all(self, iterable) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(write_eof_doc, "write_eof($self, /)\n--\n\n"
                            "Send what is buffered, then end sending; receiving goes on.");

static PyObject *
StreamTransport_write_eof(StreamObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->phase >= FL_CLOSING || self->eof) {
        Py_RETURN_NONE;
    }
    if (fl_transport_flush_cork(&self->transport) < 0) {
        return NULL;
    }
    if (self->phase < FL_CLOSING) {
        self->eof = true;
        if (self->outbox.size == 0 && fl_stream_shutdown(self) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(can_write_eof_doc, "can_write_eof($self, /)\n--\n\nReturn True.");

static PyObject *
StreamTransport_can_write_eof(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_TRUE;
}

/* -- for loop.sendfile() --------------------------------------------------------------------------- */

PyDoc_STRVAR(make_empty_waiter_doc,
             "_make_empty_waiter($self, /)\n--\n\n"
             "Return a Future that is done when nothing is buffered; until _reset_empty_waiter() nothing\n"
             "can be written, and others may watch the descriptor.");

static PyObject *
StreamTransport_make_empty_waiter(StreamObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->empty_waiter != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Empty waiter is already set");
        return NULL;
    }
    if (fl_transport_flush_cork(&self->transport) < 0) {
        return NULL;
    }
    self->empty_waiter = fl_future_new(self->loop);
    if (self->empty_waiter != NULL && self->outbox.size == 0 &&
        fl_future_set_result((FutureObject *)self->empty_waiter, Py_None) < 0) {
        Py_CLEAR(self->empty_waiter);
    }
    if (self->empty_waiter == NULL) {
        return NULL;
    }
    self->io.lent = true;
    return Py_NewRef(self->empty_waiter);
}

PyDoc_STRVAR(reset_empty_waiter_doc, "_reset_empty_waiter($self, /)\n--\n\n"
                                     "Allow writing again.");

static PyObject *
StreamTransport_reset_empty_waiter(StreamObject *self, PyObject *Py_UNUSED(ignored))
{
    Py_CLEAR(self->empty_waiter);
    self->io.lent = false;
    if (self->phase < FL_LOST && fl_transport_rearm(&self->transport) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef stream_methods[] = {
    {"write", FL_FASTCALL(StreamTransport_write), FL_KEYWORDS, write_doc},
    {"writelines", FL_FASTCALL(StreamTransport_writelines), FL_KEYWORDS, writelines_doc},
    {"write_eof", (PyCFunction)StreamTransport_write_eof, METH_NOARGS, write_eof_doc},
    {"can_write_eof", StreamTransport_can_write_eof, METH_NOARGS, can_write_eof_doc},
    {"_make_empty_waiter", (PyCFunction)StreamTransport_make_empty_waiter, METH_NOARGS,
     make_empty_waiter_doc},
    {"_reset_empty_waiter", (PyCFunction)StreamTransport_reset_empty_waiter, METH_NOARGS,
     reset_empty_waiter_doc},
    {NULL},
};

/* -- attributes ------------------------------------------------------------------------------------ */

static PyObject *
StreamTransport_get_sock(StreamObject *self, void *Py_UNUSED(closure))
{
    PyObject *sock = self->phase == FL_LOST ? NULL : fl_transport_socket(&self->transport);
    return sock == NULL && PyErr_Occurred() ? NULL : fl_or_none(sock);
}

static PyGetSetDef stream_getset[] = {
    FL_TRANSPORT_DICT,
    {"_sock", (getter)StreamTransport_get_sock, NULL,
     "The socket; None once the connection is lost.", NULL},
    {NULL},
};

static PyMemberDef stream_members[] = {
    FL_TRANSPORT_OFFSETS,
    {"_sock_fd", T_INT, offsetof(StreamObject, number), READONLY,
     "The socket's descriptor, also when it is closed."},
    {"_server", T_OBJECT, offsetof(StreamObject, server), READONLY,
     "The server that accepted the connection, or None."},
    {"_eof", T_BOOL, offsetof(StreamObject, eof), READONLY, "write_eof() was called."},
    {"_empty_waiter", T_OBJECT, offsetof(StreamObject, empty_waiter), READONLY,
     "What _make_empty_waiter() returned, or None."},
    {NULL},
};

/* -- the type -------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    StreamTransport_doc,
    "StreamTransport(loop, sock, protocol, waiter=None, extra=None, server=None)\n--\n\n"
    "The transport of a connected, non-blocking stream socket, which it owns from now on.\n\n"
    "protocol.connection_made() is called in the next turn of the loop; then waiter, a Future,\n"
    "is completed and reading begins.");

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, (void *)StreamTransport_doc}, {Py_tp_new, StreamTransport_new},
    {Py_tp_init, fl_transport_init_nothing},  {Py_tp_dealloc, fl_stream_dealloc},
    {Py_tp_finalize, fl_transport_finalize},  {Py_tp_traverse, fl_stream_traverse},
    {Py_tp_clear, fl_stream_clear},           {Py_tp_repr, fl_transport_repr},
    {Py_tp_methods, stream_methods},          {Py_tp_getset, stream_getset},
    {Py_tp_members, stream_members},          {0, NULL},
};

static PyType_Spec stream_spec = {
    .name = "fastloop._fastloop.StreamTransport",
    .basicsize = sizeof(StreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = stream_slots,
};

int
fl_stream_set_sendfile_mode(fl_state *state, PyTypeObject *type, const char *name)
{
    PyObject *mode = PyObject_GetAttrString(state->SendfileMode, name);
    int rc =
        mode == NULL ? -1 : PyObject_SetAttrString((PyObject *)type, "_sendfile_compatible", mode);
    Py_XDECREF(mode);
    return rc;
}

int
fl_stream_setup_types(PyObject *module, fl_state *state)
{
    PyMethodDef *const topics[] = {fl_transport_methods, fl_reading_methods, fl_flow_methods, NULL};
    if (fl_transport_add_type(module, &stream_spec, state->asyncio_Transport, "StreamTransport",
                              &state->StreamTransport_type, topics) < 0) {
        return -1;
    }
    PyTypeObject *type = state->StreamTransport_type;
    return fl_stream_set_sendfile_mode(state, type, "TRY_NATIVE") < 0
               ? -1
               : PyObject_SetAttrString((PyObject *)type, "_start_tls_compatible", Py_True);
}
