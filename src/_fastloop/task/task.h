/* Task: a Future whose result comes from a coroutine that it drives. */
#ifndef FL_TASK_TASK_H
#define FL_TASK_TASK_H

#include "task/future.h"

/* A pending Task is in one of three states:
     running     its step is on the C stack
     scheduled   a FL_READY_STEP or FL_READY_WAKE word (or a call_soon() of its step) is queued
     waiting     fut_waiter is pending, and the task stands in its callbacks */
typedef struct {
    FL_FUTURE_BASE;
    PyObject *coro;       /* owned; NULL once an eager task is done */
    PyObject *context;    /* owned: every step runs in it */
    PyObject *name;       /* owned; NULL: "Task-<serial>", made when asked for */
    PyObject *fut_waiter; /* owned: what it waits for (or just waited for), or NULL */
    PyObject *throw_next; /* owned: thrown into the coroutine by the next step, or NULL */
    uint64_t serial;
    fl_list link;     /* in the loop's list while pending; unlinked when registered with asyncio */
    int num_cancels;  /* cancel() calls less uncancel() calls */
    bool must_cancel; /* throw CancelledError at the next step */
    bool log_destroy_pending;
} TaskObject;

/* A new Task of one of our loops, scheduled.  context NULL: a copy of the current one; name NULL: the
   default.  NULL with an exception on failure. */
PyObject *fl_task_new(LoopObject *loop, PyObject *coro, PyObject *name, PyObject *context,
                      bool eager_start);

/* asyncio's Task.cancel(msg): 1, 0 when it was done, or -1 with an exception. */
int fl_task_cancel(TaskObject *task, PyObject *msg);

/* The same of whatever Future or Task object a task waits for, by its method when it is not exactly ours: truth of
   the answer, or -1 with an exception. */
int fl_future_cancel_any(fl_state *state, PyObject *future, PyObject *msg);

/* Fill in the fields of a task whose Future part is ready, and start it.  0, or -1 with an exception. */
int fl_task_start(TaskObject *task, PyObject *coro, PyObject *name, PyObject *context, bool eager);

/* Forget what an earlier __init__() has begun. */
void fl_task_reset(TaskObject *task);

/* Pending although it is about to die, so that somebody may wait for it forever: to be reported. */
bool fl_task_is_missed(TaskObject *task);

/* At the end of its life: report that, and an exception that was never retrieved. */
void fl_task_finalize(TaskObject *task);

int fl_task_traverse(TaskObject *task, visitproc visit, void *arg);
int fl_task_clear(TaskObject *task);

/* The name as a new reference, or NULL. */
PyObject *fl_task_get_name(TaskObject *task);

/* Add the type Task to the module state.  0 or -1. */
int fl_task_setup_types(PyObject *module, fl_state *state);

#endif
