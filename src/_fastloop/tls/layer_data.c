/* The straight line of data over TLS: from the kernel through the engine to the protocol, and back. */
#include "tls/layer.h"

#include "loop/exit.h"
#include "py/call.h"

#include <string.h>

/* The loop's scratch memory in two parts: what is received, and what is decrypted in vain. */
#define WIRE_MAX (256 * 1024) /* bytes received at once at most */
#define WASTE_OFFSET WIRE_MAX
#define WASTE_MAX (64 * 1024)

#define BATCH_MAX (128 * 1024) /* bytes encrypted before they are sent */
#define JOIN_MAX (32 * 1024)   /* short pieces are copied into one, up to so many bytes */

#define PLAIN_MIN 256          /* bytes: least memory to decrypt into … */
#define PLAIN_MAX (120 * 1024) /* … and most: below malloc's mmap threshold */
#define PIECES_MAX 64

_Static_assert(WASTE_OFFSET + WASTE_MAX <= FL_SCRATCH, "the loop's scratch memory is too small");

static const char io_failed[] = "Fatal error on SSL protocol";

/* -- plaintext out of the engine --------------------------------------------------------------------- */

/* Nothing is lent to the engine any more.  The raised exception stays.  0, or -1 with an exception. */
static int
layer_unlend(TLSLayerObject *layer)
{
    PyObject *raised = PyErr_GetRaisedException();
    if (fl_tls_unlend(layer->engine) < 0) {
        Py_XDECREF(raised);
        return -1;
    }
    PyErr_SetRaisedException(raised);
    return 0;
}

/* fl_tls_read(), after which nothing is lent to the engine any more.  Notes whether there may be more. */
static Py_ssize_t
layer_read(TLSLayerObject *layer, char *buffer, size_t size, size_t filled)
{
    Py_ssize_t n = fl_tls_read(layer->engine, buffer, size, filled);
    if (layer_unlend(layer) < 0) {
        return FL_TLS_FAILED;
    }
    layer->pending = n > 0 && ((size_t)n == size || layer->engine->ended || layer->peer_gone);
    return n;
}

/* After close() data is of no use to anybody, and a close_notify is behind it.  FL_TLS_…. */
static Py_ssize_t
layer_drop_data(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    char *scratch = fl_loop_scratch(self->loop);
    Py_ssize_t n = scratch == NULL ? FL_TLS_FAILED : 1;
    while (n > 0) {
        n = layer_read(layer, scratch + WASTE_OFFSET, WASTE_MAX, 0);
    }
    layer->greeted = layer->greeted || n == FL_TLS_CLOSED;
    return n;
}

/* -- sending --------------------------------------------------------------------------------------- */

int
fl_tls_send_output(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    const char *data;
    size_t len;
    for (;;) {
        if (fl_tls_output(layer->engine, &data, &len) < 0) {
            return -1;
        }
        layer->unsent = len;
        if (len == 0) {
            return 0;
        }
        struct iovec piece = {.iov_base = (char *)data, .iov_len = len};
        ssize_t n = fl_socket_send(self->io.fd, &piece, 1);
        if (n < 0) {
            return fl_try_later(n) ? 1 : fl_raise_errno((int)n);
        }
        fl_tls_output_taken(layer->engine, (size_t)n);
        fl_loop_poll_soon(self->loop); /* the peer may be a transport of the same loop */
        layer->unsent -= (size_t)n;
        if (layer->unsent > 0) {
            return 1;
        }
    }
}

/* Short pieces in one, JOIN_MAX bytes of them at most. */
static PyObject *
join_pieces(const struct iovec *pieces, int n)
{
    size_t size = 0;
    for (int i = 0; i < n; i++) {
        size += pieces[i].iov_len;
    }
    size = size < JOIN_MAX ? size : JOIN_MAX;
    PyObject *joined = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    char *end = joined == NULL ? NULL : PyBytes_AS_STRING(joined);
    for (int i = 0; i < n && joined != NULL && size > 0; i++) {
        size_t len = pieces[i].iov_len < size ? pieces[i].iov_len : size;
        memcpy(end, pieces[i].iov_base, len);
        end += len;
        size -= len;
    }
    return joined;
}

/* The next piece to encrypt, or several short ones in one: the bytes object they are in, a new reference, because a
   message callback may call abort().  NULL with MemoryError. */
static PyObject *
layer_gather(StreamObject *self, struct iovec *gathered)
{
    struct iovec pieces[PIECES_MAX];
    int n = fl_outbox_pieces(&self->outbox, pieces, PIECES_MAX);
    if (n == 1 || pieces[0].iov_len >= JOIN_MAX) {
        *gathered = pieces[0];
        gathered->iov_len = pieces[0].iov_len < BATCH_MAX ? pieces[0].iov_len : BATCH_MAX;
        return fl_outbox_first(&self->outbox);
    }
    PyObject *joined = join_pieces(pieces, n);
    if (joined != NULL) {
        gathered->iov_base = PyBytes_AS_STRING(joined);
        gathered->iov_len = (size_t)PyBytes_GET_SIZE(joined);
    }
    return joined;
}

/* Encrypt some of what was written.  1, 0 when the engine wants input first, or -1 with an exception. */
static int
layer_encrypt(StreamObject *self)
{
    struct iovec plain;
    PyObject *owner = layer_gather(self, &plain);
    if (owner == NULL) {
        return -1;
    }
    Py_ssize_t n = fl_tls_write(fl_tls_layer(self)->engine, plain.iov_base, plain.iov_len);
    if (n > 0 && self->phase < FL_LOSING) {
        fl_outbox_consume(&self->outbox, (size_t)n);
    }
    Py_DECREF(owner);
    return n < 0 ? -1 : n > 0;
}

/* Make our close_notify, or deal with the peer's.  0 or -1. */
static int
layer_part(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    if (layer->pending && layer_drop_data(self) == FL_TLS_FAILED) {
        return -1;
    }
    layer->parted = true;
    int rc = fl_tls_shutdown(layer->engine);
    if (rc == 1 || (rc == 0 && layer->unanswered)) {
        fl_tls_end_shutdown(self);
    }
    return rc < 0 ? -1 : 0;
}

/* Have the engine make output.  1 when it can make more, 0, or -1 with an exception. */
static int
layer_produce(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    if (layer->stage == FL_TLS_HANDSHAKE || layer->engine->ops == NULL) {
        return 0;
    }
    if (self->outbox.size > 0) {
        int rc = layer_encrypt(self);
        if (rc <= 0 || self->outbox.size > 0) {
            return rc;
        }
    }
    bool parting = layer->stage == FL_TLS_LEAVING && (!layer->parted || layer->greeted);
    return parting ? layer_part(self) : 0;
}

int
fl_tls_transmit(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    if (layer->engine->busy) {
        return 0; /* from within a callback of its own: it is looked after when that returns */
    }
    int more, blocked;
    do {
        more = layer->unsent > 0 ? 1 : layer_produce(self);
        blocked = more < 0 ? -1 : fl_tls_send_output(self);
    } while (blocked == 0 && more);
    return blocked;
}

size_t
fl_tls_unsent(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    return self->outbox.size + fl_tls_layer(self)->unsent;
}

void
fl_tls_flush_last(TransportObject *transport)
{
    if (fl_tls_layer((StreamObject *)transport)->stage != FL_TLS_HANDSHAKE) {
        fl_stream_flush_last(transport);
    }
}

void
fl_tls_discard(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    fl_stream_discard(transport);
    fl_tls_layer(self)->unsent = 0;
}

void
fl_tls_cork(StreamObject *self)
{
    if (!self->draining && self->phase < FL_LOSING) {
        fl_io_cork(self->loop, &self->io);
    }
}

/* -- receiving ------------------------------------------------------------------------------------- */

/* Feed the engine with what the kernel has.  1 when there is news, 0, or -1 with an exception. */
static int
layer_receive(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    char *scratch = fl_loop_scratch(self->loop);
    if (scratch == NULL || layer->peer_gone) {
        return scratch == NULL ? -1 : 1;
    }
    ssize_t n = fl_socket_receive(self->io.fd, scratch, WIRE_MAX);
    if (n < 0) {
        return fl_try_later(n) ? 0 : fl_raise_errno((int)n);
    }
    layer->received = (size_t)n;
    if (n == 0) {
        layer->peer_gone = true;
        fl_transport_log((TransportObject *)self, "debug", "%r received EOF");
        return 1;
    }
    return fl_tls_feed(layer->engine, scratch, (size_t)n) < 0 ? -1 : 1;
}

/* There is as much plaintext as there was room for: read on while there is more. */
static Py_ssize_t
layer_read_on(TLSLayerObject *layer, PyObject **bytes)
{
    size_t size = (size_t)PyBytes_GET_SIZE(*bytes);
    Py_ssize_t n = (Py_ssize_t)size;
    while ((size_t)n == size && size < PLAIN_MAX) {
        size = 2 * size + FL_TLS_RECORD_MAX < PLAIN_MAX ? 2 * size + FL_TLS_RECORD_MAX : PLAIN_MAX;
        if (_PyBytes_Resize(bytes, (Py_ssize_t)size) < 0) {
            return FL_TLS_FAILED;
        }
        n = layer_read(layer, PyBytes_AS_STRING(*bytes), size, (size_t)n);
    }
    return n;
}

/* Some plaintext as bytes, or NULL with the reason in *n.  It is decrypted where it stays: it is shorter than what was
   received, unless the beginning of a record came before. */
static PyObject *
layer_read_bytes(StreamObject *self, Py_ssize_t *n)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    size_t size = layer->received < PLAIN_MIN ? PLAIN_MIN : layer->received;
    size = size < PLAIN_MAX ? size : PLAIN_MAX;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL) {
        *n = FL_TLS_FAILED;
        layer_unlend(layer);
        return NULL;
    }
    *n = layer_read(layer, PyBytes_AS_STRING(bytes), size, 0);
    if (*n == (Py_ssize_t)size) {
        *n = layer_read_on(layer, &bytes);
    }
    if (*n <= 0) {
        Py_CLEAR(bytes);
    }
    else if (_PyBytes_Resize(&bytes, *n) < 0) {
        *n = FL_TLS_FAILED;
    }
    return bytes;
}

/* There is no data, for the reason n. */
static void
layer_no_data(StreamObject *self, Py_ssize_t n)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    fl_tls_cork(self);
    if (n == FL_TLS_FAILED) {
        fl_tls_failed(self, io_failed);
        return;
    }
    layer->greeted = layer->greeted || n == FL_TLS_CLOSED;
    if (n == FL_TLS_CLOSED || layer->peer_gone) {
        fl_tls_data_ended(self);
    }
}

/* User's code that has run meanwhile, in an SSLObject or as a buffer was released, has ended the connection. */
static bool
layer_is_late(StreamObject *self)
{
    return self->phase >= FL_CLOSING || fl_tls_layer(self)->told_eof;
}

static void
layer_deliver(StreamObject *self)
{
    Py_ssize_t n;
    PyObject *data = layer_read_bytes(self, &n);
    if (data == NULL) {
        layer_no_data(self, n);
        return;
    }
    fl_tls_cork(self);
    if (!layer_is_late(self)) {
        PyObject *result =
            fl_transport_call((TransportObject *)self, self->loop->state->str_data_received, data);
        fl_stream_called(self, result, io_failed);
    }
    Py_DECREF(data);
}

/* Decrypt into the memory of a BufferedProtocol, which it has given before the bytes were received. */
static void
layer_deliver_into(StreamObject *self, Py_buffer *view)
{
    Py_ssize_t n = layer_read(fl_tls_layer(self), view->buf, (size_t)view->len, 0);
    PyBuffer_Release(view);
    if (n <= 0) {
        layer_no_data(self, n);
        return;
    }
    fl_tls_cork(self);
    if (!layer_is_late(self)) {
        fl_stream_called(self, fl_sink_call_buffer_updated(self, n), io_failed);
    }
}

static bool
layer_may_deliver(StreamObject *self)
{
    return self->phase < FL_CLOSING && !self->paused;
}

/* Feed the engine unless it has something left.  1 when there may be data, 0, or -1 with an exception. */
static int
layer_supply(StreamObject *self)
{
    return fl_tls_layer(self)->pending ? 1 : layer_receive(self);
}

static void
layer_read_failed(StreamObject *self)
{
    fl_transport_fatal((TransportObject *)self, fl_tls_stream_ops.base.read_error);
}

static void
layer_read_data(StreamObject *self)
{
    int news = layer_supply(self);
    if (news < 0) {
        layer_read_failed(self);
    }
    else if (news > 0) {
        layer_deliver(self);
    }
}

/* The memory comes first, so that what is received is lent to the engine while nothing else runs. */
static void
layer_read_into_buffer(StreamObject *self)
{
    Py_buffer view;
    PyObject *protocol = Py_NewRef(self->protocol);
    int rc = fl_sink_get_buffer(self, &view);
    bool same =
        self->protocol == protocol; /* get_buffer() may set another, or close the transport */
    Py_DECREF(protocol);
    if (rc < 0) {
        fl_transport_fatal((TransportObject *)self, io_failed);
        return;
    }
    int news = same && layer_may_deliver(self) ? layer_supply(self) : 0;
    if (news > 0) {
        layer_deliver_into(self, &view);
        return;
    }
    if (news < 0) {
        layer_read_failed(self);
    }
    PyBuffer_Release(&view);
}

/* Go on in the next turn, or in the next run, with what the engine has. */
static void
layer_read_later(StreamObject *self)
{
    if (fl_tls_resumed((TransportObject *)self) < 0) {
        layer_read_failed(self);
    }
}

void
fl_tls_read_ahead(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    fl_transport_want((TransportObject *)self, FL_WANT_READ_AHEAD,
                      layer->stage == FL_TLS_OPEN && !layer->peer_gone);
}

/* Receive what the protocol does not want yet, and keep it.  0, or -1 with an exception. */
static int
layer_receive_early(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    int news = layer_receive(self);
    layer->pending = layer->pending || news > 0;
    return news < 0 ? -1 : layer_unlend(layer);
}

/* Something has come while reading is paused. */
static void
layer_read_paused(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    Py_ssize_t kept = fl_tls_pending(layer->engine);
    if (kept < 0) {
        fl_tls_failed(self, io_failed);
        return;
    }
    if (!self->paused ||
        self->phase >= FL_CLOSING) { /* an SSLObject of the user's has done that when asked */
        layer_read_later(self);
        return;
    }
    bool wanted = !layer->peer_gone && (size_t)kept < layer->high_water;
    fl_transport_want((TransportObject *)self, FL_WANT_READ_AHEAD, wanted);
    if (!wanted) {
        fl_transport_rearm_ready((TransportObject *)self);
    }
    else if (layer_receive_early(self) < 0) {
        layer_read_failed(self);
    }
}

static void
layer_read_open(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    if (self->paused && (self->wants & FL_WANT_READ_AHEAD) && self->phase < FL_CLOSING) {
        layer_read_paused(self);
        return;
    }
    if (!layer_may_deliver(self)) {
        fl_transport_rearm_ready((TransportObject *)self);
        return;
    }
    do {
        if (self->sink == &fl_buffered_sink) {
            layer_read_into_buffer(self);
        }
        else {
            layer_read_data(self);
        }
        if (self->loop->exit != NULL) {
            layer_read_later(self);
            return;
        }
    } while (layer->pending && layer->stage == FL_TLS_OPEN && layer_may_deliver(self));
}

static void
layer_read_handshake(StreamObject *self)
{
    int news = layer_receive(self);
    if (news < 0) {
        fl_tls_handshake_failed(self);
    }
    else if (news > 0) {
        fl_tls_negotiate(self);
    }
}

/* After close(): what comes is of no use, but for the close_notify. */
static void
layer_read_closing(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    int news = layer_receive(self);
    if (news < 0) {
        layer_read_failed(self);
    }
    if (news <= 0) {
        return;
    }
    if (layer_drop_data(self) == FL_TLS_FAILED) {
        fl_tls_failed(self, "Fatal error on transport");
        return;
    }
    if (layer->peer_gone) {
        fl_tls_end_shutdown(self);
    }
    fl_stream_flush(self);
}

static void
layer_read_ready(StreamObject *self)
{
    switch (fl_tls_layer(self)->stage) {
    case FL_TLS_HANDSHAKE:
        layer_read_handshake(self);
        break;
    case FL_TLS_OPEN:
        layer_read_open(self);
        break;
    case FL_TLS_LEAVING:
        layer_read_closing(self);
        break;
    default:
        fl_transport_rearm_ready((TransportObject *)self);
    }
}

void
fl_tls_ready(fl_io *io, unsigned ready)
{
    StreamObject *self = (StreamObject *)io->object;
    if (self->phase >= FL_LOSING) {
        fl_transport_rearm_ready((TransportObject *)self);
        return;
    }
    if (ready & FL_READ) {
        layer_read_ready(self);
    }
    if ((ready & FL_WRITE) && self->draining && self->loop->exit == NULL) {
        fl_stream_flush(self);
    }
}

int
fl_tls_resumed(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    fl_tls_read_ahead(self);
    bool waiting = fl_tls_layer(self)->pending && layer_may_deliver(self);
    return waiting ? fl_io_tell_later(self->loop, &self->io, FL_READ) : 0;
}
