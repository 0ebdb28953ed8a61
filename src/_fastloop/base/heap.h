/* 4-ary min-heap of deadlines: the loop's timers.  Equal deadlines come out in the order they went in. */
#ifndef FL_BASE_HEAP_H
#define FL_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef FL_HEAP_INITIAL
#define FL_HEAP_INITIAL 16 /* entries, at the first push; tests shrink it */
#endif

typedef struct {
    double when;  /* deadline, seconds on the loop's clock; never NaN */
    uint64_t seq; /* order of arrival, given by fl_heap_push */
    void *item;   /* the caller's */
} fl_deadline;

typedef struct {
    fl_deadline *entries; /* NULL until the first push */
    size_t len;
    size_t capacity;
    uint64_t next_seq;
} fl_heap;

void fl_heap_init(fl_heap *heap);

/* Free the storage; the items are the caller's to release before. */
void fl_heap_free(fl_heap *heap);

/* Return 0, or -ENOMEM with the heap unchanged. */
int fl_heap_push(fl_heap *heap, double when, void *item);

/* Take out the earliest entry and return its item; the heap must not be empty. */
void *fl_heap_pop(fl_heap *heap);

/* Keep only the items for which keep(item) is true; it must not touch the heap.  Each item that goes
   is stored in dropped, which has room for len of them.  Return how many went. */
size_t fl_heap_filter(fl_heap *heap, bool (*keep)(void *item), void **dropped);

/* The earliest entry, or NULL when empty; valid until the heap changes. */
static inline const fl_deadline *
fl_heap_top(const fl_heap *heap)
{
    return heap->len ? heap->entries : NULL;
}

#endif
