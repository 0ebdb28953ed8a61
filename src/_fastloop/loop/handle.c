/* Handles: making, running, cancelling, reporting.  Their Python face is in handle_type.c. */
#include "loop/handle.h"

#include "loop/current.h"
#include "loop/exit.h"
#include "py/call.h"
#include "py/freelist.h"

/* -- making and unmaking --------------------------------------------------------------------------- */

/* Timers are often kept by whoever set them, so the collector tracks them. */
static HandleObject *
handle_alloc(fl_state *state, PyTypeObject *type)
{
    bool timer = type == state->TimerHandle_type;
    fl_freelist *list = timer ? &state->free_timers : &state->free_handles;
    PyObject *self = fl_freelist_take(list, type);
    if (self == NULL) {
        self = timer ? _PyObject_GC_New(type) : _PyObject_New(type);
    }
    return (HandleObject *)self;
}

static int
handle_set_args(HandleObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    self->nargs = (int)nargs;
    for (int i = 0; i < FL_HANDLE_INLINE; i++) {
        self->args[i] = nargs <= FL_HANDLE_INLINE && i < nargs ? Py_NewRef(args[i]) : NULL;
    }
    if (nargs <= FL_HANDLE_INLINE) {
        return 0;
    }
    self->args[0] = PyTuple_New(nargs);
    if (self->args[0] == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyTuple_SET_ITEM(self->args[0], i, Py_NewRef(args[i]));
    }
    return 0;
}

HandleObject *
fl_handle_new(LoopObject *loop, PyTypeObject *type, PyObject *callback, PyObject *const *args,
              Py_ssize_t nargs, PyObject *context)
{
    HandleObject *self = handle_alloc(loop->state, type);
    if (self == NULL) {
        return NULL;
    }
    self->loop = (LoopObject *)Py_NewRef(loop);
    self->callback = Py_NewRef(callback);
    self->source_tb = self->weakrefs = NULL;
    self->when = 0.0;
    self->timer = type == loop->state->TimerHandle_type;
    self->cancelled = self->running = self->scheduled = self->watching = self->threadsafe = false;
    self->lent = self->kept = false;
    self->context = context == NULL ? PyContext_CopyCurrent() : Py_NewRef(context);
    if (handle_set_args(self, args, nargs) < 0 || self->context == NULL ||
        (loop->debug && (self->source_tb = fl_extract_stack(loop->state)) == NULL)) {
        Py_DECREF(self);
        return NULL;
    }
    if (self->timer) {
        PyObject_GC_Track(self);
    }
    return self;
}

static void
handle_drop_call(HandleObject *self)
{
    Py_CLEAR(self->callback);
    for (int i = 0; i < FL_HANDLE_INLINE; i++) {
        Py_CLEAR(self->args[i]);
    }
}

static void
handle_free(fl_state *state, HandleObject *self)
{
    if (self->timer) {
        if (!fl_freelist_give(state == NULL ? NULL : &state->free_timers, (PyObject *)self)) {
            PyObject_GC_Del(self);
        }
    }
    else if (!fl_freelist_give_plain(state == NULL ? NULL : &state->free_handles, (PyObject *)self)) {
        PyObject_Free(self);
    }
}

/* Its users have dropped it, and the ring has not: from now on the ring's reference is counted. */
static void
handle_end_loan(HandleObject *self)
{
    self->lent = self->kept = false;
    fl_revive((PyObject *)self);
}

/* Free it.  Not a part of the deallocator, whose short way is the common one. */
static void
handle_destroy(HandleObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    LoopObject *loop = self->loop;
    if (self->timer) {
        PyObject_GC_UnTrack(self);
    }
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    handle_drop_call(self);
    Py_XDECREF(self->context);
    Py_XDECREF(self->source_tb);
    handle_free(loop != NULL ? loop->state : fl_state_by_type(type), self);
    Py_XDECREF(loop);
    Py_DECREF(type);
}

void
fl_handle_dealloc(HandleObject *self)
{
    if (self->lent) {
        handle_end_loan(self);
    }
    else {
        handle_destroy(self);
    }
}

int
fl_handle_traverse(HandleObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->context);
    Py_VISIT(self->callback);
    for (int i = 0; i < FL_HANDLE_INLINE; i++) {
        Py_VISIT(self->args[i]);
    }
    Py_VISIT(self->source_tb);
    return 0;
}

int
fl_handle_clear(HandleObject *self)
{
    handle_drop_call(self);
    Py_CLEAR(self->context);
    Py_CLEAR(self->source_tb);
    return 0;
}

/* Whether somebody besides queues may have a reference: a weak reference can become one at any time. */
static bool
handle_may_be_kept(HandleObject *self)
{
    return self->kept || self->weakrefs != NULL;
}

int
fl_handle_visit_watching(PyObject *object, visitproc visit, void *arg)
{
    HandleObject *self = (HandleObject *)object;
    return handle_may_be_kept(self) ? 0 : fl_handle_traverse(self, visit, arg);
}

int
fl_handle_visit_queued(PyObject *object, visitproc visit, void *arg)
{
    HandleObject *self = (HandleObject *)object;
    if (self->timer) {
        return visit(object, arg);
    }
    /* One that watches was visited in the watch table; twice would be once too often. */
    return self->watching ? 0 : fl_handle_visit_watching(object, visit, arg);
}

/* -- owners ---------------------------------------------------------------------------------------- */

PyObject *
fl_handle_hand_out(PyObject *object)
{
    if (object == NULL) {
        Py_RETURN_NONE;
    }
    ((HandleObject *)object)->kept = true;
    return Py_NewRef(object);
}

/* -- letting go ------------------------------------------------------------------------------------ */

/* The repr() in debug mode, or NULL; an exception that is on its way stays. */
static PyObject *
handle_remains_debug(HandleObject *self)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *text = PyObject_Repr((PyObject *)self);
    if (text == NULL) {
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(self));
    }
    PyErr_SetRaisedException(raised);
    return text;
}

/* What remains of a call for repr() to show, and cannot be part of a cycle: in debug mode the whole text,
   else the code of a Python function or method, or NULL. */
static PyObject *
handle_remains(HandleObject *self)
{
    if (self->loop != NULL && self->loop->debug) {
        return handle_remains_debug(self);
    }
    PyObject *function = self->callback;
    if (self->cancelled || function == NULL) {
        return NULL;
    }
    if (PyMethod_Check(function)) {
        function = PyMethod_GET_FUNCTION(function);
    }
    return PyFunction_Check(function) ? Py_NewRef(PyFunction_GET_CODE(function)) : NULL;
}

/* Drop callback and arguments for good. */
static void
handle_forget_call(HandleObject *self)
{
    PyObject *remains = handle_remains(self);
    handle_drop_call(self);
    self->args[0] = remains;
}

/* The handle will not run any more but somebody keeps it: it must not be part of a cycle, which the collector
   could not see. */
static void
handle_retire(HandleObject *self)
{
    if (self->callback != NULL) {
        handle_forget_call(self);
    }
    LoopObject *loop = self->loop;
    self->loop = NULL;
    Py_CLEAR(self->context);
    Py_XDECREF(loop);
}

/* Nothing that a queue or a run does concerns it any more. */
static bool
handle_is_over(HandleObject *self)
{
    return self->loop != NULL && !self->running && (self->cancelled || !self->watching) &&
           (PyObject *)self != self->loop->current_handle;
}

void
fl_handle_release(HandleObject *self)
{
    if (handle_may_be_kept(self) && handle_is_over(self)) {
        handle_retire(self);
    }
    if (self->lent) { /* looked at last: retiring runs anything */
        self->lent = false;
    }
    else {
        Py_DECREF(self);
    }
}

void
fl_handle_cancel(HandleObject *self)
{
    if (self->cancelled) {
        return;
    }
    self->cancelled = true;
    if (self->running) {
        return; /* callback and arguments go when they are not needed any more */
    }
    if (!self->scheduled) {
        handle_retire(self);
        return;
    }
    self->loop->timers_cancelled++;
    handle_forget_call(self);
}

/* -- running --------------------------------------------------------------------------------------- */

int
fl_run_in_context(PyObject *context, PyObject *callback, PyObject *const *args, size_t nargsf)
{
    if (PyContext_Enter(context) < 0) {
        return -1;
    }
    PyObject *result = PyObject_Vectorcall(callback, args, nargsf, NULL);
    Py_XDECREF(result);
    int exited = PyContext_Exit(context);
    return result == NULL || exited < 0 ? -1 : 0;
}

static int
handle_call(HandleObject *self)
{
    bool inlined = self->nargs <= FL_HANDLE_INLINE;
    PyObject *const *args = inlined ? self->args : &PyTuple_GET_ITEM(self->args[0], 0);
    return fl_run_in_context(self->context, self->callback, args, (size_t)self->nargs);
}

/* A thread that waits for a run to end, on that thread's stack. */
struct fl_waiter {
    PyThread_type_lock lock; /* taken; whoever ends the run gives it back */
    fl_waiter *next;
};

void
fl_handle_wait_for_run(HandleObject *self)
{
    bool busy = self->threadsafe && self->running;
    if (!busy || self->runner == PyThread_get_thread_ident()) {
        return;
    }
    fl_waiter waiter = {.lock = PyThread_allocate_lock(), .next = self->waiters};
    if (waiter.lock == NULL) {
        return; /* no memory: do not wait */
    }
    PyThread_acquire_lock(waiter.lock, WAIT_LOCK);
    self->waiters = &waiter;
    Py_BEGIN_ALLOW_THREADS
    PyThread_acquire_lock(waiter.lock, WAIT_LOCK);
    Py_END_ALLOW_THREADS
    PyThread_free_lock(waiter.lock);
}

/* Let the threads go on that wait for the end of the run. */
static void
handle_end_run(HandleObject *self)
{
    fl_waiter *waiter = self->waiters;
    self->waiters = NULL;
    while (waiter != NULL) {
        fl_waiter *next = waiter->next;
        PyThread_release_lock(waiter->lock);
        waiter = next;
    }
}

void
fl_handle_run(HandleObject *self)
{
    if (self->callback == NULL) { /* _run() of a handle that was cancelled or has run */
        return;
    }
    bool nested = self->running;
    self->running = true;
    self->runner = self->threadsafe ? PyThread_get_thread_ident() : 0;
    if (handle_call(self) < 0) {
        fl_handle_report(self->loop, self);
    }
    self->running = nested;
    if (self->threadsafe && !nested) {
        handle_end_run(self);
    }
    if (self->cancelled && !nested) {
        handle_forget_call(self);
    }
}

void
fl_handle_run_ready(LoopObject *loop, PyObject *item)
{
    HandleObject *self = (HandleObject *)item;
    if (!self->cancelled && fl_current_publish(loop, NULL) < 0) {
        fl_handle_report(loop, self);
    }
    else if (!self->cancelled) {
        fl_handle_run(self);
    }
    fl_handle_release(self);
}

/* -- reporting ------------------------------------------------------------------------------------- */

PyObject *
fl_handle_args(HandleObject *self)
{
    if (self->nargs > FL_HANDLE_INLINE && self->callback != NULL) {
        return Py_NewRef(self->args[0]);
    }
    Py_ssize_t n = self->callback == NULL ? 0 : self->nargs;
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple != NULL && i < n; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(self->args[i]));
    }
    return tuple;
}

PyObject *
fl_handle_describe_call(HandleObject *self)
{
    fl_state *state = self->loop->state;
    PyObject *args = fl_handle_args(self);
    if (args == NULL) {
        return NULL;
    }
    PyObject *callback = self->callback == NULL ? Py_None : self->callback;
    PyObject *text = NULL;
#if FL_HAS_FORMAT_DEBUG
    PyObject *kwnames = PyTuple_Pack(1, state->str_debug);
    if (kwnames != NULL) {
        PyObject *stack[] = {callback, args, self->loop->debug ? Py_True : Py_False};
        text = PyObject_Vectorcall(state->format_callback_source, stack, 2, kwnames);
        Py_DECREF(kwnames);
    }
#else
    text = PyObject_CallFunctionObjArgs(state->format_callback_source, callback, args, NULL);
#endif
    Py_DECREF(args);
    return text;
}

/* What the exception handler gets, a new reference or NULL: the handle, or of one that goes on watching a copy, since
   nobody could tell when the handler's is dropped. */
static PyObject *
handle_to_show(HandleObject *self)
{
    if (!self->watching || self->callback == NULL) {
        return fl_handle_hand_out((PyObject *)self);
    }
    PyObject *args = fl_handle_args(self);
    HandleObject *copy = args == NULL ? NULL
                                      : fl_handle_new(self->loop, Py_TYPE(self), self->callback,
                                                      &PyTuple_GET_ITEM(args, 0),
                                                      PyTuple_GET_SIZE(args), self->context);
    Py_XDECREF(args);
    if (copy != NULL) {
        Py_XSETREF(copy->source_tb, Py_XNewRef(self->source_tb));
    }
    return (PyObject *)copy;
}

void
fl_handle_report(LoopObject *loop, HandleObject *self)
{
    if (fl_exit_if_asked(loop)) {
        return;
    }
    fl_state *state = loop->state;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *shown = handle_to_show(self);
    if (shown == NULL) {
        PyErr_Clear(); /* better to tell of the exception without the handle than not at all */
    }
    PyObject *call = fl_handle_describe_call(self);
    PyObject *message = call == NULL ? NULL : PyUnicode_FromFormat("Exception in callback %U", call);
    Py_XDECREF(call);
    PyObject *context =
        fl_error_context(state, message, state->str_exception, exc, state->str_handle, shown,
                         state->str_source_traceback, self->source_tb, NULL);
    fl_exit_report(loop, context, exc);
    if (shown != NULL && shown != (PyObject *)self) {
        fl_handle_release((HandleObject *)shown);
    }
    else {
        Py_XDECREF(shown);
    }
    Py_DECREF(exc);
}
