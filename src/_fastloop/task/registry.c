/* Which tasks exist.  Entering a task into asyncio's WeakSet costs about as much as running it; a list of
   our own costs nothing, and the Python package makes that WeakSet's iteration show it. */
#include "task/registry.h"

int
fl_registry_add(TaskObject *task)
{
    if (task->native && task->state->tasks_listed) {
        fl_list_remove(&task->link);
        fl_list_append(&((LoopObject *)task->loop)->tasks, &task->link);
        return 0;
    }
    PyObject *result = PyObject_CallOneArg(task->state->register_task, (PyObject *)task);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* A new reference, unless the task is being deallocated: it stands in the list until its own deallocator runs, and that
   of a Python subclass, which comes first, may run anything.  Either sign alone may be missing, since CPython 3.14 and
   later put off deallocations that nest too deeply, and link those objects through what the collector knows of them or,
   in other releases, through the reference count. */
static bool
registry_take(PyObject *task)
{
    return PyObject_GC_IsTracked(task) && PyUnstable_TryIncRef(task);
}

static int
registry_list_loop(LoopObject *loop, PyObject *tasks)
{
    int rc = 0;
    for (fl_list *node = loop->tasks.next; rc == 0 && node != &loop->tasks; node = node->next) {
        PyObject *task = (PyObject *)FL_LIST_OWNER(node, TaskObject, link);
        if (registry_take(task)) {
            rc = PyList_Append(tasks, task);
            Py_DECREF(task);
        }
    }
    return rc;
}

PyObject *
fl_registry_list(fl_state *state)
{
    PyObject *tasks = PyList_New(0);
    for (fl_list *node = state->loops.next; tasks != NULL && node != &state->loops;
         node = node->next) {
        if (registry_list_loop(FL_LIST_OWNER(node, LoopObject, link), tasks) < 0) {
            Py_CLEAR(tasks);
        }
    }
    return tasks;
}
