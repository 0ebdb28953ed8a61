/* The engine: what is the same whichever way data passes. */
#include "tls/engine.h"

/* -- one call at a time ---------------------------------------------------------------------------- */

/* 0, or -1 with RuntimeError if a call is under way or the engine has ended. */
static int
engine_enter(TLSEngineObject *self)
{
    if (self->busy || self->ops == NULL) {
        PyErr_SetString(PyExc_RuntimeError, self->busy ? "the TLS engine is in a call already"
                                                       : "the TLS engine has ended");
        return -1;
    }
    self->busy = true;
    return 0;
}

/* The same for what makes sense only once the handshake is done. */
static int
engine_enter_connected(TLSEngineObject *self)
{
    if (engine_enter(self) < 0) {
        return -1;
    }
    if (!self->connected) {
        self->busy = false;
        PyErr_SetString(PyExc_RuntimeError, "the TLS handshake is not done");
        return -1;
    }
    return 0;
}

static int
engine_leave(TLSEngineObject *self, int result)
{
    self->busy = false;
    return result;
}

/* -- input and output ------------------------------------------------------------------------------ */

int
fl_tls_feed(TLSEngineObject *self, const char *data, size_t len)
{
    if (engine_enter(self) < 0) {
        return -1;
    }
    return engine_leave(self, self->ops->feed(self, data, len, self->connected));
}

int
fl_tls_unlend(TLSEngineObject *self)
{
    return engine_enter(self) < 0 ? -1 : engine_leave(self, self->ops->unlend(self));
}

int
fl_tls_feed_eof(TLSEngineObject *self)
{
    if (engine_enter(self) < 0) {
        return -1;
    }
    self->ended = true;
    return engine_leave(self, self->ops->feed_eof(self));
}

int
fl_tls_put_first(TLSEngineObject *self, const char *data, size_t len)
{
    return engine_enter(self) < 0 ? -1 : engine_leave(self, self->ops->put_first(self, data, len));
}

int
fl_tls_output(TLSEngineObject *self, const char **data, size_t *len)
{
    return engine_enter(self) < 0 ? -1 : engine_leave(self, self->ops->output(self, data, len));
}

void
fl_tls_output_taken(TLSEngineObject *self, size_t n)
{
    if (n > 0) {
        self->ops->output_taken(self, n);
    }
}

Py_ssize_t
fl_tls_pending(TLSEngineObject *self)
{
    if (engine_enter(self) < 0) {
        return -1;
    }
    Py_ssize_t n = self->ops->pending(self);
    self->busy = false;
    return n;
}

/* -- handshake and shutdown ------------------------------------------------------------------------ */

/* Call a method that waits for the peer.  1: done, 0: wants input, -1: failed. */
static int
engine_negotiate(TLSEngineObject *self, PyObject *method)
{
    if (self->ops->unlend(self) < 0) { /* callbacks of the user's may run */
        return -1;
    }
    PyObject *result = PyObject_CallMethodNoArgs(self->sslobject, method);
    self->ops->unlend(self); /* nothing was lent since, but memory may have become free */
    if (result != NULL) {
        Py_DECREF(result);
        return 1;
    }
    if (PyErr_ExceptionMatches(self->library->SSLZeroReturnError)) {
        return -1;
    }
    return fl_tls_outcome(self);
}

int
fl_tls_handshake(TLSEngineObject *self)
{
    if (engine_enter(self) < 0) {
        return -1;
    }
    int rc = engine_negotiate(self, self->state->str_do_handshake);
    self->connected = self->connected || rc == 1;
    return engine_leave(self, rc);
}

int
fl_tls_in_handshake(TLSEngineObject *self)
{
    PyObject *version = PyObject_CallMethod(self->sslobject, "version", NULL);
    int rc = version == NULL ? -1 : version == Py_None;
    Py_XDECREF(version);
    return rc;
}

int
fl_tls_shutdown(TLSEngineObject *self)
{
    if (engine_enter(self) < 0) {
        return -1;
    }
    return engine_leave(self, engine_negotiate(self, self->state->str_unwrap));
}

/* -- data ------------------------------------------------------------------------------------------ */

/* Data came first: its number is the result, and an exception has to wait. */
static Py_ssize_t
engine_postpone(TLSEngineObject *self, size_t total)
{
    self->failure = PyErr_GetRaisedException();
    return (Py_ssize_t)total;
}

static Py_ssize_t
engine_read(TLSEngineObject *self, char *buffer, size_t size, size_t filled)
{
    size_t total = filled;
    while (total < size) {
        Py_ssize_t n = self->ended ? 1 : self->ops->pending(self);
        if (n > 0) {
            n = self->ops->read(self, buffer + total, size - total);
        }
        if (n <= 0) {
            self->ended = self->ended || n < 0;
            return total > 0 ? engine_postpone(self, total) : n;
        }
        total += (size_t)n;
    }
    return (Py_ssize_t)total;
}

Py_ssize_t
fl_tls_read(TLSEngineObject *self, char *buffer, size_t size, size_t filled)
{
    if (engine_enter_connected(self) < 0) {
        return FL_TLS_FAILED;
    }
    Py_ssize_t n = FL_TLS_FAILED;
    if (self->failure == NULL) {
        n = engine_read(self, buffer, size, filled);
    }
    else {
        PyErr_SetRaisedException(self->failure);
        self->failure = NULL;
    }
    self->busy = false;
    return n;
}

Py_ssize_t
fl_tls_write(TLSEngineObject *self, const char *data, size_t len)
{
    if (engine_enter_connected(self) < 0) {
        return FL_TLS_FAILED;
    }
    Py_ssize_t n = self->ops->write(self, data, len);
    self->busy = false;
    return n;
}

/* -- making it ------------------------------------------------------------------------------------- */

/* sslcontext.wrap_bio(incoming, outgoing, server_side=…, server_hostname=…[, session=…]).  The user's own method may know
   nothing of sessions. */
static PyObject *
engine_wrap(TLSEngineObject *self, PyObject *sslcontext, bool server_side,
            PyObject *server_hostname, PyObject *session)
{
    PyObject *method = PyObject_GetAttrString(sslcontext, "wrap_bio");
    PyObject *args = method == NULL ? NULL : PyTuple_Pack(2, self->incoming, self->outgoing);
    PyObject *kwargs =
        args == NULL ? NULL
                     : Py_BuildValue("{s:O,s:O}", "server_side", server_side ? Py_True : Py_False,
                                     "server_hostname", server_hostname ? server_hostname : Py_None);
    if (kwargs != NULL && session != NULL && PyDict_SetItemString(kwargs, "session", session) < 0) {
        Py_CLEAR(kwargs);
    }
    PyObject *sslobject = kwargs == NULL ? NULL : PyObject_Call(method, args, kwargs);
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(method);
    return sslobject;
}

/* Choose between direct.c and python.c.  0, or -1 with RuntimeError when there is no choice. */
static int
engine_choose(TLSEngineObject *self, fl_tls_way way)
{
    self->ops = &fl_tls_python_ops;
    if (way != FL_TLS_PYTHON && fl_tls_direct_begin(self)) {
        self->ops = &fl_tls_direct_ops;
        Py_CLEAR(self->incoming); /* what matters of them is in the SSL */
        Py_CLEAR(self->outgoing);
    }
    else if (way == FL_TLS_DIRECT) {
        const char *refusal = self->library->refusal;
        PyErr_Format(PyExc_RuntimeError, "OpenSSL is not called directly: %s",
                     refusal != NULL ? refusal : "not for this SSLContext");
        return -1;
    }
    return 0;
}

static int
engine_begin(TLSEngineObject *self, PyObject *sslcontext, bool server_side,
             PyObject *server_hostname, PyObject *session, fl_tls_way way)
{
    TLSLibraryObject *library = fl_tls_library(self->state);
    if (library == NULL) {
        return -1;
    }
    self->library = (TLSLibraryObject *)Py_NewRef((PyObject *)library);
    if ((self->incoming = PyObject_CallNoArgs(library->MemoryBIO)) == NULL ||
        (self->outgoing = PyObject_CallNoArgs(library->MemoryBIO)) == NULL) {
        return -1;
    }
    self->sslobject = engine_wrap(self, sslcontext, server_side, server_hostname, session);
    return self->sslobject == NULL ? -1 : engine_choose(self, way);
}

TLSEngineObject *
fl_tls_new(fl_state *state, PyObject *sslcontext, bool server_side, PyObject *server_hostname,
           PyObject *session, fl_tls_way way)
{
    PyTypeObject *type = state->TLSEngine_type;
    TLSEngineObject *self = (TLSEngineObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = fl_state_hold(state);
    if (engine_begin(self, sslcontext, server_side, server_hostname, session, way) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}
