/* The loop's clock: CLOCK_MONOTONIC, the clock of time.monotonic(). */
#ifndef FL_BASE_CLOCK_H
#define FL_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t
fl_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Nanoseconds to seconds, rounded as time.monotonic() rounds. */
static inline double
fl_clock_seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

#endif
