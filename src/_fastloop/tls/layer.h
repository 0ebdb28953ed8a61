/* TLS in its place: a layer that stands between the wire and the protocol of a stream transport.  It takes the
   transport's operations over (fl_stream_ops), and leaves it its life, its outbox, which holds plaintext now, and
   its flow control. */
#ifndef FL_TLS_LAYER_H
#define FL_TLS_LAYER_H

#include "net/socket_stream.h"
#include "tls/engine.h"

/* How far a connection is. */
typedef enum {
    FL_TLS_HANDSHAKE, /* what is written waits */
    FL_TLS_OPEN,      /* data passes */
    FL_TLS_LEAVING, /* what was written goes, then a close_notify, and then the peer's is waited for */
    FL_TLS_LEFT,    /* what is not sent yet goes, and that is all */
} fl_tls_stage;

typedef struct {
    PyObject_HEAD
    TLSEngineObject *engine;     /* owned */
    PyObject *sslcontext;        /* owned */
    PyObject *peercert;          /* owned: as it is when the handshake is done; NULL before */
    PyObject *waiter;            /* owned: what start_tls() waits for, or NULL */
    PyObject *handshake_timeout; /* owned: seconds */
    double shutdown_timeout;     /* seconds */
    PyObject *timer; /* owned: of loop.call_later(), ends the handshake or the leave-taking; or NULL */
    double since;    /* loop time when the handshake began, seconds */
    size_t unsent;   /* bytes of the engine's output that the kernel has not taken */
    size_t received; /* bytes that came last */
    size_t high_water; /* bytes received and not read: so much is kept at most while reading is paused */
    size_t low_water; /* … and what set_read_buffer_limits() was given besides */
    fl_tls_stage stage;
    bool attached;   /* to a transport */
    bool pending;    /* the engine may have more to give before it gets more */
    bool peer_gone;  /* end of file was received */
    bool parted;     /* our close_notify was made … */
    bool greeted;    /* … and the peer's has come */
    bool unanswered; /* … or is not waited for */
    bool told_eof;   /* eof_received() was called */
} TLSLayerObject;

static inline TLSLayerObject *
fl_tls_layer(StreamObject *stream)
{
    return (TLSLayerObject *)stream->layer;
}

/* The operations of a stream transport with such a layer. */
extern const fl_stream_ops fl_tls_stream_ops;

/* Add the type TLSLayer to the module state.  0 or -1. */
int fl_tls_layer_setup_types(PyObject *module, fl_state *state);

/* -- the life of a connection (layer.c) ------------------------------------------------------------- */

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

/* Nothing is waited for any more. */
void fl_tls_end_shutdown(StreamObject *self);

/* close() without waiting for the peer's close_notify.  0 or -1. */
int fl_tls_close_unanswered(StreamObject *self);

/* fl_transport_ops.{shutdown,lost} and fl_stream_ops.drained. */
int fl_tls_begin_shutdown(TransportObject *transport);
int fl_tls_lost(TransportObject *transport, PyObject *exc);
void fl_tls_drained(StreamObject *self);

/* -- data (layer_data.c) ---------------------------------------------------------------------------- */

/* From now on what comes while reading is paused is kept, up to the high watermark, so that the end of the connection is
   noticed. */
void fl_tls_read_ahead(StreamObject *self);

/* fl_io_ops.ready, fl_stream_ops.transmit and fl_transport_ops.{unsent,flush_last,discard,resumed}. */
void fl_tls_ready(fl_io *io, unsigned ready);
int fl_tls_transmit(StreamObject *self);
size_t fl_tls_unsent(TransportObject *transport);
void fl_tls_flush_last(TransportObject *transport);
void fl_tls_discard(TransportObject *transport);
int fl_tls_resumed(TransportObject *transport);

/* Give the engine's output to the kernel: 1 when that does not take all, else 0, or -1 with OSError. */
int fl_tls_send_output(StreamObject *self);

/* There may be something to send, which leaves when the callback returns. */
void fl_tls_cork(StreamObject *self);

#endif
