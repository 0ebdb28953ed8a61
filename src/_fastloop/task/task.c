/* Task: making and unmaking.  Steps are in step.c, the Python face in task_type.c. */
#include "task/task.h"

#include "py/args.h"
#include "py/call.h"
#include "task/registry.h"
#include "task/step.h"

/* -- making ---------------------------------------------------------------------------------------- */

/* 0 when coro is a coroutine as asyncio sees it, else -1 with a TypeError or another exception. */
static int
task_check_coroutine(fl_state *state, PyObject *coro)
{
    if (PyCoro_CheckExact(coro)) {
        return 0;
    }
    PyObject *answer = PyObject_CallOneArg(state->iscoroutine, coro);
    int truth = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    if (truth == 0) {
        PyErr_Format(PyExc_TypeError, "a coroutine was expected, got %R", coro);
    }
    return truth > 0 ? 0 : -1;
}

static int
task_set_name(TaskObject *self, PyObject *name)
{
    PyObject *text = NULL;
    if (fl_arg_given(name) && (text = PyObject_Str(name)) == NULL) {
        return -1;
    }
    Py_XSETREF(self->name, text);
    return 0;
}

/* The context to run in, a new reference; NULL with an exception. */
static PyObject *
task_make_context(PyObject *context)
{
    if (!fl_arg_given(context)) {
        return PyContext_CopyCurrent();
    }
    if (FL_HAS_CONTEXT_CHECK && !PyContext_CheckExact(context)) {
        PyErr_Format(PyExc_TypeError, "a contextvars.Context was expected, got %s",
                     Py_TYPE(context)->tp_name);
        return NULL;
    }
    return Py_NewRef(context);
}

int
fl_task_start(TaskObject *self, PyObject *coro, PyObject *name, PyObject *context, bool eager)
{
    if (task_check_coroutine(self->state, coro) < 0) {
        return -1; /* log_destroy_pending is still false: such a task is not missed */
    }
    self->log_destroy_pending = true;
    PyObject *owned = task_make_context(context);
    if (owned == NULL || task_set_name(self, name) < 0) {
        Py_XDECREF(owned);
        return -1;
    }
    Py_XSETREF(self->context, owned);
    Py_XSETREF(self->coro, Py_NewRef(coro));
    self->serial = ++self->state->tasks_created;
    if (fl_future_check_init(&self->future) < 0) { /* str(name) may have run __init__ again */
        return -1;
    }
    if (eager) {
        return fl_task_eager_start(self);
    }
    return fl_task_schedule_step(self) < 0 ? -1 : fl_registry_add(self);
}

PyObject *
fl_task_new(LoopObject *loop, PyObject *coro, PyObject *name, PyObject *context, bool eager_start)
{
    fl_state *state = loop->state;
    TaskObject *self = (TaskObject *)fl_future_alloc(loop, &state->free_tasks, state->Task_type);
    if (self != NULL &&
        fl_task_start(self, coro, name, context, eager_start && loop->thread_id != 0) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

void
fl_task_reset(TaskObject *self)
{
    fl_registry_remove(self);
    Py_CLEAR(self->fut_waiter);
    Py_CLEAR(self->throw_next);
    self->num_cancels = 0;
    self->must_cancel = self->log_destroy_pending = false;
}

/* -- unmaking -------------------------------------------------------------------------------------- */

int
fl_task_traverse(TaskObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->coro);
    Py_VISIT(self->context);
    Py_VISIT(self->name);
    Py_VISIT(self->fut_waiter);
    Py_VISIT(self->throw_next);
    return fl_future_traverse(&self->future, visit, arg);
}

int
fl_task_clear(TaskObject *self)
{
    fl_registry_remove(self);
    Py_CLEAR(self->coro);
    Py_CLEAR(self->context);
    Py_CLEAR(self->name);
    Py_CLEAR(self->fut_waiter);
    Py_CLEAR(self->throw_next);
    return fl_future_clear(&self->future);
}

static PyObject *
task_destroyed_context(TaskObject *self)
{
    fl_state *state = self->state;
    PyObject *message = PyUnicode_FromString("Task was destroyed but it is pending!");
    return fl_error_context(state, message, state->str_task, self, state->str_source_traceback,
                            self->source_tb, NULL);
}

bool
fl_task_is_missed(TaskObject *self)
{
    return self->status == FL_PENDING && self->log_destroy_pending && self->loop != NULL;
}

void
fl_task_finalize(TaskObject *self)
{
    if (fl_task_is_missed(self)) {
        PyObject *raised = PyErr_GetRaisedException();
        PyObject *context = task_destroyed_context(self);
        if (fl_call_exception_handler(self->state, self->loop, context) < 0) {
            PyErr_WriteUnraisable((PyObject *)self);
        }
        PyErr_SetRaisedException(raised);
    }
    fl_future_finalize(&self->future);
}

/* -- looking ---------------------------------------------------------------------------------------- */

PyObject *
fl_task_get_name(TaskObject *self)
{
    if (self->name == NULL) {
        self->name = PyUnicode_FromFormat("Task-%llu", (unsigned long long)self->serial);
    }
    return Py_XNewRef(self->name);
}
