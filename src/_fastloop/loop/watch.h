/* Watching file descriptors: who is told when one is readable or writable. */
#ifndef FL_LOOP_WATCH_H
#define FL_LOOP_WATCH_H

#include "loop/io.h"

/* Direction as an index of fl_watch.target. */
typedef enum { FL_READING, FL_WRITING } fl_direction;

static inline unsigned
fl_direction_mask(fl_direction direction)
{
    return direction == FL_READING ? FL_READ : FL_WRITE;
}

/* Tell target (a Handle, whose reference is taken) each time fd is ready; a Handle that was told before
   is cancelled.  fileobj is what the caller named fd by.  0, or -1 with an exception. */
int fl_watch_add(LoopObject *loop, int fd, fl_direction direction, PyObject *target,
                 PyObject *fileobj);

/* Stop telling whoever is told.  1 when there was somebody, 0 when not, -1 with an exception. */
int fl_watch_remove(LoopObject *loop, int fd, fl_direction direction);

/* The descriptor under which fileobj was given to fl_watch_add, or -1. */
int fl_watch_find(LoopObject *loop, PyObject *fileobj);

/* Complete future (not taken) once fd, which is sock's, is ready.  The registration outlives the wait,
   so that the next one on the same socket needs no system call.  0, or -1 with an exception. */
int fl_watch_wait(LoopObject *loop, int fd, fl_direction direction, PyObject *future,
                  PyObject *sock);

/* Future does not wait for fd any more, if it did. */
void fl_watch_abandon(LoopObject *loop, int fd, fl_direction direction, PyObject *future);

/* Complete the future that waits for fd, if there is one, though fd is not ready: it is about to be closed.
   0, or -1 with an exception. */
int fl_watch_wake(LoopObject *loop, int fd, fl_direction direction);

/* Have io told when its descriptor is ready for exactly `wanted` (FL_READ | FL_WRITE, 0: nothing).
   0, or -1 with an exception. */
int fl_io_watch(LoopObject *loop, fl_io *io, unsigned wanted);

/* fl_io_watch(loop, io, 0), which cannot fail; the descriptor may have been closed. */
void fl_io_forget(LoopObject *loop, fl_io *io);

/* Act on what the backend reported, until somebody's code ends the run. */
void fl_watch_dispatch(LoopObject *loop, const fl_event *events, int n);

/* Drop everybody, in a loop that closes. */
void fl_watch_clear(LoopObject *loop);

int fl_watch_traverse(LoopObject *loop, visitproc visit, void *arg);

#endif
