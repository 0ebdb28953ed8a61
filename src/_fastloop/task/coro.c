/* The coroutine protocol, for every kind of coroutine that is written in C. */
#include "task/coro.h"

#include "py/call.h"
#include "py/types.h"

/* -- life ------------------------------------------------------------------------------------------ */

CoroObject *
fl_coro_new(PyTypeObject *type, const fl_coro_ops *ops)
{
    CoroObject *self = (CoroObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->ops = ops;
    }
    return self;
}

static int
Coro_traverse(CoroObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return self->ops->traverse(self, visit, arg);
}

static void
coro_finish(CoroObject *self)
{
    if (!self->finished) {
        self->finished = true;
        self->ops->release(self);
    }
}

static int
Coro_clear(CoroObject *self)
{
    coro_finish(self);
    return 0;
}

static void
Coro_finalize(CoroObject *self)
{
    if (self->started || self->finished) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                         self->ops->qualname) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    PyErr_SetRaisedException(raised);
}

static void
Coro_dealloc(CoroObject *self)
{
    if (!self->started && !self->finished &&
        PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Coro_dealloc)
    coro_finish(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* -- a step ---------------------------------------------------------------------------------------- */

/* 0 when it can be resumed or given up, or -1 with an exception. */
static int
coro_check(CoroObject *self)
{
    if (self->running) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    if (self->finished) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return -1;
    }
    return 0;
}

static bool
coro_is_suspended(CoroObject *self)
{
    return self->started && !self->running && !self->finished;
}

/* It was given up before its end. */
static void
coro_abandon(CoroObject *self)
{
    self->started = true;
    coro_finish(self);
}

static PySendResult
Coro_am_send(CoroObject *self, PyObject *Py_UNUSED(value), PyObject **result)
{
    *result = NULL;
    if (coro_check(self) < 0) {
        return PYGEN_ERROR;
    }
    if (self->started && self->ops->waits(self)) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
        return PYGEN_ERROR;
    }
    self->started = self->running = true;
    PySendResult sent = self->ops->resume(self, result);
    self->running = false;
    if (sent != PYGEN_NEXT) {
        PyObject *raised = PyErr_GetRaisedException();
        coro_finish(self);
        if (raised != NULL) {
            PyErr_SetRaisedException(raised);
        }
    }
    return sent;
}

static PyObject *
Coro_iternext(CoroObject *self)
{
    PyObject *result;
    PySendResult sent = Coro_am_send(self, Py_None, &result);
    return fl_iternext_of_send(sent, result);
}

/* -- methods --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(Coro_send_doc, "send($self, value, /)\n--\n\n"
                            "Go on; the value is ignored.");

static PyObject *
Coro_send(CoroObject *self, PyObject *Py_UNUSED(value))
{
    return fl_send_of_iternext(Coro_iternext(self));
}

PyDoc_STRVAR(Coro_throw_doc, "throw($self, type, value=None, traceback=None, /)\n--\n\n"
                             "Give up the operation and raise the exception.");

static PyObject *
Coro_throw(CoroObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = coro_check(self) < 0 ? NULL : fl_thrown_exception(args, nargs);
    if (exc != NULL) {
        coro_abandon(self);
        PyErr_SetRaisedException(exc);
    }
    return NULL;
}

PyDoc_STRVAR(Coro_close_doc, "close($self, /)\n--\n\n"
                             "Give up the operation.");

static PyObject *
Coro_close(CoroObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->finished) {
        Py_RETURN_NONE;
    }
    if (coro_check(self) < 0) {
        return NULL;
    }
    coro_abandon(self);
    Py_RETURN_NONE;
}

/* -- attributes, as a native coroutine has them ---------------------------------------------------- */

static PyObject *
Coro_get_name(CoroObject *self, void *Py_UNUSED(closure))
{
    const char *dot = strrchr(self->ops->qualname, '.');
    return PyUnicode_FromString(dot == NULL ? self->ops->qualname : dot + 1);
}

static PyObject *
Coro_get_qualname(CoroObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(self->ops->qualname);
}

static PyObject *
Coro_get_await(CoroObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(coro_is_suspended(self) ? self->ops->awaited(self) : NULL);
}

static PyObject *
Coro_get_running(CoroObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->running);
}

static PyObject *
Coro_get_suspended(CoroObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(coro_is_suspended(self));
}

static PyObject *
Coro_get_none(CoroObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;
}

static PyObject *
Coro_repr(CoroObject *self)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>", self->ops->qualname, self);
}

/* -- the types ------------------------------------------------------------------------------------- */

static PyMethodDef coro_methods[] = {
    {"send", (PyCFunction)Coro_send, METH_O, Coro_send_doc},
    {"throw", (PyCFunction)(void (*)(void))Coro_throw, METH_FASTCALL, Coro_throw_doc},
    {"close", (PyCFunction)Coro_close, METH_NOARGS, Coro_close_doc},
    {NULL},
};

static PyGetSetDef coro_getset[] = {
    {"__name__", (getter)Coro_get_name, NULL, "The method's name.", NULL},
    {"__qualname__", (getter)Coro_get_qualname, NULL, "The same with its class.", NULL},
    {"cr_await", (getter)Coro_get_await, NULL, "The future it waits for, or None.", NULL},
    {"cr_running", (getter)Coro_get_running, NULL, "Whether it is being resumed.", NULL},
    {"cr_suspended", (getter)Coro_get_suspended, NULL, "Whether it waits.", NULL},
    {"cr_frame", (getter)Coro_get_none, NULL, "None: it has no Python frame.", NULL},
    {"cr_code", (getter)Coro_get_none, NULL, "None: it has no Python code.", NULL},
    {"cr_origin", (getter)Coro_get_none, NULL, "None: its origin is not recorded.", NULL},
    {NULL},
};

int
fl_coro_add_type(PyObject *module, const fl_coro_spec *spec, PyTypeObject **slot)
{
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)spec->doc},  {Py_tp_dealloc, Coro_dealloc},
        {Py_tp_finalize, Coro_finalize}, {Py_tp_traverse, Coro_traverse},
        {Py_tp_clear, Coro_clear},       {Py_tp_repr, Coro_repr},
        {Py_tp_iternext, Coro_iternext}, {Py_am_await, PyObject_SelfIter},
        {Py_am_send, Coro_am_send},      {Py_tp_methods, coro_methods},
        {Py_tp_getset, coro_getset},     {0, NULL},
    };
    PyType_Spec type_spec = {
        .name = spec->name,
        .basicsize = spec->basicsize,
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                 Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return fl_add_type(module, &type_spec, NULL, strrchr(spec->name, '.') + 1, slot);
}
