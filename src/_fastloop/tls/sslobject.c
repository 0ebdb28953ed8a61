/* Data by the methods of SSLObject and MemoryBIO: where OpenSSL must not be called, and for exceptions. */
#include "tls/engine.h"

#include <string.h>

/* The number that a method or attribute has given, whose reference is taken; -1 with an exception. */
static Py_ssize_t
sslobject_number(PyObject *number)
{
    if (number == NULL) {
        return -1;
    }
    Py_ssize_t value = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    if (value < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_RuntimeError, "the SSL object has returned a negative number");
    }
    return value;
}

/* object.method(data) for borrowed memory, which Python will not see after the call. */
static Py_ssize_t
sslobject_call(TLSEngineObject *self, PyObject *object, PyObject *method, const char *data,
               size_t len)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)len, PyBUF_READ);
    if (view == NULL) {
        return -1;
    }
    Py_ssize_t n = sslobject_number(PyObject_CallMethodOneArg(object, method, view));
    PyObject *raised = PyErr_GetRaisedException(); /* its traceback may keep the view */
    PyObject *released = PyObject_CallMethodNoArgs(view, self->state->str_release);
    Py_DECREF(view);
    if (released == NULL) {
        Py_XDECREF(raised);
        return -1;
    }
    Py_DECREF(released);
    PyErr_SetRaisedException(raised);
    return n;
}

int
fl_tls_outcome(TLSEngineObject *self)
{
    int outcome = FL_TLS_FAILED;
    if (PyErr_ExceptionMatches(self->library->SSLWantReadError) ||
        PyErr_ExceptionMatches(self->library->SSLWantWriteError)) {
        outcome = FL_TLS_WANTS_INPUT;
    }
    else if (PyErr_ExceptionMatches(self->library->SSLZeroReturnError)) {
        outcome = FL_TLS_CLOSE_NOTIFY;
    }
    if (outcome != FL_TLS_FAILED) {
        PyErr_Clear();
    }
    return outcome;
}

/* bio.write(data), all of it.  0 or -1. */
static int
sslobject_append(TLSEngineObject *self, PyObject *bio, const char *data, size_t len)
{
    while (len > 0) {
        Py_ssize_t n = sslobject_call(self, bio, self->state->str_write, data, len);
        if (n < 0) {
            return -1;
        }
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int
sslobject_feed(TLSEngineObject *self, const char *data, size_t len)
{
    return sslobject_append(self, self->incoming, data, len);
}

static int
sslobject_keep_rest(TLSEngineObject *Py_UNUSED(self))
{
    return 0;
}

static int
sslobject_feed_eof(TLSEngineObject *self)
{
    PyObject *done = PyObject_CallMethodNoArgs(self->incoming, self->state->str_write_eof);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static Py_ssize_t
sslobject_unread(TLSEngineObject *self)
{
    PyObject *name = self->state->str_pending;
    Py_ssize_t n = sslobject_number(PyObject_GetAttr(self->incoming, name));
    if (n != 0) {
        return n;
    }
    n = sslobject_number(PyObject_CallMethodNoArgs(self->sslobject, name));
    if (n < 0 && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return 1; /* an object of another kind that does not tell: read() will */
    }
    return n;
}

/* sslobject.read(size): bytes, or NULL with an exception. */
static PyObject *
sslobject_read_bytes(TLSEngineObject *self, size_t size)
{
    PyObject *number = PyLong_FromSize_t(size < FL_TLS_RECORD_MAX ? size : FL_TLS_RECORD_MAX);
    PyObject *bytes =
        number == NULL ? NULL
                       : PyObject_CallMethodOneArg(self->sslobject, self->state->str_read, number);
    Py_XDECREF(number);
    if (bytes != NULL && !(PyBytes_Check(bytes) && (size_t)PyBytes_GET_SIZE(bytes) <= size)) {
        PyErr_SetString(PyExc_RuntimeError, "the SSL object's read() has not returned such bytes");
        Py_CLEAR(bytes);
    }
    return bytes;
}

static Py_ssize_t
sslobject_read(TLSEngineObject *self, char *buffer, size_t size)
{
    PyObject *bytes = sslobject_read_bytes(self, size);
    if (bytes == NULL) {
        return fl_tls_outcome(self);
    }
    Py_ssize_t n = PyBytes_GET_SIZE(bytes);
    memcpy(buffer, PyBytes_AS_STRING(bytes), (size_t)n);
    Py_DECREF(bytes);
    return n > 0 ? n : FL_TLS_CLOSE_NOTIFY;
}

static Py_ssize_t
sslobject_write(TLSEngineObject *self, const char *data, size_t len)
{
    Py_ssize_t n = sslobject_call(self, self->sslobject, self->state->str_write, data, len);
    if (n >= 0) {
        return n;
    }
    return PyErr_ExceptionMatches(self->library->SSLZeroReturnError) ? FL_TLS_FAILED
                                                                     : fl_tls_outcome(self);
}

static int
sslobject_put_first(TLSEngineObject *self, const char *data, size_t len)
{
    return sslobject_append(self, self->outgoing, data, len);
}

static int
sslobject_output(TLSEngineObject *self, const char **data, size_t *len)
{
    *len = 0;
    if (self->output == NULL) {
        Py_ssize_t n = sslobject_number(PyObject_GetAttr(self->outgoing, self->state->str_pending));
        if (n <= 0) {
            return (int)n;
        }
        self->output = PyObject_CallMethodNoArgs(self->outgoing, self->state->str_read);
        if (self->output == NULL) {
            return -1;
        }
    }
    *data = PyBytes_AS_STRING(self->output) + self->taken;
    *len = (size_t)PyBytes_GET_SIZE(self->output) - self->taken;
    return 0;
}

static void
sslobject_output_taken(TLSEngineObject *self, size_t n)
{
    self->taken += n;
    if (self->output != NULL && self->taken == (size_t)PyBytes_GET_SIZE(self->output)) {
        self->taken = 0;
        Py_CLEAR(self->output);
    }
}

static void
sslobject_detach(TLSEngineObject *Py_UNUSED(self))
{
}

const fl_tls_ops fl_tls_sslobject_ops = {
    .feed = sslobject_feed,
    .lend = sslobject_feed,
    .keep_rest = sslobject_keep_rest,
    .feed_eof = sslobject_feed_eof,
    .pending = sslobject_unread,
    .read = sslobject_read,
    .write = sslobject_write,
    .put_first = sslobject_put_first,
    .output = sslobject_output,
    .output_taken = sslobject_output_taken,
    .detach = sslobject_detach,
};
