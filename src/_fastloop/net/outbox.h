/* The bytes a stream transport has accepted and not sent yet: bytes objects, in order. */
#ifndef FL_NET_OUTBOX_H
#define FL_NET_OUTBOX_H

#include "state.h"

#include <sys/uio.h>

#define FL_OUTBOX_FEW 2 /* objects kept without memory of their own */

typedef struct {
    PyObject **items;  /* owned bytes objects; few, or allocated */
    uint32_t head;     /* index of the oldest */
    uint32_t len;      /* how many there are from there on */
    uint32_t capacity; /* of items */
    size_t offset;     /* bytes of the oldest that are gone */
    size_t size;       /* bytes still to go */
    PyObject *few[FL_OUTBOX_FEW];
} fl_outbox;

void fl_outbox_init(fl_outbox *outbox);

/* Append a bytes object that is not empty, whose reference is taken.  0, or -1 with MemoryError. */
int fl_outbox_append(fl_outbox *outbox, PyObject *bytes);

/* The first bytes to go: up to `max` pieces.  Returns their number. */
int fl_outbox_pieces(const fl_outbox *outbox, struct iovec *pieces, int max);

/* The oldest object, a new reference, for those who use its bytes while Python code may run. */
PyObject *fl_outbox_first(const fl_outbox *outbox);

/* n bytes are gone. */
void fl_outbox_consume(fl_outbox *outbox, size_t n);

/* Take back what was appended since there were `len` objects of `size` bytes. */
void fl_outbox_truncate(fl_outbox *outbox, uint32_t len, size_t size);

/* Drop everything. */
void fl_outbox_clear(fl_outbox *outbox);

#endif
