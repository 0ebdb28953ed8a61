/* The Python face of Handle and TimerHandle: methods, description, comparison, attributes. */
#include "loop/handle.h"

#include "loop/exit.h"

#include "py/types.h"

#include <structmember.h>

/* -- methods --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    Handle_cancel_doc,
    "cancel($self, /)\n--\n\n"
    "Make sure that the callback will not be called any more and drop it with its arguments.");

static PyObject *
Handle_cancel(HandleObject *self, PyObject *Py_UNUSED(ignored))
{
    fl_handle_wait_for_run(self);
    fl_handle_cancel(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Handle_cancelled_doc, "cancelled($self, /)\n--\n\n"
                                   "Return True if cancel() was called.");

static PyObject *
Handle_cancelled(HandleObject *self, PyObject *Py_UNUSED(ignored))
{
    fl_handle_wait_for_run(self);
    return PyBool_FromLong(self->cancelled);
}

PyDoc_STRVAR(Handle_get_context_doc, "get_context($self, /)\n--\n\n"
                                     "Return the contextvars.Context in which the callback runs.");

static PyObject *
Handle_get_context(HandleObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_or_none(self->context);
}

PyDoc_STRVAR(Handle_run_doc, "_run($self, /)\n--\n\n"
                             "Call the callback now; what it raises goes to the exception handler.");

static PyObject *
Handle_run(HandleObject *self, PyObject *Py_UNUSED(ignored))
{
    LoopObject *loop = self->loop;
    if (loop == NULL) { /* of a handle that was cancelled or has run */
        Py_RETURN_NONE;
    }
    Py_INCREF(loop);
    PyObject *before = fl_exit_begin(loop);
    fl_handle_run(self);
    int rc = fl_exit_end(loop, before, 0);
    Py_DECREF(loop);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(Handle_when_doc,
             "when($self, /)\n--\n\n"
             "Return the deadline in seconds on the clock of loop.time(), a float.");

static PyObject *
Handle_when(HandleObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(self->when);
}

/* -- description ----------------------------------------------------------------------------------- */

/* Append a word to the list, taking the reference; NULL passes an error on.  0 or -1. */
static int
words_append(PyObject *words, PyObject *word)
{
    int rc = word == NULL ? -1 : PyList_Append(words, word);
    Py_XDECREF(word);
    return rc;
}

/* "created at file:line" from the last entry of the source traceback. */
static PyObject *
handle_describe_origin(HandleObject *self)
{
    PyObject *last = PySequence_GetItem(self->source_tb, -1);
    PyObject *file = last == NULL ? NULL : PySequence_GetItem(last, 0);
    PyObject *line = file == NULL ? NULL : PySequence_GetItem(last, 1);
    PyObject *text = line == NULL ? NULL : PyUnicode_FromFormat("created at %S:%S", file, line);
    Py_XDECREF(last);
    Py_XDECREF(file);
    Py_XDECREF(line);
    return text;
}

static PyObject *
handle_describe_when(HandleObject *self)
{
    PyObject *when = PyFloat_FromDouble(self->when);
    PyObject *text = when == NULL ? NULL : PyUnicode_FromFormat("when=%R", when);
    Py_XDECREF(when);
    return text;
}

/* "name() at file:line" from the code that remains of a call that has been made. */
static PyObject *
describe_code(PyObject *code)
{
    PyObject *name = PyObject_GetAttrString(code, "co_qualname");
    PyObject *file = name == NULL ? NULL : PyObject_GetAttrString(code, "co_filename");
    PyObject *text = NULL;
    if (file != NULL) {
        int line = ((PyCodeObject *)code)->co_firstlineno;
        text = PyUnicode_FromFormat("%U() at %U:%d", name, file, line);
    }
    Py_XDECREF(name);
    Py_XDECREF(file);
    return text;
}

static int
describe_call(HandleObject *self, PyObject *words)
{
    if (self->callback != NULL) {
        return words_append(words, fl_handle_describe_call(self));
    }
    bool has_code = self->args[0] != NULL && PyCode_Check(self->args[0]) && !self->cancelled;
    return has_code ? words_append(words, describe_code(self->args[0])) : 0;
}

/* The words of asyncio's Handle.__repr__, in its order. */
static int
handle_describe(HandleObject *self, PyObject *words)
{
    const char *name = self->timer ? "TimerHandle" : "Handle";
    if (words_append(words, PyUnicode_FromString(name)) < 0 ||
        (self->cancelled && words_append(words, PyUnicode_FromString("cancelled")) < 0) ||
        (self->timer && words_append(words, handle_describe_when(self)) < 0) ||
        describe_call(self, words) < 0) {
        return -1;
    }
    bool has_origin = self->source_tb != NULL && PyObject_Size(self->source_tb) > 0;
    return has_origin ? words_append(words, handle_describe_origin(self)) : 0;
}

static PyObject *
Handle_repr(HandleObject *self)
{
    if (self->callback == NULL && self->args[0] != NULL && PyUnicode_Check(self->args[0])) {
        return Py_NewRef(self->args[0]);
    }
    PyObject *words = PyList_New(0), *text = NULL;
    PyObject *space = PyUnicode_FromString(" ");
    if (words != NULL && space != NULL && handle_describe(self, words) == 0) {
        PyObject *joined = PyUnicode_Join(space, words);
        text = joined == NULL ? NULL : PyUnicode_FromFormat("<%U>", joined);
        Py_XDECREF(joined);
    }
    Py_XDECREF(words);
    Py_XDECREF(space);
    return text;
}

/* -- comparing timers ------------------------------------------------------------------------------ */

static Py_hash_t
TimerHandle_hash(HandleObject *self)
{
    PyObject *when = PyFloat_FromDouble(self->when);
    Py_hash_t hash = when == NULL ? -1 : PyObject_Hash(when);
    Py_XDECREF(when);
    return hash;
}

/* Equal deadlines, callbacks, arguments and states: 1, 0, or -1 with an exception. */
static int
timers_equal(HandleObject *a, HandleObject *b)
{
    if (a->when != b->when || a->cancelled != b->cancelled ||
        (a->callback == NULL) != (b->callback == NULL)) {
        return 0;
    }
    if (a->callback == NULL) {
        return 1;
    }
    PyObject *callback_a = Py_NewRef(a->callback), *callback_b = Py_NewRef(b->callback);
    PyObject *args_a = fl_handle_args(a), *args_b = fl_handle_args(b);
    int equal = -1;
    if (args_a != NULL && args_b != NULL) {
        equal = PyObject_RichCompareBool(callback_a, callback_b, Py_EQ);
        if (equal > 0) {
            equal = PyObject_RichCompareBool(args_a, args_b, Py_EQ);
        }
    }
    Py_DECREF(callback_a);
    Py_DECREF(callback_b);
    Py_XDECREF(args_a);
    Py_XDECREF(args_b);
    return equal;
}

static PyObject *
TimerHandle_richcompare(HandleObject *self, PyObject *other_object, int op)
{
    if (Py_TYPE(other_object) != Py_TYPE(self)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    HandleObject *other = (HandleObject *)other_object;
    if ((op == Py_LT || op == Py_LE) && self->when < other->when) {
        Py_RETURN_TRUE;
    }
    if ((op == Py_GT || op == Py_GE) && self->when > other->when) {
        Py_RETURN_TRUE;
    }
    if (op == Py_LT || op == Py_GT) {
        Py_RETURN_FALSE;
    }
    int equal = timers_equal(self, other);
    return equal < 0 ? NULL : PyBool_FromLong(op == Py_NE ? !equal : equal);
}

/* -- attributes ------------------------------------------------------------------------------------ */

static PyObject *
Handle_get_class(HandleObject *self, void *Py_UNUSED(closure))
{
    fl_state *state = fl_state_of(Py_TYPE(self));
    if (self->timer) {
        return Py_NewRef(state->asyncio_TimerHandle);
    }
#if FL_HAS_THREADSAFE_HANDLE
    if (self->threadsafe) {
        return PyObject_GetAttrString(state->events, "_ThreadSafeHandle");
    }
#endif
    return Py_NewRef(state->asyncio_Handle);
}

static PyObject *
Handle_get_callback(HandleObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->callback);
}

static PyObject *
Handle_get_args(HandleObject *self, void *Py_UNUSED(closure))
{
    return self->callback == NULL ? Py_NewRef(Py_None) : fl_handle_args(self);
}

static PyObject *
Handle_get_cancelled(HandleObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->cancelled);
}

static PyObject *
Handle_get_loop(HandleObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none((PyObject *)self->loop);
}

static PyObject *
Handle_get_context_attribute(HandleObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->context);
}

static PyObject *
Handle_get_source_traceback(HandleObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->source_tb);
}

static PyObject *
Handle_get_when(HandleObject *self, void *Py_UNUSED(closure))
{
    return PyFloat_FromDouble(self->when);
}

static PyObject *
Handle_get_scheduled(HandleObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->scheduled);
}

/* -- types ----------------------------------------------------------------------------------------- */

#define HANDLE_METHODS                                                                             \
    {"cancel", (PyCFunction)Handle_cancel, METH_NOARGS, Handle_cancel_doc},                        \
    {"cancelled", (PyCFunction)Handle_cancelled, METH_NOARGS, Handle_cancelled_doc},               \
    {"get_context", (PyCFunction)Handle_get_context, METH_NOARGS, Handle_get_context_doc},         \
    {"_run", (PyCFunction)Handle_run, METH_NOARGS, Handle_run_doc}

#define HANDLE_GETSET                                                                              \
    {"__class__", (getter)Handle_get_class, NULL, "The asyncio class this stands for.", NULL},     \
    {"_callback", (getter)Handle_get_callback, NULL, "The callback; None once cancelled.", NULL},  \
    {"_args", (getter)Handle_get_args, NULL, "Its arguments; None once cancelled.", NULL},         \
    {"_cancelled", (getter)Handle_get_cancelled, NULL, "Whether cancel() was called.", NULL},      \
    {"_loop", (getter)Handle_get_loop, NULL, "The event loop.", NULL},                             \
    {"_context", (getter)Handle_get_context_attribute, NULL, "The context it runs in.", NULL},     \
    {"_source_traceback", (getter)Handle_get_source_traceback, NULL,                               \
     "Debug mode: the stack where it was made.", NULL}

static PyMethodDef handle_methods[] = {HANDLE_METHODS, {NULL}};

static PyMethodDef timer_methods[] = {
    HANDLE_METHODS,
    {"when", (PyCFunction)Handle_when, METH_NOARGS, Handle_when_doc},
    {NULL},
};

static PyGetSetDef handle_getset[] = {HANDLE_GETSET, {NULL}};

static PyGetSetDef timer_getset[] = {
    HANDLE_GETSET,
    {"_when", (getter)Handle_get_when, NULL, "Deadline, seconds on the loop's clock.", NULL},
    {"_scheduled", (getter)Handle_get_scheduled, NULL, "Whether it waits for its time.", NULL},
    {NULL},
};

static PyMemberDef handle_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(HandleObject, weakrefs), READONLY, NULL},
    {NULL},
};

PyDoc_STRVAR(Handle_doc, "A callback scheduled on an event loop, as asyncio.Handle.\n\n"
                         "Made by call_soon() and the like only.");

PyDoc_STRVAR(TimerHandle_doc, "A callback scheduled for a time, as asyncio.TimerHandle.\n\n"
                              "Made by call_later() and call_at() only.");

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, (void *)Handle_doc},
    {Py_tp_dealloc, fl_handle_dealloc},
    {Py_tp_repr, Handle_repr},
    {Py_tp_methods, handle_methods},
    {Py_tp_getset, handle_getset},
    {Py_tp_members, handle_members},
    {0, NULL},
};

static PyType_Slot timer_slots[] = {
    {Py_tp_doc, (void *)TimerHandle_doc},
    {Py_tp_dealloc, fl_handle_dealloc},
    {Py_tp_traverse, fl_handle_traverse},
    {Py_tp_clear, fl_handle_clear},
    {Py_tp_repr, Handle_repr},
    {Py_tp_hash, TimerHandle_hash},
    {Py_tp_richcompare, TimerHandle_richcompare},
    {Py_tp_methods, timer_methods},
    {Py_tp_getset, timer_getset},
    {Py_tp_members, handle_members},
    {0, NULL},
};

#define HANDLE_FLAGS                                                                               \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE)

static PyType_Spec handle_spec = {
    .name = "fastloop.Handle",
    .basicsize = sizeof(HandleObject),
    .flags = HANDLE_FLAGS,
    .slots = handle_slots,
};

static PyType_Spec timer_spec = {
    .name = "fastloop.TimerHandle",
    .basicsize = sizeof(HandleObject),
    .flags = HANDLE_FLAGS | Py_TPFLAGS_HAVE_GC,
    .slots = timer_slots,
};

int
fl_handle_setup_types(PyObject *module, fl_state *state)
{
    state->run_ready[FL_READY_HANDLE] = fl_handle_run_ready;
    if (fl_add_type(module, &handle_spec, NULL, "Handle", &state->Handle_type) < 0 ||
        fl_add_type(module, &timer_spec, NULL, "TimerHandle", &state->TimerHandle_type) < 0) {
        return -1;
    }
    /* Error messages name asyncio's classes without a module. */
    state->Handle_type->tp_name = "Handle";
    state->TimerHandle_type->tp_name = "TimerHandle";
    return 0;
}
