/* The Python face of Task: constructor, cancellation, methods, attributes.  Steps are in step.c. */
#include "task/task.h"

#include "py/args.h"
#include "py/call.h"
#include "py/types.h"
#include "task/future_type.h"
#include "task/registry.h"

#include <structmember.h>

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

/* Fill in the fields of a task whose Future part is ready, and start it.  0, or -1 with an exception. */
static int
task_start(TaskObject *self, PyObject *coro, PyObject *name, PyObject *context, bool eager)
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
    if (fl_future_check_init((FutureObject *)self) < 0) { /* str(name) may have run __init__ again */
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
        task_start(self, coro, name, context, eager_start && loop->thread_id != 0) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* Whether eager_start was asked for and the loop runs; -1 on error. */
static int
task_wants_eager(TaskObject *self, PyObject *eager_start)
{
    int wanted = eager_start == NULL ? 0 : PyObject_IsTrue(eager_start);
    if (wanted <= 0) {
        return wanted;
    }
    PyObject *running = PyObject_CallMethodNoArgs(self->loop, self->state->str_is_running);
    int truth = running == NULL ? -1 : PyObject_IsTrue(running);
    Py_XDECREF(running);
    return truth;
}

static void
task_reset(TaskObject *self)
{
    fl_registry_remove(self);
    Py_CLEAR(self->fut_waiter);
    Py_CLEAR(self->throw_next);
    self->num_cancels = 0;
    self->must_cancel = self->log_destroy_pending = false;
}

static int
Task_init(TaskObject *self, PyObject *args, PyObject *kwargs)
{
    static const fl_signature signature = {
        "Task",
        1,
        1,
        FL_HAS_EAGER_START ? 5 : 4,
        {FL_PARAM(coro), FL_PARAM(loop), FL_PARAM(name), FL_PARAM(context), FL_PARAM(eager_start)},
    };
    PyObject *given[5] = {NULL};
    if (fl_args_bind_tuple(self->state, &signature, args, kwargs, given) < 0) {
        return -1;
    }
    if (self->loop == NULL || !FL_HAS_SINGLE_INIT) {
        task_reset(self); /* before the loop, in whose list it stands, may go */
    }
    if (fl_future_init((FutureObject *)self, given[1]) < 0) {
        return -1;
    }
    int eager = task_wants_eager(self, given[4]);
    return eager < 0 ? -1 : task_start(self, given[0], given[2], given[3], eager);
}

/* -- unmaking -------------------------------------------------------------------------------------- */

static int
Task_traverse(TaskObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->coro);
    Py_VISIT(self->context);
    Py_VISIT(self->name);
    Py_VISIT(self->fut_waiter);
    Py_VISIT(self->throw_next);
    return fl_future_traverse((FutureObject *)self, visit, arg);
}

static int
Task_clear(TaskObject *self)
{
    fl_registry_remove(self);
    Py_CLEAR(self->coro);
    Py_CLEAR(self->context);
    Py_CLEAR(self->name);
    Py_CLEAR(self->fut_waiter);
    Py_CLEAR(self->throw_next);
    return fl_future_clear((FutureObject *)self);
}

static PyObject *
task_destroyed_context(TaskObject *self)
{
    fl_state *state = self->state;
    PyObject *message = PyUnicode_FromString("Task was destroyed but it is pending!");
    return fl_error_context(state, message, state->str_task, self, state->str_source_traceback,
                            self->source_tb, NULL);
}

static bool
task_is_missed(TaskObject *self)
{
    return self->status == FL_PENDING && self->log_destroy_pending && self->loop != NULL;
}

static void
Task_finalize(TaskObject *self)
{
    if (task_is_missed(self)) {
        PyObject *raised = PyErr_GetRaisedException();
        PyObject *context = task_destroyed_context(self);
        if (fl_call_exception_handler(self->state, self->loop, context) < 0) {
            PyErr_WriteUnraisable((PyObject *)self);
        }
        PyErr_SetRaisedException(raised);
    }
    fl_future_finalize((FutureObject *)self);
}

static void
Task_dealloc(TaskObject *self)
{
    /* A subclass's finalizer was run by its own deallocator. */
    if ((self->log_tb || task_is_missed(self)) && Py_IS_TYPE(self, self->state->Task_type) &&
        PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    fl_registry_remove(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Task_dealloc)
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    Task_clear(self);
    fl_future_free((FutureObject *)self, self->state->Task_type, &self->state->free_tasks);
    Py_TRASHCAN_END
}

/* -- cancelling ------------------------------------------------------------------------------------ */

int
fl_task_cancel(TaskObject *self, PyObject *msg)
{
    self->log_tb = false;
    if (self->status != FL_PENDING) {
        return 0;
    }
    self->num_cancels++;
    if (self->fut_waiter != NULL) {
        if (Py_EnterRecursiveCall(" while cancelling a chain of tasks")) {
            return -1;
        }
        PyObject *waiter = Py_NewRef(self->fut_waiter);
        int cancelled = fl_future_cancel_any(self->state, waiter, msg);
        Py_DECREF(waiter);
        Py_LeaveRecursiveCall();
        if (cancelled != 0) {
            return cancelled;
        }
    }
    self->must_cancel = true;
    Py_XSETREF(self->cancel_msg, msg == Py_None ? NULL : Py_XNewRef(msg));
    return 1;
}

PyDoc_STRVAR(Task_cancel_doc,
             "cancel($self, /, msg=None)\n--\n\n"
             "Ask the task to end: CancelledError(msg) is thrown into its coroutine at the next turn.\n\n"
             "The coroutine may catch it, so that the task goes on.  Returns False if the task was\n"
             "done.");

static PyObject *
Task_cancel(TaskObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"cancel", 0, 1, 1, {FL_PARAM(msg)}};
    PyObject *msg;
    if (fl_args_bind(self->state, &signature, args, nargs, kwnames, &msg) < 0 ||
        fl_future_check_init((FutureObject *)self) < 0) {
        return NULL;
    }
    int cancelled = fl_task_cancel(self, msg);
    return cancelled < 0 ? NULL : PyBool_FromLong(cancelled);
}

PyDoc_STRVAR(Task_cancelling_doc,
             "cancelling($self, /)\n--\n\n"
             "Return the number of cancel() calls not taken back by uncancel().");

static PyObject *
Task_cancelling(TaskObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(self->num_cancels);
}

PyDoc_STRVAR(Task_uncancel_doc,
             "uncancel($self, /)\n--\n\n"
             "Take back one cancel() and return the number of those that remain.\n\n"
             "From Python 3.13 on, the last one also takes back a cancellation not yet delivered.");

static PyObject *
Task_uncancel(TaskObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->num_cancels > 0) {
        self->num_cancels--;
        if (FL_HAS_UNCANCEL_CLEARS && self->num_cancels == 0) {
            self->must_cancel = false;
        }
    }
    return PyLong_FromLong(self->num_cancels);
}

/* -- methods --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(Task_set_result_doc, "set_result($self, result, /)\n--\n\n"
                                  "Raise RuntimeError: a task's result is its coroutine's.");

static PyObject *
Task_set_result(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(result))
{
    PyErr_SetString(PyExc_RuntimeError, "Task does not support set_result operation");
    return NULL;
}

PyDoc_STRVAR(Task_set_exception_doc, "set_exception($self, exception, /)\n--\n\n"
                                     "Raise RuntimeError: a task's exception is its coroutine's.");

static PyObject *
Task_set_exception(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(exception))
{
    PyErr_SetString(PyExc_RuntimeError, "Task does not support set_exception operation");
    return NULL;
}

PyDoc_STRVAR(Task_get_coro_doc, "get_coro($self, /)\n--\n\n"
                                "Return the coroutine; None if an eager start completed the task.");

static PyObject *
Task_get_coro(TaskObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_or_none(self->coro);
}

PyDoc_STRVAR(Task_get_context_doc, "get_context($self, /)\n--\n\n"
                                   "Return the contextvars.Context in which the coroutine runs.");

static PyObject *
Task_get_context(TaskObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_or_none(self->context);
}

PyObject *
fl_task_get_name(TaskObject *self)
{
    if (self->name == NULL) {
        self->name = PyUnicode_FromFormat("Task-%llu", (unsigned long long)self->serial);
    }
    return Py_XNewRef(self->name);
}

PyDoc_STRVAR(Task_get_name_doc, "get_name($self, /)\n--\n\n"
                                "Return the task's name, a str.");

static PyObject *
Task_get_name(TaskObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_task_get_name(self);
}

PyDoc_STRVAR(Task_set_name_doc, "set_name($self, value, /)\n--\n\n"
                                "Name the task str(value).");

static PyObject *
Task_set_name(TaskObject *self, PyObject *value)
{
    PyObject *text = PyObject_Str(value);
    if (text == NULL) {
        return NULL;
    }
    Py_XSETREF(self->name, text);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Task_get_stack_doc,
             "get_stack($self, /, *, limit=None)\n--\n\n"
             "Return the frames of the coroutine where it is suspended, or of its traceback if it\n"
             "failed, oldest first and at most limit.");

static PyObject *
Task_get_stack(TaskObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"get_stack", 0, 0, 1, {FL_PARAM(limit)}};
    PyObject *limit;
    if (fl_args_bind(self->state, &signature, args, nargs, kwnames, &limit) < 0) {
        return NULL;
    }
    return PyObject_CallFunctionObjArgs(self->state->task_get_stack, self,
                                        limit == NULL ? Py_None : limit, NULL);
}

PyDoc_STRVAR(Task_print_stack_doc, "print_stack($self, /, *, limit=None, file=None)\n--\n\n"
                                   "Print what get_stack() returns to file, by default sys.stderr.");

static PyObject *
Task_print_stack(TaskObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"print_stack", 0, 0, 2, {FL_PARAM(limit), FL_PARAM(file)}};
    PyObject *given[2];
    if (fl_args_bind(self->state, &signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    return PyObject_CallFunctionObjArgs(self->state->task_print_stack, self,
                                        given[0] == NULL ? Py_None : given[0],
                                        given[1] == NULL ? Py_None : given[1], NULL);
}

static PyObject *
Task_repr(TaskObject *self)
{
    return fl_future_check_init((FutureObject *)self) < 0
               ? NULL
               : PyObject_CallOneArg(self->state->task_repr, (PyObject *)self);
}

/* -- attributes ------------------------------------------------------------------------------------ */

static PyObject *
Task_get_class(TaskObject *self, void *Py_UNUSED(closure))
{
    return fl_future_get_class((FutureObject *)self, self->state->Task_type,
                               self->state->asyncio_Task);
}

static PyObject *
Task_get_coro_attribute(TaskObject *self, void *Py_UNUSED(closure))
{
    return Task_get_coro(self, NULL);
}

static PyObject *
Task_get_fut_waiter(TaskObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->fut_waiter);
}

static PyObject *
Task_get_must_cancel(TaskObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->must_cancel);
}

static PyObject *
Task_get_num_cancels(TaskObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(self->num_cancels);
}

static PyObject *
Task_get_log_destroy_pending(TaskObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->log_destroy_pending);
}

static int
Task_set_log_destroy_pending(TaskObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth >= 0) {
        self->log_destroy_pending = truth;
    }
    return truth < 0 ? -1 : 0;
}

/* -- the type -------------------------------------------------------------------------------------- */

#define KEYWORDS (METH_FASTCALL | METH_KEYWORDS)

static PyMethodDef task_methods[] = {
    {"cancel", (PyCFunction)(void (*)(void))Task_cancel, KEYWORDS, Task_cancel_doc},
    {"cancelling", (PyCFunction)Task_cancelling, METH_NOARGS, Task_cancelling_doc},
    {"uncancel", (PyCFunction)Task_uncancel, METH_NOARGS, Task_uncancel_doc},
    {"set_result", Task_set_result, METH_O, Task_set_result_doc},
    {"set_exception", Task_set_exception, METH_O, Task_set_exception_doc},
    {"get_coro", (PyCFunction)Task_get_coro, METH_NOARGS, Task_get_coro_doc},
    {"get_context", (PyCFunction)Task_get_context, METH_NOARGS, Task_get_context_doc},
    {"get_name", (PyCFunction)Task_get_name, METH_NOARGS, Task_get_name_doc},
    {"set_name", (PyCFunction)Task_set_name, METH_O, Task_set_name_doc},
    {"get_stack", (PyCFunction)(void (*)(void))Task_get_stack, KEYWORDS, Task_get_stack_doc},
    {"print_stack", (PyCFunction)(void (*)(void))Task_print_stack, KEYWORDS, Task_print_stack_doc},
    {NULL},
};

static PyGetSetDef task_getset[] = {
    {"__class__", (getter)Task_get_class, NULL, "The asyncio class this stands for.", NULL},
    {"_coro", (getter)Task_get_coro_attribute, NULL, "The coroutine.", NULL},
    {"_fut_waiter", (getter)Task_get_fut_waiter, NULL, "What the task waits for, or None.", NULL},
    {"_must_cancel", (getter)Task_get_must_cancel, NULL,
     "Whether the next step throws CancelledError.", NULL},
    {"_num_cancels_requested", (getter)Task_get_num_cancels, NULL, "As cancelling().", NULL},
    {"_log_destroy_pending", (getter)Task_get_log_destroy_pending,
     (setter)Task_set_log_destroy_pending, "Whether dying while pending is reported.", NULL},
    {NULL},
};

#if FL_HAS_EAGER_START
#define EAGER_PARAMETER ", eager_start=False"
#else
#define EAGER_PARAMETER ""
#endif

PyDoc_STRVAR(Task_doc,
             "Task(coro, *, loop=None, name=None, context=None" EAGER_PARAMETER ")\n--\n\n"
             "A future that drives a coroutine, as asyncio.Task.\n\n"
             "coro is a coroutine object; loop the event loop, by default asyncio.get_event_loop();\n"
             "name a str; context the contextvars.Context to run in, by default a copy of the\n"
             "current one.  With eager_start (Python 3.12 on) the first step runs at once if the loop\n"
             "is running.  Raises TypeError if coro is no coroutine.");

static PyType_Slot task_slots[] = {
    {Py_tp_doc, (void *)Task_doc},
    {Py_tp_new, fl_future_tp_new},
    {Py_tp_init, Task_init},
    {Py_tp_dealloc, Task_dealloc},
    {Py_tp_finalize, Task_finalize},
    {Py_tp_traverse, Task_traverse},
    {Py_tp_clear, Task_clear},
    {Py_tp_repr, Task_repr},
    {Py_tp_methods, task_methods},
    {Py_tp_getset, task_getset},
    {0, NULL},
};

static PyType_Spec task_spec = {
    .name = "fastloop.Task",
    .basicsize = sizeof(TaskObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = task_slots,
};

int
fl_task_setup_types(PyObject *module, fl_state *state)
{
    fl_step_setup(state);
    return fl_add_type(module, &task_spec, (PyObject *)state->Future_type, "Task",
                       &state->Task_type);
}
