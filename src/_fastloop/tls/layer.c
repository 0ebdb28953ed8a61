/* The life of a TLS connection: handshake, eof_received(), the exchange of close_notify, and how long each may take. */
#include "tls/layer.h"

#include "loop/exit.h"
#include "loop/watch.h"
#include "py/call.h"

/* -- how long it may take -------------------------------------------------------------------------- */

static void
layer_cancel_timer(TLSLayerObject *layer)
{
    PyObject *timer = layer->timer;
    if (timer == NULL) {
        return;
    }
    layer->timer = NULL;
    PyObject *done = PyObject_CallMethod(timer, "cancel", NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable(timer);
    }
    Py_XDECREF(done);
    Py_DECREF(timer);
}

static PyObject *
handshake_timed_out(TLSLayerObject *layer)
{
    PyObject *message = PyUnicode_FromFormat("SSL handshake is taking longer than %S seconds: "
                                             "aborting the connection",
                                             layer->handshake_timeout);
    PyObject *exc =
        message == NULL ? NULL : PyObject_CallOneArg(PyExc_ConnectionAbortedError, message);
    Py_XDECREF(message);
    return exc;
}

/* The timer's callback: abort the connection. */
static PyObject *
layer_timed_out(PyObject *stream, PyObject *Py_UNUSED(ignored))
{
    StreamObject *self = (StreamObject *)stream;
    TLSLayerObject *layer = fl_tls_layer(self);
    if (layer->stage == FL_TLS_OPEN) {
        Py_RETURN_NONE; /* a timer that could not be cancelled */
    }
    layer_cancel_timer(layer);
    PyObject *exc = layer->stage == FL_TLS_HANDSHAKE
                        ? handshake_timed_out(layer)
                        : PyObject_CallFunction(PyExc_TimeoutError, "s", "SSL shutdown timed out");
    if (exc == NULL) {
        return NULL;
    }
    PyObject *before = fl_exit_begin(self->loop);
    int rc = fl_transport_force_close((TransportObject *)self, exc);
    Py_DECREF(exc);
    return fl_exit_end(self->loop, before, rc) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef timed_out = {"_tls_timed_out", layer_timed_out, METH_NOARGS,
                                PyDoc_STR("Abort the connection: the peer took too long.")};

/* 0 or -1. */
static int
layer_set_timer(StreamObject *self, double seconds)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    layer_cancel_timer(layer);
    PyObject *callback = PyCFunction_New(&timed_out, (PyObject *)self);
    if (callback == NULL) {
        return -1;
    }
    PyObject *timer =
        PyObject_CallMethod((PyObject *)self->loop, "call_later", "dO", seconds, callback);
    Py_DECREF(callback);
    Py_XSETREF(layer->timer, timer);
    return timer == NULL ? -1 : 0;
}

/* -- the handshake --------------------------------------------------------------------------------- */

/* Listen to the peer, for a limited time.  0 or -1. */
static int
layer_expect_handshake(StreamObject *self)
{
    double timeout = PyFloat_AsDouble(fl_tls_layer(self)->handshake_timeout);
    if (timeout == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    return layer_set_timer(self, timeout) < 0 ? -1 : fl_transport_rearm((TransportObject *)self);
}

void
fl_tls_begin(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    TLSLayerObject *layer = fl_tls_layer(self);
    fl_transport_enter(transport, FL_OPEN);
    if (self->phase >= FL_LOSING) {
        return;
    }
    fl_transport_log(transport, "debug", "%r starts SSL handshake");
    layer->since = fl_clock_seconds(fl_loop_now(self->loop));
    fl_transport_want(transport, FL_WANT_LAYER, true);
    if (layer_expect_handshake(self) < 0) {
        fl_tls_handshake_failed(self);
    }
    else {
        fl_tls_negotiate(self);
    }
}

/* Whoever waits for the handshake waits for the connection, or with start_tls() for the layer. */
static void
layer_complete_waiter(StreamObject *self, PyObject *exc)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    PyObject **waiter = layer->waiter != NULL ? &layer->waiter : &self->waiter;
    fl_transport_complete_waiter((TransportObject *)self, waiter, exc);
}

/* The raised exception ends the handshake.  What the engine has to send then tells the peer why, if OpenSSL has failed; if
   Python code has refused the peer, it would have the peer believe that all is well. */
static void
layer_refuse(StreamObject *self, const char *message)
{
    PyObject *exc = PyErr_GetRaisedException();
    int failed = fl_tls_in_handshake(fl_tls_layer(self)->engine);
    if (failed < 0 && !fl_exit_if_asked(self->loop)) {
        PyErr_Clear(); /* exc tells what is wrong, and not what has happened since */
    }
    PyErr_SetRaisedException(exc);
    if (failed > 0) {
        fl_tls_failed(self, message);
    }
    else {
        fl_transport_fatal((TransportObject *)self, message);
    }
}

/* The raised exception ends the connection before anybody could use it. */
static void
layer_give_up(StreamObject *self, const char *message)
{
    if (fl_exit_if_asked(self->loop)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyErr_SetRaisedException(Py_NewRef(exc));
    layer_refuse(self, message);
    layer_complete_waiter(self, exc);
    Py_DECREF(exc);
}

void
fl_tls_handshake_failed(StreamObject *self)
{
    PyObject *unverified = fl_tls_layer(self)->engine->library->SSLCertVerificationError;
    layer_give_up(self, PyErr_ExceptionMatches(unverified)
                            ? "SSL handshake failed on verifying the certificate"
                            : "SSL handshake failed");
}

static void
log_duration(StreamObject *self)
{
    if (!self->loop->debug) {
        return;
    }
    PyObject *ms = PyFloat_FromDouble(
        (fl_clock_seconds(fl_loop_now(self->loop)) - fl_tls_layer(self)->since) * 1e3);
    PyObject *done = ms == NULL ? NULL
                                : PyObject_CallMethod(self->loop->state->logger, "debug", "sOO",
                                                      "%r: SSL handshake took %.1f ms", self, ms);
    Py_XDECREF(ms);
    Py_XDECREF(done);
    if (done == NULL) {
        fl_transport_report((TransportObject *)self, "Exception in logging");
    }
}

/* An SSLObject that fails later does not give the certificate any more. */
static void
layer_note_peercert(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    PyObject *peercert = PyObject_CallMethod(layer->engine->sslobject, "getpeercert", NULL);
    if (peercert == NULL) {
        fl_tls_handshake_failed(self);
        return;
    }
    Py_XSETREF(layer->peercert, peercert);
}

/* connection_made(), unless the protocol was told before.  An exception ends the connection, as in asyncio. */
static void
layer_tell_made(StreamObject *self)
{
    TransportObject *transport = (TransportObject *)self;
    if (self->made) {
        return;
    }
    self->made = true;
    PyObject *result =
        fl_transport_call(transport, self->loop->state->str_connection_made, (PyObject *)self);
    Py_XDECREF(result);
    if (result == NULL) {
        layer_give_up(self, "Fatal error: protocol.connection_made() call failed.");
    }
}

/* From now on data passes.  What came with the last of the handshake waits for its turn behind whoever waits for the
   handshake, who may set another protocol. */
static void
layer_open(StreamObject *self)
{
    TransportObject *transport = (TransportObject *)self;
    if (self->phase >= FL_LOSING) { /* connection_made() has aborted it */
        return;
    }
    fl_tls_cork(self);
    if (fl_transport_rearm(transport) < 0 || fl_tls_resumed(transport) < 0) {
        fl_transport_fatal(transport, "Fatal error: cannot watch the descriptor");
    }
}

static void
layer_established(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    layer_cancel_timer(layer);
    log_duration(self);
    layer_note_peercert(self);
    if (self->phase >=
        FL_LOSING) { /* user's code in between has aborted it: whoever waits hears of that */
        return;
    }
    layer->stage = FL_TLS_OPEN;
    layer->pending = true;
    fl_transport_want((TransportObject *)self, FL_WANT_LAYER, false);
    fl_tls_read_ahead(self);
    layer_tell_made(self);
    layer_complete_waiter(self, NULL);
    layer_open(self);
}

void
fl_tls_negotiate(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    int rc = -1;
    if (layer->peer_gone) {
        PyErr_SetNone(PyExc_ConnectionResetError);
    }
    else {
        rc = fl_tls_handshake(layer->engine);
    }
    if (self->phase >= FL_LOSING) { /* an SNI callback may have closed the transport */
        if (rc < 0 && !fl_exit_if_asked(self->loop)) {
            PyErr_Clear();
        }
        return;
    }
    if (rc < 0) {
        fl_tls_handshake_failed(self);
        return;
    }
    fl_tls_cork(self);
    if (rc > 0) {
        layer_established(self);
    }
}

/* -- the end --------------------------------------------------------------------------------------- */

void
fl_tls_failed(StreamObject *self, const char *message)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (self->phase < FL_LOSING && fl_tls_send_output(self) < 0) {
        PyErr_Clear(); /* whether the peer hears why it ends does not matter to us */
    }
    PyErr_SetRaisedException(exc);
    fl_transport_fatal((TransportObject *)self, message);
}

static void
log_vain_answer(StreamObject *self)
{
    PyObject *done = PyObject_CallMethod(self->loop->state->logger, "warning", "s",
                                         "returning true from eof_received() has no effect "
                                         "when using ssl");
    Py_XDECREF(done);
    if (done == NULL) {
        fl_transport_report((TransportObject *)self, "Exception in logging");
    }
}

static void
layer_tell_eof(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    if (layer->told_eof) {
        return;
    }
    layer->told_eof = true;
    int keep_open = fl_sink_call_eof_received(self);
    if (keep_open < 0) {
        fl_transport_fatal((TransportObject *)self, "Error calling eof_received()");
    }
    else if (keep_open > 0) {
        log_vain_answer(self);
    }
}

/* Close after the end of data. */
static void
layer_close(StreamObject *self)
{
    TransportObject *transport = (TransportObject *)self;
    if (self->phase >= FL_LOSING) {
        return;
    }
    if (fl_tls_layer(self)->peer_gone) {
        fl_tls_end_shutdown(self);
    }
    if (self->phase >= FL_CLOSING) {
        fl_stream_flush(self);
    }
    else {
        fl_transport_report_close(transport, fl_transport_close(transport));
    }
}

void
fl_tls_data_ended(StreamObject *self)
{
    layer_tell_eof(self);
    layer_close(self);
}

void
fl_tls_end_shutdown(StreamObject *self)
{
    fl_tls_layer(self)->stage = FL_TLS_LEFT;
    /* and end of file, which stays, makes the descriptor readable for ever */
    fl_transport_want((TransportObject *)self, FL_WANT_LAYER, false);
}

/* The raised exception keeps the connection from its shutdown: end it all the same.  Returns -1. */
static int
layer_cut_off(TransportObject *transport)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (fl_transport_force_close(transport, exc) < 0) {
        PyErr_Clear(); /* the first one tells what is wrong */
    }
    PyErr_SetRaisedException(exc);
    return -1;
}

int
fl_tls_begin_shutdown(TransportObject *transport)
{
    StreamObject *self = (StreamObject *)transport;
    TLSLayerObject *layer = fl_tls_layer(self);
    if (layer->stage == FL_TLS_HANDSHAKE) {
        return fl_transport_force_close(transport, NULL);
    }
    if (layer->stage == FL_TLS_OPEN) {
        layer->stage = FL_TLS_LEAVING;
    }
    fl_transport_want(transport, FL_WANT_LAYER, layer->stage == FL_TLS_LEAVING);
    if (layer_set_timer(self, layer->shutdown_timeout) < 0 || fl_transport_rearm(transport) < 0) {
        return layer_cut_off(transport);
    }
    fl_stream_flush(self);
    return 0;
}

int
fl_tls_close_unanswered(StreamObject *self)
{
    TLSLayerObject *layer = fl_tls_layer(self);
    layer->unanswered = true;
    if (self->phase < FL_CLOSING) {
        return fl_transport_close((TransportObject *)self);
    }
    if (layer->stage != FL_TLS_LEAVING || !layer->parted || self->phase >= FL_LOSING) {
        return 0;
    }
    fl_tls_end_shutdown(self);
    fl_stream_flush(self);
    return 0;
}

void
fl_tls_drained(StreamObject *self)
{
    TransportObject *transport = (TransportObject *)self;
    if (self->phase < FL_CLOSING || fl_tls_layer(self)->stage != FL_TLS_LEFT) {
        return;
    }
    layer_tell_eof(self);
    if (self->phase < FL_LOSING) {
        fl_io_forget(self->loop, &self->io);
        fl_transport_report_close(transport, fl_transport_schedule_lost(transport, NULL));
    }
}

int
fl_tls_lost(TransportObject *transport, PyObject *exc)
{
    TLSLayerObject *layer = fl_tls_layer((StreamObject *)transport);
    layer_cancel_timer(layer);
    fl_transport_complete_waiter(transport, &layer->waiter, exc); /* NULL: closed */
    return 0;
}
