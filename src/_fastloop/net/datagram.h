/* DatagramTransport: the transport of a datagram socket, as asyncio.DatagramTransport. */
#ifndef FL_NET_DATAGRAM_H
#define FL_NET_DATAGRAM_H

#include "net/transport.h"

#ifndef FL_DATAGRAM_BATCH
#define FL_DATAGRAM_BATCH 16 /* datagrams taken from the kernel, or given to it, in one call */
#endif

/* One datagram that waits to be sent. */
typedef struct {
    PyObject *data; /* owned: bytes */
    PyObject *address; /* owned: for the socket's own sendto(), or NULL: use inet, or none if that is empty */
    fl_inet inet;
} fl_datagram;

/* An address in both shapes: most datagrams come from where the last ones came from. */
typedef struct {
    PyObject *object; /* owned: a tuple, or NULL */
    fl_inet inet;
} fl_known_address;

typedef struct {
    FL_TRANSPORT_BASE;
    PyObject *arrived;   /* owned: a list of (data, address) that wait for the protocol, or NULL */
    PyObject *address;   /* owned: the only one that can be sent to, or NULL */
    fl_datagram *queue;  /* owned: an array of what waits to be sent, or NULL */
    uint32_t queue_head; /* the index of the oldest */
    uint32_t queue_len;  /* how many are in it */
    uint32_t queue_capacity;
    size_t queue_size; /* bytes, counted as asyncio does */
    int family;
    bool connected; /* to a peer with a name: whatever address is given, it goes there, as in asyncio */
    bool sending;                              /* a method of the socket is under way */
    bool joined;                               /* to a peer at all: no address is needed */
    fl_known_address known[FL_DATAGRAM_BATCH]; /* by the port's low bits */
} DatagramObject;

/* Take what has arrived and hand it to the protocol. */
void fl_datagram_read(DatagramObject *self);

/* Have what waits for the protocol delivered before anything else.  0 or -1. */
int fl_datagram_deliver_soon(TransportObject *self);

/* Send data (bytes; the reference is taken) to address (borrowed, NULL: where the socket is connected to), corked or at
   once.  0, or -1 with an exception. */
int fl_datagram_send(DatagramObject *self, PyObject *data, PyObject *address);

/* Send what the kernel takes. */
void fl_datagram_flush(DatagramObject *self);

/* Drop what waits. */
void fl_datagram_discard(TransportObject *self);

/* Add the type DatagramTransport to the module state.  0 or -1. */
int fl_datagram_setup_types(PyObject *module, fl_state *state);

#endif
