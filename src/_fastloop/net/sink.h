/* Sinks: where the plaintext of a stream goes.  Which one is chosen when a protocol becomes the stream's. */
#ifndef FL_NET_SINK_H
#define FL_NET_SINK_H

#include "net/transport.h"

typedef struct fl_stream StreamObject;

/* Memory to receive or decrypt into, which a sink has given. */
typedef struct {
    char *memory;
    size_t size;     /* bytes */
    PyObject *bytes; /* owned: the bytes object that the memory is in, or NULL */
    Py_buffer view;  /* of the protocol's memory, if view.obj is not NULL */
} fl_room;

typedef struct {
    bool asks; /* reserve() calls the protocol, which may do anything: nothing may be received before it and kept */
    const char *reserve_failed,
        *deliver_failed; /* messages for the exception handler; NULL: a read error like others */
    /* Memory for about `hint` bytes, 0: as many as come, while the loop's scratch memory is free.  0, or -1 with an
       exception. */
    int (*reserve)(StreamObject *self, size_t hint, fl_room *room);
    /* n bytes, at least 1, are in the room, which is given back.  0, -1 with what the protocol has raised, or -2 with
       MemoryError: the protocol has not got them. */
    int (*deliver)(StreamObject *self, fl_room *room, size_t n);
} fl_sink_ops;

/* A Protocol gets bytes objects, a BufferedProtocol has its own memory. */
extern const fl_sink_ops fl_protocol_sink, fl_buffered_sink;

/* Give a room back that nothing is to be delivered from; doing so twice is harmless.  May run anything. */
void fl_room_release(fl_room *room);

/* fl_transport_ops.adopt of sockets: choose the sink for this protocol.  0 or -1. */
int fl_sink_adopt(TransportObject *transport, PyObject *protocol);

/* protocol.eof_received(): whether it wants to go on sending, or -1 with an exception. */
int fl_sink_call_eof_received(StreamObject *self);

#endif
