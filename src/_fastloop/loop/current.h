/* Telling asyncio which task runs: lazily, only when it changes. */
#ifndef FL_LOOP_CURRENT_H
#define FL_LOOP_CURRENT_H

#include "loop/loop.h"

/* Make task (NULL for none) the current task of any loop; the previous one (new reference or NULL) is
   stored in *previous unless that is NULL.  0, or -1 with an exception. */
int fl_current_swap(fl_state *state, PyObject *loop, PyObject *task, PyObject **previous);

int fl_current_publish_slow(LoopObject *loop, PyObject *task);

/* Make task, or none when NULL, the current task of one of our loops.  0, or -1 with an exception. */
static inline int
fl_current_publish(LoopObject *loop, PyObject *task)
{
    return loop->published == task ? 0 : fl_current_publish_slow(loop, task);
}

#endif
