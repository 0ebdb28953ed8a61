/* Handle and TimerHandle. */
#include "loop/handle.h"

#include "loop/current.h"
#include "py/call.h"
#include "py/types.h"

#include <structmember.h>

/* -- making and unmaking --------------------------------------------------------------------------- */

static HandleObject *
handle_alloc(fl_state *state, PyTypeObject *type)
{
#if FL_HAS_FREELISTS
    fl_freelist *list = &state->free_handles;
    if (list->len > 0) {
        return (HandleObject *)PyObject_Init(list->items[--list->len], type);
    }
#endif
    return PyObject_New(HandleObject, type);
}

static int
handle_set_args(HandleObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    self->nargs = (int)nargs;
    for (int i = 0; i < FL_HANDLE_INLINE; i++) {
        self->args[i] = nargs <= FL_HANDLE_INLINE && i < nargs ? Py_NewRef(args[i]) : NULL;
    }
    if (nargs <= FL_HANDLE_INLINE) {
        return 0;
    }
    self->args[0] = PyTuple_New(nargs);
    if (self->args[0] == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyTuple_SET_ITEM(self->args[0], i, Py_NewRef(args[i]));
    }
    return 0;
}

HandleObject *
fl_handle_new(LoopObject *loop, PyTypeObject *type, PyObject *callback, PyObject *const *args,
              Py_ssize_t nargs, PyObject *context)
{
    HandleObject *self = handle_alloc(loop->state, type);
    if (self == NULL) {
        return NULL;
    }
    self->loop = (LoopObject *)Py_NewRef(loop);
    self->callback = Py_NewRef(callback);
    self->source_tb = self->weakrefs = NULL;
    self->when = 0.0;
    self->cancelled = self->running = self->scheduled = false;
    self->context = context == NULL ? PyContext_CopyCurrent() : Py_NewRef(context);
    if (handle_set_args(self, args, nargs) < 0 || self->context == NULL ||
        (loop->debug && (self->source_tb = fl_extract_stack(loop->state)) == NULL)) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

static void
handle_drop_call(HandleObject *self)
{
    Py_CLEAR(self->callback);
    for (int i = 0; i < FL_HANDLE_INLINE; i++) {
        Py_CLEAR(self->args[i]);
    }
}

static bool
handle_keep_memory(fl_state *state, HandleObject *self)
{
#if FL_HAS_FREELISTS
    fl_freelist *list = &state->free_handles;
    if (list->len < FL_FREELIST_MAX && state->Handle_type != NULL) { /* not cleared yet */
        list->items[list->len++] = (PyObject *)self;
        return true;
    }
#endif
    return false;
}

static void
Handle_dealloc(HandleObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    LoopObject *loop = self->loop; /* keeps the module's state while it is needed */
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    handle_drop_call(self);
    Py_XDECREF(self->context);
    Py_XDECREF(self->source_tb);
    if (!handle_keep_memory(loop->state, self)) {
        PyObject_Free(self);
    }
    Py_DECREF(loop);
    Py_DECREF(type);
}

int
fl_handle_visit_queued(PyObject *object, visitproc visit, void *arg)
{
    HandleObject *self = (HandleObject *)object;
    if (Py_REFCNT(self) > 1) {
        return 0;
    }
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->context);
    Py_VISIT(self->callback);
    for (int i = 0; i < FL_HANDLE_INLINE; i++) {
        Py_VISIT(self->args[i]);
    }
    Py_VISIT(self->source_tb);
    return 0;
}

void
fl_handle_release(HandleObject *self)
{
    if (Py_REFCNT(self) > 1 && !self->cancelled) { /* somebody keeps it: let there be no cycle */
        handle_drop_call(self);
    }
    Py_DECREF(self);
}

/* -- cancelling ------------------------------------------------------------------------------------ */

/* In debug mode a cancelled handle still says what it was: its last repr(), or NULL. */
static PyObject *
handle_last_words(HandleObject *self)
{
    if (!self->loop->debug) {
        return NULL;
    }
    PyObject *text = PyObject_Repr((PyObject *)self);
    if (text == NULL) {
        PyErr_Clear(); /* a callback that cannot be described is called cancelled and no more */
    }
    return text;
}

/* Drop callback and arguments of a cancelled handle. */
static void
handle_forget_call(HandleObject *self)
{
    PyObject *text = handle_last_words(self);
    handle_drop_call(self);
    self->args[0] = text;
}

void
fl_handle_cancel(HandleObject *self)
{
    if (self->cancelled) {
        return;
    }
    self->cancelled = true;
    if (self->scheduled) {
        self->loop->timers_cancelled++;
    }
    if (!self->running) {
        handle_forget_call(self);
    }
}

/* -- running --------------------------------------------------------------------------------------- */

int
fl_run_in_context(LoopObject *loop, PyObject *context, PyObject *callback, PyObject *const *args,
                  size_t nargsf)
{
    if (fl_current_publish(loop, NULL) < 0 || PyContext_Enter(context) < 0) {
        return -1;
    }
    PyObject *result = PyObject_Vectorcall(callback, args, nargsf, NULL);
    Py_XDECREF(result);
    int left = PyContext_Exit(context);
    return result == NULL || left < 0 ? -1 : 0;
}

static int
handle_call(HandleObject *self)
{
    bool inlined = self->nargs <= FL_HANDLE_INLINE;
    PyObject *const *args = inlined ? self->args : &PyTuple_GET_ITEM(self->args[0], 0);
    return fl_run_in_context(self->loop, self->context, self->callback, args, (size_t)self->nargs);
}

int
fl_handle_run(HandleObject *self)
{
    if (self->callback == NULL) { /* _run() of a cancelled handle */
        PyErr_SetString(PyExc_TypeError, "'NoneType' object is not callable");
        return fl_handle_report(self->loop, self);
    }
    bool nested = self->running;
    self->running = true;
    int rc = handle_call(self);
    if (rc < 0) {
        rc = fl_handle_report(self->loop, self);
    }
    self->running = nested;
    if (self->cancelled && !nested) {
        handle_forget_call(self);
    }
    return rc;
}

/* The work of a FL_READY_HANDLE word. */
static int
handle_run_ready(LoopObject *Py_UNUSED(loop), PyObject *item)
{
    HandleObject *self = (HandleObject *)item;
    int rc = self->cancelled ? 0 : fl_handle_run(self);
    fl_handle_release(self);
    return rc;
}

/* -- reporting ------------------------------------------------------------------------------------- */

static PyObject *
handle_args_tuple(HandleObject *self)
{
    if (self->nargs > FL_HANDLE_INLINE && self->callback != NULL) {
        return Py_NewRef(self->args[0]);
    }
    Py_ssize_t n = self->callback == NULL ? 0 : self->nargs;
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple != NULL && i < n; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(self->args[i]));
    }
    return tuple;
}

/* "name(args) at file:line", worded by asyncio. */
static PyObject *
handle_describe_call(HandleObject *self)
{
    PyObject *args = handle_args_tuple(self);
    if (args == NULL) {
        return NULL;
    }
    PyObject *callback = self->callback == NULL ? Py_None : self->callback;
    PyObject *text = PyObject_CallFunctionObjArgs(self->loop->state->format_callback_source,
                                                  callback, args, NULL);
    Py_DECREF(args);
    return text;
}

static PyObject *
handle_error_context(HandleObject *self, PyObject *exc)
{
    PyObject *call = handle_describe_call(self);
    if (call == NULL) {
        return NULL;
    }
    PyObject *message = PyUnicode_FromFormat("Exception in callback %U", call);
    Py_DECREF(call);
    PyObject *context = message == NULL ? NULL : PyDict_New();
    fl_state *state = self->loop->state;
    if (context != NULL &&
        (PyDict_SetItem(context, state->str_message, message) < 0 ||
         PyDict_SetItem(context, state->str_exception, exc) < 0 ||
         PyDict_SetItem(context, state->str_handle, (PyObject *)self) < 0 ||
         (self->source_tb != NULL &&
          PyDict_SetItem(context, state->str_source_traceback, self->source_tb) < 0))) {
        Py_CLEAR(context);
    }
    Py_XDECREF(message);
    return context;
}

int
fl_handle_report(LoopObject *loop, HandleObject *self)
{
    if (fl_exception_must_leave()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *context = handle_error_context(self, exc);
    Py_DECREF(exc);
    return fl_call_exception_handler(loop->state, (PyObject *)loop, context);
}

/* -- methods --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    Handle_cancel_doc,
    "cancel($self, /)\n--\n\n"
    "Make sure that the callback will not be called any more and drop it with its arguments.");

static PyObject *
Handle_cancel(HandleObject *self, PyObject *Py_UNUSED(ignored))
{
    fl_handle_cancel(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Handle_cancelled_doc, "cancelled($self, /)\n--\n\n"
                                   "Return True if cancel() was called.");

static PyObject *
Handle_cancelled(HandleObject *self, PyObject *Py_UNUSED(ignored))
{
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
    return fl_handle_run(self) < 0 ? NULL : Py_NewRef(Py_None);
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

static bool
handle_is_timer(HandleObject *self)
{
    return Py_TYPE(self) == self->loop->state->TimerHandle_type;
}

/* The words of asyncio's Handle.__repr__, in its order. */
static int
handle_describe(HandleObject *self, PyObject *words)
{
    const char *name = handle_is_timer(self) ? "TimerHandle" : "Handle";
    if (words_append(words, PyUnicode_FromString(name)) < 0 ||
        (self->cancelled && words_append(words, PyUnicode_FromString("cancelled")) < 0) ||
        (handle_is_timer(self) && words_append(words, handle_describe_when(self)) < 0) ||
        (self->callback != NULL && words_append(words, handle_describe_call(self)) < 0)) {
        return -1;
    }
    bool has_origin = self->source_tb != NULL && PyObject_Size(self->source_tb) > 0;
    return has_origin ? words_append(words, handle_describe_origin(self)) : 0;
}

static PyObject *
Handle_repr(HandleObject *self)
{
    if (self->callback == NULL && self->args[0] != NULL) {
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
    PyObject *args_a = handle_args_tuple(a), *args_b = handle_args_tuple(b);
    int equal = -1;
    if (args_a != NULL && args_b != NULL) {
        PyObject *callback_a = Py_NewRef(a->callback), *callback_b = Py_NewRef(b->callback);
        equal = PyObject_RichCompareBool(callback_a, callback_b, Py_EQ);
        if (equal > 0) {
            equal = PyObject_RichCompareBool(args_a, args_b, Py_EQ);
        }
        Py_DECREF(callback_a);
        Py_DECREF(callback_b);
    }
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
    fl_state *state = self->loop->state;
    return Py_NewRef(handle_is_timer(self) ? state->asyncio_TimerHandle : state->asyncio_Handle);
}

static PyObject *
Handle_get_callback(HandleObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->callback);
}

static PyObject *
Handle_get_args(HandleObject *self, void *Py_UNUSED(closure))
{
    return self->callback == NULL ? Py_NewRef(Py_None) : handle_args_tuple(self);
}

static PyObject *
Handle_get_cancelled(HandleObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->cancelled);
}

static PyObject *
Handle_get_loop(HandleObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->loop);
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
    {Py_tp_dealloc, Handle_dealloc},
    {Py_tp_repr, Handle_repr},
    {Py_tp_methods, handle_methods},
    {Py_tp_getset, handle_getset},
    {Py_tp_members, handle_members},
    {0, NULL},
};

static PyType_Slot timer_slots[] = {
    {Py_tp_doc, (void *)TimerHandle_doc},
    {Py_tp_dealloc, Handle_dealloc},
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
    .flags = HANDLE_FLAGS,
    .slots = timer_slots,
};

int
fl_handle_setup_types(PyObject *module, fl_state *state)
{
    state->run_ready[FL_READY_HANDLE] = handle_run_ready;
    return fl_add_type(module, &handle_spec, NULL, "Handle", &state->Handle_type) < 0 ||
                   fl_add_type(module, &timer_spec, NULL, "TimerHandle", &state->TimerHandle_type) < 0
               ? -1
               : 0;
}
