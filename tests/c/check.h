/* What the C tests share: checks, random numbers, and an allocator that can be told to fail. */
#ifndef FL_TESTS_CHECK_H
#define FL_TESTS_CHECK_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                             \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            fprintf(stderr, "%s:%d: %s: not true: %s\n", __FILE__, __LINE__, __func__, #condition);  \
            exit(1);                                                                                 \
        }                                                                                            \
    } while (0)

static uint64_t random_state = 1;

/* A number below `limit`: xorshift64*, so that a run is the same on every machine. */
static inline size_t
random_below(size_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * 0x2545F4914F6CDD1Du) >> 33) % limit;
}

/* The programs are linked with --wrap, so that the code under test calls these. */
void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool out_of_memory;

void *
__wrap_malloc(size_t size)
{
    return out_of_memory ? NULL : __real_malloc(size);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return out_of_memory ? NULL : __real_realloc(old, size);
}

#endif
