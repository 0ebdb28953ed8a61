/* The lowest level of a TLS layer: between the kernel and the engine.  Bytes come and go, and nobody is told of it. */
#include "tls/layer.h"

#include "py/call.h"

/* The loop's scratch memory in two parts: what is received, and what is decrypted in vain. */
#define WIRE_MAX (256 * 1024) /* bytes received at once at most */
#define WASTE_OFFSET WIRE_MAX
#define WASTE_MAX (64 * 1024)

_Static_assert(WASTE_OFFSET + WASTE_MAX <= FL_SCRATCH, "the loop's scratch memory is too small");

/* -- in -------------------------------------------------------------------------------------------- */

int
fl_wire_receive(StreamObject *self, size_t *arrived)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    char *scratch = fl_loop_scratch(self->loop);
    *arrived = 0;
    if (scratch == NULL || layer->peer_gone) {
        return scratch == NULL ? -1 : 1;
    }
    ssize_t n = fl_socket_receive(self->io.fd, scratch, WIRE_MAX);
    if (n < 0) {
        return fl_try_later(n) ? 0 : fl_raise_errno((int)n);
    }
    *arrived = layer->received = (size_t)n;
    if (n == 0) {
        layer->peer_gone = true;
        fl_transport_log(&self->transport, "debug", "%r received EOF");
    }
    return 1;
}

int
fl_wire_keep(StreamObject *self, size_t arrived)
{
    return arrived == 0 ? 0 : fl_tls_feed(fl_tls_layer(self)->engine, self->loop->scratch, arrived);
}

/* The engine has filled n of `size` bytes, or has had no data: note whether there may be more. */
static Py_ssize_t
wire_note_read(TLSLayerObject *layer, Py_ssize_t n, size_t size)
{
    layer->pending = n > 0 && ((size_t)n == size || layer->engine->ended || layer->peer_gone);
    if (n == FL_TLS_CLOSE_NOTIFY) {
        layer->shutdown |= FL_TLS_RECEIVED_SHUTDOWN;
    }
    return n;
}

Py_ssize_t
fl_wire_decrypt(StreamObject *self, size_t arrived, char *buffer, size_t size)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    Py_ssize_t n = arrived > 0
                       ? fl_tls_receive(layer->engine, self->loop->scratch, arrived, buffer, size)
                       : fl_tls_read(layer->engine, buffer, size, 0);
    return wire_note_read(layer, n, size);
}

Py_ssize_t
fl_wire_decrypt_more(StreamObject *self, char *buffer, size_t size, size_t filled)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    return wire_note_read(layer, fl_tls_read(layer->engine, buffer, size, filled), size);
}

Py_ssize_t
fl_wire_drop_data(StreamObject *self, size_t arrived)
{
    char *scratch = fl_loop_scratch(self->loop);
    Py_ssize_t n = scratch == NULL ? FL_TLS_FAILED : 1;
    while (n > 0) {
        n = fl_wire_decrypt(self, arrived, scratch + WASTE_OFFSET, WASTE_MAX);
        arrived = 0;
    }
    return n;
}

/* -- ahead of the protocol -------------------------------------------------------------------------- */

void
fl_wire_read_ahead(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    fl_transport_want(&self->transport, FL_WANT_READ_AHEAD,
                      layer->stage == FL_TLS_OPEN && !layer->peer_gone);
}

int
fl_wire_receive_ahead(StreamObject *self)
{
    size_t arrived;
    int news = fl_wire_receive(self, &arrived);
    if (news <= 0) {
        return news;
    }
    fl_tls_layer(self)->pending = true;
    return fl_wire_keep(self, arrived);
}

int
fl_wire_resume(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    fl_wire_read_ahead(self);
    bool waiting = fl_tls_layer(self)->pending && fl_tls_may_deliver(self);
    return waiting ? fl_io_tell_later(self->loop, &self->io, FL_READ) : 0;
}

/* -- out ------------------------------------------------------------------------------------------- */

/* What the engine gives at once.  1 when the kernel does not take all of it, else 0, or -1 with OSError. */
static int
wire_send_some(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    const char *data;
    size_t len;
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
    return layer->unsent > 0;
}

int
fl_wire_send(StreamObject *self)
{
    bool kept = fl_tls_layer(self)->unsent > 0; /* from the last time: there may be more behind it */
    int rc = wire_send_some(self);
    return rc == 0 && kept ? wire_send_some(self) : rc;
}

void
fl_wire_cork(StreamObject *self)
{
    if (!self->draining && self->phase < FL_LOSING) {
        fl_io_cork(self->loop, &self->io);
    }
}

size_t
fl_wire_unsent(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    return self->outbox.size + fl_tls_layer(self)->unsent;
}

void
fl_wire_discard(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    fl_stream_discard(transport);
    fl_tls_layer(self)->unsent = 0;
}
