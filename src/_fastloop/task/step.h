/* Driving a coroutine: one step of a Task. */
#ifndef FL_TASK_STEP_H
#define FL_TASK_STEP_H

#include "task/task.h"

/* Queue the next step.  0, or -1 with an exception. */
int fl_task_schedule_step(TaskObject *task);

/* Have the next step throw the raised exception into the coroutine.  0, or -1 with an exception. */
int fl_task_throw_later(TaskObject *task);

/* Step the task at once, in its context, while another task or none is current.  0, or -1 with an exception
   that is not the coroutine's, or is SystemExit or KeyboardInterrupt. */
int fl_task_eager_start(TaskObject *task);

/* Check the state and make ready for a step; a pending cancellation replaces *exc (owned, or NULL), which the step
   is to throw.  0, or -1 with an exception. */
int fl_task_begin_step(TaskObject *task, PyObject **exc);

/* Resume the coroutine and act on what it does.  exc (reference taken, or NULL) is thrown into it.  Results as for
   fl_task_eager_start(). */
int fl_task_resume(TaskObject *task, PyObject *exc);

/* The exception with which a future of any kind ended, a new reference; NULL for none. */
PyObject *fl_task_waiter_exception(fl_state *state, PyObject *future);

/* Put the functions for FL_READY_STEP, FL_READY_WAKE and waiting for descriptors into the state. */
void fl_step_setup(fl_state *state);

#endif
