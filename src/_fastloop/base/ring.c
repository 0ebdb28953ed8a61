/* The cold half of the ready ring: storage and growth. */
#include "base/ring.h"

#include <errno.h>
#include <stdlib.h>

int
fl_ring_init(fl_ring *ring)
{
    ring->words = malloc(FL_RING_INITIAL * sizeof(uintptr_t));
    ring->mask = FL_RING_INITIAL - 1;
    ring->head = ring->tail = 0;
    return ring->words == NULL ? -ENOMEM : 0;
}

void
fl_ring_free(fl_ring *ring)
{
    free(ring->words);
    ring->words = NULL;
    ring->head = ring->tail = 0;
}

int
fl_ring_grow(fl_ring *ring)
{
    size_t len = fl_ring_len(ring);
    size_t capacity = (ring->mask + 1) * 2;
    uintptr_t *words = malloc(capacity * sizeof(uintptr_t));
    if (words == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < len; i++) {
        words[i] = fl_ring_at(ring, i);
    }
    free(ring->words);
    ring->words = words;
    ring->mask = capacity - 1;
    ring->head = 0;
    ring->tail = len;
    return 0;
}
