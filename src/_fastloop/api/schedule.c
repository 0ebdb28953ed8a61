/* Loop methods that schedule callbacks: call_soon, call_later, call_at, call_soon_threadsafe, time. */
#include "api/methods.h"

#include "loop/handle.h"
#include "loop/inbox.h"
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
    if (self->unchecked) {
        return 0;
    }
    if (fl_loop_check_closed(self) < 0) {
        return -1;
    }
    return self->debug && callback_check_debug(self, callback, method) < 0 ? -1 : 0;
}

/* -- call_soon ------------------------------------------------------------------------------------- */

/* A scheduling method's call: leading parameters by position or keyword, then the callback's arguments. */
typedef struct {
    PyObject *const *args; /* leading parameters and *args, all by position */
    Py_ssize_t nargs;
    PyObject *context;   /* NULL for None or none */
    PyObject *packed[3]; /* where args points when keywords had to be put in place */
} schedule_call;

/* Leading parameters came by keyword: nothing can follow them by position. */
static int
schedule_bind_keywords(fl_state *state, const fl_signature *signature, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames, schedule_call *call)
{
    PyObject *given[FL_ARGS_MAX];
    if (fl_args_bind(state, signature, args, nargs, kwnames, given) < 0) {
        return -1;
    }
    for (int i = 0; i < signature->required; i++) {
        call->packed[i] = given[i];
    }
    call->args = call->packed;
    call->nargs = signature->required;
    PyObject *context = given[signature->required];
    call->context = fl_arg_given(context) ? context : NULL;
    return 0;
}

/* signature: the leading parameters, all required, then context.  0, or -1 with a TypeError. */
static int
schedule_bind(fl_state *state, const fl_signature *signature, PyObject *const *args,
              Py_ssize_t nargs, PyObject *kwnames, schedule_call *call)
{
    if (nargs < signature->required) {
        return schedule_bind_keywords(state, signature, args, nargs, kwnames, call);
    }
    call->args = args;
    call->nargs = nargs;
    return fl_args_context(state, signature->function, args + nargs, kwnames, &call->context);
}

static HandleObject *
schedule_handle(LoopObject *self, const schedule_call *call)
{
    return fl_handle_new(self, self->state->Handle_type, call->args[0], call->args + 1,
                         call->nargs - 1, call->context);
}

PyDoc_STRVAR(Loop_call_soon_doc,
             "call_soon($self, callback, *args, context=None)\n--\n\n"
             "Call callback(*args) in the next turn of the loop and return a Handle.\n\n"
             "Callbacks run in the order in which they were scheduled, in context (a\n"
             "contextvars.Context) or in a copy of the current one.  Raises RuntimeError if the loop\n"
             "is closed and, in debug mode, if it runs in another thread.");

static PyObject *
Loop_call_soon(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "call_soon", 1, 1, 2, {FL_PARAM(callback), FL_PARAM(context)}};
    schedule_call call;
    if (schedule_bind(self->state, &signature, args, nargs, kwnames, &call) < 0 ||
        (!self->unchecked && fl_loop_check_thread(self) < 0) ||
        schedule_check(self, call.args[0], "call_soon") < 0) {
        return NULL;
    }
    HandleObject *handle = schedule_handle(self, &call);
    return handle == NULL || fl_handle_queue_lent(self, handle) < 0 ? NULL : (PyObject *)handle;
}

PyDoc_STRVAR(Loop_call_soon_threadsafe_doc,
             "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n"
             "As call_soon(), from any thread: a loop that waits is woken.");

static PyObject *
Loop_call_soon_threadsafe(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    static const fl_signature signature = {
        "call_soon_threadsafe", 1, 1, 2, {FL_PARAM(callback), FL_PARAM(context)}};
    schedule_call call;
    if (schedule_bind(self->state, &signature, args, nargs, kwnames, &call) < 0 ||
        schedule_check(self, call.args[0], "call_soon_threadsafe") < 0) {
        return NULL;
    }
    HandleObject *handle = schedule_handle(self, &call);
    if (handle == NULL) {
        return NULL;
    }
    handle->threadsafe = FL_HAS_THREADSAFE_HANDLE;
    return fl_inbox_post(self, handle) < 0 ? NULL : (PyObject *)handle;
}

/* -- call_at and call_later ------------------------------------------------------------------------ */

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

/* Arrange for a call at `when`; args[0] of the call is the time as given, args[1] the callback. */
static PyObject *
schedule_at(LoopObject *self, double when, const schedule_call *call)
{
    PyObject *callback = call->args[1];
    if (!self->unchecked && (fl_loop_check_closed(self) < 0 || fl_loop_check_thread(self) < 0 ||
                             schedule_check(self, callback, "call_at") < 0)) {
        return NULL;
    }
    return (PyObject *)fl_timers_add(self, when, callback, call->args + 2, call->nargs - 2,
                                     call->context);
}

PyDoc_STRVAR(
    Loop_call_at_doc,
    "call_at($self, when, callback, *args, context=None)\n--\n\n"
    "Call callback(*args) at `when`, seconds on the clock of time(), and return a TimerHandle.\n\n"
    "A callback never runs early.  Equal times run in the order in which they were scheduled.\n"
    "Raises ValueError for NaN, which asyncio notices only when it polls.");

static PyObject *
Loop_call_at(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "call_at", 2, 2, 3, {FL_PARAM(when), FL_PARAM(callback), FL_PARAM(context)}};
    schedule_call call;
    double when;
    if (schedule_bind(self->state, &signature, args, nargs, kwnames, &call) < 0) {
        return NULL;
    }
    if (call.args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    return schedule_seconds(call.args[0], &when) < 0 ? NULL : schedule_at(self, when, &call);
}

/* self.call_at(when, callback, *args, context=context) for a class that overrides it. */
static PyObject *
schedule_at_overridden(LoopObject *self, double when, const schedule_call *call)
{
    PyObject *context = call->context == NULL ? Py_None : call->context;
    PyObject *kwargs = PyDict_New();
    PyObject *args = PyTuple_New(call->nargs);
    PyObject *method = PyObject_GetAttr((PyObject *)self, self->state->str_call_at);
    PyObject *deadline = PyFloat_FromDouble(when);
    PyObject *handle = NULL;
    if (kwargs != NULL && args != NULL && method != NULL && deadline != NULL &&
        PyDict_SetItem(kwargs, self->state->str_context, context) == 0) {
        PyTuple_SET_ITEM(args, 0, Py_NewRef(deadline));
        for (Py_ssize_t i = 1; i < call->nargs; i++) {
            PyTuple_SET_ITEM(args, i, Py_NewRef(call->args[i]));
        }
        handle = PyObject_Call(method, args, kwargs);
    }
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(method);
    Py_XDECREF(deadline);
    return handle;
}

PyDoc_STRVAR(Loop_call_later_doc,
             "call_later($self, delay, callback, *args, context=None)\n--\n\n"
             "Call callback(*args) after `delay` seconds and return a TimerHandle.\n\n"
             "A callback never runs early.  Raises ValueError for NaN, which asyncio notices only\n"
             "when it polls.");

static PyObject *
Loop_call_later(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "call_later", 2, 2, 3, {FL_PARAM(delay), FL_PARAM(callback), FL_PARAM(context)}};
    schedule_call call;
    double delay, now;
    if (schedule_bind(self->state, &signature, args, nargs, kwnames, &call) < 0) {
        return NULL;
    }
    if (call.args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
        return NULL;
    }
    if (schedule_seconds(call.args[0], &delay) < 0 ||
        fl_loop_time(self, fl_loop_now(self), &now) < 0) {
        return NULL;
    }
    return self->overrides & FL_OVERRIDE_CALL_AT ? schedule_at_overridden(self, now + delay, &call)
                                                 : schedule_at(self, now + delay, &call);
}

PyDoc_STRVAR(Loop_time_doc,
             "time($self, /)\n--\n\n"
             "Return the loop's time in seconds, a float: the system's monotonic clock.");

static PyObject *
Loop_time(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(fl_clock_seconds(fl_loop_now(self)));
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
