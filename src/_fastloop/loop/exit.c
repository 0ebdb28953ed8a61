/* The one way out of a run: loop->exit. */
#include "loop/exit.h"

#include "py/call.h"

/* Whether `exc` is in the chain of contexts that begins with `chain`. */
static bool
chain_holds(PyObject *chain, PyObject *exc)
{
    PyObject *link = Py_NewRef(chain);
    while (link != NULL && link != exc) {
        PyObject *next = PyException_GetContext(link);
        Py_DECREF(link);
        link = next;
    }
    Py_XDECREF(link);
    return link != NULL;
}

/* exc was raised after `before`, whose reference is taken, and not because of it: nothing else tells of that one. */
static void
chain_link(PyObject *exc, PyObject *before)
{
    PyObject *context = PyException_GetContext(exc);
    if (context == NULL && !chain_holds(before, exc)) {
        PyException_SetContext(exc, before);
        return;
    }
    Py_XDECREF(context);
    Py_DECREF(before);
}

void
fl_exit_with_raised(LoopObject *loop)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *before = loop->exit;
    loop->exit = exc;
    if (before != NULL) {
        chain_link(exc, before);
    }
}

bool
fl_exit_is_asked(void)
{
    return PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ||
           PyErr_ExceptionMatches(PyExc_SystemExit);
}

bool
fl_exit_if_asked(LoopObject *loop)
{
    bool asked = fl_exit_is_asked();
    if (asked) {
        fl_exit_with_raised(loop);
    }
    return asked;
}

void
fl_exit_report(LoopObject *loop, PyObject *context, PyObject *exc)
{
    if (fl_report_exception(loop->state, (PyObject *)loop, context, exc) < 0) {
        fl_exit_with_raised(loop);
    }
}

int
fl_exit_raise(LoopObject *loop, PyObject *before, int rc)
{
    if (rc < 0) {
        PyObject *failure = PyErr_GetRaisedException();
        if (failure != loop->exit) {
            chain_link(loop->exit, failure);
        }
        else {
            Py_DECREF(failure);
        }
    }
    PyErr_SetRaisedException(loop->exit);
    loop->exit = before;
    return -1;
}
