/* Which tasks exist: what asyncio.all_tasks() shows. */
#ifndef FL_TASK_REGISTRY_H
#define FL_TASK_REGISTRY_H

#include "task/task.h"

/* Enter a pending task: in its loop's list or, on a loop of another kind, with asyncio.  0 or -1. */
int fl_registry_add(TaskObject *task);

/* The task is done or dies. */
static inline void
fl_registry_remove(TaskObject *task)
{
    fl_list_remove(&task->link);
}

/* A new list of the tasks that stand in the lists of our loops. */
PyObject *fl_registry_list(fl_state *state);

#endif
