/* 4-ary heap: half the depth of a binary one, and four children share a cache line or two. */
#include "base/heap.h"

#include <errno.h>
#include <stdlib.h>

#define ARITY 4

void
fl_heap_init(fl_heap *heap)
{
    *heap = (fl_heap){0};
}

void
fl_heap_free(fl_heap *heap)
{
    free(heap->entries);
    fl_heap_init(heap);
}

static bool
deadline_before(const fl_deadline *a, const fl_deadline *b)
{
    return a->when < b->when || (a->when == b->when && a->seq < b->seq);
}

/* Place entry at the hole i or above it. */
static void
heap_sift_up(fl_heap *heap, size_t i, fl_deadline entry)
{
    while (i > 0) {
        size_t parent = (i - 1) / ARITY;
        if (!deadline_before(&entry, &heap->entries[parent])) {
            break;
        }
        heap->entries[i] = heap->entries[parent];
        i = parent;
    }
    heap->entries[i] = entry;
}

/* The earliest child of i, or len when i is a leaf. */
static size_t
heap_first_child(const fl_heap *heap, size_t i)
{
    size_t best = i * ARITY + 1;
    if (best >= heap->len) {
        return heap->len;
    }
    size_t end = best + ARITY < heap->len ? best + ARITY : heap->len;
    for (size_t child = best + 1; child < end; child++) {
        if (deadline_before(&heap->entries[child], &heap->entries[best])) {
            best = child;
        }
    }
    return best;
}

/* Place entry at the hole i or below it. */
static void
heap_sift_down(fl_heap *heap, size_t i, fl_deadline entry)
{
    for (;;) {
        size_t child = heap_first_child(heap, i);
        if (child == heap->len || !deadline_before(&heap->entries[child], &entry)) {
            break;
        }
        heap->entries[i] = heap->entries[child];
        i = child;
    }
    heap->entries[i] = entry;
}

static int
heap_reserve(fl_heap *heap)
{
    if (heap->len < heap->capacity) {
        return 0;
    }
    size_t capacity = heap->capacity ? heap->capacity * 2 : FL_HEAP_INITIAL;
    fl_deadline *entries = realloc(heap->entries, capacity * sizeof(*entries));
    if (entries == NULL) {
        return -ENOMEM;
    }
    heap->entries = entries;
    heap->capacity = capacity;
    return 0;
}

int
fl_heap_push(fl_heap *heap, double when, void *item)
{
    int err = heap_reserve(heap);
    if (err < 0) {
        return err;
    }
    fl_deadline entry = {.when = when, .seq = heap->next_seq++, .item = item};
    heap_sift_up(heap, heap->len++, entry);
    return 0;
}

void *
fl_heap_pop(fl_heap *heap)
{
    void *item = heap->entries[0].item;
    fl_deadline last = heap->entries[--heap->len];
    if (heap->len > 0) {
        heap_sift_down(heap, 0, last);
    }
    return item;
}

size_t
fl_heap_filter(fl_heap *heap, bool (*keep)(void *item), void **dropped)
{
    size_t kept = 0, gone = 0;
    for (size_t i = 0; i < heap->len; i++) {
        if (keep(heap->entries[i].item)) {
            heap->entries[kept++] = heap->entries[i];
        }
        else {
            dropped[gone++] = heap->entries[i].item;
        }
    }
    heap->len = kept;
    for (size_t i = kept / ARITY + 1; i-- > 0;) {
        if (i < kept) {
            heap_sift_down(heap, i, heap->entries[i]);
        }
    }
    return gone;
}
