/* The Python face of DatagramTransport. */
#include "net/datagram.h"

#include "loop/exit.h"
#include "net/transport_info.h"
#include "py/args.h"
#include "py/call.h"
#include "py/types.h"

#include <errno.h>
#include <structmember.h>

/* -- readiness ------------------------------------------------------------------------------------- */

static void
datagram_ready(fl_io *io, unsigned ready)
{
    DatagramObject *self = (DatagramObject *)io->object;
    if ((ready & FL_READ) && self->paused) {
        fl_transport_rearm_ready(&self->transport);
    }
    else if ((ready & FL_READ) && self->phase < FL_CLOSING) {
        fl_datagram_read(self);
    }
    if ((ready & FL_WRITE) && self->draining && self->loop->exit == NULL) {
        fl_datagram_flush(self);
    }
}

static void
datagram_flush_io(fl_io *io)
{
    fl_datagram_flush((DatagramObject *)io->object);
}

static void
datagram_flush_cork(TransportObject *transport)
{
    DatagramObject *self = (DatagramObject *)transport;
    if (self->queue_len > 0 && !self->draining) {
        fl_datagram_flush(self);
    }
}

static size_t
datagram_unsent(TransportObject *transport)
{
    DatagramObject *self = (DatagramObject *)transport;
    bool only_empty_ones = self->queue_size == 0 && self->queue_len > 0;
    return only_empty_ones ? 1 : self->queue_size;
}

static const fl_transport_ops datagram_ops = {
    .io = FL_TRANSPORT_IO(datagram_ready, datagram_flush_io),
    .read_error = "Fatal read error on datagram transport",
    .write_error = "Fatal write error on datagram transport",
    .high_water = FL_TRANSPORT_DEFAULT_HIGH,
    .socket = true,
    .quiet_errors = true,
    .unsent = datagram_unsent,
    .discard = fl_datagram_discard,
    .flush_cork = datagram_flush_cork,
    .resumed = fl_datagram_deliver_soon,
};

/* -- making ---------------------------------------------------------------------------------------- */

enum { ARG_LOOP, ARG_SOCK, ARG_PROTOCOL, ARG_ADDRESS, ARG_WAITER, ARG_EXTRA, ARGS };

/* Find out about the socket: its family, and whether it is connected. */
static void
datagram_examine(DatagramObject *self)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    if (getsockname(self->io.fd, (struct sockaddr *)&name, &len) == 0) {
        self->family = name.ss_family;
    }
    len = sizeof(name);
    if (getpeername(self->io.fd, (struct sockaddr *)&name, &len) == 0) {
        fl_inet_set(&self->peer, (struct sockaddr *)&name, len);
        self->connected = len > sizeof(sa_family_t);
        self->joined = true;
    }
}

static DatagramObject *
datagram_new(PyTypeObject *type, int fd, PyObject **given)
{
    DatagramObject *self = (DatagramObject *)type->tp_alloc(type, 0);
    LoopObject *loop = (LoopObject *)given[ARG_LOOP];
    if (self == NULL ||
        fl_transport_init(&self->transport, loop, &datagram_ops, fd, given[ARG_PROTOCOL]) < 0) {
        Py_XDECREF(self);
        return NULL;
    }
    datagram_examine(self);
    int addressed = fl_arg_given(given[ARG_ADDRESS]) ? PyObject_IsTrue(given[ARG_ADDRESS]) : 0;
    if (addressed < 0 || fl_transport_hold(&self->transport, given[ARG_SOCK]) < 0 ||
        fl_transport_schedule_made(&self->transport, given[ARG_WAITER]) < 0) {
        fl_transport_disown(&self->transport);
        Py_DECREF(self);
        return NULL;
    }
    self->address = addressed ? Py_NewRef(given[ARG_ADDRESS]) : NULL;
    self->extra = fl_arg_given(given[ARG_EXTRA]) ? Py_NewRef(given[ARG_EXTRA]) : NULL;
    return self;
}

static PyObject *
DatagramTransport_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const fl_signature signature = {"DatagramTransport",
                                           3,
                                           6,
                                           ARGS,
                                           {FL_PARAM(loop), FL_PARAM(sock), FL_PARAM(protocol),
                                            FL_PARAM(address), FL_PARAM(waiter), FL_PARAM(extra)}};
    PyObject *given[ARGS];
    fl_state *state = fl_state_of(type);
    if (state == NULL || fl_args_bind_tuple(state, &signature, args, kwargs, given) < 0) {
        return NULL;
    }
    if (!PyObject_TypeCheck(given[ARG_LOOP], state->BaseLoop_type) ||
        (fl_arg_given(given[ARG_EXTRA]) && !PyDict_Check(given[ARG_EXTRA]))) {
        PyErr_SetString(PyExc_TypeError,
                        "DatagramTransport() needs a fastloop.Loop, and a dict as extra");
        return NULL;
    }
    int fd = PyObject_AsFileDescriptor(given[ARG_SOCK]);
    return fd < 0 ? NULL : (PyObject *)datagram_new(type, fd, given);
}

static int
DatagramTransport_traverse(DatagramObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->address);
    Py_VISIT(self->arrived);
    for (uint32_t i = 0; i < self->queue_len; i++) {
        Py_VISIT(self->queue[self->queue_head + i].address);
    }
    return fl_transport_traverse(&self->transport, visit, arg);
}

static int
DatagramTransport_clear(DatagramObject *self)
{
    Py_CLEAR(self->address);
    Py_CLEAR(self->arrived);
    fl_transport_clear(&self->transport);
    return 0;
}

static void
DatagramTransport_dealloc(DatagramObject *self)
{
    if (!fl_transport_begin_dealloc(&self->transport)) {
        return;
    }
    for (int i = 0; i < FL_DATAGRAM_BATCH; i++) {
        Py_CLEAR(self->known[i].object);
    }
    Py_CLEAR(self->address);
    Py_CLEAR(self->arrived);
    fl_transport_end_dealloc(&self->transport);
}

/* -- sendto() -------------------------------------------------------------------------------------- */

PyDoc_STRVAR(sendto_doc,
             "sendto($self, data, addr=None)\n--\n\n"
             "Send data (bytes, bytearray or memoryview) as one datagram, without blocking.\n\n"
             "addr is as the socket module has it; None: the remote address given to\n"
             "create_datagram_endpoint().  Raises TypeError for other types, and ValueError for another\n"
             "addr than that.  OSError goes to protocol.error_received().");

/* Where to send, borrowed, NULL when the kernel knows; -1 with ValueError when it is not allowed. */
static int
sendto_address(DatagramObject *self, PyObject *given, PyObject **address)
{
    *address = fl_arg_given(given) ? given : NULL;
    if (self->address == NULL) {
        return 0;
    }
    int same = *address == NULL ? 1 : PyObject_RichCompareBool(given, self->address, Py_EQ);
    if (same == 0) {
        PyErr_Format(PyExc_ValueError, "Invalid address: must be None or %S", self->address);
    }
    *address = self->address;
    return same > 0 ? 0 : -1;
}

static PyObject *
DatagramTransport_sendto(DatagramObject *self, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    static const fl_signature signature = {"sendto", 1, 2, 2, {FL_PARAM(data), FL_PARAM(addr)}};
    PyObject *given[2], *address;
    if (fl_args_bind(self->loop->state, &signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    PyObject *data = fl_arg_bytes(given[0], "data argument must be a bytes-like object, not %R");
    bool send = data != NULL && (FL_SENDS_EMPTY_DATAGRAMS || PyBytes_GET_SIZE(data) > 0);
    if (data == NULL || (send && sendto_address(self, given[1], &address) < 0)) {
        Py_XDECREF(data);
        return NULL;
    }
    int rc = 0;
    if (send && self->phase >= FL_LOSING && (self->address != NULL || self->io.fd < 0)) {
        rc = fl_transport_vain_write(&self->transport, "socket.send() raised exception.");
        Py_DECREF(data);
    }
    else if (send) {
        rc = fl_datagram_send(self, data, address);
    }
    else {
        Py_DECREF(data);
    }
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef datagram_methods[] = {
    {"sendto", FL_FASTCALL(DatagramTransport_sendto), FL_KEYWORDS, sendto_doc},
    {NULL},
};

/* -- attributes ------------------------------------------------------------------------------------ */

static PyObject *
DatagramTransport_get_sock(DatagramObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->phase == FL_LOST ? NULL : self->file);
}

static PyGetSetDef datagram_getset[] = {
    FL_TRANSPORT_DICT,
    {"_sock", (getter)DatagramTransport_get_sock, NULL,
     "The socket; None once the connection is lost.", NULL},
    {NULL},
};

static PyMemberDef datagram_members[] = {
    FL_TRANSPORT_OFFSETS,
    {"_sock_fd", T_INT, offsetof(DatagramObject, number), READONLY,
     "The socket's descriptor, also when it is closed."},
    {"_address", T_OBJECT, offsetof(DatagramObject, address), READONLY,
     "The only address that can be sent to, or None."},
    {NULL},
};

/* -- the type -------------------------------------------------------------------------------------- */

PyDoc_STRVAR(DatagramTransport_doc,
             "DatagramTransport(loop, sock, protocol, address=None, waiter=None, extra=None)\n--\n\n"
             "The transport of a non-blocking datagram socket, which it owns from now on.\n\n"
             "With an address, no other can be sent to.");

static PyType_Slot datagram_slots[] = {
    {Py_tp_doc, (void *)DatagramTransport_doc}, {Py_tp_new, DatagramTransport_new},
    {Py_tp_init, fl_transport_init_nothing},    {Py_tp_dealloc, DatagramTransport_dealloc},
    {Py_tp_finalize, fl_transport_finalize},    {Py_tp_traverse, DatagramTransport_traverse},
    {Py_tp_clear, DatagramTransport_clear},     {Py_tp_repr, fl_transport_repr},
    {Py_tp_methods, datagram_methods},          {Py_tp_getset, datagram_getset},
    {Py_tp_members, datagram_members},          {0, NULL},
};

static PyType_Spec datagram_spec = {
    .name = "fastloop._fastloop.DatagramTransport",
    .basicsize = sizeof(DatagramObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = datagram_slots,
};

int
fl_datagram_setup_types(PyObject *module, fl_state *state)
{
    PyMethodDef *const topics[] = {fl_transport_methods, fl_reading_methods, fl_flow_methods, NULL};
    PyObject *bases = PyTuple_Pack(2, state->asyncio_Transport, state->asyncio_DatagramTransport);
    if (bases == NULL) {
        return -1;
    }
    int rc = fl_transport_add_type(module, &datagram_spec, bases, "DatagramTransport",
                                   &state->DatagramTransport_type, topics);
    Py_DECREF(bases);
    return rc;
}
