/* The iterator behind `await future`: yields the future once, then returns its result. */
#include "task/future_iter.h"

#include "py/call.h"
#include "py/freelist.h"
#include "py/types.h"

typedef struct {
    PyObject_HEAD
    fl_state *state;      /* borrowed from the type, see fl_state_hold() */
    FutureObject *future; /* owned; NULL once finished */
} FutureIterObject;

/* -- life ------------------------------------------------------------------------------------------ */

PyObject *
fl_future_iter_new(PyObject *object)
{
    FutureObject *future = (FutureObject *)object;
    if (fl_future_check_init(future) < 0) {
        return NULL;
    }
    fl_state *state = future->state;
    PyTypeObject *type = state->FutureIter_type;
    FutureIterObject *self = (FutureIterObject *)fl_freelist_take(&state->free_iters, type);
    if (self == NULL && (self = PyObject_GC_New(FutureIterObject, type)) == NULL) {
        return NULL;
    }
    self->state = state;
    self->future = (FutureObject *)Py_NewRef(object);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
FutureIter_traverse(FutureIterObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->future);
    return 0;
}

static int
FutureIter_clear(FutureIterObject *self)
{
    Py_CLEAR(self->future);
    return 0;
}

static void
FutureIter_dealloc(FutureIterObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->future);
    fl_state *state = fl_state_of_dying(type, self->state); /* after what may run anything */
    if (!fl_freelist_give(state == NULL ? NULL : &state->free_iters, (PyObject *)self)) {
        PyObject_GC_Del(self);
    }
    Py_DECREF(type);
}

/* -- iteration ------------------------------------------------------------------------------------- */

/* Raise the future's exception or return its result.  The iterator is finished. */
static PySendResult
future_iter_finish(FutureIterObject *self, PyObject **result)
{
    FutureObject *future = self->future;
    self->future = NULL;
    int rc = fl_future_outcome(future, result);
    Py_DECREF(future);
    if (rc == 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(*result), *result);
        Py_CLEAR(*result);
    }
    return rc == 1 ? PYGEN_RETURN : PYGEN_ERROR;
}

static PySendResult
FutureIter_am_send(FutureIterObject *self, PyObject *Py_UNUSED(value), PyObject **result)
{
    *result = NULL;
    FutureObject *future = self->future;
    if (future == NULL) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    if (future->status != FL_PENDING) {
        return future_iter_finish(self, result);
    }
    if (!future->blocking) {
        future->blocking = true;
        *result = Py_NewRef(future);
        return PYGEN_NEXT;
    }
    PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
    return PYGEN_ERROR;
}

static PyObject *
FutureIter_iternext(FutureIterObject *self)
{
    PyObject *result;
    PySendResult sent = FutureIter_am_send(self, Py_None, &result);
    return fl_iternext_of_send(sent, result);
}

PyDoc_STRVAR(FutureIter_send_doc, "send($self, value, /)\n--\n\n"
                                  "Go on; the value is ignored.");

static PyObject *
FutureIter_send(FutureIterObject *self, PyObject *Py_UNUSED(value))
{
    return fl_send_of_iternext(FutureIter_iternext(self));
}

PyDoc_STRVAR(FutureIter_throw_doc, "throw($self, type, value=None, traceback=None, /)\n--\n\n"
                                   "Raise the exception here; the future is awaited no more.");

static PyObject *
FutureIter_throw(FutureIterObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = fl_thrown_exception(args, nargs);
    if (exc != NULL) {
        Py_CLEAR(self->future);
        PyErr_SetRaisedException(exc);
    }
    return NULL;
}

PyDoc_STRVAR(FutureIter_close_doc, "close($self, /)\n--\n\n"
                                   "Stop awaiting the future.");

static PyObject *
FutureIter_close(FutureIterObject *self, PyObject *Py_UNUSED(ignored))
{
    Py_CLEAR(self->future);
    Py_RETURN_NONE;
}

/* -- the type -------------------------------------------------------------------------------------- */

static PyMethodDef future_iter_methods[] = {
    {"send", (PyCFunction)FutureIter_send, METH_O, FutureIter_send_doc},
    {"throw", (PyCFunction)(void (*)(void))FutureIter_throw, METH_FASTCALL, FutureIter_throw_doc},
    {"close", (PyCFunction)FutureIter_close, METH_NOARGS, FutureIter_close_doc},
    {NULL},
};

PyDoc_STRVAR(FutureIter_doc, "The iterator behind `await future`.");

static PyType_Slot future_iter_slots[] = {
    {Py_tp_doc, (void *)FutureIter_doc},
    {Py_tp_dealloc, FutureIter_dealloc},
    {Py_tp_traverse, FutureIter_traverse},
    {Py_tp_clear, FutureIter_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, FutureIter_iternext},
    {Py_am_send, FutureIter_am_send},
    {Py_tp_methods, future_iter_methods},
    {0, NULL},
};

static PyType_Spec future_iter_spec = {
    .name = "fastloop._fastloop.FutureIter",
    .basicsize = sizeof(FutureIterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = future_iter_slots,
};

int
fl_future_iter_setup_types(PyObject *module, fl_state *state)
{
    return fl_add_type(module, &future_iter_spec, NULL, "FutureIter", &state->FutureIter_type);
}
