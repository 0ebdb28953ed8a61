/* TLSEngine as Python sees it, which tests and benchmarks do. */
#include "tls/engine.h"

#include "py/args.h"
#include "py/types.h"

#include <structmember.h>

/* -- methods --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(handshake_doc,
             "handshake($self, /)\n--\n\n"
             "Go on with the handshake. Return whether it is done; if not, it wants input.");

static PyObject *
TLSEngine_handshake(TLSEngineObject *self, PyObject *Py_UNUSED(ignored))
{
    int rc = fl_tls_handshake(self);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

PyDoc_STRVAR(
    shutdown_doc,
    "shutdown($self, /)\n--\n\n"
    "Send a close_notify. Return whether the peer's was received too; if not, it wants input.");

static PyObject *
TLSEngine_shutdown(TLSEngineObject *self, PyObject *Py_UNUSED(ignored))
{
    int rc = fl_tls_shutdown(self);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

PyDoc_STRVAR(feed_doc, "feed($self, data, /)\n--\n\n"
                       "Hand over bytes from the peer.");

static PyObject *
TLSEngine_feed(TLSEngineObject *self, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int rc = fl_tls_feed(self, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(feed_eof_doc, "feed_eof($self, /)\n--\n\n"
                           "No more bytes come from the peer.");

static PyObject *
TLSEngine_feed_eof(TLSEngineObject *self, PyObject *Py_UNUSED(ignored))
{
    return fl_tls_feed_eof(self) < 0 ? NULL : Py_NewRef(Py_None);
}

/* What fl_tls_read() has put into a bytes object, cut to size; None when it wants input, b"" when closed. */
static PyObject *
engine_bytes(PyObject *bytes, Py_ssize_t n)
{
    if (n == FL_TLS_FAILED) {
        Py_DECREF(bytes);
        return NULL;
    }
    if (n == FL_TLS_WANTS_INPUT) {
        Py_DECREF(bytes);
        Py_RETURN_NONE;
    }
    _PyBytes_Resize(&bytes, n == FL_TLS_CLOSE_NOTIFY ? 0 : n);
    return bytes;
}

PyDoc_STRVAR(read_doc,
             "read($self, size, /)\n--\n\n"
             "Decrypt up to size bytes. Return None when it wants input first, b'' after the\n"
             "peer's close_notify.");

static PyObject *
TLSEngine_read(TLSEngineObject *self, PyObject *arg)
{
    Py_ssize_t size = PyLong_AsSsize_t(arg);
    if (size <= 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "size must be positive");
    }
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL) {
        return NULL;
    }
    return engine_bytes(bytes, fl_tls_read(self, PyBytes_AS_STRING(bytes), (size_t)size, 0));
}

PyDoc_STRVAR(receive_doc,
             "receive($self, data, /)\n--\n\n"
             "Decrypt what bytes from the peer bring, as a transport does. Return like read().");

static PyObject *
TLSEngine_receive(TLSEngineObject *self, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    /* plaintext is shorter than what it was encrypted to, but a record may have been under way */
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, view.len + FL_TLS_RECORD_MAX);
    Py_ssize_t n = bytes == NULL
                       ? FL_TLS_FAILED
                       : fl_tls_receive(self, view.buf, (size_t)view.len, PyBytes_AS_STRING(bytes),
                                        (size_t)PyBytes_GET_SIZE(bytes));
    PyBuffer_Release(&view);
    return bytes == NULL ? NULL : engine_bytes(bytes, n);
}

PyDoc_STRVAR(write_doc,
             "write($self, data, /)\n--\n\n"
             "Encrypt data. Return the number of its bytes, or 0 when it wants input first.");

static PyObject *
TLSEngine_write(TLSEngineObject *self, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_ssize_t n = view.len == 0 ? 0 : fl_tls_write(self, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return n < 0 ? NULL : PyLong_FromSsize_t(n);
}

PyDoc_STRVAR(output_doc, "output($self, size=-1, /)\n--\n\n"
                         "Take what is to be sent, up to size bytes unless that is negative.");

static PyObject *
TLSEngine_output(TLSEngineObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    const char *data;
    size_t len;
    Py_ssize_t size = -1;
    if (nargs > 1) {
        return PyErr_Format(PyExc_TypeError, "output() takes at most 1 argument");
    }
    if (nargs == 1 && (size = PyLong_AsSsize_t(args[0])) == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (fl_tls_output(self, &data, &len) < 0) {
        return NULL;
    }
    len = size >= 0 && (size_t)size < len ? (size_t)size : len;
    PyObject *bytes = PyBytes_FromStringAndSize(len == 0 ? "" : data, (Py_ssize_t)len);
    if (bytes != NULL) {
        fl_tls_output_taken(self, len);
    }
    return bytes;
}

PyDoc_STRVAR(refusal_doc,
             "refusal()\n--\n\n"
             "Return why OpenSSL is not called directly in this interpreter, or None: it is.");

static PyObject *
TLSEngine_refusal(PyObject *type, PyObject *Py_UNUSED(ignored))
{
    fl_state *state = fl_state_of((PyTypeObject *)type);
    TLSLibraryObject *library = state == NULL ? NULL : fl_tls_library(state);
    if (library == NULL) {
        return NULL;
    }
    return Py_BuildValue("z", library->refusal);
}

static PyMethodDef engine_methods[] = {
    {"handshake", (PyCFunction)TLSEngine_handshake, METH_NOARGS, handshake_doc},
    {"shutdown", (PyCFunction)TLSEngine_shutdown, METH_NOARGS, shutdown_doc},
    {"feed", (PyCFunction)TLSEngine_feed, METH_O, feed_doc},
    {"feed_eof", (PyCFunction)TLSEngine_feed_eof, METH_NOARGS, feed_eof_doc},
    {"read", (PyCFunction)TLSEngine_read, METH_O, read_doc},
    {"receive", (PyCFunction)TLSEngine_receive, METH_O, receive_doc},
    {"write", (PyCFunction)TLSEngine_write, METH_O, write_doc},
    {"output", FL_FASTCALL(TLSEngine_output), METH_FASTCALL, output_doc},
    {"refusal", TLSEngine_refusal, METH_NOARGS | METH_CLASS, refusal_doc},
    {NULL},
};

/* -- attributes ------------------------------------------------------------------------------------ */

static PyObject *
TLSEngine_get_direct(TLSEngineObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->ops == &fl_tls_openssl_ops);
}

static PyObject *
TLSEngine_get_held(TLSEngineObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(self->kept.max + self->sealed.max);
}

static PyGetSetDef engine_attributes[] = {
    {"direct", (getter)TLSEngine_get_direct, NULL, "Whether OpenSSL is called directly.", NULL},
    {"held", (getter)TLSEngine_get_held, NULL, "Bytes of memory for input and output, if direct.",
     NULL},
    {NULL},
};

static PyMemberDef engine_members[] = {
    {"ssl_object", T_OBJECT, offsetof(TLSEngineObject, sslobject), READONLY, "The ssl.SSLObject."},
    {NULL},
};

/* -- the type -------------------------------------------------------------------------------------- */

/* The way that the argument `direct` asks for: -1 on error. */
static int
engine_way(PyObject *direct)
{
    if (!fl_arg_given(direct)) {
        return FL_TLS_BEST;
    }
    int truth = PyObject_IsTrue(direct);
    return truth < 0 ? -1 : truth ? FL_TLS_OPENSSL : FL_TLS_SSLOBJECT;
}

static PyObject *
TLSEngine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const fl_signature signature = {"TLSEngine",
                                           1,
                                           5,
                                           5,
                                           {FL_PARAM(sslcontext), FL_PARAM(server_side),
                                            FL_PARAM(server_hostname), FL_PARAM(session),
                                            FL_PARAM(direct)}};
    PyObject *values[5];
    fl_state *state = fl_state_of(type);
    if (state == NULL || fl_args_bind_tuple(state, &signature, args, kwargs, values) < 0) {
        return NULL;
    }
    int server_side = values[1] == NULL ? 0 : PyObject_IsTrue(values[1]);
    int way = engine_way(values[4]);
    if (server_side < 0 || way < 0) {
        return NULL;
    }
    return (PyObject *)fl_tls_new(state, values[0], server_side, values[2], values[3],
                                  (fl_tls_way)way);
}

static int
TLSEngine_traverse(TLSEngineObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->library);
    Py_VISIT(self->sslobject);
    Py_VISIT(self->failure);
    Py_VISIT(self->socket);
    Py_VISIT(self->share);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    return 0;
}

/* The engine has ended: nothing of it works any more. */
static int
TLSEngine_clear(TLSEngineObject *self)
{
    if (self->ops != NULL) {
        self->ops->detach(self);
        self->ops = NULL;
    }
    Py_CLEAR(self->sslobject);
    Py_CLEAR(self->failure);
    Py_CLEAR(self->socket);
    self->spare = NULL;
    Py_CLEAR(self->share);
    Py_CLEAR(self->incoming);
    Py_CLEAR(self->outgoing);
    Py_CLEAR(self->output);
    return 0;
}

static void
TLSEngine_dealloc(TLSEngineObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    fl_state *state = self->state;
    PyObject_GC_UnTrack(self);
    TLSEngine_clear(self);
    Py_CLEAR(self->library);
    type->tp_free(self);
    if (state != NULL) {
        fl_state_release(state);
    }
    Py_DECREF(type);
}

PyDoc_STRVAR(
    TLSEngine_doc,
    "TLSEngine(sslcontext, server_side=False, server_hostname=None, session=None, direct=None)\n--\n\n"
    "One side of a TLS connection with no I/O: for tests. direct tells whether OpenSSL is to be\n"
    "called directly; where it cannot be, True raises RuntimeError.");

static PyType_Slot engine_slots[] = {
    {Py_tp_doc, (void *)TLSEngine_doc},
    {Py_tp_new, TLSEngine_new},
    {Py_tp_dealloc, TLSEngine_dealloc},
    {Py_tp_traverse, TLSEngine_traverse},
    {Py_tp_clear, TLSEngine_clear},
    {Py_tp_methods, engine_methods},
    {Py_tp_getset, engine_attributes},
    {Py_tp_members, engine_members},
    {0, NULL},
};

static PyType_Spec engine_spec = {
    .name = "fastloop._fastloop.TLSEngine",
    .basicsize = sizeof(TLSEngineObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = engine_slots,
};

int
fl_tls_setup_types(PyObject *module, fl_state *state)
{
    return fl_tls_library_setup_types(module, state) < 0
               ? -1
               : fl_add_type(module, &engine_spec, NULL, "TLSEngine", &state->TLSEngine_type);
}
