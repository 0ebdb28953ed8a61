/* Loop methods that run, stop and close it, and its debug mode. */
#include "api/methods.h"

#include "loop/current.h"
#include "loop/queues.h"
#include "loop/run.h"
#include "py/args.h"
#include "py/call.h"
#include "task/future.h"

/* -- around a run ---------------------------------------------------------------------------------- */

static int
lifecycle_check_running(LoopObject *self)
{
    if (self->thread_id != 0) {
        PyErr_SetString(PyExc_RuntimeError, "This event loop is already running");
        return -1;
    }
    PyObject *running = PyObject_CallNoArgs(self->state->get_running_loop);
    if (running == NULL) {
        return -1;
    }
    bool another = running != Py_None;
    Py_DECREF(running);
    if (another) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot run the event loop while another loop is running");
        return -1;
    }
    return 0;
}

/* Record where coroutines are created.  0, or -1 with an exception. */
static int
lifecycle_begin_tracking(LoopObject *self)
{
    fl_state *state = self->state;
    PyObject *depth = PyObject_CallNoArgs(state->get_origin_depth);
    PyObject *result =
        depth == NULL ? NULL : PyObject_CallFunction(state->set_origin_depth, "i", 10);
    if (result == NULL) {
        Py_XDECREF(depth);
        return -1;
    }
    Py_DECREF(result);
    Py_XSETREF(self->saved_origin_depth, depth);
    self->origin_tracked = true;
    return 0;
}

/* Record where coroutines are created, or stop doing so. */
static int
lifecycle_track_origins(LoopObject *self, bool enabled)
{
    if (enabled == self->origin_tracked) {
        return 0;
    }
    if (enabled) {
        return lifecycle_begin_tracking(self);
    }
    PyObject *depth = self->saved_origin_depth;
    self->saved_origin_depth = NULL;
    self->origin_tracked = false;
    PyObject *result = PyObject_CallOneArg(self->state->set_origin_depth, depth);
    Py_DECREF(depth);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Hook into the creation and the end of asynchronous generators, keeping the hooks in force. */
static int
lifecycle_set_hooks(LoopObject *self)
{
    fl_state *state = self->state;
    self->saved_hooks = PyObject_CallNoArgs(state->get_asyncgen_hooks);
    if (self->saved_hooks == NULL) {
        return -1;
    }
    PyObject *first = PyObject_GetAttrString((PyObject *)self, "_asyncgen_firstiter_hook");
    PyObject *last =
        first == NULL ? NULL : PyObject_GetAttrString((PyObject *)self, "_asyncgen_finalizer_hook");
    PyObject *result =
        last == NULL ? NULL
                     : PyObject_CallFunctionObjArgs(state->set_asyncgen_hooks, first, last, NULL);
    Py_XDECREF(first);
    Py_XDECREF(last);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
lifecycle_restore_hooks(LoopObject *self)
{
    PyObject *hooks = self->saved_hooks;
    self->saved_hooks = NULL;
    if (hooks == NULL) {
        return 0;
    }
    PyObject *args = PySequence_Tuple(hooks);
    PyObject *result =
        args == NULL ? NULL : PyObject_CallObject(self->state->set_asyncgen_hooks, args);
    Py_DECREF(hooks);
    Py_XDECREF(args);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
lifecycle_set_running(LoopObject *self, PyObject *loop)
{
    PyObject *result = PyObject_CallOneArg(self->state->set_running_loop, loop);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int
lifecycle_begin_run(LoopObject *self)
{
    if (lifecycle_track_origins(self, self->debug) < 0 || lifecycle_set_hooks(self) < 0) {
        return -1;
    }
    self->thread_id = PyThread_get_thread_ident();
    return lifecycle_set_running(self, (PyObject *)self);
}

/* Keep the raised exception unless there was one before. */
static void
lifecycle_keep_first(PyObject **first)
{
    PyObject *raised = PyErr_GetRaisedException();
    if (*first == NULL) {
        *first = raised;
    }
    else {
        Py_XDECREF(raised);
    }
}

/* Undo lifecycle_begin_run(), also when it failed half-way.  The first exception is the one that stays. */
static int
lifecycle_end_run(LoopObject *self)
{
    PyObject *first = PyErr_GetRaisedException();
    if (self->published != NULL && fl_current_publish(self, NULL) < 0) {
        lifecycle_keep_first(&first);
        Py_CLEAR(self->published);
    }
    self->stopping = false;
    self->thread_id = 0;
    if (lifecycle_set_running(self, Py_None) < 0) {
        lifecycle_keep_first(&first);
    }
    if (lifecycle_track_origins(self, false) < 0) {
        lifecycle_keep_first(&first);
    }
    if (lifecycle_restore_hooks(self) < 0) {
        lifecycle_keep_first(&first);
    }
    PyErr_SetRaisedException(first);
    return first == NULL ? 0 : -1;
}

/* -- running --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(Loop_run_forever_doc,
             "run_forever($self, /)\n--\n\n"
             "Run until stop() is called.\n\n"
             "SystemExit and KeyboardInterrupt raised by a callback or a task end it at once; what\n"
             "was scheduled stays.  Raises RuntimeError if this or another loop runs in this thread.");

static PyObject *
Loop_run_forever(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    if (fl_loop_check_closed(self) < 0 || lifecycle_check_running(self) < 0) {
        return NULL;
    }
    Py_INCREF(self);
    int rc = lifecycle_begin_run(self);
    if (rc == 0) {
        rc = fl_loop_run(self);
    }
    if (lifecycle_end_run(self) < 0) {
        rc = -1;
    }
    Py_DECREF(self);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* 1 for a future of any kind, 0 for something to wrap in a task, -1 with an exception. */
static int
lifecycle_is_future(LoopObject *self, PyObject *object)
{
    if (PyCoro_CheckExact(object) || fl_future_is_exact(self->state, object)) {
        return !PyCoro_CheckExact(object);
    }
    PyObject *answer = PyObject_CallOneArg(self->state->isfuture, object);
    int truth = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return truth;
}

/* asyncio.ensure_future(object, loop=self) */
static PyObject *
lifecycle_ensure_future(LoopObject *self, PyObject *object)
{
    PyObject *kwnames = PyTuple_Pack(1, self->state->str_loop);
    if (kwnames == NULL) {
        return NULL;
    }
    PyObject *args[] = {NULL, object, (PyObject *)self};
    PyObject *future = PyObject_Vectorcall(self->state->ensure_future, args + 1,
                                           1 | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
    Py_DECREF(kwnames);
    return future;
}

/* Call a method with the raised exception put aside; what the method raises replaces it.  0 or -1. */
static int
lifecycle_call_aside(PyObject *object, PyObject *method, PyObject *argument)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *result = PyObject_CallMethodObjArgs(object, method, argument, NULL);
    Py_XDECREF(result);
    if (result == NULL) {
        Py_XDECREF(raised);
        return -1;
    }
    PyErr_SetRaisedException(raised);
    return 0;
}

/* Whether future.method() is true; -1 with an exception. */
static int
lifecycle_ask(PyObject *future, const char *method)
{
    PyObject *answer = PyObject_CallMethod(future, method, NULL);
    int truth = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return truth;
}

/* A run ended by an exception: nobody else can retrieve that of a task made here. */
static int
lifecycle_consume_exception(fl_state *state, PyObject *future)
{
    PyObject *raised = PyErr_GetRaisedException();
    int done = lifecycle_ask(future, "done");
    int cancelled = done > 0 ? lifecycle_ask(future, "cancelled") : done;
    if (cancelled < 0) {
        Py_DECREF(raised);
        return -1;
    }
    PyErr_SetRaisedException(raised);
    return done && !cancelled ? lifecycle_call_aside(future, state->str_exception, NULL) : 0;
}

/* Run until the future's done-callback stops the loop. */
static int
lifecycle_run_for(LoopObject *self, PyObject *future, bool made_here)
{
    fl_state *state = self->state;
    if (lifecycle_call_aside(future, state->str_add_done_callback, state->run_until_complete_cb) <
        0) {
        return -1;
    }
    PyObject *ran = self->overrides & FL_OVERRIDE_RUN_FOREVER
                        ? PyObject_CallMethodNoArgs((PyObject *)self, state->str_run_forever)
                        : Loop_run_forever(self, NULL);
    int rc = ran == NULL ? -1 : 0;
    Py_XDECREF(ran);
    if (rc < 0 && made_here) {
        lifecycle_consume_exception(state, future);
    }
    if (lifecycle_call_aside(future, state->str_remove_done_callback,
                             state->run_until_complete_cb) < 0) {
        return -1;
    }
    return rc;
}

static PyObject *
lifecycle_outcome(PyObject *future)
{
    int done = lifecycle_ask(future, "done");
    if (done == 0) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop stopped before Future completed.");
    }
    return done > 0 ? PyObject_CallMethod(future, "result", NULL) : NULL;
}

PyDoc_STRVAR(Loop_run_until_complete_doc,
             "run_until_complete($self, future)\n--\n\n"
             "Run until the future is done and return its result or raise its exception.\n\n"
             "A coroutine or another awaitable is wrapped in a task.  Raises RuntimeError if the loop\n"
             "was stopped before, or as run_forever().");

static PyObject *
Loop_run_until_complete(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *object =
        fl_args_one(self->state, "run_until_complete", FL_PARAM(future), args, nargs, kwnames);
    if (object == NULL || fl_loop_check_closed(self) < 0 || lifecycle_check_running(self) < 0) {
        return NULL;
    }
    int is_future = lifecycle_is_future(self, object);
    PyObject *future = is_future < 0 ? NULL : lifecycle_ensure_future(self, object);
    if (future == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    if ((is_future || PyObject_SetAttrString(future, "_log_destroy_pending", Py_False) == 0) &&
        lifecycle_run_for(self, future, !is_future) == 0) {
        result = lifecycle_outcome(future);
    }
    Py_DECREF(future);
    return result;
}

PyDoc_STRVAR(Loop_stop_doc, "stop($self, /)\n--\n\n"
                            "End run_forever() after the current turn, or after its first one.");

static PyObject *
Loop_stop(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    self->stopping = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop_is_running_doc, "is_running($self, /)\n--\n\n"
                                  "Return True while run_forever() is under way.");

static PyObject *
Loop_is_running(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->thread_id != 0);
}

/* -- closing --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(Loop_close_doc,
             "close($self, /)\n--\n\n"
             "Drop everything that is scheduled and close the loop's descriptors.\n\n"
             "Closing twice does nothing.  Raises RuntimeError if the loop is running.");

static PyObject *
Loop_close(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->debug && !self->closed && self->thread_id == 0) {
        PyObject *result = PyObject_CallMethod(self->state->logger, "debug", "sO", "Close %r", self);
        if (result == NULL) {
            return NULL;
        }
        Py_DECREF(result);
    }
    if (self->thread_id != 0 && !self->forked) { /* checked after logging, which may run anything */
        PyErr_SetString(PyExc_RuntimeError, "Cannot close a running event loop");
        return NULL;
    }
    if (!self->closed) {
        fl_queues_shut(self);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop_is_closed_doc, "is_closed($self, /)\n--\n\n"
                                 "Return True if the loop was closed.");

static PyObject *
Loop_is_closed(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->closed);
}

PyDoc_STRVAR(Loop_check_closed_doc, "_check_closed($self, /)\n--\n\n"
                                    "Raise RuntimeError if the loop was closed.");

static PyObject *
Loop_check_closed(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_loop_check_closed(self) < 0 ? NULL : Py_NewRef(Py_None);
}

/* -- debug mode ------------------------------------------------------------------------------------ */

PyDoc_STRVAR(Loop_get_debug_doc, "get_debug($self, /)\n--\n\n"
                                 "Return True in debug mode.");

static PyObject *
Loop_get_debug(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->debug);
}

PyDoc_STRVAR(Loop_set_origin_tracking_doc,
             "_set_coroutine_origin_tracking($self, enabled, /)\n--\n\n"
             "Record in this thread where coroutines are created, or stop doing so.");

static PyObject *
Loop_set_origin_tracking(LoopObject *self, PyObject *enabled)
{
    int truth = PyObject_IsTrue(enabled);
    return truth < 0 || lifecycle_track_origins(self, truth) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(
    Loop_set_debug_doc,
    "set_debug($self, enabled)\n--\n\n"
    "Switch debug mode: checks of threads and callbacks, tracebacks of origin, slow callbacks.");

static PyObject *
Loop_set_debug(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *enabled =
        fl_args_one(self->state, "set_debug", FL_PARAM(enabled), args, nargs, kwnames);
    int truth = enabled == NULL ? -1 : PyObject_IsTrue(enabled);
    if (truth < 0) {
        return NULL;
    }
    self->debug = truth;
    fl_loop_update_unchecked(self);
    if (self->thread_id == 0) {
        Py_RETURN_NONE;
    }
    PyObject *method = PyObject_GetAttrString((PyObject *)self, "_set_coroutine_origin_tracking");
    PyObject *handle =
        method == NULL
            ? NULL
            : PyObject_CallMethod((PyObject *)self, "call_soon_threadsafe", "OO", method, enabled);
    Py_XDECREF(method);
    Py_XDECREF(handle);
    return handle == NULL ? NULL : Py_NewRef(Py_None);
}

PyMethodDef fl_lifecycle_methods[] = {
    {"run_forever", (PyCFunction)Loop_run_forever, METH_NOARGS, Loop_run_forever_doc},
    {"run_until_complete", FL_FASTCALL(Loop_run_until_complete), FL_KEYWORDS,
     Loop_run_until_complete_doc},
    {"stop", (PyCFunction)Loop_stop, METH_NOARGS, Loop_stop_doc},
    {"is_running", (PyCFunction)Loop_is_running, METH_NOARGS, Loop_is_running_doc},
    {"close", (PyCFunction)Loop_close, METH_NOARGS, Loop_close_doc},
    {"is_closed", (PyCFunction)Loop_is_closed, METH_NOARGS, Loop_is_closed_doc},
    {"_check_closed", (PyCFunction)Loop_check_closed, METH_NOARGS, Loop_check_closed_doc},
    {"get_debug", (PyCFunction)Loop_get_debug, METH_NOARGS, Loop_get_debug_doc},
    {"set_debug", FL_FASTCALL(Loop_set_debug), FL_KEYWORDS, Loop_set_debug_doc},
    {"_set_coroutine_origin_tracking", (PyCFunction)Loop_set_origin_tracking, METH_O,
     Loop_set_origin_tracking_doc},
    {NULL},
};
