/* Transports of byte streams: connected sockets and pipes.  The straight line of a packet is in stream.c. */
#ifndef FL_NET_STREAM_H
#define FL_NET_STREAM_H

#include "net/outbox.h"
#include "net/sink.h"
#include "net/transport.h"

struct fl_stream {
    FL_TRANSPORT_BASE;
    fl_outbox outbox;       /* accepted and not sent */
    PyObject *empty_waiter; /* owned: to be completed when the outbox is empty, or NULL */
    PyObject *layer; /* owned: what stands between wire and protocol and has replaced io.ops, or NULL */
    const fl_sink_ops *sink; /* where what arrives goes */
    bool bulk;               /* the last read brought much */
    bool eof;                /* write_eof() was called */
    bool flushing;           /* a flush is under way, from whose callbacks others may begin */
};

/* How bytes come and go. */
typedef struct {
    fl_transport_ops base;
    const char *vain_write; /* the warning when a lost connection is written to again and again */
    bool survives; /* an exception of data_received() is reported and does not end the connection */
    /* One system call: bytes, or -errno.  NULL where there is no such direction, or a layer sees to it. */
    ssize_t (*receive)(int fd, void *buffer, size_t size);
    ssize_t (*send)(int fd, const struct iovec *pieces, int n);
    /* The peer sends no more. */
    void (*end_of_file)(StreamObject *self);
    /* Send until the kernel takes no more: then 1, else 0; or -1 with an exception. */
    int (*transmit)(StreamObject *self);
    /* All is sent: do what has waited for that. */
    void (*drained)(StreamObject *self);
} fl_stream_ops;

/* The descriptor is readable: hand one read's bytes to the protocol. */
void fl_stream_read(StreamObject *self);

/* fl_stream_ops.{transmit,drained} of streams without a layer. */
int fl_stream_transmit(StreamObject *self);
void fl_stream_drained(StreamObject *self);

/* fl_io_ops.flush, fl_transport_ops.{flush_cork,unsent,flush_last,discard,lost} of all streams. */
void fl_stream_flush_io(fl_io *io);
void fl_stream_flush_cork(TransportObject *self);
size_t fl_stream_unsent(TransportObject *self);
void fl_stream_flush_last(TransportObject *self);
void fl_stream_discard(TransportObject *self);
int fl_stream_lost(TransportObject *self, PyObject *exc);

/* Send what the kernel takes and act on the outcome. */
void fl_stream_flush(StreamObject *self);

/* Queue a bytes object, whose reference is taken, corked or sent at once; nothing when it is empty or the connection
   is lost.  0 or -1. */
int fl_stream_write(StreamObject *self, PyObject *bytes);

/* The same for all of an iterable.  0 or -1. */
int fl_stream_write_all(StreamObject *self, PyObject *iterable);

/* End sending once everything is sent.  0, or -1 with OSError. */
int fl_stream_shutdown(StreamObject *self);

/* A transport for a connection that was just accepted: fd, whose peer is `peer`.  connection_made() is called
   in `context` before this returns.  Takes fd, also on failure.  0, or -1 with an exception to report. */
int fl_stream_accept(LoopObject *loop, int fd, const fl_inet *peer, PyObject *protocol,
                     ServerObject *server);

/* tp_clear and the like of all streams. */
int fl_stream_traverse(StreamObject *self, visitproc visit, void *arg);
int fl_stream_clear(StreamObject *self);
void fl_stream_dealloc(StreamObject *self);

/* Tell loop.sendfile() how it may send over transports of this type: a name of asyncio's _SendfileMode.  0 or -1. */
int fl_stream_set_sendfile_mode(fl_state *state, PyTypeObject *type, const char *name);

/* Add the type StreamTransport to the module state.  0 or -1. */
int fl_stream_setup_types(PyObject *module, fl_state *state);

#endif
