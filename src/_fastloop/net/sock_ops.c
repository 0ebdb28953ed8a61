/* What a SockCall attempts: one function for each sock_* method.  System calls serve plain sockets where
   they save time; everything else goes through the socket's own methods, which know all address families
   and may be overridden. */
#include "net/sock_call.h"

#include "base/os.h"
#include "py/call.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define RECV_DIRECT_MAX 65536 /* bytes received straight into the object that is returned */

/* -- would it block? ------------------------------------------------------------------------------- */

/* 1 with the result of a method call, 0 when it raised BlockingIOError or InterruptedError, else -1. */
static int
method_outcome(PyObject *value, PyObject **result)
{
    *result = value;
    if (value != NULL) {
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_BlockingIOError) &&
        !PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* The same for the errno of a system call that failed. */
static int
errno_outcome(int error)
{
    return fl_try_later(-error) ? 0 : fl_raise_errno(-error);
}

/* -- receiving ------------------------------------------------------------------------------------- */

static int
recv_method(SockCallObject *call, PyObject **result)
{
    return method_outcome(
        PyObject_CallMethodOneArg(call->sock, call->loop->state->str_recv, call->args[0]), result);
}

static int
attempt_recv(SockCallObject *call, PyObject **result)
{
    Py_ssize_t size = PyNumber_AsSsize_t(call->args[0], PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (!call->plain || size <= 0 || size > RECV_DIRECT_MAX) {
        return recv_method(call, result);
    }
    int fd = fl_sock_fileno(call);
    PyObject *bytes = fd < 0 ? NULL : PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL) {
        return -1;
    }
    ssize_t n = fl_os_receive_now(fd, PyBytes_AS_STRING(bytes), (size_t)size);
    if (n < 0) {
        int error = errno;
        Py_DECREF(bytes);
        return errno_outcome(error);
    }
    if (n < size && _PyBytes_Resize(&bytes, n) < 0) {
        return -1;
    }
    *result = bytes;
    return 1;
}

static int
attempt_recv_into(SockCallObject *call, PyObject **result)
{
    return method_outcome(
        PyObject_CallMethodOneArg(call->sock, call->loop->state->str_recv_into, call->args[0]),
        result);
}

static int
attempt_recvfrom(SockCallObject *call, PyObject **result)
{
    return method_outcome(
        PyObject_CallMethodOneArg(call->sock, call->loop->state->str_recvfrom, call->args[0]),
        result);
}

/* sock.recvfrom_into(buf, nbytes), where no or zero nbytes stands for the whole buffer. */
static int
attempt_recvfrom_into(SockCallObject *call, PyObject **result)
{
    PyObject *nbytes = call->args[1];
    int given = nbytes == NULL ? 0 : PyObject_IsTrue(nbytes);
    if (given < 0) {
        return -1;
    }
    if (!given) {
        Py_ssize_t len = PyObject_Size(call->args[0]);
        if (len < 0) {
            return -1;
        }
        Py_XSETREF(call->args[1], PyLong_FromSsize_t(len));
        if (call->args[1] == NULL) {
            return -1;
        }
    }
    return method_outcome(PyObject_CallMethodObjArgs(call->sock, call->loop->state->str_recvfrom_into,
                                                     call->args[0], call->args[1], NULL),
                          result);
}

/* -- sending --------------------------------------------------------------------------------------- */

/* Send some of the rest: bytes sent, 0 for none, or -1 with an exception. */
static Py_ssize_t
send_some(SockCallObject *call)
{
    int fd = fl_sock_fileno(call);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = fl_os_send_now(fd, (char *)call->view.buf + call->sent,
                               (size_t)(call->view.len - call->sent));
    return n < 0 ? errno_outcome(errno) : n;
}

/* A memoryview of the bytes that are not sent yet; the socket's method may keep it. */
static PyObject *
unsent_view(SockCallObject *call)
{
    PyObject *all = PyMemoryView_FromObject(call->args[0]);
    PyObject *bytes = all == NULL ? NULL : PyObject_CallMethod(all, "cast", "s", "B");
    PyObject *rest = bytes == NULL ? NULL : PySequence_GetSlice(bytes, call->sent, call->view.len);
    Py_XDECREF(all);
    Py_XDECREF(bytes);
    return rest;
}

/* The same with sock.send(memoryview(data)[sent:]). */
static Py_ssize_t
send_some_method(SockCallObject *call)
{
    PyObject *rest = unsent_view(call);
    if (rest == NULL) {
        return -1;
    }
    PyObject *count;
    int sent = method_outcome(
        PyObject_CallMethodOneArg(call->sock, call->loop->state->str_send, rest), &count);
    Py_DECREF(rest);
    if (sent <= 0) {
        return sent;
    }
    Py_ssize_t n = PyNumber_AsSsize_t(count, PyExc_OverflowError);
    Py_DECREF(count);
    return n == -1 && PyErr_Occurred() ? -1 : Py_MAX(n, 0);
}

static int
attempt_sendall(SockCallObject *call, PyObject **result)
{
    if (call->view.obj == NULL && PyObject_GetBuffer(call->args[0], &call->view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    Py_ssize_t n = call->plain ? send_some(call) : send_some_method(call);
    if (n < 0) {
        return -1;
    }
    call->sent += n;
    if (call->sent < call->view.len) {
        return 0;
    }
    *result = Py_NewRef(Py_None);
    return 1;
}

static int
attempt_sendto(SockCallObject *call, PyObject **result)
{
    return method_outcome(PyObject_CallMethodObjArgs(call->sock, call->loop->state->str_sendto,
                                                     call->args[0], call->args[1], NULL),
                          result);
}

/* -- connections ----------------------------------------------------------------------------------- */

static int
attempt_accept(SockCallObject *call, PyObject **result)
{
    int accepted =
        method_outcome(PyObject_CallMethodNoArgs(call->sock, call->loop->state->str_accept), result);
    if (accepted <= 0) {
        return accepted;
    }
    PyObject *conn = PySequence_GetItem(*result, 0);
    PyObject *done = conn == NULL ? NULL : PyObject_CallMethod(conn, "setblocking", "O", Py_False);
    Py_XDECREF(conn);
    Py_XDECREF(done);
    if (done == NULL) {
        Py_CLEAR(*result);
        return -1;
    }
    return 1;
}

/* The connection was made or refused in the background: 1, or -1 with asyncio's OSError. */
static int
connect_outcome(SockCallObject *call, PyObject **result)
{
    int error = 0;
    socklen_t len = sizeof(error);
    int fd = fl_sock_fileno(call);
    if (fd < 0) {
        return -1;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        return fl_raise_errno(-errno);
    }
    if (error == 0) {
        *result = Py_NewRef(Py_None);
        return 1;
    }
    PyObject *text = PyUnicode_FromFormat("Connect call failed %S", call->args[0]);
    PyObject *exc = text == NULL ? NULL : PyObject_CallFunction(PyExc_OSError, "iO", error, text);
    Py_XDECREF(text);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return -1;
}

/* Begin to connect: 1 when that is all, 0 when it goes on in the background, else -1. */
static int
connect_begin(SockCallObject *call, PyObject **result)
{
    fl_state *state = call->loop->state;
    if (!call->plain) {
        return method_outcome(
            PyObject_CallMethodOneArg(call->sock, state->str_connect, call->args[0]), result);
    }
    /* Mostly "in progress", which is not worth an exception. */
    PyObject *code = PyObject_CallMethodOneArg(call->sock, state->str_connect_ex, call->args[0]);
    if (code == NULL) {
        return -1;
    }
    int error = (int)PyLong_AsLong(code);
    Py_DECREF(code);
    if (error != 0) {
        return error == EINPROGRESS || error == EALREADY ? 0 : errno_outcome(error);
    }
    *result = Py_NewRef(Py_None);
    return 1;
}

/* 1 when the connection has been made or refused meanwhile, as always over the loopback interface, else 0 or -1. */
static int
connect_is_over(SockCallObject *call)
{
    struct pollfd poller = {.fd = fl_sock_fileno(call), .events = POLLOUT};
    return poller.fd < 0 ? -1 : poll(&poller, 1, 0) == 1;
}

static int
attempt_connect(SockCallObject *call, PyObject **result)
{
    if (call->waited) {
        return connect_outcome(call, result);
    }
    int rc = connect_begin(call, result);
    if (rc == 0 && call->plain) {
        rc = connect_is_over(call);
        if (rc == 1) {
            rc = connect_outcome(call, result);
        }
    }
    if (rc == 1) {
        fl_loop_poll_soon(call->loop); /* the listener may belong to the same loop */
    }
    return rc;
}

/* -- the operations -------------------------------------------------------------------------------- */

const fl_sock_op fl_sock_recv = {FL_SOCK_CORO("sock_recv"), FL_READING, attempt_recv};
const fl_sock_op fl_sock_recv_into = {FL_SOCK_CORO("sock_recv_into"), FL_READING, attempt_recv_into};
const fl_sock_op fl_sock_recvfrom = {FL_SOCK_CORO("sock_recvfrom"), FL_READING, attempt_recvfrom};
const fl_sock_op fl_sock_recvfrom_into = {FL_SOCK_CORO("sock_recvfrom_into"), FL_READING,
                                          attempt_recvfrom_into};
const fl_sock_op fl_sock_sendall = {FL_SOCK_CORO("sock_sendall"), FL_WRITING, attempt_sendall};
const fl_sock_op fl_sock_sendto = {FL_SOCK_CORO("sock_sendto"), FL_WRITING, attempt_sendto};
const fl_sock_op fl_sock_accept = {FL_SOCK_CORO("sock_accept"), FL_READING, attempt_accept};
const fl_sock_op fl_sock_connect = {FL_SOCK_CORO("sock_connect"), FL_WRITING, attempt_connect};
