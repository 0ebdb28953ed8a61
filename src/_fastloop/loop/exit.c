/* The one way out of a run. */
#include "loop/exit.h"

#include "py/call.h"

/* -- where it waits -------------------------------------------------------------------------------- */

static PyObject **
exit_slot(LoopObject *loop)
{
    bool elsewhere = loop->thread_id != 0 && loop->thread_id != PyThread_get_thread_ident();
    return elsewhere ? &loop->exit_elsewhere : &loop->exit;
}

/* The context of an exception, borrowed. */
static PyObject *
context_of(PyObject *exc)
{
    PyObject *context = PyException_GetContext(exc);
    Py_XDECREF(context); /* exc keeps it */
    return context;
}

/* Whether `exc` is in the chain of contexts that begins with `chain`, or nobody can say: user code can make a circle. */
static bool
chain_may_hold(PyObject *chain, PyObject *exc)
{
    PyObject *slow = chain;
    bool odd = false;
    for (PyObject *link = chain; link != NULL; link = context_of(link)) {
        if (link == exc || (odd && link == slow)) {
            return true;
        }
        slow = odd ? context_of(slow) : slow;
        odd = !odd;
    }
    return false;
}

/* The end of the chain that begins with exc, borrowed, or NULL when it is a circle. */
static PyObject *
chain_end(PyObject *exc)
{
    PyObject *context = context_of(exc);
    if (context != NULL && chain_may_hold(context, exc)) {
        return NULL;
    }
    PyObject *last = exc;
    while (context != NULL) {
        last = context;
        context = context_of(last);
    }
    return last;
}

/* exc was raised after `before`, whose reference is taken, and not because of it: nothing else tells of that one. */
static void
chain_link(PyObject *exc, PyObject *before)
{
    PyObject *last = chain_end(exc);
    if (last != NULL && !chain_may_hold(before, last)) {
        PyException_SetContext(last, before);
    }
    else {
        Py_DECREF(before);
    }
}

void
fl_exit_with_raised(LoopObject *loop)
{
    PyObject **slot = exit_slot(loop);
    PyObject *before = *slot;
    *slot = PyErr_GetRaisedException();
    if (before != NULL) {
        chain_link(*slot, before);
    }
}

/* -- who asks for it ------------------------------------------------------------------------------- */

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

/* -- methods that Python calls ----------------------------------------------------------------------- */

PyObject *
fl_exit_set_aside(LoopObject *loop)
{
    PyObject **slot = exit_slot(loop);
    PyObject *before = *slot;
    *slot = NULL;
    return before;
}

int
fl_exit_raise(LoopObject *loop, PyObject *before, int rc)
{
    PyObject **slot = exit_slot(loop);
    PyObject *exc = *slot;
    *slot = before;
    if (exc == NULL) {
        return rc;
    }
    if (rc < 0) {
        chain_link(exc, PyErr_GetRaisedException());
    }
    PyErr_SetRaisedException(exc);
    return -1;
}
