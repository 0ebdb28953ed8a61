/* Loop methods that make futures and tasks. */
#include "api/methods.h"

#include "py/args.h"
#include "py/types.h"
#include "task/task.h"

PyDoc_STRVAR(Loop_create_future_doc, "create_future($self, /)\n--\n\n"
                                     "Return a new pending Future of this loop.");

static PyObject *
Loop_create_future(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_future_new(self);
}

/* -- task factories -------------------------------------------------------------------------------- */

/* Call the factory, which may replace itself meanwhile, with (loop, coro) and keywords. */
static PyObject *
factory_call(LoopObject *self, PyObject *const *args, PyObject *kwnames)
{
    PyObject *factory = Py_NewRef(self->task_factory);
    PyObject *task = PyObject_Vectorcall(factory, args, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
    Py_DECREF(factory);
    return task;
}

/* factory(loop, coro, **keywords), the way of create_task() since Python 3.14. */
static PyObject *
factory_call_with_keywords(LoopObject *self, PyObject *const *args, PyObject *kwnames)
{
    PyObject *stack[FL_ARGS_MAX + 3] = {NULL, (PyObject *)self, args[0]};
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    if (nkw > FL_ARGS_MAX) {
        PyErr_SetString(PyExc_TypeError, "create_task() got too many keyword arguments");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < nkw; i++) {
        stack[3 + i] = args[1 + i];
    }
    return factory_call(self, stack + 1, kwnames);
}

/* Name a task made by a factory that was not told the name. */
static PyObject *
factory_name_task(LoopObject *self, PyObject *task, PyObject *name)
{
    if (task == NULL || !fl_arg_given(name)) {
        return task;
    }
    PyObject *result = PyObject_CallMethodOneArg(task, self->state->str_set_name, name);
    Py_XDECREF(result);
    if (result == NULL) {
        Py_CLEAR(task);
    }
    return task;
}

/* factory(loop, coro) with only the keywords that were given, the way before Python 3.14. */
static PyObject *
factory_call_plain(LoopObject *self, PyObject *coro, PyObject *name, PyObject *context,
                   PyObject *eager)
{
    PyObject *stack[] = {NULL, (PyObject *)self, coro, NULL, NULL};
    PyObject *names[2] = {NULL, NULL};
    int n = 0;
    if (fl_arg_given(context)) {
        names[n] = self->state->str_context;
        stack[3 + n++] = context;
    }
    if (eager != NULL) {
        names[n] = self->state->str_eager_start;
        stack[3 + n++] = eager;
    }
    PyObject *kwnames = n == 0   ? NULL
                        : n == 1 ? PyTuple_Pack(1, names[0])
                                 : PyTuple_Pack(2, names[0], names[1]);
    if (n > 0 && kwnames == NULL) {
        return NULL;
    }
    PyObject *task = factory_call(self, stack + 1, kwnames);
    Py_XDECREF(kwnames);
    return factory_name_task(self, task, name);
}

PyDoc_STRVAR(
    Loop_create_task_doc,
    "create_task($self, coro, **kwargs)\n--\n\n"
    "Schedule a coroutine and return its Task.\n\n"
    "Keywords are name (str) and context (contextvars.Context), from Python 3.13.3 on also\n"
    "eager_start (bool).  A task factory is called with what asyncio of the running Python\n"
    "would pass.  Raises RuntimeError if the loop is closed, TypeError if coro is no coroutine.");

static PyObject *
Loop_create_task(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    fl_state *state = self->state;
    fl_signature signature = {
        "create_task",
        1,
        1,
        state->create_task_takes_eager ? 4 : 3,
        {FL_PARAM(coro), FL_PARAM(name), FL_PARAM(context), FL_PARAM(eager_start)},
    };
    if (!self->unchecked && fl_loop_check_closed(self) < 0) {
        return NULL;
    }
    if (self->task_factory != NULL && FL_HAS_FACTORY_KEYWORDS && nargs == 1) {
        return factory_call_with_keywords(self, args, kwnames);
    }
    PyObject *given[4] = {NULL};
    if (fl_args_bind(state, &signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (self->task_factory != NULL) {
        return factory_call_plain(self, given[0], given[1], given[2], given[3]);
    }
    int eager = given[3] == NULL ? 0 : PyObject_IsTrue(given[3]);
    return eager < 0 ? NULL : fl_task_new(self, given[0], given[1], given[2], eager);
}

PyDoc_STRVAR(Loop_set_task_factory_doc,
             "set_task_factory($self, factory)\n--\n\n"
             "Have create_task() call factory(loop, coro, ...); None restores the default.\n\n"
             "Raises TypeError if factory is neither callable nor None.");

static PyObject *
Loop_set_task_factory(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *factory =
        fl_args_one(self->state, "set_task_factory", FL_PARAM(factory), args, nargs, kwnames);
    if (factory == NULL) {
        return NULL;
    }
    if (factory != Py_None && !PyCallable_Check(factory)) {
        PyErr_SetString(PyExc_TypeError, "task factory must be a callable or None");
        return NULL;
    }
    Py_XSETREF(self->task_factory, factory == Py_None ? NULL : Py_NewRef(factory));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop_get_task_factory_doc, "get_task_factory($self, /)\n--\n\n"
                                        "Return the task factory, or None for the default.");

static PyObject *
Loop_get_task_factory(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_or_none(self->task_factory);
}

PyMethodDef fl_task_methods[] = {
    {"create_future", (PyCFunction)Loop_create_future, METH_NOARGS, Loop_create_future_doc},
    {"create_task", FL_FASTCALL(Loop_create_task), FL_KEYWORDS, Loop_create_task_doc},
    {"set_task_factory", FL_FASTCALL(Loop_set_task_factory), FL_KEYWORDS, Loop_set_task_factory_doc},
    {"get_task_factory", (PyCFunction)Loop_get_task_factory, METH_NOARGS, Loop_get_task_factory_doc},
    {NULL},
};
