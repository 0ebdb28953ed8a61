/* SockCall: the coroutine object.  What it attempts is in sock_ops.c. */
#include "net/sock_call.h"

#include "net/socket_object.h"
#include "py/call.h"
#include "py/types.h"
#include "task/future.h"

#include <errno.h>

/* -- life ------------------------------------------------------------------------------------------ */

PyObject *
fl_sock_call_new(LoopObject *loop, const fl_sock_op *op, PyObject *sock, PyObject *first,
                 PyObject *second)
{
    fl_state *state = loop->state;
    SockCallObject *self = (SockCallObject *)state->SockCall_type->tp_alloc(state->SockCall_type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = fl_state_hold(state);
    self->loop = (LoopObject *)Py_NewRef(loop);
    self->op = op;
    self->sock = Py_NewRef(sock);
    self->args[0] = Py_XNewRef(first);
    self->args[1] = Py_XNewRef(second);
    self->plain = Py_IS_TYPE(sock, (PyTypeObject *)state->socket);
    return (PyObject *)self;
}

static int
SockCall_traverse(SockCallObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->sock);
    Py_VISIT(self->args[0]);
    Py_VISIT(self->args[1]);
    Py_VISIT(self->future);
    Py_VISIT(self->view.obj);
    return 0;
}

/* Stop waiting, if it waits. */
static void
sock_call_abandon(SockCallObject *self)
{
    PyObject *future = self->future;
    if (future != NULL) {
        self->future = NULL;
        fl_watch_abandon(self->loop, self->fd, self->op->direction, future);
        Py_DECREF(future);
    }
}

/* Nothing is left to do: let go of everything but the loop. */
static void
sock_call_finish(SockCallObject *self)
{
    self->finished = true;
    sock_call_abandon(self);
    PyBuffer_Release(&self->view);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->args[0]);
    Py_CLEAR(self->args[1]);
}

static int
SockCall_clear(SockCallObject *self)
{
    if (self->loop != NULL) {
        sock_call_finish(self);
    }
    Py_CLEAR(self->loop);
    return 0;
}

static void
SockCall_finalize(SockCallObject *self)
{
    if (self->started || self->finished) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine 'Loop.%s' was never awaited",
                         self->op->name) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    PyErr_SetRaisedException(raised);
}

static void
SockCall_dealloc(SockCallObject *self)
{
    if (!self->started && !self->finished &&
        PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyTypeObject *type = Py_TYPE(self);
    fl_state *state = self->state;
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, SockCall_dealloc)
    SockCall_clear(self);
    type->tp_free(self);
    fl_state_release(state);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* -- a step ---------------------------------------------------------------------------------------- */

int
fl_sock_fileno(SockCallObject *self)
{
    return fl_socket_object_fileno(self->sock);
}

/* What asyncio checks before the first attempt.  0, or -1 with TypeError or ValueError. */
static int
sock_call_check(SockCallObject *self)
{
    if (!self->plain) {
        PyObject *result = PyObject_CallOneArg(self->state->check_ssl_socket, self->sock);
        Py_XDECREF(result);
        if (result == NULL) {
            return -1;
        }
    }
    if (!self->loop->debug) {
        return 0;
    }
    PyObject *timeout = PyObject_CallMethodNoArgs(self->sock, self->state->str_gettimeout);
    PyObject *zero = timeout == NULL ? NULL : PyLong_FromLong(0);
    int equal = zero == NULL ? -1 : PyObject_RichCompareBool(timeout, zero, Py_EQ);
    Py_XDECREF(timeout);
    Py_XDECREF(zero);
    if (equal == 0) {
        PyErr_SetString(PyExc_ValueError, "the socket must be non-blocking");
    }
    return equal > 0 ? 0 : -1;
}

/* Have a new future completed when the descriptor is ready, and yield it. */
static PySendResult
sock_call_wait(SockCallObject *self, PyObject **result)
{
    int fd = fl_sock_fileno(self);
    PyObject *future = fd < 0 ? NULL : fl_future_new(self->loop);
    if (future == NULL ||
        fl_watch_wait(self->loop, fd, self->op->direction, future, self->sock) < 0) {
        Py_XDECREF(future);
        return PYGEN_ERROR;
    }
    self->fd = fd;
    self->future = future;
    ((FutureObject *)future)->blocking = true;
    *result = Py_NewRef(future);
    return PYGEN_NEXT;
}

/* The wait is over: 0, or -1 with the future's exception. */
static int
sock_call_end_wait(SockCallObject *self)
{
    PyObject *outcome, *future = self->future;
    self->future = NULL;
    self->waited = true;
    int rc = fl_future_outcome((FutureObject *)future, &outcome);
    Py_DECREF(future);
    if (rc == 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(outcome), outcome);
    }
    Py_XDECREF(outcome);
    return rc == 1 ? 0 : -1;
}

static PySendResult
sock_call_try(SockCallObject *self, PyObject **result)
{
    bool first = !self->started;
    self->started = true;
    if ((first && sock_call_check(self) < 0) ||
        (self->future != NULL && sock_call_end_wait(self) < 0)) {
        return PYGEN_ERROR;
    }
    int done = self->op->attempt(self, result);
    if (done != 0) {
        return done > 0 ? PYGEN_RETURN : PYGEN_ERROR;
    }
    return sock_call_wait(self, result);
}

/* 0 when a step may begin, or -1 with an exception. */
static int
sock_call_enter(SockCallObject *self)
{
    if (self->running) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    if (self->finished) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return -1;
    }
    return 0;
}

static PySendResult
SockCall_am_send(SockCallObject *self, PyObject *Py_UNUSED(value), PyObject **result)
{
    *result = NULL;
    if (sock_call_enter(self) < 0) {
        return PYGEN_ERROR;
    }
    if (self->future != NULL && ((FutureObject *)self->future)->status == FL_PENDING) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
        return PYGEN_ERROR;
    }
    self->running = true;
    PySendResult sent = sock_call_try(self, result);
    self->running = false;
    if (sent != PYGEN_NEXT) {
        PyObject *raised = PyErr_GetRaisedException();
        sock_call_finish(self);
        if (raised != NULL) {
            PyErr_SetRaisedException(raised);
        }
    }
    return sent;
}

static PyObject *
SockCall_iternext(SockCallObject *self)
{
    PyObject *result;
    PySendResult sent = SockCall_am_send(self, Py_None, &result);
    return sent == PYGEN_RETURN ? fl_return_from_iternext(result) : result;
}

/* -- methods --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(SockCall_send_doc, "send($self, value, /)\n--\n\n"
                                "Go on; the value is ignored.");

static PyObject *
SockCall_send(SockCallObject *self, PyObject *Py_UNUSED(value))
{
    PyObject *result = SockCall_iternext(self);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

PyDoc_STRVAR(SockCall_throw_doc, "throw($self, type, value=None, traceback=None, /)\n--\n\n"
                                 "Give up the operation and raise the exception.");

static PyObject *
SockCall_throw(SockCallObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = sock_call_enter(self) < 0 ? NULL : fl_thrown_exception(args, nargs);
    if (exc != NULL) {
        self->started = true;
        sock_call_finish(self);
        PyErr_SetRaisedException(exc);
    }
    return NULL;
}

PyDoc_STRVAR(SockCall_close_doc, "close($self, /)\n--\n\n"
                                 "Give up the operation.");

static PyObject *
SockCall_close(SockCallObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->running) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    if (!self->finished) {
        self->started = true;
        sock_call_finish(self);
    }
    Py_RETURN_NONE;
}

/* -- attributes, as a native coroutine has them ---------------------------------------------------- */

static PyObject *
SockCall_get_name(SockCallObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(self->op->name);
}

static PyObject *
SockCall_get_qualname(SockCallObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromFormat("Loop.%s", self->op->name);
}

static PyObject *
SockCall_get_await(SockCallObject *self, void *Py_UNUSED(closure))
{
    return fl_or_none(self->future);
}

static PyObject *
SockCall_get_running(SockCallObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->running);
}

static PyObject *
SockCall_get_suspended(SockCallObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->future != NULL);
}

static PyObject *
SockCall_get_none(SockCallObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;
}

static PyObject *
SockCall_repr(SockCallObject *self)
{
    return PyUnicode_FromFormat("<coroutine object Loop.%s at %p>", self->op->name, self);
}

/* -- the type -------------------------------------------------------------------------------------- */

static PyMethodDef sock_call_methods[] = {
    {"send", (PyCFunction)SockCall_send, METH_O, SockCall_send_doc},
    {"throw", (PyCFunction)(void (*)(void))SockCall_throw, METH_FASTCALL, SockCall_throw_doc},
    {"close", (PyCFunction)SockCall_close, METH_NOARGS, SockCall_close_doc},
    {NULL},
};

static PyGetSetDef sock_call_getset[] = {
    {"__name__", (getter)SockCall_get_name, NULL, "The loop method's name.", NULL},
    {"__qualname__", (getter)SockCall_get_qualname, NULL, "The same with its class.", NULL},
    {"cr_await", (getter)SockCall_get_await, NULL, "The future it waits for, or None.", NULL},
    {"cr_running", (getter)SockCall_get_running, NULL, "Whether it is being resumed.", NULL},
    {"cr_suspended", (getter)SockCall_get_suspended, NULL, "Whether it waits.", NULL},
    {"cr_frame", (getter)SockCall_get_none, NULL, "None: it has no Python frame.", NULL},
    {"cr_code", (getter)SockCall_get_none, NULL, "None: it has no Python code.", NULL},
    {"cr_origin", (getter)SockCall_get_none, NULL, "None: its origin is not recorded.", NULL},
    {NULL},
};

PyDoc_STRVAR(SockCall_doc, "The coroutine of a loop's socket operation.");

static PyType_Slot sock_call_slots[] = {
    {Py_tp_doc, (void *)SockCall_doc},   {Py_tp_dealloc, SockCall_dealloc},
    {Py_tp_finalize, SockCall_finalize}, {Py_tp_traverse, SockCall_traverse},
    {Py_tp_clear, SockCall_clear},       {Py_tp_repr, SockCall_repr},
    {Py_tp_iternext, SockCall_iternext}, {Py_am_await, PyObject_SelfIter},
    {Py_am_send, SockCall_am_send},      {Py_tp_methods, sock_call_methods},
    {Py_tp_getset, sock_call_getset},    {0, NULL},
};

static PyType_Spec sock_call_spec = {
    .name = "fastloop._fastloop.SockCall",
    .basicsize = sizeof(SockCallObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = sock_call_slots,
};

int
fl_sock_call_setup_types(PyObject *module, fl_state *state)
{
    return fl_add_type(module, &sock_call_spec, NULL, "SockCall", &state->SockCall_type);
}
