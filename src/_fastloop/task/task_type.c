/* The Python face of Task: constructor, methods, attributes. */
#include "task/task.h"

#include "py/args.h"
#include "py/types.h"
#include "task/foreign.h"
#include "task/future_type.h"
#include "task/registry.h"
#include "task/step.h"

/* -- life ------------------------------------------------------------------------------------------ */

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
        fl_task_reset(self); /* before the loop, in whose list it stands, may go */
    }
    if (fl_future_init(&self->future, given[1]) < 0) {
        return -1;
    }
    int eager = task_wants_eager(self, given[4]);
    return eager < 0 ? -1 : fl_task_start(self, given[0], given[2], given[3], eager);
}

static void
Task_dealloc(TaskObject *self)
{
    bool exact = fl_future_dies_exact((PyObject *)self, (destructor)Task_dealloc);
    if ((self->log_tb || fl_task_is_missed(self)) && exact &&
        PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    fl_registry_remove(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Task_dealloc)
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    fl_task_clear(self);
    fl_state *state = exact ? fl_state_of_dying(Py_TYPE(self), self->state) : NULL;
    fl_future_free(&self->future, state == NULL ? NULL : &state->free_tasks);
    Py_TRASHCAN_END
}

/* -- cancelling ------------------------------------------------------------------------------------ */

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
        fl_future_check_init(&self->future) < 0) {
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
    return fl_future_check_init(&self->future) < 0
               ? NULL
               : PyObject_CallOneArg(self->state->task_repr, (PyObject *)self);
}

/* -- attributes ------------------------------------------------------------------------------------ */

static PyObject *
Task_get_class(TaskObject *self, void *Py_UNUSED(closure))
{
    return fl_future_get_class(&self->future, self->state->Task_type, self->state->asyncio_Task);
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
    {Py_tp_finalize, fl_task_finalize},
    {Py_tp_traverse, fl_task_traverse},
    {Py_tp_clear, fl_task_clear},
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
    fl_foreign_setup(state);
    return fl_add_type(module, &task_spec, (PyObject *)state->Future_type, "Task",
                       &state->Task_type);
}
