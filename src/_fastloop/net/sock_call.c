/* SockCall: a socket operation that is awaited.  What it attempts is in sock_ops.c, the protocol of coroutines in
   task/coro.c. */
#include "net/sock_call.h"

#include "net/socket_object.h"
#include "py/call.h"
#include "task/future.h"

#include <errno.h>

/* -- life ------------------------------------------------------------------------------------------ */

PyObject *
fl_sock_call_new(LoopObject *loop, const fl_sock_op *op, PyObject *sock, PyObject *first,
                 PyObject *second)
{
    fl_state *state = loop->state;
    SockCallObject *self = (SockCallObject *)fl_coro_new(state->SockCall_type, &op->coro);
    if (self == NULL) {
        return NULL;
    }
    self->loop = (LoopObject *)Py_NewRef(loop);
    self->op = op;
    self->sock = Py_NewRef(sock);
    self->args[0] = Py_XNewRef(first);
    self->args[1] = Py_XNewRef(second);
    self->plain = Py_IS_TYPE(sock, (PyTypeObject *)state->socket);
    return (PyObject *)self;
}

int
fl_sock_call_traverse(CoroObject *coro, visitproc visit, void *arg)
{
    SockCallObject *self = (SockCallObject *)coro;
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

void
fl_sock_call_release(CoroObject *coro)
{
    SockCallObject *self = (SockCallObject *)coro;
    sock_call_abandon(self);
    PyBuffer_Release(&self->view);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->args[0]);
    Py_CLEAR(self->args[1]);
    Py_CLEAR(self->loop);
}

/* -- waiting --------------------------------------------------------------------------------------- */

bool
fl_sock_call_waits(CoroObject *coro)
{
    return ((FutureObject *)((SockCallObject *)coro)->future)->status == FL_PENDING;
}

PyObject *
fl_sock_call_awaited(CoroObject *coro)
{
    return ((SockCallObject *)coro)->future;
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
        PyObject *result = PyObject_CallOneArg(self->loop->state->check_ssl_socket, self->sock);
        Py_XDECREF(result);
        if (result == NULL) {
            return -1;
        }
    }
    if (!self->loop->debug) {
        return 0;
    }
    PyObject *timeout = PyObject_CallMethodNoArgs(self->sock, self->loop->state->str_gettimeout);
    PyObject *zero = timeout == NULL ? NULL : PyLong_FromLong(0);
    int equal = zero == NULL ? -1 : PyObject_RichCompareBool(timeout, zero, Py_EQ);
    Py_XDECREF(timeout);
    Py_XDECREF(zero);
    if (equal == 0) {
        PyErr_SetString(PyExc_ValueError, "the socket must be non-blocking");
    }
    return equal > 0 ? 0 : -1;
}

PySendResult
fl_sock_call_resume(CoroObject *coro, PyObject **result)
{
    SockCallObject *self = (SockCallObject *)coro;
    bool first = self->future == NULL;
    if ((first ? sock_call_check(self) : sock_call_end_wait(self)) < 0) {
        return PYGEN_ERROR;
    }
    int done = self->op->attempt(self, result);
    if (done != 0) {
        return done > 0 ? PYGEN_RETURN : PYGEN_ERROR;
    }
    return sock_call_wait(self, result);
}

/* -- the type -------------------------------------------------------------------------------------- */

int
fl_sock_call_setup_types(PyObject *module, fl_state *state)
{
    static const fl_coro_spec spec = {
        .name = "fastloop._fastloop.SockCall",
        .doc = "The coroutine of a loop's socket operation.",
        .basicsize = sizeof(SockCallObject),
    };
    return fl_coro_add_type(module, &spec, &state->SockCall_type);
}
