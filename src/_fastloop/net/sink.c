/* The sinks of a stream: a protocol, a protocol with memory of its own. */
#include "net/sink.h"

#include "net/stream.h"

#ifndef FL_READ_MAX
#define FL_READ_MAX (256 * 1024) /* bytes received at once at most, as asyncio does; tests shrink it */
#endif
#ifndef FL_BULK_FROM
#define FL_BULK_FROM (32 * 1024) /* a read this long makes the next one go straight into its bytes object */
#endif
#ifndef FL_BULK_READ
#define FL_BULK_READ (120 * 1024) /* bytes of such a read: just below malloc's mmap threshold */
#endif

void
fl_room_release(fl_room *room)
{
    Py_CLEAR(room->bytes);
    if (room->view.obj != NULL) {
        PyBuffer_Release(&room->view);
    }
}

/* -- a protocol ------------------------------------------------------------------------------------ */

/* A new bytes object as the room.  0, or -1 with MemoryError. */
static int
room_make_bytes(fl_room *room, size_t size)
{
    room->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (room->bytes == NULL) {
        return -1;
    }
    room->memory = PyBytes_AS_STRING(room->bytes);
    room->size = size;
    return 0;
}

/* Straight into the object that the protocol gets, for transports that carry much and where the size is known; else into the
   scratch memory, from which an object of the right size is made. */
static int
protocol_reserve(StreamObject *self, size_t hint, fl_room *room)
{
    room->view.obj = NULL;
    if (hint != 0 || self->bulk) {
        return room_make_bytes(room, hint != 0 ? hint : FL_BULK_READ);
    }
    room->bytes = NULL;
    room->size = FL_READ_MAX;
    room->memory = fl_loop_scratch(self->loop);
    return room->memory == NULL ? -1 : 0;
}

/* What is in the room as a bytes object, or NULL with MemoryError. */
static PyObject *
room_take_bytes(fl_room *room, size_t n)
{
    if (room->bytes == NULL) {
        return PyBytes_FromStringAndSize(room->memory, (Py_ssize_t)n);
    }
    PyObject *bytes = room->bytes;
    room->bytes = NULL;
    if (n != room->size) {
        _PyBytes_Resize(&bytes, (Py_ssize_t)n);
    }
    return bytes;
}

static int
protocol_deliver(StreamObject *self, fl_room *room, size_t n)
{
    self->bulk = n >= FL_BULK_FROM;
    PyObject *data = room_take_bytes(room, n);
    if (data == NULL) {
        return -2;
    }
    PyObject *result =
        fl_transport_call(&self->transport, self->loop->state->str_data_received, data);
    Py_DECREF(data);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

const fl_sink_ops fl_protocol_sink = {
    .deliver_failed = "Fatal error: protocol.data_received() call failed.",
    .reserve = protocol_reserve,
    .deliver = protocol_deliver,
};

/* -- a protocol with memory of its own ------------------------------------------------------------- */

/* protocol.get_buffer(-1) into *view, which is not empty.  0, or -1 with an exception. */
static int
buffered_get_buffer(StreamObject *self, Py_buffer *view)
{
    fl_state *state = self->loop->state;
    PyObject *hint = PyLong_FromLong(-1);
    PyObject *buffer =
        hint == NULL ? NULL : fl_transport_call(&self->transport, state->str_get_buffer, hint);
    Py_XDECREF(hint);
    int rc = buffer == NULL ? -1 : PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE);
    Py_XDECREF(buffer);
    if (rc == 0 && view->len == 0) {
        PyBuffer_Release(view);
        PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
        rc = -1;
    }
    return rc;
}

/* protocol.buffer_updated(n).  0, or -1 with an exception. */
static int
buffered_call_updated(StreamObject *self, size_t n)
{
    PyObject *count = PyLong_FromSize_t(n);
    PyObject *result =
        count == NULL
            ? NULL
            : fl_transport_call(&self->transport, self->loop->state->str_buffer_updated, count);
    Py_XDECREF(count);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
buffered_reserve(StreamObject *self, size_t Py_UNUSED(hint), fl_room *room)
{
    if (buffered_get_buffer(self, &room->view) < 0) {
        return -1;
    }
    room->bytes = NULL;
    room->memory = room->view.buf;
    room->size = (size_t)room->view.len;
    return 0;
}

static int
buffered_deliver(StreamObject *self, fl_room *room, size_t n)
{
    fl_room_release(room); /* the protocol may resize its memory now */
    return buffered_call_updated(self, n);
}

const fl_sink_ops fl_buffered_sink = {
    .asks = true,
    .reserve_failed = "Fatal error: protocol.get_buffer() call failed.",
    .deliver_failed = "Fatal error: protocol.buffer_updated() call failed.",
    .reserve = buffered_reserve,
    .deliver = buffered_deliver,
};

/* -- both ------------------------------------------------------------------------------------------ */

int
fl_sink_call_eof_received(StreamObject *self)
{
    PyObject *result =
        fl_transport_call(&self->transport, self->loop->state->str_eof_received, NULL);
    int keep_open = result == NULL ? -1 : PyObject_IsTrue(result);
    Py_XDECREF(result);
    return keep_open;
}

int
fl_sink_adopt(TransportObject *transport, PyObject *protocol)
{
    StreamObject *self = (StreamObject *)transport;
    int buffered = PyObject_IsInstance(protocol, self->loop->state->BufferedProtocol);
    if (buffered < 0) {
        return -1;
    }
    self->sink = buffered ? &fl_buffered_sink : &fl_protocol_sink;
    return 0;
}
