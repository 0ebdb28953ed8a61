/* Loop methods that schedule callbacks: call_soon, call_later, call_at, call_soon_threadsafe, time. */
#include "api/methods.h"

#include "base/clock.h"
#include "loop/handle.h"
#include "loop/timers.h"
#include "py/args.h"
#include "py/call.h"

#include <math.h>

/* -- checks ---------------------------------------------------------------------------------------- */

/* asyncio's complaint about callbacks that are no callables, or coroutines.  0, or -1 with a TypeError. */
static int
callback_check_debug(LoopObject *self, PyObject *callback, const char *method)
{
    PyObject *result =
        PyObject_CallMethod((PyObject *)self, "_check_callback", "Os", callback, method);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* What a scheduling method checks before it acts.  0, or -1 with an exception. */
static int
schedule_check(LoopObject *self, PyObject *callback, const char *method)
{
    if (self->direct) {
        return 0;
    }
    if (fl_loop_check_closed(self) < 0) {
        return -1;
    }
    return self->debug && callback_check_debug(self, callback, method) < 0 ? -1 : 0;
}

/* -- call_soon ------------------------------------------------------------------------------------- */

static PyObject *
schedule_soon(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    HandleObject *handle =
        fl_handle_new(self, self->state->Handle_type, args[0], args + 1, nargs - 1, context);
    if (handle == NULL || fl_loop_push(self, Py_NewRef(handle), FL_READY_HANDLE) < 0) {
        Py_XDECREF(handle);
        return NULL;
    }
    return (PyObject *)handle;
}

static int
schedule_check_count(const char *method, Py_ssize_t nargs, Py_ssize_t required)
{
    if (nargs >= required) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes at least %zd positional argument%s (%zd given)",
                 method, required, required == 1 ? "" : "s", nargs);
    return -1;
}

PyDoc_STRVAR(Loop_call_soon_doc,
             "call_soon($self, callback, /, *args, context=None)\n--\n\n"
             "Call callback(*args) in the next turn of the loop and return a Handle.\n\n"
             "Callbacks run in the order in which they were scheduled, in context (a\n"
             "contextvars.Context) or in a copy of the current one.  Raises RuntimeError if the loop\n"
             "is closed and, in debug mode, if it runs in another thread.");

static PyObject *
Loop_call_soon(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    if (schedule_check_count("call_soon", nargs, 1) < 0 ||
        fl_args_context(self->state, "call_soon", args + nargs, kwnames, &context) < 0 ||
        (!self->direct && fl_loop_check_thread(self) < 0) ||
        schedule_check(self, args[0], "call_soon") < 0) {
        return NULL;
    }
    return schedule_soon(self, args, nargs, context);
}

PyDoc_STRVAR(Loop_call_soon_threadsafe_doc,
             "call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\n"
             "As call_soon(), from any thread: a loop that waits is woken.");

static PyObject *
Loop_call_soon_threadsafe(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    PyObject *context;
    if (schedule_check_count("call_soon_threadsafe", nargs, 1) < 0 ||
        fl_args_context(self->state, "call_soon_threadsafe", args + nargs, kwnames, &context) < 0 ||
        schedule_check(self, args[0], "call_soon_threadsafe") < 0) {
        return NULL;
    }
    PyObject *handle = schedule_soon(self, args, nargs, context);
    fl_loop_wake(self);
    return handle;
}

/* -- call_at and call_later ------------------------------------------------------------------------ */

/* The loop's time in seconds; -1.0 with an exception when an overridden time() failed. */
static double
schedule_now(LoopObject *self)
{
    if (!(self->overrides & FL_OVERRIDE_TIME)) {
        return fl_clock_seconds(fl_clock_ns());
    }
    PyObject *now = PyObject_CallMethodNoArgs((PyObject *)self, self->state->str_time);
    double seconds = now == NULL ? -1.0 : PyFloat_AsDouble(now);
    Py_XDECREF(now);
    return seconds;
}

/* Seconds from a Python number: 0 and *seconds, or -1 with a TypeError or, for NaN, a ValueError. */
static int
schedule_seconds(PyObject *number, double *seconds)
{
    *seconds = PyFloat_AsDouble(number);
    if (*seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(*seconds)) {
        PyErr_SetString(PyExc_ValueError, "Invalid delay: NaN (not a number)");
        return -1;
    }
    return 0;
}

/* args: callback, *its arguments */
static PyObject *
schedule_at(LoopObject *self, double when, PyObject *const *args, Py_ssize_t nargs,
            PyObject *context)
{
    if (fl_loop_check_closed(self) < 0 || fl_loop_check_thread(self) < 0 ||
        schedule_check(self, args[0], "call_at") < 0) {
        return NULL;
    }
    return (PyObject *)fl_timers_add(self, when, args[0], args + 1, nargs - 1, context);
}

PyDoc_STRVAR(
    Loop_call_at_doc,
    "call_at($self, when, callback, /, *args, context=None)\n--\n\n"
    "Call callback(*args) at `when`, seconds on the clock of time(), and return a TimerHandle.\n\n"
    "A callback never runs early.  Equal times run in the order in which they were scheduled.\n"
    "Raises ValueError for NaN, which asyncio notices only when it polls.");

static PyObject *
Loop_call_at(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    double when;
    if (schedule_check_count("call_at", nargs, 2) < 0 ||
        fl_args_context(self->state, "call_at", args + nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    if (schedule_seconds(args[0], &when) < 0) {
        return NULL;
    }
    return schedule_at(self, when, args + 1, nargs - 1, context);
}

/* self.call_at(when, …) for a class that overrides it.  args: delay, callback, *its arguments */
static PyObject *
schedule_at_overridden(LoopObject *self, double when, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    Py_ssize_t total = nargs + (kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames));
    PyObject **stack = PyMem_New(PyObject *, total + 1);
    PyObject *deadline = PyFloat_FromDouble(when);
    PyObject *handle = NULL;
    if (stack != NULL && deadline != NULL) {
        stack[0] = (PyObject *)self;
        stack[1] = deadline;
        for (Py_ssize_t i = 1; i < total; i++) {
            stack[i + 1] = args[i];
        }
        handle = PyObject_VectorcallMethod(self->state->str_call_at, stack, nargs + 1, kwnames);
    }
    else if (stack == NULL) {
        PyErr_NoMemory();
    }
    Py_XDECREF(deadline);
    PyMem_Free(stack);
    return handle;
}

PyDoc_STRVAR(Loop_call_later_doc,
             "call_later($self, delay, callback, /, *args, context=None)\n--\n\n"
             "Call callback(*args) after `delay` seconds and return a TimerHandle.\n\n"
             "A callback never runs early.  Raises ValueError for NaN, which asyncio notices only\n"
             "when it polls.");

static PyObject *
Loop_call_later(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;
    double delay;
    if (schedule_check_count("call_later", nargs, 2) < 0 ||
        fl_args_context(self->state, "call_later", args + nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
        return NULL;
    }
    double now = schedule_seconds(args[0], &delay) < 0 ? -1.0 : schedule_now(self);
    if (now == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (self->overrides & FL_OVERRIDE_CALL_AT) {
        return schedule_at_overridden(self, now + delay, args, nargs, kwnames);
    }
    return schedule_at(self, now + delay, args + 1, nargs - 1, context);
}

PyDoc_STRVAR(Loop_time_doc,
             "time($self, /)\n--\n\n"
             "Return the loop's time in seconds, a float: the system's monotonic clock.");

static PyObject *
Loop_time(LoopObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(fl_clock_seconds(fl_clock_ns()));
}

PyMethodDef fl_schedule_methods[] = {
    {"call_soon", FL_FASTCALL(Loop_call_soon), FL_KEYWORDS, Loop_call_soon_doc},
    {"call_soon_threadsafe", FL_FASTCALL(Loop_call_soon_threadsafe), FL_KEYWORDS,
     Loop_call_soon_threadsafe_doc},
    {"call_at", FL_FASTCALL(Loop_call_at), FL_KEYWORDS, Loop_call_at_doc},
    {"call_later", FL_FASTCALL(Loop_call_later), FL_KEYWORDS, Loop_call_later_doc},
    {"time", (PyCFunction)Loop_time, METH_NOARGS, Loop_time_doc},
    {NULL},
};
