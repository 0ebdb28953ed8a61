/* Byte streams: from the kernel to the protocol and back. */
#include "net/stream.h"

#include "loop/exit.h"
#include "loop/watch.h"
#include "py/args.h"
#include "py/call.h"
#include "task/future.h"

#include <errno.h>
#include <sys/socket.h>

#define FLUSH_AT (64 * 1024) /* corked bytes that do not wait for the end of the callback */
#define JOIN_MAX (8 * 1024)  /* up to here several pieces are copied into one; above, sendmsg() is cheaper */
#define PIECES_MAX 64

static const fl_stream_ops *
stream_ops(StreamObject *self)
{
    return (const fl_stream_ops *)self->io.ops;
}

/* -- reading --------------------------------------------------------------------------------------- */

/* A failed system call: 0 when it is to be made again later, else -1 with OSError. */
static int
stream_retry(ssize_t err)
{
    return fl_try_later(err) ? 0 : fl_raise_errno((int)err);
}

/* The raised exception of a sink ends the connection. */
static void
stream_sink_failed(StreamObject *self, const char *message)
{
    fl_transport_fatal(&self->transport,
                       message != NULL ? message : stream_ops(self)->base.read_error);
}

static void
stream_deliver(StreamObject *self, const fl_sink_ops *sink, fl_room *room, size_t n)
{
    int rc = sink->deliver(self, room, n);
    if (rc == -1 && stream_ops(self)->survives) {
        fl_transport_called(&self->transport, self->loop->state->str_data_received, NULL);
    }
    else if (rc < 0) {
        stream_sink_failed(self, rc == -1 ? sink->deliver_failed : NULL);
    }
}

/* Nothing has come: the end of file (0), or -errno. */
static void
stream_received_nothing(StreamObject *self, ssize_t n)
{
    if (n < 0 && stream_retry(n) < 0) {
        fl_transport_fatal(&self->transport, stream_ops(self)->base.read_error);
    }
    else if (n == 0 &&
             self->layer == NULL) { /* a layer put in as the room was given back will see it */
        stream_ops(self)->end_of_file(self);
    }
}

void
fl_stream_read(StreamObject *self)
{
    if (self->phase != FL_OPEN || self->paused || !(self->wants & FL_WANT_PROTOCOL)) {
        fl_transport_rearm_ready(&self->transport);
        return;
    }
    const fl_sink_ops *sink = self->sink;
    fl_room room;
    if (sink->reserve(self, 0, &room) < 0) {
        stream_sink_failed(self, sink->reserve_failed);
        return;
    }
    /* whoever gave the room may have closed the transport, or put a layer into it */
    bool gone = self->phase >= FL_LOSING || self->layer != NULL;
    ssize_t n = gone ? -EAGAIN : stream_ops(self)->receive(self->io.fd, room.memory, room.size);
    if (n > 0) {
        stream_deliver(self, sink, &room, (size_t)n);
        return;
    }
    fl_room_release(&room);
    stream_received_nothing(self, n);
}

/* -- sending --------------------------------------------------------------------------------------- */

/* Copy the pieces, which are JOIN_MAX bytes in all at most, into one. */
static void
pieces_join(struct iovec *pieces, int n, char *joined)
{
    size_t size = 0;
    for (int i = 0; i < n; i++) {
        memcpy(joined + size, pieces[i].iov_base, pieces[i].iov_len);
        size += pieces[i].iov_len;
    }
    pieces[0] = (struct iovec){.iov_base = joined, .iov_len = size};
}

/* One system call's worth.  Bytes sent, or -errno. */
static ssize_t
stream_send_some(StreamObject *self)
{
    struct iovec pieces[PIECES_MAX];
    char joined[JOIN_MAX];
    int n = fl_outbox_pieces(&self->outbox, pieces, PIECES_MAX);
    if (n > 1 && (uint32_t)n == self->outbox.len && self->outbox.size <= JOIN_MAX) {
        pieces_join(pieces, n, joined);
        n = 1;
    }
    return stream_ops(self)->send(self->io.fd, pieces, n);
}

int
fl_stream_transmit(StreamObject *self)
{
    while (self->outbox.size > 0) {
        bool all = self->outbox.len <= PIECES_MAX;
        ssize_t n = stream_send_some(self);
        if (n < 0) {
            return stream_retry(n) < 0 ? -1 : 1;
        }
        fl_outbox_consume(&self->outbox, (size_t)n);
        fl_loop_poll_soon(self->loop); /* the peer may be a transport of the same loop */
        if (all) {
            break; /* all of it was offered: the rest did not fit */
        }
    }
    return self->outbox.size > 0;
}

/* Complete the waiter for an empty outbox: with exc unless that is NULL.  0 or -1. */
static int
stream_complete_empty_waiter(StreamObject *self, PyObject *exc)
{
    FutureObject *waiter = (FutureObject *)self->empty_waiter;
    if (waiter == NULL || waiter->status != FL_PENDING) {
        return 0;
    }
    Py_INCREF(waiter);
    int rc =
        exc == NULL ? fl_future_set_result(waiter, Py_None) : fl_future_set_exception(waiter, exc);
    Py_DECREF(waiter);
    return rc;
}

/* The raised exception ends the connection. */
static void
stream_send_failed(StreamObject *self)
{
    TransportObject *transport = &self->transport;
    bool exits = fl_exit_if_asked(self->loop);
    PyObject *exc = PyErr_GetRaisedException();
    fl_outbox_clear(&self->outbox);
    self->draining = false;
    if (exits) { /* nobody knows how much was encrypted: the connection cannot go on */
        fl_transport_report_close(transport, fl_transport_force_close(transport, NULL));
        return;
    }
    PyErr_SetRaisedException(Py_NewRef(exc));
    fl_transport_fatal(transport, stream_ops(self)->base.write_error);
    fl_transport_report_close(transport, stream_complete_empty_waiter(self, exc));
    Py_DECREF(exc);
}

int
fl_stream_shutdown(StreamObject *self)
{
    return shutdown(self->io.fd, SHUT_WR) < 0 ? fl_raise_errno(-errno) : 0;
}

void
fl_stream_drained(StreamObject *self)
{
    TransportObject *transport = &self->transport;
    if (stream_complete_empty_waiter(self, NULL) < 0) {
        fl_transport_report(transport, "Exception in completing a connection");
    }
    if (self->phase >= FL_CLOSING) {
        fl_io_forget(self->loop, &self->io);
        if (self->phase < FL_LOSING) {
            fl_transport_report_close(transport, fl_transport_schedule_lost(transport, NULL));
        }
    }
    else if (self->eof && fl_stream_shutdown(self) < 0) {
        fl_transport_fatal(transport, stream_ops(self)->base.write_error);
    }
}

/* Tell the protocol to pause or to go on, then do what has waited for the last byte to be sent: once, at the end of the
   outermost flush. */
static void
stream_sent(StreamObject *self)
{
    TransportObject *transport = &self->transport;
    bool nested = self->flushing;
    self->flushing = true;
    fl_transport_sent(transport);
    self->flushing = nested;
    if (!nested && stream_ops(self)->base.unsent(transport) == 0 && self->phase < FL_LOSING) {
        stream_ops(self)->drained(self);
    }
}

void
fl_stream_flush(StreamObject *self)
{
    TransportObject *transport = &self->transport;
    fl_io_uncork(&self->io);
    if (self->phase >= FL_LOSING || self->loop->forked) { /* after fork() the parent sends it */
        fl_outbox_clear(&self->outbox);
        return;
    }
    int more = stream_ops(self)->transmit(self);
    if (more < 0) {
        stream_send_failed(self);
        return;
    }
    bool changed = self->draining != more;
    self->draining = more;
    if (changed && fl_transport_rearm(transport) < 0) {
        fl_transport_fatal(transport, stream_ops(self)->base.write_error);
        return;
    }
    stream_sent(self);
}

void
fl_stream_flush_io(fl_io *io)
{
    fl_stream_flush((StreamObject *)io->object);
}

void
fl_stream_flush_cork(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    if (self->outbox.size > 0 && !self->draining) {
        fl_stream_flush(self);
    }
}

size_t
fl_stream_unsent(TransportObject *self)
{
    return ((StreamObject *)self)->outbox.size;
}

void
fl_stream_flush_last(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    bool corked = self->outbox.size > 0 && !self->draining;
    if (corked && self->io.fd >= 0 && !self->loop->forked && stream_ops(self)->transmit(self) < 0 &&
        !fl_exit_if_asked(self->loop)) {
        PyErr_Clear(); /* asyncio had sent it when it was written; the connection ends anyway */
    }
}

void
fl_stream_discard(TransportObject *self)
{
    fl_outbox_clear(&((StreamObject *)self)->outbox);
}

int
fl_stream_lost(TransportObject *transport, PyObject *Py_UNUSED(reason))
{
    StreamObject *self = (StreamObject *)transport;
    if (self->empty_waiter == NULL) {
        return 0;
    }
    PyObject *exc =
        PyObject_CallFunction(PyExc_ConnectionError, "s", "Connection is closed by peer");
    int rc = exc == NULL ? -1 : stream_complete_empty_waiter(self, exc);
    Py_XDECREF(exc);
    return rc;
}

/* -- accepting data -------------------------------------------------------------------------------- */

static int stream_send_now(StreamObject *self) __attribute__((noinline));

/* Bytes were queued, and must not wait for the end of the callback: send them, or if the kernel takes no more, have the
   protocol pause if it is time to.  0, or -1 with what the protocol has raised that ends the run.
   Out of line: within write() it makes the common way longer, a small write by 3 %. */
static int
stream_send_now(StreamObject *self)
{
    PyObject *before = fl_exit_begin(self->loop);
    if (self->draining) {
        fl_transport_maybe_pause(&self->transport);
    }
    else {
        fl_stream_flush(self);
    }
    return fl_exit_end(self->loop, before, 0);
}

/* Bytes were queued: they wait for the end of the callback, or are sent now.  0 or -1. */
static int
stream_queued(StreamObject *self)
{
    LoopObject *loop = self->loop;
    if (self->draining || self->outbox.size >= FLUSH_AT || self->outbox.size > self->high_water ||
        loop->thread_id != PyThread_get_thread_ident()) {
        return stream_send_now(self);
    }
    fl_io_cork(loop, &self->io);
    return 0;
}

/* Whether nothing can be written any more.  Behind what was written before close() a layer sends its close_notify. */
static bool
stream_has_ended(StreamObject *self)
{
    return self->phase >= FL_LOSING || (self->layer != NULL && self->phase >= FL_CLOSING);
}

/* Data for a connection that has ended.  0 or -1. */
static int
stream_vain_write(StreamObject *self)
{
    return fl_transport_vain_write(&self->transport, stream_ops(self)->vain_write);
}

int
fl_stream_write(StreamObject *self, PyObject *bytes)
{
    bool wanted = PyBytes_GET_SIZE(bytes) > 0;
    if (!wanted || stream_has_ended(self)) {
        Py_DECREF(bytes);
        return wanted ? stream_vain_write(self) : 0;
    }
    if (fl_outbox_append(&self->outbox, bytes) < 0) {
        return -1;
    }
    return stream_queued(self);
}

/* A list of bytes objects, none of them empty, from an iterable of bytes-like objects. */
static PyObject *
bytes_list(PyObject *iterable)
{
    PyObject *iterator = PyObject_GetIter(iterable);
    PyObject *list = iterator == NULL ? NULL : PyList_New(0);
    PyObject *item;
    while (list != NULL && (item = PyIter_Next(iterator)) != NULL) {
        PyObject *bytes = PyObject_CheckBuffer(item) ? PyBytes_FromObject(item)
                                                     : fl_arg_bytes(item, FL_WRITE_TYPE_ERROR);
        Py_DECREF(item);
        if (bytes == NULL || (PyBytes_GET_SIZE(bytes) > 0 && PyList_Append(list, bytes) < 0)) {
            Py_CLEAR(list);
        }
        Py_XDECREF(bytes);
    }
    Py_XDECREF(iterator);
    if (PyErr_Occurred()) {
        Py_CLEAR(list);
    }
    return list;
}

int
fl_stream_write_all(StreamObject *self, PyObject *iterable)
{
    if (stream_has_ended(self)) {
        return stream_vain_write(self);
    }
    PyObject *list = bytes_list(iterable);
    if (list == NULL) {
        return -1;
    }
    if (stream_has_ended(self)) { /* since: the iterable has closed it */
        Py_DECREF(list);
        return stream_vain_write(self);
    }
    int rc = 0;
    uint32_t len = self->outbox.len;
    size_t size = self->outbox.size;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(list); i++) {
        rc = fl_outbox_append(&self->outbox, Py_NewRef(PyList_GET_ITEM(list, i)));
    }
    Py_DECREF(list);
    if (rc < 0 || self->outbox.size == 0) {
        fl_outbox_truncate(&self->outbox, len, size); /* all or nothing */
        return rc;
    }
    return stream_queued(self);
}
