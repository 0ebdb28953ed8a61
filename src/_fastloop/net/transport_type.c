/* The Python face that all transports share: asyncio's methods and the private names that libraries read. */
#include "net/transport.h"

#include "loop/exit.h"
#include "net/transport_info.h"
#include "py/args.h"
#include "py/types.h"

#include <structmember.h>

/* -- methods of every transport -------------------------------------------------------------------- */

PyDoc_STRVAR(get_extra_info_doc,
             "get_extra_info($self, name, default=None)\n--\n\n"
             "Return what is known about the connection under this name, such as 'socket', 'sockname' or\n"
             "'peername' of a socket and 'pipe' of a pipe; else the default.");

static PyObject *
Transport_get_extra_info(TransportObject *self, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    static const fl_signature signature = {
        "get_extra_info", 1, 2, 2, {FL_PARAM(name), FL_PARAM(default)}};
    PyObject *given[2];
    if (fl_args_bind(self->loop->state, &signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (fl_list_is_linked(&self->io.cork) && fl_transport_flush_cork(self) < 0) {
        return NULL; /* the socket may be used directly now, behind what was written */
    }
    PyObject *value = fl_transport_find_info(self, given[0]);
    if (value != NULL || PyErr_Occurred()) {
        return value;
    }
    return fl_or_none(given[1]);
}

PyDoc_STRVAR(is_closing_doc, "is_closing($self, /)\n--\n\n"
                             "Return whether the transport is closing or closed.");

static PyObject *
Transport_is_closing(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->phase >= FL_CLOSING);
}

/* Debug mode finds out who ends a connection from another thread.  0 or -1. */
static int
transport_check_thread(TransportObject *self)
{
    return self->phase >= FL_LOSING ? 0 : fl_loop_check_thread(self->loop);
}

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Receive no more, send what is buffered, then call protocol.connection_lost(None).");

static PyObject *
Transport_close(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    if (transport_check_thread(self) < 0) {
        return NULL;
    }
    PyObject *before = fl_exit_begin(self->loop);
    int rc = fl_transport_close(self);
    return fl_exit_end(self->loop, before, rc) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(abort_doc, "abort($self, /)\n--\n\n"
                        "Close at once and drop what could not be sent yet.");

static PyObject *
Transport_abort(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    if (transport_check_thread(self) < 0) {
        return NULL;
    }
    PyObject *before = fl_exit_begin(self->loop);
    fl_transport_ops_of(self)->flush_cork(self);
    int rc = fl_transport_force_close(self, NULL);
    return fl_exit_end(self->loop, before, rc) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(get_protocol_doc, "get_protocol($self, /)\n--\n\n"
                               "Return the current protocol; None once the connection is lost.");

static PyObject *
Transport_get_protocol(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_or_none(self->protocol);
}

PyDoc_STRVAR(set_protocol_doc, "set_protocol($self, /, protocol)\n--\n\n"
                               "Have this protocol called from now on.");

static PyObject *
Transport_set_protocol(TransportObject *self, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    const fl_transport_ops *ops = fl_transport_ops_of(self);
    PyObject *protocol =
        fl_args_one(self->loop->state, "set_protocol", FL_PARAM(protocol), args, nargs, kwnames);
    if (protocol == NULL || (ops->adopt != NULL && ops->adopt(self, protocol) < 0)) {
        return NULL;
    }
    Py_XSETREF(self->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(force_close_doc,
             "_force_close($self, exc, /)\n--\n\n"
             "Close at once; exc, an exception or None, goes to connection_lost().");

static PyObject *
Transport_force_close(TransportObject *self, PyObject *exc)
{
    PyObject *before = fl_exit_begin(self->loop);
    int rc = fl_transport_force_close(self, exc);
    return fl_exit_end(self->loop, before, rc) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(fatal_error_doc, "_fatal_error($self, exc, message='Fatal error on transport')\n--\n\n"
                              "Report an exception that ends the connection, and close at once.");

static PyObject *
Transport_fatal_error(TransportObject *self, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    static const fl_signature signature = {
        "_fatal_error", 1, 2, 2, {FL_PARAM(exc), FL_PARAM(message)}};
    PyObject *given[2];
    if (fl_args_bind(self->loop->state, &signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    const char *message = given[1] == NULL ? "Fatal error on transport" : PyUnicode_AsUTF8(given[1]);
    if (message == NULL || !PyExceptionInstance_Check(given[0])) {
        return message == NULL
                   ? NULL
                   : PyErr_Format(PyExc_TypeError, "an exception is required, got %R", given[0]);
    }
    PyErr_SetRaisedException(Py_NewRef(given[0]));
    PyObject *before = fl_exit_begin(self->loop);
    fl_transport_fatal(self, message);
    return fl_exit_end(self->loop, before, 0) < 0 ? NULL : Py_NewRef(Py_None);
}

PyMethodDef fl_transport_methods[] = {
    {"get_extra_info", FL_FASTCALL(Transport_get_extra_info), FL_KEYWORDS, get_extra_info_doc},
    {"is_closing", (PyCFunction)Transport_is_closing, METH_NOARGS, is_closing_doc},
    {"close", (PyCFunction)Transport_close, METH_NOARGS, close_doc},
    {"abort", (PyCFunction)Transport_abort, METH_NOARGS, abort_doc},
    {"get_protocol", (PyCFunction)Transport_get_protocol, METH_NOARGS, get_protocol_doc},
    {"set_protocol", FL_FASTCALL(Transport_set_protocol), FL_KEYWORDS, set_protocol_doc},
    {"_force_close", (PyCFunction)Transport_force_close, METH_O, force_close_doc},
    {"_fatal_error", FL_FASTCALL(Transport_fatal_error), FL_KEYWORDS, fatal_error_doc},
    {NULL},
};

/* -- reading --------------------------------------------------------------------------------------- */

static bool
transport_is_reading(TransportObject *self)
{
    return self->phase < FL_CLOSING && !self->paused;
}

PyDoc_STRVAR(is_reading_doc, "is_reading($self, /)\n--\n\n"
                             "Return whether the protocol is given what arrives.");

static PyObject *
Transport_is_reading(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(transport_is_reading(self));
}

/* Log what a method does, in debug mode.  0, or -1 with what has to be raised. */
static int
transport_log_call(TransportObject *self, const char *format)
{
    PyObject *before = fl_exit_begin(self->loop);
    fl_transport_log(self, "debug", format);
    return fl_exit_end(self->loop, before, 0);
}

PyDoc_STRVAR(pause_reading_doc, "pause_reading($self, /)\n--\n\n"
                                "Give nothing to the protocol until resume_reading() is called.");

static PyObject *
Transport_pause_reading(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    if (transport_is_reading(self)) {
        self->paused = true; /* the poller hears of it when something arrives: often nothing does */
        return transport_log_call(self, "%r pauses reading") < 0 ? NULL : Py_NewRef(Py_None);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(resume_reading_doc, "resume_reading($self, /)\n--\n\n"
                                 "Give to the protocol what arrives, after pause_reading().");

static PyObject *
Transport_resume_reading(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->phase < FL_CLOSING && self->paused) {
        self->paused = false;
        const fl_transport_ops *ops = fl_transport_ops_of(self);
        if (fl_transport_rearm(self) < 0 || (ops->resumed != NULL && ops->resumed(self) < 0) ||
            transport_log_call(self, "%r resumes reading") < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

PyMethodDef fl_reading_methods[] = {
    {"is_reading", (PyCFunction)Transport_is_reading, METH_NOARGS, is_reading_doc},
    {"pause_reading", (PyCFunction)Transport_pause_reading, METH_NOARGS, pause_reading_doc},
    {"resume_reading", (PyCFunction)Transport_resume_reading, METH_NOARGS, resume_reading_doc},
    {NULL},
};

/* -- flow control of writing ----------------------------------------------------------------------- */

PyDoc_STRVAR(get_write_buffer_size_doc, "get_write_buffer_size($self, /)\n--\n\n"
                                        "Return how many bytes the kernel has not taken yet.");

static PyObject *
Transport_get_write_buffer_size(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_transport_flush_cork(self) < 0
               ? NULL
               : PyLong_FromSize_t(fl_transport_ops_of(self)->unsent(self));
}

PyDoc_STRVAR(get_write_buffer_limits_doc, "get_write_buffer_limits($self, /)\n--\n\n"
                                          "Return (low, high), the watermarks in bytes.");

static PyObject *
Transport_get_write_buffer_limits(TransportObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("(nn)", (Py_ssize_t)self->low_water, (Py_ssize_t)self->high_water);
}

/* A watermark that was given, or the default.  0, or -1 with an exception. */
static int
watermark_given(PyObject *given, Py_ssize_t preset, Py_ssize_t *value)
{
    if (!fl_arg_given(given)) {
        *value = preset;
        return 0;
    }
    PyObject *number = PyFloat_Check(given) ? PyNumber_Long(given) : Py_NewRef(given);
    *value = number == NULL
                 ? -1
                 : PyNumber_AsSsize_t(number, NULL); /* what is too large becomes the largest */
    Py_XDECREF(number);
    return PyErr_Occurred() ? -1 : 0;
}

/* The high watermark when only the low one may be given. */
static Py_ssize_t
watermark_above(PyObject *given, Py_ssize_t low, size_t preset)
{
    if (!fl_arg_given(given)) {
        return (Py_ssize_t)preset;
    }
    return low > PY_SSIZE_T_MAX / 4 ? PY_SSIZE_T_MAX : 4 * low;
}

int
fl_watermarks_given(PyObject *const given[2], size_t preset, size_t *high_water, size_t *low_water)
{
    Py_ssize_t high, low;
    if (watermark_given(given[1], -1, &low) < 0 ||
        watermark_given(given[0], watermark_above(given[1], low, preset), &high) < 0) {
        return -1;
    }
    if (!fl_arg_given(given[1])) {
        low = high >> 2; /* rounded down, as Python's // does */
    }
    if (high < low || low < 0) {
        PyErr_Format(PyExc_ValueError, "high (%zd) must be >= low (%zd) must be >= 0", high, low);
        return -1;
    }
    *high_water = (size_t)high;
    *low_water = (size_t)low;
    return 0;
}

PyDoc_STRVAR(
    set_write_buffer_limits_doc,
    "set_write_buffer_limits($self, /, high=None, low=None)\n--\n\n"
    "Have protocol.pause_writing() called above high bytes, resume_writing() at or below low.\n\n"
    "high is 64 KiB by default (512 KiB over TLS), or four times low; low a quarter of high.  Raises ValueError\n"
    "unless high >= low >= 0.");

static PyObject *
Transport_set_write_buffer_limits(TransportObject *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    static const fl_signature signature = {
        "set_write_buffer_limits", 0, 2, 2, {FL_PARAM(high), FL_PARAM(low)}};
    const fl_transport_ops *ops = fl_transport_ops_of(self);
    PyObject *given[2];
    size_t high, low;
    if (fl_args_bind(self->loop->state, &signature, args, nargs, kwnames, given) < 0 ||
        fl_watermarks_given(given, ops->high_water, &high, &low) < 0) {
        return NULL;
    }
    PyObject *before = fl_exit_begin(self->loop);
    ops->flush_cork(self);
    self->high_water = high;
    self->low_water = low;
    fl_transport_maybe_pause(self);
    return fl_exit_end(self->loop, before, 0) < 0 ? NULL : Py_NewRef(Py_None);
}

PyMethodDef fl_flow_methods[] = {
    {"get_write_buffer_size", (PyCFunction)Transport_get_write_buffer_size, METH_NOARGS,
     get_write_buffer_size_doc},
    {"get_write_buffer_limits", (PyCFunction)Transport_get_write_buffer_limits, METH_NOARGS,
     get_write_buffer_limits_doc},
    {"set_write_buffer_limits", FL_FASTCALL(Transport_set_write_buffer_limits), FL_KEYWORDS,
     set_write_buffer_limits_doc},
    {NULL},
};

/* -- attributes ------------------------------------------------------------------------------------ */

PyObject *
fl_transport_repr(TransportObject *self)
{
    PyObject *class = PyType_GetName(Py_TYPE(self));
    if (class == NULL) {
        return NULL;
    }
    const char *status = self->phase == FL_LOST      ? " closed"
                         : self->phase >= FL_CLOSING ? " closing"
                                                     : "";
    PyObject *text;
    if (self->phase == FL_LOST || self->loop->closed) {
        text = PyUnicode_FromFormat("<%U%s fd=%d>", class, status, self->number);
    }
    else {
        unsigned watched = self->io.wanted;
        text = PyUnicode_FromFormat(
            "<%U%s fd=%d read=%s write=<%s, bufsize=%zu>>", class, status, self->number,
            (watched & FL_READ) && !self->paused ? "polling" : "idle",
            watched & FL_WRITE ? "polling" : "idle", fl_transport_ops_of(self)->unsent(self));
    }
    Py_DECREF(class);
    return text;
}

static PyObject *
Transport_get_loop(TransportObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->phase == FL_LOST ? NULL : (PyObject *)self->loop);
}

static PyObject *
Transport_get_protocol_attribute(TransportObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->protocol);
}

static PyObject *
Transport_get_extra(TransportObject *self, void *Py_UNUSED(closure))
{
    return Py_XNewRef(fl_transport_extra(self));
}

static int
Transport_set_extra(TransportObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL || !PyDict_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "_extra must be a dict");
        return -1;
    }
    Py_XSETREF(self->extra, Py_NewRef(value));
    return 0;
}

static PyObject *
Transport_get_closing(TransportObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->phase >= FL_CLOSING);
}

static PyObject *
Transport_get_conn_lost(TransportObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(self->phase >= FL_LOSING ? self->vain_writes : 0);
}

static PyGetSetDef transport_getset[] = {
    {"_loop", (getter)Transport_get_loop, NULL, "The loop; None once the connection is lost.", NULL},
    {"_protocol", (getter)Transport_get_protocol_attribute, NULL, "What get_protocol() returns.",
     NULL},
    {"_extra", (getter)Transport_get_extra, (setter)Transport_set_extra,
     "What get_extra_info() knows.", NULL},
    {"_conn_lost", (getter)Transport_get_conn_lost, NULL,
     "Not 0 once connection_lost() is scheduled.", NULL},
    {"_closing", (getter)Transport_get_closing, NULL, "What is_closing() returns.", NULL},
    {NULL},
};

static PyMemberDef transport_members[] = {
    {"_paused", T_BOOL, offsetof(TransportObject, paused), READONLY, "pause_reading() was called."},
    {"_protocol_paused", T_BOOL, offsetof(TransportObject, protocol_paused), READONLY,
     "pause_writing() was called."},
    {"_high_water", T_PYSSIZET, offsetof(TransportObject, high_water), READONLY, "Bytes."},
    {"_low_water", T_PYSSIZET, offsetof(TransportObject, low_water), READONLY, "Bytes."},
    {NULL},
};

/* -- making the types ------------------------------------------------------------------------------ */

int
fl_transport_init_nothing(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args),
                          PyObject *Py_UNUSED(kwargs))
{
    return 0;
}

/* Put a descriptor, whose reference is taken, into the type.  0 or -1. */
static int
type_add(PyTypeObject *type, const char *name, PyObject *descriptor)
{
    int rc = descriptor == NULL ? -1 : PyObject_SetAttrString((PyObject *)type, name, descriptor);
    Py_XDECREF(descriptor);
    return rc;
}

/* The one field of asyncio's class is ours to keep: it has to be where we think. */
static int
transport_check_base(PyObject *base)
{
    PyObject *first = PyTuple_Check(base) ? PyTuple_GET_ITEM(base, 0) : base;
    if (((PyTypeObject *)first)->tp_basicsize == (Py_ssize_t)offsetof(TransportObject, loop)) {
        return 0;
    }
    PyErr_Format(PyExc_ImportError, "%R has an unknown layout", base);
    return -1;
}

int
fl_transport_add_type(PyObject *module, PyType_Spec *spec, PyObject *base, const char *name,
                      PyTypeObject **slot, PyMethodDef *const *topics)
{
    if (transport_check_base(base) < 0 || fl_add_type(module, spec, base, name, slot) < 0) {
        return -1;
    }
    for (; *topics != NULL; topics++) {
        if (fl_type_add_methods(*slot, *topics) < 0) {
            return -1;
        }
    }
    for (PyGetSetDef *getset = transport_getset; getset->name != NULL; getset++) {
        if (type_add(*slot, getset->name, PyDescr_NewGetSet(*slot, getset)) < 0) {
            return -1;
        }
    }
    for (PyMemberDef *member = transport_members; member->name != NULL; member++) {
        if (type_add(*slot, member->name, PyDescr_NewMember(*slot, member)) < 0) {
            return -1;
        }
    }
    return 0;
}
