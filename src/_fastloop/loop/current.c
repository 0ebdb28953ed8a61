/* The current task.  asyncio.current_task() reads a dict of asyncio (up to 3.13) or a field of the thread
   state (3.14 on); both are written here and nowhere else. */
#include "loop/current.h"

#if FL_HAS_SWAP_CURRENT_TASK
int
fl_current_swap(fl_state *state, PyObject *loop, PyObject *task, PyObject **previous)
{
    PyObject *args[] = {NULL, loop, task == NULL ? Py_None : task};
    PyObject *before = PyObject_Vectorcall(state->swap_current_task, args + 1,
                                           2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (before == NULL) {
        return -1;
    }
    if (before == Py_None) {
        Py_CLEAR(before);
    }
    if (previous != NULL) {
        *previous = before;
    }
    else {
        Py_XDECREF(before);
    }
    return 0;
}
#else
/* Take the loop's entry out of the dict; nothing to do when there is none. */
static int
current_delete(fl_state *state, PyObject *loop)
{
    if (PyDict_DelItem(state->current_tasks, loop) == 0) {
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

int
fl_current_swap(fl_state *state, PyObject *loop, PyObject *task, PyObject **previous)
{
    if (previous != NULL) {
        *previous = Py_XNewRef(PyDict_GetItemWithError(state->current_tasks, loop));
        if (*previous == NULL && PyErr_Occurred()) {
            return -1;
        }
    }
    int rc = task == NULL ? current_delete(state, loop)
                          : PyDict_SetItem(state->current_tasks, loop, task);
    if (rc < 0 && previous != NULL) {
        Py_CLEAR(*previous);
    }
    return rc;
}
#endif

int
fl_current_publish_slow(LoopObject *loop, PyObject *task)
{
    if (fl_current_swap(loop->state, (PyObject *)loop, task, NULL) < 0) {
        return -1;
    }
    PyObject *before = loop->published;
    loop->published = Py_XNewRef(task);
    Py_XDECREF(before); /* may run anything: last */
    return 0;
}
