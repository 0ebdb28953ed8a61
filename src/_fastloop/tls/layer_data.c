/* The data of a TLS connection: plaintext from the protocol into the engine, and out of it to the protocol, when the
   descriptor is ready. */
#include "tls/layer.h"

#include "loop/exit.h"
#include "py/call.h"

#include <string.h>

#define BATCH_MAX (128 * 1024) /* bytes encrypted before they are sent */
#define JOIN_MAX (32 * 1024)   /* short pieces are copied into one, up to so many bytes */

#define PLAIN_MIN 256          /* bytes: least memory to decrypt into … */
#define PLAIN_MAX (120 * 1024) /* … and most: below malloc's mmap threshold */
#define PIECES_MAX 64

static const char io_failed[] = "Fatal error on SSL protocol";

/* -- sending --------------------------------------------------------------------------------------- */

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
    bool waiting = layer->shutdown == FL_TLS_SENT_SHUTDOWN; /* for the peer's close_notify */
    return layer->stage == FL_TLS_CLOSING && !waiting ? fl_tls_exchange_close_notify(self) : 0;
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
        blocked = more < 0 ? -1 : fl_wire_send(self);
    } while (blocked == 0 && more);
    return blocked;
}

void
fl_tls_flush_last(TransportObject *transport)
{
    if (fl_tls_layer((StreamObject *)transport)->stage != FL_TLS_HANDSHAKE) {
        fl_stream_flush_last(transport);
    }
}

/* -- receiving ------------------------------------------------------------------------------------- */

/* Make the bytes object of the room this much longer.  0, or -1 with MemoryError. */
static int
room_enlarge(fl_room *room, size_t size)
{
    if (_PyBytes_Resize(&room->bytes, (Py_ssize_t)size) < 0) {
        return -1;
    }
    room->memory = PyBytes_AS_STRING(room->bytes);
    room->size = size;
    return 0;
}

/* There is as much plaintext as there was room for: read on while there is more. */
static Py_ssize_t
layer_read_on(StreamObject *self, fl_room *room)
{
    Py_ssize_t n = (Py_ssize_t)room->size;
    while (n == (Py_ssize_t)room->size && n < PLAIN_MAX) {
        size_t size = 2 * room->size + FL_TLS_RECORD_MAX;
        if (room_enlarge(room, size < PLAIN_MAX ? size : PLAIN_MAX) < 0) {
            return FL_TLS_FAILED;
        }
        n = fl_wire_decrypt_more(self, room->memory, room->size, (size_t)n);
    }
    return n;
}

/* Decrypt into the room, where the plaintext stays.  As fl_tls_receive(). */
static Py_ssize_t
layer_fill(StreamObject *self, size_t arrived, fl_room *room)
{
    Py_ssize_t n = fl_wire_decrypt(self, arrived, room->memory, room->size);
    bool more = n == (Py_ssize_t)room->size && room->bytes != NULL;
    return more ? layer_read_on(self, room) : n;
}

/* There is no data, for the reason n. */
static void
layer_no_data(StreamObject *self, Py_ssize_t n)
{
    fl_wire_cork(self);
    if (n == FL_TLS_FAILED) {
        fl_tls_failed(self, io_failed);
        return;
    }
    if (n == FL_TLS_CLOSE_NOTIFY || fl_tls_layer(self)->peer_gone) {
        fl_tls_data_ended(self);
    }
}

/* User's code that has run meanwhile, in an SSLObject or as a buffer was released, has ended the connection. */
static bool
layer_is_late(StreamObject *self)
{
    return self->phase >= FL_CLOSING || fl_tls_layer(self)->told_eof;
}

/* Decrypt into a room of the sink, and deliver what there is. */
static void
layer_deliver(StreamObject *self, const fl_sink_ops *sink, size_t arrived, fl_room *room)
{
    Py_ssize_t n = layer_fill(self, arrived, room);
    if (n <= 0 || sink->asks) { /* to give memory back to a protocol may run anything */
        fl_room_release(room);
    }
    if (n <= 0) {
        layer_no_data(self, n);
        return;
    }
    fl_wire_cork(self);
    if (layer_is_late(self)) {
        Py_CLEAR(room->bytes);
    }
    else if (sink->deliver(self, room, (size_t)n) < 0) {
        fl_transport_fatal(&self->transport, io_failed);
    }
}

/* fl_wire_receive(), unless the engine has something left.  1 when there may be data, 0, or -1 with an exception. */
static int
layer_supply(StreamObject *self, size_t *arrived)
{
    *arrived = 0;
    return fl_tls_layer(self)->pending ? 1 : fl_wire_receive(self, arrived);
}

static void
layer_read_failed(StreamObject *self)
{
    fl_transport_fatal(&self->transport, fl_transport_ops_of(&self->transport)->read_error);
}

/* Plaintext is shorter than what it was encrypted to, unless the beginning of a record came before. */
static size_t
layer_plain_size(StreamObject *self)
{
    size_t size = fl_tls_layer(self)->received;
    return size < PLAIN_MIN ? PLAIN_MIN : size < PLAIN_MAX ? size : PLAIN_MAX;
}

static void
layer_read_data(StreamObject *self)
{
    const fl_sink_ops *sink = self->sink;
    fl_room room;
    size_t arrived;
    int news = layer_supply(self, &arrived);
    if (news < 0) {
        layer_read_failed(self);
    }
    else if (news > 0 && sink->reserve(self, layer_plain_size(self), &room) < 0) {
        layer_no_data(self, FL_TLS_FAILED);
    }
    else if (news > 0) {
        layer_deliver(self, sink, arrived, &room);
    }
}

/* The sink that asks for memory comes first, so that nothing else runs while what was received is in the loop's scratch
   memory. */
static void
layer_read_asking(StreamObject *self)
{
    const fl_sink_ops *sink = self->sink;
    fl_room room;
    size_t arrived;
    PyObject *protocol = Py_NewRef(self->protocol);
    int rc = sink->reserve(self, 0, &room);
    bool same =
        self->protocol == protocol; /* who was asked may set another, or close the transport */
    Py_DECREF(protocol);
    if (rc < 0) {
        fl_transport_fatal(&self->transport, io_failed);
        return;
    }
    int news = same && fl_tls_may_deliver(self) ? layer_supply(self, &arrived) : 0;
    if (news > 0) {
        layer_deliver(self, sink, arrived, &room);
        return;
    }
    if (news < 0) {
        layer_read_failed(self);
    }
    fl_room_release(&room);
}

/* Go on in the next turn, or in the next run, with what the engine has. */
static void
layer_read_later(StreamObject *self)
{
    if (fl_wire_resume(&self->transport) < 0) {
        layer_read_failed(self);
    }
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
    fl_transport_want(&self->transport, FL_WANT_READ_AHEAD, wanted);
    if (!wanted) {
        fl_transport_rearm_ready(&self->transport);
    }
    else if (fl_wire_receive_ahead(self) < 0) {
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
    if (!fl_tls_may_deliver(self)) {
        fl_transport_rearm_ready(&self->transport);
        return;
    }
    do {
        if (self->sink->asks) {
            layer_read_asking(self);
        }
        else {
            layer_read_data(self);
        }
        if (self->loop->exit != NULL) {
            layer_read_later(self);
            return;
        }
    } while (layer->pending && layer->stage == FL_TLS_OPEN && fl_tls_may_deliver(self));
}

static void
layer_read_handshake(StreamObject *self)
{
    size_t arrived;
    int news = fl_wire_receive(self, &arrived);
    if (news < 0 || fl_wire_keep(self, arrived) < 0) {
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
    size_t arrived;
    int news = fl_wire_receive(self, &arrived);
    if (news < 0) {
        layer_read_failed(self);
    }
    if (news <= 0) {
        return;
    }
    if (fl_wire_drop_data(self, arrived) == FL_TLS_FAILED) {
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
    case FL_TLS_CLOSING:
        layer_read_closing(self);
        break;
    default:
        fl_transport_rearm_ready(&self->transport);
    }
}

void
fl_tls_ready(fl_io *io, unsigned ready)
{
    StreamObject *self = (StreamObject *)io->object;
    if (self->phase >= FL_LOSING) {
        fl_transport_rearm_ready(&self->transport);
        return;
    }
    if (ready & FL_READ) {
        layer_read_ready(self);
    }
    if ((ready & FL_WRITE) && self->draining && self->loop->exit == NULL) {
        fl_stream_flush(self);
    }
}
