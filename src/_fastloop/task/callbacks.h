/* Who waits for a Future: the shapes of FutureObject.callbacks. */
#ifndef FL_TASK_CALLBACKS_H
#define FL_TASK_CALLBACKS_H

#include "task/future.h"

/* A tuple (fn, context); context NULL: a copy of the current one. */
PyObject *fl_callbacks_entry(PyObject *fn, PyObject *context);

/* Add an entry (a Task to wake, or a tuple), whose reference is taken (NULL: an exception is raised).  On a
   future that is done it is queued at once.  0, or -1 with an exception. */
int fl_callbacks_add(FutureObject *future, PyObject *entry);

/* The future is done: queue everyone who waits.  0, or -1 with an exception. */
int fl_callbacks_schedule(FutureObject *future);

/* Remove every callback equal to fn.  Their number, or -1 with an exception. */
Py_ssize_t fl_callbacks_remove(FutureObject *future, PyObject *fn);

/* A new list of (fn, context) as asyncio's `_callbacks` shows it, or None when there are none. */
PyObject *fl_callbacks_list(FutureObject *future);

/* A new frozenset of the Tasks that await the future, or None when there are none. */
PyObject *fl_callbacks_awaiting_tasks(FutureObject *future);

/* The work of a FL_READY_DONE word. */
void fl_callbacks_run_ready(LoopObject *loop, PyObject *item);

#endif
