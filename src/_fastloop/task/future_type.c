/* The Python face of Future: constructor, methods, attributes. */
#include "task/future_type.h"

#include "py/args.h"
#include "py/call.h"
#include "py/freelist.h"
#include "py/types.h"
#include "task/callbacks.h"
#include "task/future_iter.h"

#include <structmember.h>

/* -- life ------------------------------------------------------------------------------------------ */

PyObject *
fl_future_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    fl_state *state = fl_state_of(type);
    FutureObject *self = state == NULL ? NULL : (FutureObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static int
Future_init(FutureObject *self, PyObject *args, PyObject *kwargs)
{
    static const fl_signature signature = {"Future", 0, 0, 1, {FL_PARAM(loop)}};
    PyObject *loop;
    if (fl_args_bind_tuple(self->state, &signature, args, kwargs, &loop) < 0) {
        return -1;
    }
    return fl_future_init(self, loop);
}

void
fl_future_free(FutureObject *self, fl_freelist *list)
{
    PyTypeObject *type = Py_TYPE(self);
    if (!fl_freelist_give(list, (PyObject *)self)) {
        type->tp_free(self);
    }
    Py_DECREF(type);
}

static void
Future_dealloc(FutureObject *self)
{
    bool exact = fl_future_dies_exact((PyObject *)self, (destructor)Future_dealloc);
    if (self->log_tb && exact && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, Future_dealloc)
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    fl_future_clear(self);
    fl_state *state = exact ? fl_state_of_dying(Py_TYPE(self), self->state) : NULL;
    fl_future_free(self, state == NULL ? NULL : &state->free_futures);
    Py_TRASHCAN_END
}

/* -- results --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(Future_result_doc,
             "result($self, /)\n--\n\n"
             "Return the result.\n\n"
             "Raises the exception if one was set, CancelledError if the future was cancelled and\n"
             "InvalidStateError if it is not done yet.");

static PyObject *
Future_result(FutureObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *outcome;
    int rc = fl_future_outcome(self, &outcome);
    if (rc != 0) {
        return rc < 0 ? NULL : outcome;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(outcome), outcome);
    Py_DECREF(outcome);
    return NULL;
}

PyDoc_STRVAR(Future_exception_doc,
             "exception($self, /)\n--\n\n"
             "Return the exception that was set, or None.\n\n"
             "Raises CancelledError if the future was cancelled and InvalidStateError if it is not\n"
             "done yet.");

static PyObject *
Future_exception(FutureObject *self, PyObject *ignored)
{
    if (self->loop != NULL && self->status == FL_PENDING) {
        PyErr_SetString(self->state->InvalidStateError, "Exception is not set.");
        return NULL;
    }
    if (self->loop == NULL || self->status == FL_CANCELLED) {
        return Future_result(self, ignored);
    }
    self->log_tb = false;
    return Py_NewRef(self->failed ? self->result : Py_None);
}

PyDoc_STRVAR(Future_set_result_doc, "set_result($self, result, /)\n--\n\n"
                                    "Mark the future done with this result.\n\n"
                                    "Raises InvalidStateError if it is done already.");

static PyObject *
Future_set_result(FutureObject *self, PyObject *result)
{
    return fl_future_set_result(self, result) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(Future_set_exception_doc,
             "set_exception($self, exception, /)\n--\n\n"
             "Mark the future done with this exception, an instance or a class.\n\n"
             "Raises InvalidStateError if it is done already and TypeError if it is no exception.");

static PyObject *
Future_set_exception(FutureObject *self, PyObject *exception)
{
    return fl_future_set_exception(self, exception) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(Future_cancel_doc,
             "cancel($self, /, msg=None)\n--\n\n"
             "Cancel the future and schedule its callbacks.\n\n"
             "msg becomes the argument of the CancelledError.  Returns False if the future was done.");

static PyObject *
Future_cancel(FutureObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {"cancel", 0, 1, 1, {FL_PARAM(msg)}};
    PyObject *msg;
    if (fl_args_bind(self->state, &signature, args, nargs, kwnames, &msg) < 0 ||
        fl_future_check_init(self) < 0) {
        return NULL;
    }
    int cancelled = fl_future_cancel(self, msg);
    return cancelled < 0 ? NULL : PyBool_FromLong(cancelled);
}

PyDoc_STRVAR(Future_cancelled_doc, "cancelled($self, /)\n--\n\n"
                                   "Return True if the future was cancelled.");

static PyObject *
Future_cancelled(FutureObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->status == FL_CANCELLED);
}

PyDoc_STRVAR(Future_done_doc,
             "done($self, /)\n--\n\n"
             "Return True if there is a result or an exception or the future was cancelled.");

static PyObject *
Future_done(FutureObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->status != FL_PENDING);
}

PyDoc_STRVAR(Future_get_loop_doc, "get_loop($self, /)\n--\n\n"
                                  "Return the event loop the future belongs to.");

static PyObject *
Future_get_loop(FutureObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_future_check_init(self) < 0 ? NULL : Py_NewRef(self->loop);
}

PyDoc_STRVAR(Future_make_cancelled_error_doc,
             "_make_cancelled_error($self, /)\n--\n\n"
             "Return the CancelledError to raise for a cancelled future.\n\n"
             "The one that ended the task is handed out once, then others with the same message.");

static PyObject *
Future_make_cancelled_error(FutureObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_future_make_cancelled_error(self);
}

/* -- callbacks ------------------------------------------------------------------------------------- */

PyDoc_STRVAR(Future_add_done_callback_doc,
             "add_done_callback($self, fn, /, *, context=None)\n--\n\n"
             "Have the loop call fn(future) when the future is done.\n\n"
             "fn runs in context, a contextvars.Context, or in a copy of the current one.  It is\n"
             "never called at once: on a future that is done it is scheduled with call_soon().");

static PyObject *
Future_add_done_callback(FutureObject *self, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    PyObject *context;
    if (nargs != 1) {
        PyErr_Format(PyExc_TypeError,
                     "add_done_callback() takes exactly 1 positional argument (%zd given)", nargs);
        return NULL;
    }
    if (fl_args_context(self->state, "add_done_callback", args + nargs, kwnames, &context) < 0 ||
        fl_future_check_init(self) < 0 ||
        fl_callbacks_add(self, fl_callbacks_entry(args[0], context)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Future_remove_done_callback_doc,
             "remove_done_callback($self, fn, /)\n--\n\n"
             "Remove every callback equal to fn and return their number.");

static PyObject *
Future_remove_done_callback(FutureObject *self, PyObject *fn)
{
    Py_ssize_t removed = fl_future_check_init(self) < 0 ? -1 : fl_callbacks_remove(self, fn);
    return removed < 0 ? NULL : PyLong_FromSsize_t(removed);
}

/* -- description ----------------------------------------------------------------------------------- */

static PyObject *
Future_repr(FutureObject *self)
{
    return fl_future_check_init(self) < 0
               ? NULL
               : PyObject_CallOneArg(self->state->future_repr, (PyObject *)self);
}

/* -- attributes ------------------------------------------------------------------------------------ */

/* The face of a subclass, which the Python package makes and keeps. */
static PyObject *
future_get_face(fl_state *state, PyTypeObject *type, PyObject *asyncio_class)
{
    if (state->face_of == NULL) {
        return Py_NewRef((PyObject *)type);
    }
    return PyObject_CallFunctionObjArgs(state->face_of, type, asyncio_class, NULL);
}

PyObject *
fl_future_get_class(FutureObject *self, PyTypeObject *exact, PyObject *asyncio_class)
{
    if (Py_IS_TYPE(self, exact)) {
        return Py_NewRef(asyncio_class);
    }
    return future_get_face(self->state, Py_TYPE(self), asyncio_class);
}

static PyObject *
Future_get_class(FutureObject *self, void *Py_UNUSED(closure))
{
    return fl_future_get_class(self, self->state->Future_type, self->state->asyncio_Future);
}

static PyObject *
Future_get_state(FutureObject *self, void *Py_UNUSED(closure))
{
    static const char *const names[] = {"PENDING", "CANCELLED", "FINISHED"};
    return PyUnicode_InternFromString(names[self->status]);
}

static PyObject *
Future_get_blocking(FutureObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->blocking);
}

static int
Future_set_blocking(FutureObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth >= 0) {
        self->blocking = truth;
    }
    return truth < 0 ? -1 : 0;
}

static PyObject *
Future_get_log_traceback(FutureObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->log_tb);
}

static int
Future_set_log_traceback(FutureObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth > 0) {
        PyErr_SetString(PyExc_ValueError, "_log_traceback can only be set to False");
    }
    if (truth == 0) {
        self->log_tb = false;
    }
    return truth == 0 ? 0 : -1;
}

static PyObject *
Future_get_loop_attribute(FutureObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->loop);
}

static PyObject *
Future_get_callbacks(FutureObject *self, void *Py_UNUSED(closure))
{
    return fl_callbacks_list(self);
}

static PyObject *
Future_get_result_attribute(FutureObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->failed ? NULL : self->result);
}

static PyObject *
Future_get_exception_attribute(FutureObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->failed ? self->result : NULL);
}

static PyObject *
Future_get_source_traceback(FutureObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->source_tb);
}

static PyObject *
Future_get_cancel_message(FutureObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->cancel_msg);
}

static int
Future_set_cancel_message(FutureObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
        return -1;
    }
    Py_XSETREF(self->cancel_msg, value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

#if FL_HAS_AWAITED_BY
static PyObject *
Future_get_awaited_by(FutureObject *self, void *Py_UNUSED(closure))
{
    return fl_callbacks_awaiting_tasks(self);
}
#endif

/* -- the type -------------------------------------------------------------------------------------- */

PyDoc_STRVAR(Future_class_getitem_doc, "__class_getitem__($type, item, /)\n--\n\n"
                                       "Return a types.GenericAlias of the class.");

#define KEYWORDS (METH_FASTCALL | METH_KEYWORDS)

static PyMethodDef future_methods[] = {
    {"result", (PyCFunction)Future_result, METH_NOARGS, Future_result_doc},
    {"exception", (PyCFunction)Future_exception, METH_NOARGS, Future_exception_doc},
    {"set_result", (PyCFunction)Future_set_result, METH_O, Future_set_result_doc},
    {"set_exception", (PyCFunction)Future_set_exception, METH_O, Future_set_exception_doc},
    {"cancel", (PyCFunction)(void (*)(void))Future_cancel, KEYWORDS, Future_cancel_doc},
    {"cancelled", (PyCFunction)Future_cancelled, METH_NOARGS, Future_cancelled_doc},
    {"done", (PyCFunction)Future_done, METH_NOARGS, Future_done_doc},
    {"get_loop", (PyCFunction)Future_get_loop, METH_NOARGS, Future_get_loop_doc},
    {"add_done_callback", (PyCFunction)(void (*)(void))Future_add_done_callback, KEYWORDS,
     Future_add_done_callback_doc},
    {"remove_done_callback", (PyCFunction)Future_remove_done_callback, METH_O,
     Future_remove_done_callback_doc},
    {"_make_cancelled_error", (PyCFunction)Future_make_cancelled_error, METH_NOARGS,
     Future_make_cancelled_error_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, Future_class_getitem_doc},
    {NULL},
};

static PyGetSetDef future_getset[] = {
    {"__class__", (getter)Future_get_class, NULL, "The asyncio class this stands for.", NULL},
    {"_state", (getter)Future_get_state, NULL, "'PENDING', 'CANCELLED' or 'FINISHED'.", NULL},
    {"_asyncio_future_blocking", (getter)Future_get_blocking, (setter)Future_set_blocking,
     "True while handed to a task by await.", NULL},
    {"_log_traceback", (getter)Future_get_log_traceback, (setter)Future_set_log_traceback,
     "True while an exception has not been retrieved.", NULL},
    {"_loop", (getter)Future_get_loop_attribute, NULL, "The event loop.", NULL},
    {"_callbacks", (getter)Future_get_callbacks, NULL, "List of (callback, context), or None.", NULL},
    {"_result", (getter)Future_get_result_attribute, NULL, "The result, or None.", NULL},
    {"_exception", (getter)Future_get_exception_attribute, NULL, "The exception, or None.", NULL},
    {"_source_traceback", (getter)Future_get_source_traceback, NULL,
     "Debug mode: the stack where it was made.", NULL},
    {"_cancel_message", (getter)Future_get_cancel_message, (setter)Future_set_cancel_message,
     "The argument of the CancelledError.", NULL},
#if FL_HAS_AWAITED_BY
    {"_asyncio_awaited_by", (getter)Future_get_awaited_by, NULL,
     "The tasks that await it, a frozenset or None.", NULL},
#endif
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

static PyMemberDef future_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(FutureObject, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(FutureObject, weakrefs), READONLY, NULL},
    {NULL},
};

PyDoc_STRVAR(Future_doc,
             "Future(*, loop=None)\n--\n\n"
             "A result that will be there later, as asyncio.Future.\n\n"
             "loop is the event loop it belongs to, by default asyncio.get_event_loop().");

static PyType_Slot future_slots[] = {
    {Py_tp_doc, (void *)Future_doc},
    {Py_tp_new, fl_future_tp_new},
    {Py_tp_init, Future_init},
    {Py_tp_dealloc, Future_dealloc},
    {Py_tp_finalize, fl_future_finalize},
    {Py_tp_traverse, fl_future_traverse},
    {Py_tp_clear, fl_future_clear},
    {Py_tp_repr, Future_repr},
    {Py_tp_iter, fl_future_iter_new},
    {Py_am_await, fl_future_iter_new},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, future_getset},
    {Py_tp_members, future_members},
    {0, NULL},
};

static PyType_Spec future_spec = {
    .name = "fastloop.Future",
    .basicsize = sizeof(FutureObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = future_slots,
};

int
fl_future_setup_types(PyObject *module, fl_state *state)
{
    state->run_ready[FL_READY_DONE] = fl_callbacks_run_ready;
    return fl_add_type(module, &future_spec, NULL, "Future", &state->Future_type);
}
