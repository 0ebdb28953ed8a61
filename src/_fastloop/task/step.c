/* Driving a coroutine: one step of a Task, from the ready ring to whatever it awaits next. */
#include "task/step.h"

#include "loop/current.h"
#include "loop/exit.h"
#include "loop/handle.h"
#include "py/call.h"
#include "task/callbacks.h"
#include "task/foreign.h"
#include "task/registry.h"

/* -- scheduling ------------------------------------------------------------------------------------ */

int
fl_task_schedule_step(TaskObject *self)
{
    LoopObject *loop = fl_future_unchecked_loop(&self->future);
    if (loop != NULL) {
        return fl_loop_push(loop, Py_NewRef(self), FL_READY_STEP);
    }
    PyObject *step = self->state->foreign->step_method(self);
    if (step == NULL) {
        return -1;
    }
    PyObject *owner = Py_NewRef(self->loop), *context = Py_NewRef(self->context);
    int rc = fl_call_soon_method(self->state, owner, step, NULL, context);
    Py_DECREF(step);
    Py_DECREF(owner);
    Py_DECREF(context);
    return rc;
}

int
fl_task_throw_later(TaskObject *self)
{
    Py_XSETREF(self->throw_next, PyErr_GetRaisedException());
    return fl_task_schedule_step(self);
}

/* -- the coroutine has ended ----------------------------------------------------------------------- */

/* Complete the task with its own Future methods, which a subclass cannot intercept. */
static int
task_returned(TaskObject *self, PyObject *result)
{
    fl_registry_remove(self);
    if (!self->must_cancel) {
        return fl_future_set_result(&self->future, result);
    }
    self->must_cancel = false; /* cancelled while it was about to return */
    PyObject *msg = Py_XNewRef(self->cancel_msg);
    int rc = fl_future_cancel(&self->future, msg);
    Py_XDECREF(msg);
    return rc < 0 ? -1 : 0;
}

static int
task_was_cancelled(TaskObject *self)
{
    Py_XSETREF(self->cancelled_exc, PyErr_GetRaisedException());
    return fl_future_cancel(&self->future, NULL) < 0 ? -1 : 0;
}

/* The raised exception ended the coroutine.  SystemExit and KeyboardInterrupt are stored and go on. */
static int
task_raised(TaskObject *self)
{
    fl_registry_remove(self);
    if (!PyErr_Occurred()) { /* seen of CPython 3.13 out of memory */
        PyErr_SetString(PyExc_SystemError, "the coroutine failed without an exception");
    }
    if (PyErr_ExceptionMatches(self->state->CancelledError)) {
        return task_was_cancelled(self);
    }
    bool asks_for_exit = fl_exit_is_asked();
    PyObject *exc = PyErr_GetRaisedException();
    int rc = fl_future_set_exception(&self->future, exc);
    if (rc == 0 && asks_for_exit) {
        PyErr_SetRaisedException(exc);
        return -1;
    }
    Py_DECREF(exc);
    return rc;
}

/* -- the coroutine has yielded --------------------------------------------------------------------- */

/* Wait for what it yielded, whose reference is taken; a pending cancellation goes there at once. */
static int
task_wait_for(TaskObject *self, PyObject *waiter)
{
    Py_XSETREF(self->fut_waiter, waiter);
    if (!self->must_cancel) {
        return 0;
    }
    PyObject *msg = Py_XNewRef(self->cancel_msg);
    Py_INCREF(waiter);
    int cancelled = fl_future_cancel_any(self->state, waiter, msg);
    Py_DECREF(waiter);
    Py_XDECREF(msg);
    if (cancelled > 0) {
        self->must_cancel = false;
    }
    return cancelled < 0 ? -1 : 0;
}

static PyObject *
task_waiter_entry(TaskObject *self)
{
    if (self->native) {
        return Py_NewRef(self);
    }
    PyObject *wakeup = self->state->foreign->wakeup_method(self);
    PyObject *entry = wakeup == NULL ? NULL : fl_callbacks_entry(wakeup, self->context);
    Py_XDECREF(wakeup);
    return entry;
}

/* It yielded exactly one of our Futures or Tasks. */
static int
task_yielded_ours(TaskObject *self, PyObject *object)
{
    FutureObject *future = (FutureObject *)object;
    if (object == (PyObject *)self) {
        PyErr_Format(PyExc_RuntimeError, "Task cannot await on itself: %R", self);
    }
    else if (future->loop != self->loop) {
        PyErr_Format(PyExc_RuntimeError, "Task %R got Future %R attached to a different loop", self,
                     object);
    }
    else if (!future->blocking) {
        PyErr_Format(PyExc_RuntimeError, "yield was used instead of yield from in task %R with %R",
                     self, object);
    }
    else {
        future->blocking = false;
        if (fl_callbacks_add(future, task_waiter_entry(self)) == 0) {
            return task_wait_for(self, object);
        }
    }
    Py_DECREF(object);
    return fl_task_throw_later(self);
}

/* It yielded something that none of our types is, whose reference is taken. */
static int
task_yielded_foreign(TaskObject *self, PyObject *object)
{
    int awaited = self->state->foreign->await(self, object);
    if (awaited > 0) {
        return task_wait_for(self, object);
    }
    Py_DECREF(object);
    return awaited == 0 ? fl_task_throw_later(self) : -1;
}

/* Act on what the coroutine yielded, whose reference is taken. */
static int
task_yielded(TaskObject *self, PyObject *object)
{
    if (fl_future_is_exact(self->state, object)) {
        return task_yielded_ours(self, object);
    }
    if (object == Py_None) { /* a bare yield: let the others run once */
        Py_DECREF(object);
        return fl_task_schedule_step(self);
    }
    return task_yielded_foreign(self, object);
}

/* -- a step ---------------------------------------------------------------------------------------- */

static PySendResult
coro_throw(fl_state *state, PyObject *coro, PyObject *exc, PyObject **result)
{
    *result = PyObject_CallMethodOneArg(coro, state->str_throw, exc);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    *result = fl_take_stop_iteration();
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

int
fl_task_resume(TaskObject *self, PyObject *exc)
{
    PyObject *coro = Py_NewRef(self->coro);
    PyObject *result;
    PySendResult sent = exc == NULL ? PyIter_Send(coro, Py_None, &result)
                                    : coro_throw(self->state, coro, exc, &result);
    Py_XDECREF(exc);
    Py_DECREF(coro);
    if (sent == PYGEN_NEXT) {
        return task_yielded(self, result);
    }
    if (sent == PYGEN_ERROR) {
        return task_raised(self);
    }
    int rc = task_returned(self, result);
    Py_DECREF(result);
    return rc;
}

/* A pending cancellation replaces whatever else would be thrown.  exc is taken; 0 or -1. */
static int
task_apply_must_cancel(TaskObject *self, PyObject **exc)
{
    if (!self->must_cancel) {
        return 0;
    }
    self->must_cancel = false;
    if (*exc != NULL && PyErr_GivenExceptionMatches(*exc, self->state->CancelledError)) {
        return 0;
    }
    Py_XSETREF(*exc, fl_future_make_cancelled_error(&self->future));
    return *exc == NULL ? -1 : 0;
}

int
fl_task_begin_step(TaskObject *self, PyObject **exc)
{
    if (self->status != FL_PENDING) {
        PyErr_Format(self->state->InvalidStateError, "__step(): already done: %R %R", self,
                     *exc == NULL ? Py_None : *exc);
        return -1;
    }
    if (task_apply_must_cancel(self, exc) < 0) {
        return -1;
    }
    Py_CLEAR(self->fut_waiter);
    return 0;
}

/* One step on one of our loops.  exc is taken.  0, or -1 with an exception that is not the coroutine's, or
   is SystemExit or KeyboardInterrupt. */
static int
task_step(LoopObject *loop, TaskObject *self, PyObject *exc)
{
    if (fl_task_begin_step(self, &exc) < 0 || fl_current_publish(loop, (PyObject *)self) < 0 ||
        PyContext_Enter(self->context) < 0) {
        Py_XDECREF(exc);
        return -1;
    }
    PyObject *context = Py_NewRef(self->context);
    int rc = fl_task_resume(self, exc);
    if (PyContext_Exit(context) < 0) {
        rc = -1;
    }
    Py_DECREF(context);
    return rc;
}

PyObject *
fl_task_waiter_exception(fl_state *state, PyObject *future)
{
    if (!fl_future_is_exact(state, future)) {
        PyObject *result = PyObject_CallMethodNoArgs(future, state->str_result);
        Py_XDECREF(result);
        return result == NULL ? PyErr_GetRaisedException() : NULL;
    }
    PyObject *outcome;
    Py_INCREF(future);
    int rc = fl_future_outcome((FutureObject *)future, &outcome);
    Py_DECREF(future);
    if (rc == 1) {
        Py_CLEAR(outcome);
    }
    return rc < 0 ? PyErr_GetRaisedException() : outcome;
}

/* -- entry points ---------------------------------------------------------------------------------- */

/* A step failed with an exception that is not the coroutine's: report it as asyncio would, as raised by
   the callback `method` of a handle. */
static void
task_report(LoopObject *loop, TaskObject *self, PyObject *(*bind)(TaskObject *))
{
    if (fl_exit_if_asked(loop)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *method = bind(self);
    HandleObject *handle = method == NULL ? NULL
                                          : fl_handle_new(loop, self->state->Handle_type, method,
                                                          NULL, 0, self->context);
    Py_XDECREF(method);
    if (handle == NULL) {
        Py_DECREF(exc);
        fl_exit_with_raised(loop);
        return;
    }
    PyErr_SetRaisedException(exc);
    fl_handle_report(loop, handle);
    fl_handle_release(handle);
}

/* The work of a FL_READY_STEP word. */
static void
step_run_ready(LoopObject *loop, PyObject *item)
{
    TaskObject *self = (TaskObject *)item;
    PyObject *exc = self->throw_next;
    self->throw_next = NULL;
    if (task_step(loop, self, exc) < 0) {
        task_report(loop, self, self->state->foreign->step_method);
    }
    Py_DECREF(item);
}

/* The work of a FL_READY_WAKE word. */
static void
wake_run_ready(LoopObject *loop, PyObject *item)
{
    TaskObject *self = (TaskObject *)item;
    PyObject *exc =
        self->fut_waiter == NULL ? NULL : fl_task_waiter_exception(self->state, self->fut_waiter);
    if (task_step(loop, self, exc) < 0) {
        task_report(loop, self, self->state->foreign->wakeup_method);
    }
    Py_DECREF(item);
}

/* -- starting at once ------------------------------------------------------------------------------ */

static int
task_first_step(TaskObject *self)
{
    PyObject *context = Py_NewRef(self->context);
    int rc = PyContext_Enter(context);
    if (rc == 0) {
        rc = fl_task_resume(self, NULL);
        rc = PyContext_Exit(context) < 0 ? -1 : rc;
    }
    Py_DECREF(context);
    return rc;
}

int
fl_task_eager_start(TaskObject *self)
{
    PyObject *loop = self->loop, *previous;
    if (fl_registry_add(self) < 0 ||
        fl_current_swap(self->state, loop, (PyObject *)self, &previous) < 0) {
        return -1;
    }
    Py_INCREF(loop);
    int rc = task_first_step(self);
    PyObject *raised = PyErr_GetRaisedException();
    int restored = fl_current_swap(self->state, loop, previous, NULL);
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
    }
    Py_XDECREF(previous);
    Py_DECREF(loop);
    if (self->status != FL_PENDING) {
        Py_CLEAR(self->coro);
    }
    return restored < 0 ? -1 : rc;
}

/* -- descriptors ----------------------------------------------------------------------------------- */

/* A descriptor is ready for which this Future waits. */
static int
future_complete_waiter(PyObject *object)
{
    FutureObject *future = (FutureObject *)object;
    return future->status == FL_PENDING ? fl_future_set_result(future, Py_None) : 0;
}

void
fl_step_setup(fl_state *state)
{
    state->run_ready[FL_READY_STEP] = step_run_ready;
    state->run_ready[FL_READY_WAKE] = wake_run_ready;
    state->complete_waiter = future_complete_waiter;
}
