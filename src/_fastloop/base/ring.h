/* First-in first-out ring of machine words: the loop's ready queue.  Capacity is a power of two and
   doubles when full.  One thread at a time; a push may move the words, so hold no pointer into it. */
#ifndef FL_BASE_RING_H
#define FL_BASE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef FL_RING_INITIAL
#define FL_RING_INITIAL 64 /* words; a power of two; tests shrink it so that growth is common */
#endif

typedef struct {
    uintptr_t *words;
    size_t mask; /* capacity - 1 */
    size_t head; /* index of the oldest word; grows for ever, masked on use */
    size_t tail; /* index after the newest word; tail - head is the length */
} fl_ring;

/* Return 0, or -ENOMEM. */
int fl_ring_init(fl_ring *ring);

/* Free the storage; the words themselves are the caller's to release before. */
void fl_ring_free(fl_ring *ring);

/* Double the capacity.  Return 0, or -ENOMEM with the ring unchanged. */
int fl_ring_grow(fl_ring *ring);

static inline size_t
fl_ring_len(const fl_ring *ring)
{
    return ring->tail - ring->head;
}

/* The word at position i, 0 being the oldest; i < length. */
static inline uintptr_t
fl_ring_at(const fl_ring *ring, size_t i)
{
    return ring->words[(ring->head + i) & ring->mask];
}

static inline bool
fl_ring_is_full(const fl_ring *ring)
{
    return fl_ring_len(ring) > ring->mask;
}

/* Append a word; the ring must not be full. */
static inline void
fl_ring_put(fl_ring *ring, uintptr_t word)
{
    ring->words[ring->tail++ & ring->mask] = word;
}

/* Append a word.  Return 0, or -ENOMEM with the ring unchanged. */
static inline int
fl_ring_push(fl_ring *ring, uintptr_t word)
{
    if (fl_ring_is_full(ring)) {
        int err = fl_ring_grow(ring);
        if (err < 0) {
            return err;
        }
    }
    fl_ring_put(ring, word);
    return 0;
}

/* Take the oldest word; the ring must not be empty. */
static inline uintptr_t
fl_ring_pop(fl_ring *ring)
{
    return ring->words[ring->head++ & ring->mask];
}

#endif
