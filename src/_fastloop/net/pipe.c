/* The two ends of pipes, FIFOs, sockets and terminals, each for one direction. */
#include "net/pipe.h"

#include "loop/exit.h"
#include "loop/watch.h"
#include "net/stream.h"
#include "py/args.h"
#include "py/call.h"
#include "py/types.h"

#include <errno.h>
#include <fcntl.h>
#include <structmember.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- how bytes come and go ------------------------------------------------------------------------- */

static ssize_t
pipe_receive(int fd, void *buffer, size_t size)
{
    ssize_t n = read(fd, buffer, size);
    return n < 0 ? -errno : n;
}

static ssize_t
pipe_send(int fd, const struct iovec *pieces, int n)
{
    ssize_t sent = n == 1 ? write(fd, pieces[0].iov_base, pieces[0].iov_len) : writev(fd, pieces, n);
    return sent < 0 ? -errno : sent;
}

/* -- the reading end ------------------------------------------------------------------------------- */

/* The writing end is closed: that is the end of the transport too, whatever eof_received() says. */
static void
read_pipe_end_of_file(StreamObject *self)
{
    TransportObject *transport = &self->transport;
    PyObject *name = self->loop->state->str_eof_received;
    fl_transport_log(transport, "info", "%r was closed by peer");
    fl_transport_enter(&self->transport, FL_CLOSING);
    fl_io_forget(self->loop, &self->io);
    fl_transport_called(transport, name, fl_transport_call(transport, name, NULL));
    if (self->phase < FL_LOSING) {
        fl_transport_report_close(transport, fl_transport_schedule_lost(transport, NULL));
    }
}

static void
read_pipe_ready(fl_io *io, unsigned Py_UNUSED(ready))
{
    fl_stream_read((StreamObject *)io->object);
}

static const fl_stream_ops read_pipe_ops = {
    .base =
        {
            .io = FL_TRANSPORT_IO(read_pipe_ready, NULL),
            .read_error = "Fatal read error on pipe transport",
            .high_water = FL_TRANSPORT_DEFAULT_HIGH,
            .unsent = fl_stream_unsent,
            .discard = fl_stream_discard,
            .flush_cork = fl_stream_flush_cork,
        },
    .receive = pipe_receive,
    .end_of_file = read_pipe_end_of_file,
    .survives = true,
};

/* -- the writing end ------------------------------------------------------------------------------- */

/* The reading end is closed. */
static void
write_pipe_hung_up(StreamObject *self)
{
    TransportObject *transport = &self->transport;
    fl_transport_log(transport, "info", "%r was closed by peer");
    PyObject *exc = NULL;
    if (self->outbox.size > 0) {
        fl_raise_errno(-EPIPE);
        exc = PyErr_GetRaisedException();
    }
    fl_transport_report_close(transport, fl_transport_force_close(transport, exc));
    Py_XDECREF(exc);
}

static void
write_pipe_ready(fl_io *io, unsigned ready)
{
    StreamObject *self = (StreamObject *)io->object;
    if (ready & FL_READ) {
        write_pipe_hung_up(self);
    }
    else if (self->draining) {
        fl_stream_flush(self);
    }
}

static const fl_stream_ops write_pipe_ops = {
    .base =
        {
            .io = FL_TRANSPORT_IO(write_pipe_ready, fl_stream_flush_io),
            .read_error = "Fatal read error on pipe transport",
            .write_error = "Fatal write error on pipe transport",
            .high_water = FL_TRANSPORT_DEFAULT_HIGH,
            .quiet_errors = true,
            .unsent = fl_stream_unsent,
            .flush_last = fl_stream_flush_last,
            .discard = fl_stream_discard,
            .flush_cork = fl_stream_flush_cork,
            .lost = fl_stream_lost,
        },
    .vain_write = "pipe closed by peer or os.write(pipe, data) raised exception.",
    .send = pipe_send,
    .transmit = fl_stream_transmit,
    .drained = fl_stream_drained,
};

/* -- making ---------------------------------------------------------------------------------------- */

enum { ARG_LOOP, ARG_PIPE, ARG_PROTOCOL, ARG_WAITER, ARG_EXTRA, ARGS };

/* The mode bits of the pipe object's descriptor, stored in *fd.  0, or -1 with an exception. */
static int
pipe_examine(PyObject *pipe, int *fd, mode_t *mode, const char *complaint)
{
    struct stat status;
    PyObject *number = PyObject_CallMethod(pipe, "fileno", NULL); /* an int could not be closed */
    *fd = number == NULL ? -1 : PyObject_AsFileDescriptor(number);
    Py_XDECREF(number);
    if (*fd < 0) {
        return -1;
    }
    if (fstat(*fd, &status) < 0) {
        return fl_raise_errno(-errno);
    }
    *mode = status.st_mode;
    if (S_ISFIFO(*mode) || S_ISSOCK(*mode) || S_ISCHR(*mode)) {
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, complaint);
    return -1;
}

static int
pipe_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && ((flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)) {
        return 0;
    }
    return fl_raise_errno(-errno);
}

/* get_extra_info("pipe").  0 or -1. */
static int
pipe_set_extra(StreamObject *self, PyObject *extra, PyObject *pipe)
{
    self->extra = fl_arg_given(extra) ? Py_NewRef(extra) : PyDict_New();
    return self->extra == NULL ? -1 : PyDict_SetItem(self->extra, self->loop->state->str_pipe, pipe);
}

/* A transport for the arguments, whose descriptor and kind of file are stored too; or NULL with an exception. */
static StreamObject *
pipe_new(PyTypeObject *type, const fl_stream_ops *ops, PyObject **given, const char *complaint,
         mode_t *mode)
{
    int fd;
    if (pipe_examine(given[ARG_PIPE], &fd, mode, complaint) < 0 || pipe_set_nonblocking(fd) < 0) {
        return NULL;
    }
    StreamObject *self = (StreamObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    fl_outbox_init(&self->outbox);
    self->sink = &fl_protocol_sink;
    LoopObject *loop = (LoopObject *)given[ARG_LOOP];
    if (fl_transport_init(&self->transport, loop, &ops->base, fd, given[ARG_PROTOCOL]) < 0 ||
        pipe_set_extra(self, given[ARG_EXTRA], given[ARG_PIPE]) < 0 ||
        fl_transport_schedule_made(&self->transport, given[ARG_WAITER]) < 0) {
        self->io.fd = -1; /* it stays the caller's */
        Py_DECREF(self);
        return NULL;
    }
    self->file = Py_NewRef(given[ARG_PIPE]);
    return self;
}

/* 0, or -1 with TypeError. */
static int
pipe_bind(fl_state *state, const char *name, PyObject *args, PyObject *kwargs, PyObject **given)
{
    const fl_signature signature = {
        name,
        3,
        5,
        ARGS,
        {FL_PARAM(loop), FL_PARAM(pipe), FL_PARAM(protocol), FL_PARAM(waiter), FL_PARAM(extra)}};
    if (state == NULL || fl_args_bind_tuple(state, &signature, args, kwargs, given) < 0) {
        return -1;
    }
    bool extra_is_dict = !fl_arg_given(given[ARG_EXTRA]) || PyDict_Check(given[ARG_EXTRA]);
    if (extra_is_dict && PyObject_TypeCheck(given[ARG_LOOP], state->BaseLoop_type)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() needs a fastloop.Loop, and a dict as extra", name);
    return -1;
}

static PyObject *
ReadPipeTransport_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *given[ARGS];
    mode_t mode;
    if (pipe_bind(fl_state_of(type), "ReadPipeTransport", args, kwargs, given) < 0) {
        return NULL;
    }
    return (PyObject *)pipe_new(type, &read_pipe_ops, given,
                                "Pipe transport is for pipes/sockets only.", &mode);
}

static PyObject *
WritePipeTransport_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *given[ARGS];
    mode_t mode;
    if (pipe_bind(fl_state_of(type), "WritePipeTransport", args, kwargs, given) < 0) {
        return NULL;
    }
    StreamObject *self =
        pipe_new(type, &write_pipe_ops, given,
                 "Pipe transport is only for pipes, sockets and character devices", &mode);
    if (self != NULL) {
        self->wants =
            S_ISCHR(mode) ? 0 : FL_WANT_PROTOCOL; /* to hear that the reading end was closed */
    }
    return (PyObject *)self;
}

/* -- methods --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(write_doc, "write($self, /, data)\n--\n\n"
                        "Send data (bytes, bytearray or memoryview) without blocking.\n\n"
                        "Raises TypeError for other types.  After close() the data is dropped.");

/* Takes bytes, which may be NULL with an exception. */
static PyObject *
write_pipe_write(StreamObject *self, PyObject *bytes)
{
    if (bytes == NULL) {
        return NULL;
    }
    if (self->phase == FL_CLOSING) { /* what was written before is still being sent */
        Py_DECREF(bytes);
        Py_RETURN_NONE;
    }
    return fl_stream_write(self, bytes) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
WritePipe_write(StreamObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *data = fl_args_one(self->loop->state, "write", FL_PARAM(data), args, nargs, kwnames);
    return write_pipe_write(self, data == NULL ? NULL : fl_arg_bytes(data, FL_WRITE_TYPE_ERROR));
}

PyDoc_STRVAR(writelines_doc,
             "writelines($self, /, list_of_data)\n--\n\n"
             "Send all bytes-like objects of an iterable, as write() would one by one.");

static PyObject *
WritePipe_writelines(StreamObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *iterable =
        fl_args_one(self->loop->state, "writelines", FL_PARAM(list_of_data), args, nargs, kwnames);
    PyObject *empty = iterable == NULL ? NULL : PyBytes_FromStringAndSize(NULL, 0);
    PyObject *joined = empty == NULL ? NULL : PyObject_CallMethod(empty, "join", "O", iterable);
    Py_XDECREF(empty);
    return write_pipe_write(self, joined);
}

PyDoc_STRVAR(write_eof_doc, "write_eof($self, /)\n--\n\n"
                            "Send what is buffered, then close: a pipe has no other end of file.");

static PyObject *
WritePipe_write_eof(StreamObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *before = fl_exit_begin(self->loop);
    int rc = fl_transport_close(&self->transport);
    return fl_exit_end(self->loop, before, rc) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(can_write_eof_doc, "can_write_eof($self, /)\n--\n\nReturn True.");

static PyObject *
WritePipe_can_write_eof(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_TRUE;
}

static PyMethodDef write_pipe_methods[] = {
    {"write", FL_FASTCALL(WritePipe_write), FL_KEYWORDS, write_doc},
    {"writelines", FL_FASTCALL(WritePipe_writelines), FL_KEYWORDS, writelines_doc},
    {"write_eof", (PyCFunction)WritePipe_write_eof, METH_NOARGS, write_eof_doc},
    {"can_write_eof", WritePipe_can_write_eof, METH_NOARGS, can_write_eof_doc},
    {NULL},
};

/* -- attributes ------------------------------------------------------------------------------------ */

static PyObject *
Pipe_repr(StreamObject *self)
{
    PyObject *class = PyType_GetName(Py_TYPE(self));
    if (class == NULL) {
        return NULL;
    }
    bool writes = self->io.ops == &write_pipe_ops.base.io;
    unsigned watched = self->io.wanted & (writes ? FL_WRITE : FL_READ);
    bool gone = self->io.fd < 0, inert = gone || self->loop->closed;
    const char *status = gone ? " closed" : self->phase >= FL_CLOSING ? " closing" : "";
    const char *activity = gone                       ? "closed"
                           : inert                    ? "open"
                           : watched && !self->paused ? "polling"
                                                      : "idle";
    PyObject *text =
        writes && !inert
            ? PyUnicode_FromFormat("<%U%s fd=%d %s bufsize=%zu>", class, status, self->number,
                                   activity, self->outbox.size)
            : PyUnicode_FromFormat("<%U%s fd=%d %s>", class, status, self->number, activity);
    Py_DECREF(class);
    return text;
}

static PyObject *
Pipe_get_pipe(StreamObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->phase == FL_LOST ? NULL : self->file);
}

/* Set to None, the transport has nothing to close any more. */
static int
Pipe_set_pipe(StreamObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "_pipe can be set to None only");
        return -1;
    }
    fl_io_uncork(&self->io);
    fl_io_forget(self->loop, &self->io);
    self->io.fd = -1;
    fl_transport_enter(&self->transport, FL_CLOSING);
    Py_CLEAR(self->file);
    return 0;
}

static PyGetSetDef pipe_getset[] = {
    FL_TRANSPORT_DICT,
    {"_pipe", (getter)Pipe_get_pipe, (setter)Pipe_set_pipe,
     "The file object; None once the connection is lost.", NULL},
    {NULL},
};

static PyMemberDef pipe_members[] = {
    FL_TRANSPORT_OFFSETS,
    {"_fileno", T_INT, offsetof(StreamObject, number), READONLY,
     "The descriptor, also when it is closed."},
    {NULL},
};

/* -- the types ------------------------------------------------------------------------------------- */

PyDoc_STRVAR(ReadPipeTransport_doc,
             "ReadPipeTransport(loop, pipe, protocol, waiter=None, extra=None)\n--\n\n"
             "The transport of a pipe's reading end, a file object which it owns from now on.\n\n"
             "Raises ValueError for what is no pipe, socket or character device.");

PyDoc_STRVAR(WritePipeTransport_doc,
             "WritePipeTransport(loop, pipe, protocol, waiter=None, extra=None)\n--\n\n"
             "The transport of a pipe's writing end, a file object which it owns from now on.\n\n"
             "Raises ValueError for what is no pipe, socket or character device.");

#define PIPE_SLOTS(name)                                                                           \
    {Py_tp_doc, (void *)name##_doc}, {Py_tp_new, name##_new},                                      \
        {Py_tp_init, fl_transport_init_nothing}, {Py_tp_dealloc, fl_stream_dealloc},               \
        {Py_tp_finalize, fl_transport_finalize}, {Py_tp_traverse, fl_stream_traverse},             \
        {Py_tp_clear, fl_stream_clear}, {Py_tp_repr, Pipe_repr},                                   \
        {Py_tp_getset, pipe_getset}, {Py_tp_members, pipe_members},                                \
    {                                                                                              \
        0, NULL                                                                                    \
    }

static PyType_Slot read_pipe_slots[] = {PIPE_SLOTS(ReadPipeTransport)};
static PyType_Slot write_pipe_slots[] = {PIPE_SLOTS(WritePipeTransport)};

static PyType_Spec read_pipe_spec = {
    .name = "fastloop._fastloop.ReadPipeTransport",
    .basicsize = sizeof(StreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = read_pipe_slots,
};

static PyType_Spec write_pipe_spec = {
    .name = "fastloop._fastloop.WritePipeTransport",
    .basicsize = sizeof(StreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = write_pipe_slots,
};

int
fl_pipe_setup_types(PyObject *module, fl_state *state)
{
    PyMethodDef *const read_topics[] = {fl_transport_methods, fl_reading_methods, NULL};
    PyMethodDef *const write_topics[] = {fl_transport_methods, fl_flow_methods, write_pipe_methods,
                                         NULL};
    if (fl_transport_add_type(module, &read_pipe_spec, state->asyncio_ReadTransport,
                              "ReadPipeTransport", &state->ReadPipeTransport_type, read_topics) < 0) {
        return -1;
    }
    return fl_transport_add_type(module, &write_pipe_spec, state->asyncio_Transport,
                                 "WritePipeTransport", &state->WritePipeTransport_type,
                                 write_topics);
}
