/* TLS in its place: a layer that stands between the wire and the protocol of a stream transport.  It takes the
   transport's operations over (fl_stream_ops); life, outbox, which holds plaintext now, and flow control stay the
   transport's. */
#ifndef FL_TLS_LAYER_H
#define FL_TLS_LAYER_H

#include "net/socket_stream.h"
#include "tls/engine.h"

/* How far a connection is. */
typedef enum {
    FL_TLS_HANDSHAKE, /* what is written waits */
    FL_TLS_OPEN,      /* data passes */
    FL_TLS_CLOSING, /* what was written goes, then a close_notify, and then the peer's is waited for */
    FL_TLS_CLOSED, /* what is not sent yet goes, and that is all */
} fl_tls_stage;

/* Which close_notify there was, as in OpenSSL's SSL_get_shutdown(). */
enum {
    FL_TLS_SENT_SHUTDOWN = 1,     /* ours was made */
    FL_TLS_RECEIVED_SHUTDOWN = 2, /* the peer's has come */
};

typedef struct {
    PyObject_HEAD
    TLSEngineObject *engine;     /* owned */
    PyObject *sslcontext;        /* owned */
    PyObject *peercert;          /* owned: as it is when the handshake is done; NULL before */
    PyObject *waiter;            /* owned: what start_tls() waits for, or NULL */
    PyObject *handshake_timeout; /* owned: seconds */
    double shutdown_timeout;     /* seconds */
    PyObject *timer; /* owned: of loop.call_later(), ends the handshake or the shutdown; or NULL */
    double since;    /* loop time when the handshake began, seconds */
    size_t unsent;   /* bytes of the engine's output that the kernel has not taken */
    size_t received; /* bytes that came last */
    size_t high_water; /* bytes received and not read: so much is kept at most while reading is paused */
    size_t low_water; /* what set_read_buffer_limits() was given as its low limit: shown, never used */
    uint8_t stage;    /* fl_tls_stage; layer.c alone changes it */
    uint8_t shutdown; /* FL_TLS_SENT_SHUTDOWN | FL_TLS_RECEIVED_SHUTDOWN */
    bool no_reply;    /* the peer's close_notify is not waited for */
    bool attached;    /* to a transport */
    bool pending;     /* the engine may have more to give before it gets more */
    bool peer_gone;   /* end of file was received */
    bool told_eof;    /* eof_received() was called */
} TLSLayerObject;

static inline TLSLayerObject *
fl_tls_layer(StreamObject *stream)
{
    return (TLSLayerObject *)stream->layer;
}

/* Whether the protocol may get data. */
static inline bool
fl_tls_may_deliver(const StreamObject *stream)
{
    return stream->phase < FL_CLOSING && !stream->paused;
}

/* -- at the bottom: between kernel and engine (layer_wire.c) ---------------------------------------- */

/* Take what the kernel has into the loop's scratch memory, where it stays until the next call into Python.  1 when there is
   news: *arrived bytes, or none and the end of file; 0, or -1 with an exception. */
int fl_wire_receive(StreamObject *self, size_t *arrived);

/* Give the engine a copy of the `arrived` bytes in the loop's scratch memory.  0, or -1 with an exception. */
int fl_wire_keep(StreamObject *self, size_t arrived);

/* Decrypt what the engine has, and the `arrived` bytes in the loop's scratch memory.  As fl_tls_receive(). */
Py_ssize_t fl_wire_decrypt(StreamObject *self, size_t arrived, char *buffer, size_t size);

/* Decrypt more of what the engine has behind the bytes that the buffer is filled with already.  As fl_tls_read(). */
Py_ssize_t fl_wire_decrypt_more(StreamObject *self, char *buffer, size_t size, size_t filled);

/* After close() data is of no use to anybody, neither what the engine has nor the `arrived` bytes in the loop's scratch
   memory, and a close_notify is behind it.  FL_TLS_…. */
Py_ssize_t fl_wire_drop_data(StreamObject *self, size_t arrived);

/* From now on what comes while reading is paused is kept, up to the high watermark, so that the end of the connection is
   noticed. */
void fl_wire_read_ahead(StreamObject *self);

/* Receive what the protocol does not want yet, and keep it.  0, or -1 with an exception. */
int fl_wire_receive_ahead(StreamObject *self);

/* Give the engine's output to the kernel: 1 when that does not take all, else 0, or -1 with OSError. */
int fl_wire_send(StreamObject *self);

/* There may be something to send, which is done when the callback returns. */
void fl_wire_cork(StreamObject *self);

/* fl_transport_ops.{unsent,discard,resumed}. */
size_t fl_wire_unsent(TransportObject *transport);
void fl_wire_discard(TransportObject *transport);
int fl_wire_resume(TransportObject *transport);

/* -- above it: the life of a connection (layer.c) ---------------------------------------------------- */

/* The transport's first turn, or that of a layer which a transport got later: begin the handshake. */
void fl_tls_begin(TransportObject *transport);

/* Go on with the handshake after input. */
void fl_tls_negotiate(StreamObject *self);

/* The raised exception ends the handshake, and whoever waits for it gets it. */
void fl_tls_handshake_failed(StreamObject *self);

/* No more data comes from the peer: tell the protocol, and close. */
void fl_tls_data_ended(StreamObject *self);

/* The raised exception ends the connection; an alert that tells the peer why is sent first. */
void fl_tls_failed(StreamObject *self, const char *message);

/* Make our close_notify, or deal with the peer's.  0 or -1. */
int fl_tls_exchange_close_notify(StreamObject *self);

/* Nothing is waited for any more. */
void fl_tls_end_shutdown(StreamObject *self);

/* close() without waiting for the peer's close_notify.  0 or -1. */
int fl_tls_close_without_reply(StreamObject *self);

/* fl_transport_ops.{shutdown,lost} and fl_stream_ops.drained. */
int fl_tls_begin_shutdown(TransportObject *transport);
int fl_tls_lost(TransportObject *transport, PyObject *exc);
void fl_tls_drained(StreamObject *self);

/* -- above that: data (layer_data.c) ----------------------------------------------------------------- */

/* fl_io_ops.ready, fl_stream_ops.transmit and fl_transport_ops.flush_last. */
void fl_tls_ready(fl_io *io, unsigned ready);
int fl_tls_transmit(StreamObject *self);
void fl_tls_flush_last(TransportObject *transport);

/* -- at the top: the Python face, with the table of all this (layer_type.c) --------------------------- */

/* Add the type TLSLayer to the module state.  0 or -1. */
int fl_tls_layer_setup_types(PyObject *module, fl_state *state);

#endif
