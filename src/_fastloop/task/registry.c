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

static int
registry_list_loop(LoopObject *loop, PyObject *tasks)
{
    for (fl_list *node = loop->tasks.next; node != &loop->tasks; node = node->next) {
        PyObject *task = (PyObject *)FL_LIST_OWNER(node, TaskObject, link);
        bool dying = Py_REFCNT(task) == 0; /* its subclass is being deallocated */
        if (!dying && PyList_Append(tasks, task) < 0) {
            return -1;
        }
    }
    return 0;
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
