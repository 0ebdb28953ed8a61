/* TLSLayer: how Python code puts TLS into a stream transport, and what get_extra_info() knows of it. */
#include "tls/layer.h"

#include "loop/exit.h"
#include "net/transport_info.h"
#include "py/args.h"
#include "py/types.h"

/* Bytes: asyncio.constants.FLOW_CONTROL_HIGH_WATER_SSL_WRITE and …_READ. */
#define HIGH_WATER (512 * 1024)
#define READ_HIGH_WATER (256 * 1024)

/* -- what get_extra_info() knows ------------------------------------------------------------------- */

static const char *const info_names[] = {"sslcontext", "ssl_object",  "peercert",
                                         "cipher",     "compression", NULL};

static bool
is_name(PyObject *key, const char *name)
{
    return PyUnicode_CompareWithASCIIString(key, name) == 0;
}

static PyObject *
layer_info(TransportObject *transport, PyObject *key)
{
    TLSLayerObject *layer = fl_tls_layer((StreamObject *)transport);
    if (is_name(key, "sslcontext")) {
        return Py_XNewRef(layer->sslcontext);
    }
    if (is_name(key, "peercert")) {
        return Py_XNewRef(layer->peercert);
    }
    PyObject *sslobject = layer->engine->sslobject;
    if (sslobject == NULL || !layer->engine->connected) {
        return NULL;
    }
    if (is_name(key, "ssl_object")) {
        return Py_NewRef(sslobject);
    }
    bool method = is_name(key, "cipher") || is_name(key, "compression");
    return method ? PyObject_CallMethodNoArgs(sslobject, key) : NULL;
}

const fl_stream_ops fl_tls_stream_ops = {
    .base =
        {
            .io = FL_TRANSPORT_IO(fl_tls_ready, fl_stream_flush_io),
            .read_error = "Fatal read error on socket transport",
            .write_error = "Fatal write error on socket transport",
            .high_water = HIGH_WATER,
            .socket = true,
            .quiet_errors = true,
            .unsent = fl_wire_unsent,
            .flush_last = fl_tls_flush_last,
            .discard = fl_wire_discard,
            .flush_cork = fl_stream_flush_cork,
            .adopt = fl_sink_adopt,
            .begin = fl_tls_begin,
            .shutdown = fl_tls_begin_shutdown,
            .resumed = fl_wire_resume,
            .lost = fl_tls_lost,
            .info = layer_info,
            .infos = info_names,
        },
    .vain_write = "SSL connection is closed",
    .transmit = fl_tls_transmit,
    .drained = fl_tls_drained,
};

/* -- into a transport ------------------------------------------------------------------------------ */

/* What was written before is sent before the handshake, as it is.  0 or -1. */
static int
layer_take_outbox(TLSLayerObject *self, fl_outbox *outbox)
{
    size_t offset = outbox->offset;
    for (uint32_t i = 0; i < outbox->len; i++) {
        PyObject *bytes = outbox->items[outbox->head + i];
        size_t len = (size_t)PyBytes_GET_SIZE(bytes) - offset;
        if (fl_tls_put_first(self->engine, PyBytes_AS_STRING(bytes) + offset, len) < 0) {
            return -1;
        }
        offset = 0;
    }
    self->unsent = outbox->size;
    return 0;
}

/* 0, or -1 with the reason why the layer cannot be put into the transport. */
static int
layer_check_transport(TLSLayerObject *self, PyObject *transport)
{
    if (!Py_IS_TYPE(transport, self->engine->state->StreamTransport_type) ||
        ((StreamObject *)transport)->layer != NULL) {
        PyErr_Format(PyExc_TypeError, "a plain StreamTransport is required, got %R", transport);
        return -1;
    }
    if (self->attached || ((StreamObject *)transport)->empty_waiter != NULL) {
        PyErr_SetString(PyExc_RuntimeError, self->attached
                                                ? "the layer is in use already"
                                                : "unable to start TLS; sendfile is in progress");
        return -1;
    }
    if (fl_transport_is_closing((TransportObject *)transport)) {
        PyErr_SetString(PyExc_ConnectionAbortedError, "the connection is closed");
        return -1;
    }
    return 0;
}

static int
layer_feed_received(TLSLayerObject *self, PyObject *received)
{
    Py_buffer view;
    if (!fl_arg_given(received)) {
        return 0;
    }
    if (PyObject_GetBuffer(received, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int rc = view.len == 0 ? 0 : fl_tls_feed(self->engine, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return rc;
}

/* From now on the layer is in charge.  0 or -1. */
static int
layer_install(TLSLayerObject *self, StreamObject *stream, PyObject *waiter)
{
    fl_state *state = self->engine->state;
    if (fl_tls_share_spare(self->engine, &stream->loop->spare) < 0 ||
        PyObject_SetAttr((PyObject *)stream, state->str___class__,
                         (PyObject *)state->SSLTransport_type) < 0) {
        return -1;
    }
    self->attached = true;
    fl_outbox_clear(&stream->outbox);
    stream->layer = Py_NewRef((PyObject *)self);
    fl_transport_set_ops(&stream->transport, &fl_tls_stream_ops.base);
    stream->paused = false;
    self->waiter = fl_arg_given(waiter) ? Py_NewRef(waiter) : NULL;
    return 0;
}

PyDoc_STRVAR(
    open_doc,
    "open($self, /, loop, sock, protocol, waiter=None, extra=None, server=None)\n--\n\n"
    "Return the SSLTransport of a connected, non-blocking stream socket, which it owns from now on.\n\n"
    "The handshake begins in the next turn of the loop.  When it is done protocol.connection_made()\n"
    "is called, then waiter, a Future, is completed.");

static PyObject *
TLSLayer_open(TLSLayerObject *self, PyObject *args, PyObject *kwargs)
{
    fl_state *state = self->engine->state;
    if (self->attached) {
        PyErr_SetString(PyExc_RuntimeError, "the layer is in use already");
        return NULL;
    }
    PyObject *transport = PyObject_Call((PyObject *)state->StreamTransport_type, args, kwargs);
    if (transport == NULL) {
        return NULL;
    }
    if (layer_check_transport(self, transport) < 0 ||
        layer_install(self, (StreamObject *)transport, NULL) < 0) {
        fl_transport_enter((TransportObject *)transport, FL_LOST); /* it must not begin without TLS */
        fl_transport_disown((TransportObject *)transport);
        Py_CLEAR(transport);
    }
    return transport;
}

PyDoc_STRVAR(
    start_doc,
    "start($self, /, transport, waiter=None, received=None)\n--\n\n"
    "Make a StreamTransport an SSLTransport: what passes through it is encrypted from now on.\n\n"
    "What was written before is sent as it is, before the handshake, which begins now.\n"
    "waiter, a Future, is completed when it is done, or closed.  received: what has come from the\n"
    "peer already (bytes-like).  Raises ConnectionAbortedError if the transport is closing.");

static PyObject *
TLSLayer_start(TLSLayerObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "start", 1, 3, 3, {FL_PARAM(transport), FL_PARAM(waiter), FL_PARAM(received)}};
    PyObject *given[3];
    if (fl_args_bind(self->engine->state, &signature, args, nargs, kwnames, given) < 0 ||
        layer_check_transport(self, given[0]) < 0) {
        return NULL;
    }
    StreamObject *stream = (StreamObject *)given[0];
    if (layer_feed_received(self, given[2]) < 0 || fl_transport_flush_cork(&stream->transport) < 0 ||
        layer_check_transport(self, given[0]) < 0 || /* callbacks may have done anything */
        layer_take_outbox(self, &stream->outbox) < 0 || layer_install(self, stream, given[1]) < 0) {
        return NULL;
    }
    PyObject *before = fl_exit_begin(stream->loop);
    if (stream->phase >= FL_OPEN) {
        fl_tls_begin(&stream->transport);
    }
    return fl_exit_end(stream->loop, before, 0) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef layer_methods[] = {
    {"open", (PyCFunction)(void (*)(void))TLSLayer_open, METH_VARARGS | METH_KEYWORDS, open_doc},
    {"start", FL_FASTCALL(TLSLayer_start), FL_KEYWORDS, start_doc},
    {NULL},
};

/* -- the type of transports ------------------------------------------------------------------------ */

/* The layer of a transport, or NULL with TypeError for one whose class was set by the user. */
static TLSLayerObject *
transport_layer(StreamObject *self)
{
    if (self->layer == NULL) {
        PyErr_SetString(PyExc_TypeError, "TLS has not begun on this transport");
    }
    return fl_tls_layer(self);
}

PyDoc_STRVAR(write_eof_doc, "write_eof($self, /)\n--\n\n"
                            "Raise NotImplementedError: close() ends both directions.");

static PyObject *
SSLTransport_write_eof(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    PyErr_SetNone(PyExc_NotImplementedError);
    return NULL;
}

PyDoc_STRVAR(can_write_eof_doc, "can_write_eof($self, /)\n--\n\nReturn False.");

static PyObject *
SSLTransport_can_write_eof(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_FALSE;
}

PyDoc_STRVAR(close_without_reply_doc, "_close_without_reply($self, /)\n--\n\n"
                                      "close(), and do not wait for the peer's close_notify.");

static PyObject *
SSLTransport_close_without_reply(StreamObject *self, PyObject *Py_UNUSED(ignored))
{
    if (transport_layer(self) == NULL) {
        return NULL;
    }
    PyObject *before = fl_exit_begin(self->loop);
    int rc = fl_tls_close_without_reply(self);
    return fl_exit_end(self->loop, before, rc) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(get_read_buffer_size_doc,
             "get_read_buffer_size($self, /)\n--\n\n"
             "Return how many bytes were received that the protocol has not got yet.");

static PyObject *
SSLTransport_get_read_buffer_size(StreamObject *self, PyObject *Py_UNUSED(ignored))
{
    TLSLayerObject *layer = transport_layer(self);
    Py_ssize_t n = layer == NULL ? -1 : fl_tls_pending(layer->engine);
    return n < 0 ? NULL : PyLong_FromSsize_t(n);
}

PyDoc_STRVAR(get_read_buffer_limits_doc,
             "get_read_buffer_limits($self, /)\n--\n\n"
             "Return what set_read_buffer_limits() was given: (low, high).");

static PyObject *
SSLTransport_get_read_buffer_limits(StreamObject *self, PyObject *Py_UNUSED(ignored))
{
    TLSLayerObject *layer = transport_layer(self);
    return layer == NULL
               ? NULL
               : Py_BuildValue("(nn)", (Py_ssize_t)layer->low_water, (Py_ssize_t)layer->high_water);
}

PyDoc_STRVAR(
    set_read_buffer_limits_doc,
    "set_read_buffer_limits($self, /, high=None, low=None)\n--\n\n"
    "Receive no more while reading is paused and high bytes or more are kept.\n\n"
    "high is 256 KiB by default, or four times low; low, a quarter of high by default, has no effect.\n"
    "Raises ValueError unless high >= low >= 0.");

static PyObject *
SSLTransport_set_read_buffer_limits(StreamObject *self, PyObject *const *args, Py_ssize_t nargs,
                                    PyObject *kwnames)
{
    static const fl_signature signature = {
        "set_read_buffer_limits", 0, 2, 2, {FL_PARAM(high), FL_PARAM(low)}};
    TLSLayerObject *layer = transport_layer(self);
    PyObject *given[2];
    if (layer == NULL ||
        fl_args_bind(self->loop->state, &signature, args, nargs, kwnames, given) < 0 ||
        fl_watermarks_given(given, READ_HIGH_WATER, &layer->high_water, &layer->low_water) < 0) {
        return NULL;
    }
    fl_wire_read_ahead(self);
    return fl_transport_rearm(&self->transport) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(append_write_backlog_doc,
             "_test__append_write_backlog($self, data, /)\n--\n\n"
             "Buffer data and do not send it: by this name asyncio lets its tests fill the buffer.");

static PyObject *
SSLTransport_append_write_backlog(StreamObject *self, PyObject *data)
{
    PyObject *bytes = fl_arg_bytes(data, FL_WRITE_TYPE_ERROR);
    if (bytes == NULL) {
        return NULL;
    }
    if (PyBytes_GET_SIZE(bytes) > 0) {
        return fl_outbox_append(&self->outbox, bytes) < 0 ? NULL : Py_NewRef(Py_None);
    }
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

static PyMethodDef transport_methods[] = {
    {"write_eof", SSLTransport_write_eof, METH_NOARGS, write_eof_doc},
    {"can_write_eof", SSLTransport_can_write_eof, METH_NOARGS, can_write_eof_doc},
    {"get_read_buffer_size", (PyCFunction)SSLTransport_get_read_buffer_size, METH_NOARGS,
     get_read_buffer_size_doc},
    {"get_read_buffer_limits", (PyCFunction)SSLTransport_get_read_buffer_limits, METH_NOARGS,
     get_read_buffer_limits_doc},
    {"set_read_buffer_limits", FL_FASTCALL(SSLTransport_set_read_buffer_limits), FL_KEYWORDS,
     set_read_buffer_limits_doc},
    {"_close_without_reply", (PyCFunction)SSLTransport_close_without_reply, METH_NOARGS,
     close_without_reply_doc},
    {"_test__append_write_backlog", (PyCFunction)SSLTransport_append_write_backlog, METH_O,
     append_write_backlog_doc},
    {NULL},
};

static PyObject *
SSLTransport_get_sslcontext(StreamObject *self, void *Py_UNUSED(closure))
{
    TLSLayerObject *layer = transport_layer(self);
    return layer == NULL ? NULL : fl_or_none(layer->sslcontext);
}

static PyGetSetDef transport_getset[] = {
    {"_sslcontext", (getter)SSLTransport_get_sslcontext, NULL,
     "The SSLContext, as get_extra_info('sslcontext') gives it.", NULL},
    {NULL},
};

PyDoc_STRVAR(SSLTransport_doc, "What a StreamTransport becomes when TLS begins on it.\n\n"
                               "It cannot be instantiated.");

static PyType_Slot transport_slots[] = {
    {Py_tp_doc, (void *)SSLTransport_doc},
    {Py_tp_dealloc, fl_stream_dealloc},
    {Py_tp_traverse, fl_stream_traverse},
    {Py_tp_clear, fl_stream_clear},
    {Py_tp_methods, transport_methods},
    {Py_tp_getset, transport_getset},
    {0, NULL},
};

static PyType_Spec transport_spec = {
    .name = "fastloop._fastloop.SSLTransport",
    .basicsize = sizeof(StreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = transport_slots,
};

/* -- the type of layers ---------------------------------------------------------------------------- */

static PyObject *
TLSLayer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const fl_signature signature = {"TLSLayer",
                                           5,
                                           5,
                                           5,
                                           {FL_PARAM(sslcontext), FL_PARAM(server_side),
                                            FL_PARAM(server_hostname), FL_PARAM(handshake_timeout),
                                            FL_PARAM(shutdown_timeout)}};
    PyObject *given[5];
    fl_state *state = fl_state_of(type);
    if (state == NULL || fl_args_bind_tuple(state, &signature, args, kwargs, given) < 0) {
        return NULL;
    }
    int server_side = PyObject_IsTrue(given[1]);
    double shutdown_timeout = PyFloat_AsDouble(given[4]);
    if (server_side < 0 || (shutdown_timeout == -1.0 && PyErr_Occurred())) {
        return NULL;
    }
    TLSEngineObject *engine = fl_tls_new(state, given[0], server_side, given[2], NULL, FL_TLS_BEST);
    TLSLayerObject *self = engine == NULL ? NULL : (TLSLayerObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(engine);
        return NULL;
    }
    self->engine = engine;
    self->sslcontext = Py_NewRef(given[0]);
    self->handshake_timeout = Py_NewRef(given[3]);
    self->shutdown_timeout = shutdown_timeout;
    self->high_water = READ_HIGH_WATER;
    self->low_water = READ_HIGH_WATER / 4;
    return (PyObject *)self;
}

static int
TLSLayer_traverse(TLSLayerObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->engine);
    Py_VISIT(self->sslcontext);
    Py_VISIT(self->peercert);
    Py_VISIT(self->waiter);
    Py_VISIT(self->handshake_timeout);
    Py_VISIT(self->timer);
    return 0;
}

/* The transport may ask the engine to its own end; what is in cycles clears itself. */
static int
TLSLayer_clear(TLSLayerObject *self)
{
    Py_CLEAR(self->sslcontext);
    Py_CLEAR(self->peercert);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->handshake_timeout);
    Py_CLEAR(self->timer);
    return 0;
}

static void
TLSLayer_dealloc(TLSLayerObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    TLSLayer_clear(self);
    Py_CLEAR(self->engine);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    TLSLayer_doc,
    "TLSLayer(sslcontext, server_side, server_hostname, handshake_timeout, shutdown_timeout)\n"
    "--\n\n"
    "One side of a TLS connection, for a socket by open() or a StreamTransport by start().\n\n"
    "The first three arguments are those of SSLContext.wrap_bio(), whose exceptions are raised.\n"
    "Timeouts are in seconds.");

static PyType_Slot layer_slots[] = {
    {Py_tp_doc, (void *)TLSLayer_doc},
    {Py_tp_new, TLSLayer_new},
    {Py_tp_dealloc, TLSLayer_dealloc},
    {Py_tp_traverse, TLSLayer_traverse},
    {Py_tp_clear, TLSLayer_clear},
    {Py_tp_methods, layer_methods},
    {0, NULL},
};

static PyType_Spec layer_spec = {
    .name = "fastloop._fastloop.TLSLayer",
    .basicsize = sizeof(TLSLayerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = layer_slots,
};

int
fl_tls_layer_setup_types(PyObject *module, fl_state *state)
{
    if (fl_add_type(module, &layer_spec, NULL, "TLSLayer", &state->TLSLayer_type) < 0 ||
        fl_add_type(module, &transport_spec, (PyObject *)state->StreamTransport_type,
                    "SSLTransport", &state->SSLTransport_type) < 0) {
        return -1;
    }
    return fl_stream_set_sendfile_mode(state, state->SSLTransport_type, "FALLBACK");
}
