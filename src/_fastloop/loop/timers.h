/* The loop's timers: deadlines in a heap, cancelled ones removed lazily. */
#ifndef FL_LOOP_TIMERS_H
#define FL_LOOP_TIMERS_H

#include "loop/handle.h"

/* A new TimerHandle due at `when` (seconds), or NULL with an exception. */
HandleObject *fl_timers_add(LoopObject *loop, double when, PyObject *callback,
                            PyObject *const *args, Py_ssize_t nargs, PyObject *context);

/* Drop cancelled timers: those at the front always, all of them when they are the greater part.
   0, or -1 with MemoryError. */
int fl_timers_purge(LoopObject *loop);

/* Move the timers due at clock `now` (seconds) to the ready ring.  0, or -1 with MemoryError. */
int fl_timers_fire(LoopObject *loop, double now);

/* Nanoseconds from `now` to the first deadline: 0 when it is past, -1 when there is none. */
int64_t fl_timers_wait(LoopObject *loop, double now);

/* Drop all timers. */
void fl_timers_clear(LoopObject *loop);

#endif
