/* The type BaseLoop: its life, its attributes, and the methods of the other files of this folder.
   fastloop.Loop, the class that users meet, derives from it and from asyncio.AbstractEventLoop. */
#include "api/loop_type.h"

#include "api/methods.h"
#include "loop/handle.h"
#include "loop/io.h"
#include "loop/queues.h"
#include "py/call.h"
#include "py/types.h"

#include <structmember.h>

/* -- overridden methods ---------------------------------------------------------------------------- */

/* The method name behind an FL_OVERRIDE_… flag. */
static PyObject *
override_name(fl_state *state, unsigned flag)
{
    switch (flag) {
    case FL_OVERRIDE_CALL_SOON:
        return state->str_call_soon;
    case FL_OVERRIDE_CALL_AT:
        return state->str_call_at;
    case FL_OVERRIDE_TIME:
        return state->str_time;
    default:
        return state->str_run_forever;
    }
}

/* Whether type's method is another than BaseLoop's; -1 on error. */
static int
override_in_class(fl_state *state, PyTypeObject *type, PyObject *name)
{
    PyObject *ours = PyObject_GetAttr((PyObject *)state->BaseLoop_type, name);
    PyObject *theirs = ours == NULL ? NULL : PyObject_GetAttr((PyObject *)type, name);
    int differs = theirs == NULL ? -1 : ours != theirs;
    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    return differs;
}

/* Find out once, when a loop is made, what its class overrides. */
static int
loop_find_overrides(LoopObject *self)
{
    for (unsigned flag = 1; flag <= FL_OVERRIDE_RUN_FOREVER; flag <<= 1) {
        int differs =
            override_in_class(self->state, Py_TYPE(self), override_name(self->state, flag));
        if (differs < 0) {
            return -1;
        }
        self->overrides |= differs ? flag : 0;
    }
    fl_loop_update_unchecked(self);
    return 0;
}

/* An attribute set on the instance may hide a method too. */
static int
BaseLoop_setattro(PyObject *object, PyObject *name, PyObject *value)
{
    LoopObject *self = (LoopObject *)object;
    if (PyObject_GenericSetAttr(object, name, value) < 0) {
        return -1;
    }
    for (unsigned flag = 1; flag <= FL_OVERRIDE_RUN_FOREVER; flag <<= 1) {
        if (name == override_name(self->state, flag)) {
            int differs = value != NULL ? 1 : override_in_class(self->state, Py_TYPE(self), name);
            self->overrides = differs ? self->overrides | flag : self->overrides & ~flag;
            fl_loop_update_unchecked(self);
            return differs < 0 ? -1 : 0;
        }
    }
    return 0;
}

/* -- life ------------------------------------------------------------------------------------------ */

static PyObject *
BaseLoop_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    fl_state *state = fl_state_of(type);
    LoopObject *self = state == NULL ? NULL : (LoopObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    if (fl_loop_init(self, state) < 0 || loop_find_overrides(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
BaseLoop_traverse(LoopObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->spare);
    Py_VISIT(self->exit);
    Py_VISIT(self->exit_elsewhere);
    Py_VISIT(self->published);
    Py_VISIT(self->task_factory);
    Py_VISIT(self->current_handle);
    Py_VISIT(self->saved_hooks);
    Py_VISIT(self->saved_origin_depth);
    /* While the loop runs, everything in its queues is alive with it, however long they are. */
    return self->thread_id != 0 ? 0 : fl_queues_traverse(self, visit, arg);
}

static int
BaseLoop_clear(LoopObject *self)
{
    if (self->state != NULL) {
        fl_queues_shut(self);
    }
    Py_CLEAR(self->spare);
    Py_CLEAR(self->exit);
    Py_CLEAR(self->exit_elsewhere);
    Py_CLEAR(self->published);
    Py_CLEAR(self->task_factory);
    Py_CLEAR(self->current_handle);
    Py_CLEAR(self->saved_hooks);
    Py_CLEAR(self->saved_origin_depth);
    return 0;
}

static void
BaseLoop_dealloc(LoopObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    fl_state *state = self->state;
    PyObject_GC_UnTrack(self);
    BaseLoop_clear(self);
    fl_loop_free(self);
    type->tp_free(self);
    if (state != NULL) {
        fl_state_release(state);
    }
    Py_DECREF(type);
}

/* -- attributes ------------------------------------------------------------------------------------ */

static PyObject *
BaseLoop_repr(LoopObject *self)
{
    PyObject *class = PyObject_GetAttr((PyObject *)Py_TYPE(self), self->state->str___name__);
    if (class == NULL) {
        return NULL;
    }
    PyObject *text = PyUnicode_FromFormat(
        "<%S running=%s closed=%s debug=%s backend=%s>", class, self->thread_id ? "True" : "False",
        self->closed ? "True" : "False", self->debug ? "True" : "False", self->ops->name);
    Py_DECREF(class);
    return text;
}

static PyObject *
BaseLoop_get_debug(LoopObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->debug);
}

static PyObject *
BaseLoop_get_closed(LoopObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->closed);
}

static PyObject *
BaseLoop_get_current_handle(LoopObject *self, void *Py_UNUSED(closure))
{
    return fl_handle_hand_out(self->current_handle);
}

static PyObject *
BaseLoop_get_thread_id(LoopObject *self, void *Py_UNUSED(closure))
{
    return self->thread_id == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLong(self->thread_id);
}

static PyGetSetDef base_loop_getset[] = {
    {"_debug", (getter)BaseLoop_get_debug, NULL, "Whether debug mode is on.", NULL},
    {"_closed", (getter)BaseLoop_get_closed, NULL, "Whether the loop is closed.", NULL},
    {"_current_handle", (getter)BaseLoop_get_current_handle, NULL,
     "Debug mode: the Handle that runs, or None.", NULL},
    {"_thread_id", (getter)BaseLoop_get_thread_id, NULL, "The running thread, or None.", NULL},
    {NULL},
};

static PyMemberDef base_loop_members[] = {
    {"slow_callback_duration", T_DOUBLE, offsetof(LoopObject, slow_callback_duration), 0,
     "Debug mode: log callbacks and steps that take this many seconds or more."},
    {NULL},
};

/* -- the type -------------------------------------------------------------------------------------- */

PyDoc_STRVAR(BaseLoop_doc, "BaseLoop()\n--\n\n"
                           "The part of fastloop.Loop that is written in C.");

static PyType_Slot base_loop_slots[] = {
    {Py_tp_doc, (void *)BaseLoop_doc},   {Py_tp_new, BaseLoop_new},
    {Py_tp_dealloc, BaseLoop_dealloc},   {Py_tp_traverse, BaseLoop_traverse},
    {Py_tp_clear, BaseLoop_clear},       {Py_tp_repr, BaseLoop_repr},
    {Py_tp_setattro, BaseLoop_setattro}, {Py_tp_getset, base_loop_getset},
    {Py_tp_members, base_loop_members},  {0, NULL},
};

static PyType_Spec base_loop_spec = {
    .name = "fastloop._fastloop.BaseLoop",
    .basicsize = sizeof(LoopObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = base_loop_slots,
};

int
fl_loop_setup_types(PyObject *module, fl_state *state)
{
    state->run_ready[FL_READY_IO] = fl_io_run_ready;
    PyMethodDef *const topics[] = {fl_lifecycle_methods, fl_schedule_methods, fl_task_methods,
                                   fl_watch_methods, fl_sock_methods};
    if (fl_add_type(module, &base_loop_spec, NULL, "BaseLoop", &state->BaseLoop_type) < 0) {
        return -1;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(topics); i++) {
        if (fl_type_add_methods(state->BaseLoop_type, topics[i]) < 0) {
            return -1;
        }
    }
    return 0;
}
