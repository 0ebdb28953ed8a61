/* The life of a transport, its calls into the protocol, and the flow control of writing. */
#include "net/transport.h"

#include "loop/current.h"
#include "loop/exit.h"
#include "loop/watch.h"
#include "net/transport_info.h"
#include "py/call.h"
#include "task/future.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#define VAIN_WRITES_SILENT 5 /* asyncio.constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES */

/* -- calls into the protocol ----------------------------------------------------------------------- */

PyObject *
fl_transport_call_two(TransportObject *self, PyObject *name, PyObject *first, PyObject *second)
{
    if (self->protocol == NULL || self->context == NULL) {
        Py_RETURN_NONE;
    }
    bool enter = !self->inside; /* a context cannot be entered twice */
    PyObject *context = Py_NewRef(self->context);
    if (enter && PyContext_Enter(context) < 0) {
        Py_DECREF(context);
        return NULL;
    }
    self->inside = true;
    PyObject *protocol = Py_NewRef(self->protocol);
    PyObject *args[] = {protocol, first, second};
    size_t nargs = first == NULL ? 1 : second == NULL ? 2 : 3;
    PyObject *result = PyObject_VectorcallMethod(name, args, nargs, NULL);
    Py_DECREF(protocol);
    if (enter) {
        self->inside = false;
        if (PyContext_Exit(context) < 0) {
            Py_CLEAR(result);
        }
    }
    Py_DECREF(context);
    return result;
}

/* Hand exc to the exception handler, as asyncio describes an error of a transport; `message` is taken, NULL: an exception
   is raised instead. */
static void
report_exception(TransportObject *self, PyObject *message, PyObject *exc)
{
    fl_state *state = self->loop->state;
    PyObject *protocol = self->protocol == NULL ? Py_None : self->protocol;
    PyObject *context =
        fl_error_context(state, message, state->str_exception, exc, state->str_transport, self,
                         state->str_protocol, protocol, NULL);
    fl_exit_report(self->loop, context, exc);
}

void
fl_transport_report(TransportObject *self, const char *message)
{
    if (!fl_exit_if_asked(self->loop)) {
        PyObject *exc = PyErr_GetRaisedException();
        report_exception(self, PyUnicode_FromString(message), exc);
        Py_DECREF(exc);
    }
}

void
fl_transport_log(TransportObject *self, const char *level, const char *format)
{
    if (!self->loop->debug) {
        return;
    }
    PyObject *done = PyObject_CallMethod(self->loop->state->logger, level, "sO", format, self);
    Py_XDECREF(done);
    if (done == NULL) {
        fl_transport_report(self, "Exception in logging");
    }
}

void
fl_transport_called(TransportObject *self, PyObject *name, PyObject *result)
{
    Py_XDECREF(result);
    if (result == NULL && !fl_exit_if_asked(self->loop)) {
        PyObject *exc = PyErr_GetRaisedException();
        const char *class = self->protocol == NULL ? "Protocol" : Py_TYPE(self->protocol)->tp_name;
        report_exception(self, PyUnicode_FromFormat("Exception in callback %s.%U()", class, name),
                         exc);
        Py_DECREF(exc);
    }
}

/* -- beginning ------------------------------------------------------------------------------------- */

/* Debug builds: the phases that may follow each one.  FL_LOST may follow any: a transport that nobody has closed is
   deallocated, or it could not be made. */
static inline bool
phase_may_follow(fl_phase before, fl_phase phase)
{
    static const uint8_t followers[] = {
        [FL_NEW] = 1 << FL_OPEN | 1 << FL_CLOSING | 1 << FL_LOST,
        [FL_OPEN] = 1 << FL_CLOSING | 1 << FL_LOST,
        [FL_CLOSING] = 1 << FL_LOSING | 1 << FL_LOST,
        [FL_LOSING] = 1 << FL_LOST,
        [FL_LOST] = 0,
    };
    return followers[before] & 1 << phase;
}

void
fl_transport_enter(TransportObject *self, fl_phase phase)
{
    if (phase <= self->phase) {
        return;
    }
    assert(phase_may_follow(self->phase, phase));
    if (phase >= FL_LOSING && self->phase < FL_LOSING) {
        self->vain_writes = 1;
    }
    self->phase = (uint8_t)phase;
    self->io.closing = phase >= FL_CLOSING;
}

void
fl_transport_set_ops(TransportObject *self, const fl_transport_ops *ops)
{
    self->io.ops = &ops->io;
    self->high_water = ops->high_water;
    self->low_water = ops->high_water / 4;
}

int
fl_transport_init(TransportObject *self, LoopObject *loop, const fl_transport_ops *ops, int fd,
                  PyObject *protocol)
{
    self->context = PyContext_CopyCurrent();
    if (self->context == NULL) {
        return -1;
    }
    self->loop = (LoopObject *)Py_NewRef(loop);
    self->io.object = (PyObject *)self;
    self->io.fd = self->number = fd;
    self->protocol = Py_NewRef(protocol);
    fl_transport_set_ops(self, ops);
    self->wants = FL_WANT_PROTOCOL;
    return 0;
}

int
fl_transport_schedule_made(TransportObject *self, PyObject *waiter)
{
    self->waiter = waiter == Py_None ? NULL : Py_XNewRef(waiter);
    return fl_io_queue(self->loop, &self->io, FL_IO_BEGIN);
}

/* The same for a waiter of another kind.  0 or -1. */
static int
complete_foreign_waiter(PyObject *waiter, PyObject *exc)
{
    PyObject *done = PyObject_CallMethod(waiter, "done", NULL);
    int rc = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }
    PyObject *set = exc == NULL ? PyObject_CallMethod(waiter, "set_result", "O", Py_None)
                                : PyObject_CallMethod(waiter, "set_exception", "O", exc);
    Py_XDECREF(set);
    return set == NULL ? -1 : 0;
}

/* 0 or -1. */
static int
complete_waiter(fl_state *state, PyObject *waiter, PyObject *exc)
{
    if (!Py_IS_TYPE(waiter, state->Future_type)) {
        return complete_foreign_waiter(waiter, exc);
    }
    FutureObject *future = (FutureObject *)waiter;
    if (future->status != FL_PENDING) {
        return 0;
    }
    return exc == NULL ? fl_future_set_result(future, Py_None)
                       : fl_future_set_exception(future, exc);
}

void
fl_transport_complete_waiter(TransportObject *self, PyObject **waiter, PyObject *exc)
{
    PyObject *future = *waiter;
    if (future == NULL) {
        return;
    }
    *waiter = NULL;
    if (complete_waiter(self->loop->state, future, exc) < 0) {
        fl_transport_report(self, "Exception in completing a connection");
    }
    Py_DECREF(future);
}

int
fl_transport_rearm(TransportObject *self)
{
    /* while the descriptor is lent to loop.sendfile(), what it waits for has its place in the poller */
    unsigned heard = self->paused ? FL_WANT_READ_AHEAD : FL_WANT_PROTOCOL;
    unsigned wanted = (self->phase == FL_OPEN ? heard : 0) | FL_WANT_LAYER;
    bool reads = (self->wants & wanted) != 0 && !self->io.lent;
    return fl_io_watch(self->loop, &self->io,
                       (reads ? FL_READ : 0) | (self->draining ? FL_WRITE : 0));
}

void
fl_transport_rearm_ready(TransportObject *self)
{
    if (fl_transport_rearm(self) < 0) {
        fl_exit_with_raised(self->loop);
    }
}

void
fl_transport_call_made(TransportObject *self)
{
    PyObject *name = self->loop->state->str_connection_made;
    fl_transport_enter(self, FL_OPEN);
    fl_transport_called(self, name, fl_transport_call(self, name, (PyObject *)self));
    self->made = true;
    if (fl_transport_rearm(self) < 0) {
        fl_transport_fatal(self, "Fatal error: cannot watch the descriptor");
    }
    fl_transport_complete_waiter(self, &self->waiter, NULL);
}

void
fl_transport_begin(fl_io *io)
{
    TransportObject *self = (TransportObject *)io->object;
    const fl_transport_ops *ops = fl_transport_ops_of(self);
    if (self->phase < FL_LOST) {
        (ops->begin != NULL ? ops->begin : fl_transport_call_made)(self);
    }
}

void
fl_transport_end(fl_io *io)
{
    TransportObject *self = (TransportObject *)io->object;
    if (self->phase < FL_LOST) {
        fl_transport_call_lost(self);
    }
}

/* -- end ------------------------------------------------------------------------------------------- */

int
fl_transport_schedule_lost(TransportObject *self, PyObject *exc)
{
    fl_transport_enter(self, FL_LOSING);
    Py_XSETREF(self->lost_exc, exc == Py_None ? NULL : Py_XNewRef(exc));
    return fl_io_queue(self->loop, &self->io, FL_IO_END);
}

void
fl_transport_report_close(TransportObject *self, int rc)
{
    if (rc < 0) {
        fl_transport_report(self, "Exception in closing a transport");
    }
}

int
fl_transport_flush_cork(TransportObject *self)
{
    PyObject *before = fl_exit_begin(self->loop);
    fl_transport_ops_of(self)->flush_cork(self);
    return fl_exit_end(self->loop, before, 0);
}

int
fl_transport_close(TransportObject *self)
{
    if (fl_transport_is_closing(self)) {
        return 0;
    }
    const fl_transport_ops *ops = fl_transport_ops_of(self);
    if (ops->shutdown != NULL) {
        fl_transport_enter(self, FL_CLOSING);
        return ops->shutdown(self);
    }
    ops->flush_cork(self);
    if (fl_transport_is_closing(self)) { /* sending what was corked has failed */
        return 0;
    }
    fl_transport_enter(self, FL_CLOSING);
    if (ops->unsent(self) > 0) {
        return fl_transport_rearm(self);
    }
    fl_io_forget(self->loop, &self->io);
    return fl_transport_schedule_lost(self, NULL);
}

int
fl_transport_force_close(TransportObject *self, PyObject *exc)
{
    if (self->phase >= FL_LOSING) {
        return 0;
    }
    const fl_transport_ops *ops = fl_transport_ops_of(self);
    fl_transport_enter(self, FL_CLOSING);
    if (ops->flush_last != NULL) {
        ops->flush_last(self);
    }
    ops->discard(self);
    self->draining = false;
    fl_transport_want(self, FL_WANT_LAYER, false);
    fl_io_forget(self->loop, &self->io);
    return self->phase >= FL_LOSING ? 0 : fl_transport_schedule_lost(self, exc);
}

static void
log_quietly(TransportObject *self, const char *message, PyObject *exc)
{
    if (!self->loop->debug) {
        return;
    }
    PyObject *kwargs = Py_BuildValue("{sO}", "exc_info", exc);
    PyObject *args = Py_BuildValue("(sOs)", "%r: %s", self, message);
    PyObject *debug = PyObject_GetAttrString(self->loop->state->logger, "debug");
    PyObject *done = kwargs && args && debug ? PyObject_Call(debug, args, kwargs) : NULL;
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(debug);
    Py_XDECREF(done);
    if (done == NULL) {
        fl_transport_report(self, "Exception in logging");
    }
}

/* Whether the error is a matter between the two ends, of which the exception handler hears nothing. */
static bool
transport_error_is_quiet(TransportObject *self, PyObject *exc)
{
    if (!PyObject_TypeCheck(exc, (PyTypeObject *)PyExc_OSError)) {
        return false;
    }
    PyObject *number = ((PyOSErrorObject *)exc)->myerrno;
    int overflow;
    return fl_transport_ops_of(self)->quiet_errors ||
           (number != NULL && PyLong_Check(number) &&
            PyLong_AsLongAndOverflow(number, &overflow) == EIO);
}

void
fl_transport_fatal(TransportObject *self, const char *message)
{
    if (fl_exit_if_asked(self->loop)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (transport_error_is_quiet(self, exc)) {
        log_quietly(self, message, exc);
    }
    else {
        report_exception(self, PyUnicode_FromString(message), exc);
    }
    fl_transport_report_close(self, fl_transport_force_close(self, exc));
    Py_DECREF(exc);
}

/* Close the socket or pipe object, or the descriptor that none was made for. */
static int
transport_close_file(TransportObject *self)
{
    fl_io_uncork(&self->io);
    fl_io_forget(self->loop, &self->io);
    int fd = self->io.fd;
    PyObject *file = self->file;
    self->io.fd = -1;
    if (file != NULL) {
        fl_state *state = self->loop->state;
        PyObject *freed = self->held ? PyObject_CallMethodNoArgs(file, state->str__decref_socketios)
                                     : Py_NewRef(Py_None);
        self->held = false;
        PyObject *closed = freed == NULL ? NULL : PyObject_CallMethodNoArgs(file, state->str_close);
        Py_XDECREF(freed);
        Py_XDECREF(closed);
        return closed == NULL ? -1 : 0;
    }
    return fd >= 0 && close(fd) < 0 && errno != EINTR ? fl_raise_errno(-errno) : 0;
}

static void
transport_detach_server(TransportObject *self)
{
    ServerObject *server = self->server;
    if (server == NULL) {
        return;
    }
    self->server = NULL;
    if (fl_server_detach(server, &self->server_link) < 0) {
        fl_transport_report(self, "Exception in closing a server");
    }
    Py_DECREF(server);
}

/* Let go of the server and of everything else that belonged to the connection. */
static void
transport_release(TransportObject *self)
{
    if (self->io.lent) {
        fl_transport_report_close(self, fl_watch_wake(self->loop, self->io.fd, FL_WRITING));
    }
    fl_transport_report_close(self, transport_close_file(self));
    transport_detach_server(self);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->context);
}

/* connection_lost(exc) for a protocol that was told of the connection. */
static void
transport_tell_lost(TransportObject *self, PyObject *exc)
{
    PyObject *name = self->loop->state->str_connection_lost;
    if (self->made) {
        PyObject *result = fl_transport_call(self, name, exc == NULL ? Py_None : exc);
        fl_transport_called(self, name, result);
    }
}

void
fl_transport_fail_waiter(TransportObject *self, PyObject **waiter, PyObject *exc)
{
    if (*waiter == NULL || exc != NULL) {
        fl_transport_complete_waiter(self, waiter, exc);
        return;
    }
    exc = PyObject_CallFunction(PyExc_ConnectionAbortedError, "s",
                                "the connection was closed before it could be used");
    if (exc == NULL) {
        fl_transport_report(self, "Exception in completing a connection");
        return;
    }
    fl_transport_complete_waiter(self, waiter, exc);
    Py_DECREF(exc);
}

void
fl_transport_call_lost(TransportObject *self)
{
    PyObject *exc = self->lost_exc;
    self->lost_exc = NULL;
    fl_transport_enter(self, FL_LOST);
    transport_tell_lost(self, exc);
    fl_transport_fail_waiter(self, &self->waiter, exc);
    const fl_transport_ops *ops = fl_transport_ops_of(self);
    ops->discard(self);
    fl_transport_report_close(self, fl_transport_keep_names(self));
    if (ops->lost != NULL) {
        fl_transport_report_close(self, ops->lost(self, exc));
    }
    Py_XDECREF(exc);
    transport_release(self);
}

/* -- flow control ---------------------------------------------------------------------------------- */

/* Tell the protocol that it has to pause, or may go on. */
static void
transport_tell_flow(TransportObject *self, bool pause)
{
    fl_state *state = self->loop->state;
    self->protocol_paused = pause;
    PyObject *result =
        fl_transport_call(self, pause ? state->str_pause_writing : state->str_resume_writing, NULL);
    Py_XDECREF(result);
    if (result == NULL) {
        fl_transport_report(self, pause ? "protocol.pause_writing() failed"
                                        : "protocol.resume_writing() failed");
    }
}

void
fl_transport_maybe_pause(TransportObject *self)
{
    if (!self->protocol_paused && self->protocol != NULL &&
        fl_transport_ops_of(self)->unsent(self) > self->high_water) {
        transport_tell_flow(self, true);
    }
}

void
fl_transport_maybe_resume(TransportObject *self)
{
    if (self->protocol_paused && self->protocol != NULL &&
        fl_transport_ops_of(self)->unsent(self) <= self->low_water) {
        transport_tell_flow(self, false);
    }
}

void
fl_transport_sent(TransportObject *self)
{
    bool was_paused = self->protocol_paused;
    fl_transport_maybe_pause(self);
    if (was_paused && self->phase < FL_LOSING) {
        fl_transport_maybe_resume(self);
    }
}

int
fl_transport_vain_write(TransportObject *self, const char *warning)
{
    if (self->vain_writes++ < VAIN_WRITES_SILENT) {
        return 0;
    }
    PyObject *done = PyObject_CallMethod(self->loop->state->logger, "warning", "s", warning);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* -- the object ------------------------------------------------------------------------------------ */

int
fl_transport_traverse(TransportObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->extra);
    Py_VISIT(self->loop);
    Py_VISIT(self->file);
    Py_VISIT(self->protocol);
    Py_VISIT(self->context);
    Py_VISIT(self->waiter);
    Py_VISIT(self->lost_exc);
    Py_VISIT(self->server);
    Py_VISIT(self->dict);
    return 0;
}

/* Part of a cycle of garbage: what remains is for the deallocation. */
void
fl_transport_clear(TransportObject *self)
{
    Py_CLEAR(self->extra);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->context);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->lost_exc);
    Py_CLEAR(self->dict);
}

/* A transport that nobody has closed: say so, and close the descriptor. */
void
fl_transport_finalize(TransportObject *self)
{
    if (self->loop == NULL || self->io.fd < 0) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (PyErr_ResourceWarning((PyObject *)self, 1, "unclosed transport %R", self) < 0) {
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(self));
    }
    fl_transport_enter(self, FL_LOST); /* whoever keeps the object now cannot use it */
    PyObject *before = fl_exit_begin(self->loop);
    transport_release(self);
    if (fl_exit_end(self->loop, before, 0) < 0) {
        PyErr_WriteUnraisable((PyObject *)Py_TYPE(self));
    }
    PyErr_SetRaisedException(raised);
}

bool
fl_transport_begin_dealloc(TransportObject *self)
{
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return false;
    }
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    return true;
}

/* What connection_lost() or the finalizer would have done, where a subclass has another finalizer. */
static void
transport_abandon(TransportObject *self)
{
    if (self->io.fd >= 0 && self->file == NULL) {
        close(self->io.fd); /* a socket object closes it by itself */
    }
    if (self->server != NULL) {
        fl_list_remove(&self->server_link);
        self->server->active--;
    }
}

void
fl_transport_end_dealloc(TransportObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    transport_abandon(self);
    if (self->loop != NULL) {
        fl_transport_ops_of(self)->discard(self);
    }
    fl_transport_clear(self);
    Py_CLEAR(self->file);
    Py_CLEAR(self->server);
    Py_CLEAR(self->loop);
    type->tp_free(self);
    Py_DECREF(type);
}
