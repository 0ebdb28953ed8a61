/* Future: states and transitions.  Its Python face is in future_type.c. */
#include "task/future.h"

#include "py/call.h"
#include "py/freelist.h"
#include "task/callbacks.h"

/* -- making ---------------------------------------------------------------------------------------- */

FutureObject *
fl_future_alloc(LoopObject *loop, fl_freelist *list, PyTypeObject *type)
{
    PyObject *self = fl_freelist_take(list, type);
    if (self == NULL && (self = _PyObject_GC_New(type)) == NULL) {
        return NULL;
    }
    memset(self + 1, 0, (size_t)type->tp_basicsize - sizeof(PyObject));
    FutureObject *future = (FutureObject *)self;
    future->state = loop->state;
    future->loop = Py_NewRef(loop);
    future->native = true;
    PyObject_GC_Track(self);
    if (loop->debug && (future->source_tb = fl_extract_stack(loop->state)) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return future;
}

PyObject *
fl_future_new(LoopObject *loop)
{
    fl_state *state = loop->state;
    return (PyObject *)fl_future_alloc(loop, &state->free_futures, state->Future_type);
}

int
fl_future_check_init(FutureObject *self)
{
    if (self->loop != NULL) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, "Future object is not initialized.");
    return -1;
}

/* -- unmaking -------------------------------------------------------------------------------------- */

int
fl_future_traverse(FutureObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->result);
    Py_VISIT(self->exception_tb);
    Py_VISIT(self->cancel_msg);
    Py_VISIT(self->cancelled_exc);
    Py_VISIT(self->source_tb);
    Py_VISIT(self->dict);
    return 0;
}

/* Drop everything but the instance's dict. */
static void
future_reset(FutureObject *self)
{
    self->native = false;
    Py_CLEAR(self->loop);
    Py_CLEAR(self->callbacks);
    Py_CLEAR(self->result);
    Py_CLEAR(self->exception_tb);
    Py_CLEAR(self->cancel_msg);
    Py_CLEAR(self->cancelled_exc);
    Py_CLEAR(self->source_tb);
}

int
fl_future_clear(FutureObject *self)
{
    future_reset(self);
    Py_CLEAR(self->dict);
    return 0;
}

int
fl_future_init(FutureObject *self, PyObject *loop)
{
    fl_state *state = self->state;
    if (FL_HAS_SINGLE_INIT && self->loop != NULL) {
        PyErr_Format(PyExc_RuntimeError, "%s object is already initialized", Py_TYPE(self)->tp_name);
        return -1;
    }
    future_reset(self);
    self->status = FL_PENDING;
    self->failed = self->log_tb = self->blocking = false;
    loop = loop == NULL || loop == Py_None ? PyObject_CallNoArgs(state->get_event_loop)
                                           : Py_NewRef(loop);
    if (loop == NULL) {
        return -1;
    }
    bool native = PyObject_TypeCheck(loop, state->BaseLoop_type);
    PyObject *before = self->loop;
    self->loop = loop;
    self->native = native;
    Py_INCREF(loop);
    Py_XDECREF(before); /* may run anything, another __init__() too */
    int debug = native ? ((LoopObject *)loop)->debug : fl_loop_get_debug(state, loop);
    Py_DECREF(loop);
    if (debug <= 0) {
        return debug;
    }
    PyObject *stack = fl_extract_stack(state);
    Py_XSETREF(self->source_tb, stack);
    return stack == NULL ? -1 : 0;
}

/* The context of the "never retrieved" report. */
static PyObject *
future_unretrieved_context(FutureObject *self)
{
    fl_state *state = self->state;
    PyObject *class = PyObject_GetAttr((PyObject *)self, state->str___class__);
    PyObject *name = class == NULL ? NULL : PyObject_GetAttr(class, state->str___name__);
    PyObject *message =
        name == NULL ? NULL : PyUnicode_FromFormat("%S exception was never retrieved", name);
    Py_XDECREF(class);
    Py_XDECREF(name);
    return fl_error_context(state, message, state->str_exception, self->result, state->str_future,
                            self, state->str_source_traceback, self->source_tb, NULL);
}

void
fl_future_finalize(FutureObject *self)
{
    if (!self->log_tb || self->loop == NULL) {
        return;
    }
    self->log_tb = false;
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *context = future_unretrieved_context(self);
    if (fl_call_exception_handler(self->state, self->loop, context) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    PyErr_SetRaisedException(raised);
}

/* -- transitions ----------------------------------------------------------------------------------- */

static int
future_check_pending(FutureObject *self)
{
    if (fl_future_check_init(self) < 0) {
        return -1;
    }
    if (self->status != FL_PENDING) {
        PyErr_SetString(self->state->InvalidStateError, "invalid state");
        return -1;
    }
    return 0;
}

int
fl_future_set_result(FutureObject *self, PyObject *result)
{
    if (future_check_pending(self) < 0) {
        return -1;
    }
    self->result = Py_NewRef(result);
    self->status = FL_FINISHED;
    return fl_callbacks_schedule(self);
}

/* What asyncio stores in place of a StopIteration, whose reference is taken; older ones raise TypeError. */
static PyObject *
future_replace_stop_iteration(fl_state *state, PyObject *exception)
{
    const char *text =
        "StopIteration interacts badly with generators and cannot be raised into a Future";
    if (!state->wraps_stop_iteration) {
        Py_DECREF(exception);
        PyErr_SetString(PyExc_TypeError, text);
        return NULL;
    }
    PyObject *wrapper = PyObject_CallFunction(PyExc_RuntimeError, "s", text);
    if (wrapper != NULL) {
        PyException_SetCause(wrapper, Py_NewRef(exception));
        PyException_SetContext(wrapper, Py_NewRef(exception));
    }
    Py_DECREF(exception);
    return wrapper;
}

/* An exception that cannot travel through a generator. */
static int
future_is_stop_iteration(fl_state *state, PyObject *exception)
{
    return state->wraps_stop_iteration ? PyErr_GivenExceptionMatches(exception, PyExc_StopIteration)
                                       : Py_IS_TYPE(exception, (PyTypeObject *)PyExc_StopIteration);
}

/* An exception instance from an instance or a class, a new reference. */
static PyObject *
future_make_exception(fl_state *state, PyObject *exception)
{
    PyObject *instance =
        PyExceptionClass_Check(exception) ? PyObject_CallNoArgs(exception) : Py_NewRef(exception);
    if (instance == NULL) {
        return NULL;
    }
    if (!PyExceptionInstance_Check(instance)) {
        Py_DECREF(instance);
        PyErr_SetString(PyExc_TypeError, "invalid exception object");
        return NULL;
    }
    if (future_is_stop_iteration(state, instance)) {
        return future_replace_stop_iteration(state, instance);
    }
    return instance;
}

int
fl_future_set_exception(FutureObject *self, PyObject *exception)
{
    if (future_check_pending(self) < 0) {
        return -1;
    }
    PyObject *instance = future_make_exception(self->state, exception);
    if (instance == NULL) {
        return -1;
    }
    if (future_check_pending(self) < 0) { /* making it ran Python */
        Py_DECREF(instance);
        return -1;
    }
    self->result = instance;
    self->exception_tb = PyException_GetTraceback(instance);
    self->failed = true;
    self->status = FL_FINISHED;
    if (fl_callbacks_schedule(self) < 0) {
        return -1;
    }
    self->log_tb = true;
    return 0;
}

int
fl_future_cancel(FutureObject *self, PyObject *msg)
{
    self->log_tb = false;
    if (self->status != FL_PENDING) {
        return 0;
    }
    self->status = FL_CANCELLED;
    Py_XSETREF(self->cancel_msg, msg == Py_None ? NULL : Py_XNewRef(msg));
    return fl_callbacks_schedule(self) < 0 ? -1 : 1;
}

/* -- outcome --------------------------------------------------------------------------------------- */

PyObject *
fl_future_make_cancelled_error(FutureObject *self)
{
    if (self->cancelled_exc != NULL) {
        PyObject *exc = self->cancelled_exc;
        self->cancelled_exc = NULL;
        return exc;
    }
    return self->cancel_msg == NULL
               ? PyObject_CallNoArgs(self->state->CancelledError)
               : PyObject_CallOneArg(self->state->CancelledError, self->cancel_msg);
}

int
fl_future_outcome(FutureObject *self, PyObject **out)
{
    *out = NULL;
    if (self->loop == NULL) {
        PyErr_SetString(self->state->InvalidStateError, "Future object is not initialized.");
        return -1;
    }
    if (self->status == FL_CANCELLED) {
        *out = fl_future_make_cancelled_error(self);
        return *out == NULL ? -1 : 0;
    }
    if (self->status == FL_PENDING || self->result == NULL) {
        PyErr_SetString(self->state->InvalidStateError, "Result is not ready.");
        return -1;
    }
    self->log_tb = false;
    bool failed = self->failed;
    PyObject *outcome = Py_NewRef(self->result);
    if (failed && fl_set_traceback(outcome, self->exception_tb) < 0) {
        Py_DECREF(outcome);
        return -1;
    }
    *out = outcome;
    return !failed;
}
