/* The socket object of a transport, and what get_extra_info() knows. */
#include "net/transport_info.h"

#include "net/socket_object.h"

/* -- the socket ------------------------------------------------------------------------------------ */

int
fl_transport_hold(TransportObject *self, PyObject *sock)
{
    fl_state *state = self->loop->state;
    if (PyObject_TypeCheck(sock, (PyTypeObject *)state->socket)) {
        /* the count by which a socket knows that makefile() objects still use it */
        PyObject *users = PyObject_GetAttr(sock, state->str__io_refs);
        PyObject *one = users == NULL ? NULL : PyLong_FromLong(1);
        PyObject *more = one == NULL ? NULL : PyNumber_Add(users, one);
        int rc = more == NULL ? -1 : PyObject_SetAttr(sock, state->str__io_refs, more);
        Py_XDECREF(users);
        Py_XDECREF(one);
        Py_XDECREF(more);
        if (rc < 0) {
            return -1;
        }
        self->held = true;
    }
    self->file = Py_NewRef(sock);
    return 0;
}

void
fl_transport_disown(TransportObject *self)
{
    self->io.fd = -1;
    if (self->held) {
        PyObject *raised = PyErr_GetRaisedException();
        PyObject *freed =
            PyObject_CallMethodNoArgs(self->file, self->loop->state->str__decref_socketios);
        if (freed == NULL) {
            PyErr_WriteUnraisable(self->file);
        }
        Py_XDECREF(freed);
        PyErr_SetRaisedException(raised);
    }
}

PyObject *
fl_transport_socket(TransportObject *self)
{
    if (self->file != NULL || self->io.fd < 0) {
        return self->file;
    }
    PyObject *sock = fl_socket_object(self->loop->state, self->io.fd);
    if (sock == NULL) {
        return NULL;
    }
    bool wanted = self->file == NULL && self->io.fd >= 0; /* nobody was faster */
    if (!wanted || fl_transport_hold(self, sock) < 0) {
        fl_socket_object_detach(sock);
    }
    Py_DECREF(sock);
    return self->file;
}

/* -- what is known of it --------------------------------------------------------------------------- */

typedef int (*name_call)(int fd, struct sockaddr *address, socklen_t *len);

/* The name as the kernel tells it: an object, or NULL without an exception when there is none, or with one. */
static PyObject *
name_from_kernel(TransportObject *self, name_call call, const char *method)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof(storage);
    if (self->io.fd < 0 || call(self->io.fd, (struct sockaddr *)&storage, &len) < 0) {
        return NULL;
    }
    PyObject *name = fl_address_object((struct sockaddr *)&storage, len);
    if (name == NULL && !PyErr_Occurred()) { /* another family: Python's socket module knows it */
        PyObject *sock = fl_transport_socket(self);
        name = sock == NULL ? NULL : PyObject_CallMethod(sock, method, NULL);
    }
    return name;
}

static PyObject *
name_from_inet(const fl_inet *inet)
{
    return fl_address_object((const struct sockaddr *)&inet->v6, inet->len);
}

/* What get_extra_info(key) of a socket is at this moment; NULL without an exception when it is not known. */
static PyObject *
transport_info(TransportObject *self, PyObject *key)
{
    fl_state *state = self->loop->state;
    if (PyUnicode_Compare(key, state->str_socket) == 0) {
        PyObject *sock = fl_transport_socket(self);
        if (sock == NULL && !PyErr_Occurred()) {
            int family = self->peer.len ? self->peer.family : AF_UNIX;
            sock = fl_socket_object_closed(state, family);
            if (sock != NULL) {
                Py_XSETREF(self->file, sock);
            }
        }
        return sock == NULL ? NULL : PyObject_CallOneArg(state->TransportSocket, sock);
    }
    if (PyUnicode_Compare(key, state->str_peername) == 0) {
        return self->peer.len ? name_from_inet(&self->peer)
                              : name_from_kernel(self, getpeername, "getpeername");
    }
    if (PyUnicode_Compare(key, state->str_sockname) == 0) {
        return self->local.len ? name_from_inet(&self->local)
                               : name_from_kernel(self, getsockname, "getsockname");
    }
    const fl_transport_ops *ops = fl_transport_ops_of(self);
    return ops->info == NULL ? NULL : ops->info(self, key);
}

PyObject *
fl_transport_find_info(TransportObject *self, PyObject *key)
{
    if (self->extra == NULL && (self->extra = PyDict_New()) == NULL) {
        return NULL;
    }
    PyObject *extra = Py_NewRef(self->extra); /* comparing keys may run anything */
    PyObject *value = Py_XNewRef(PyDict_GetItemWithError(extra, key));
    if (value == NULL && !PyErr_Occurred() && PyUnicode_Check(key) &&
        fl_transport_ops_of(self)->socket) {
        value = transport_info(self, key);
        if (value != NULL && PyDict_SetItem(extra, key, value) < 0) {
            Py_CLEAR(value);
        }
    }
    Py_DECREF(extra);
    return value;
}

/* Have a key in the dict; None when nothing is known.  0 or -1. */
static int
transport_fill_info(TransportObject *self, PyObject *key)
{
    PyObject *value = fl_transport_find_info(self, key);
    if (value == NULL && !PyErr_Occurred()) {
        return self->extra == NULL ? 0 : PyDict_SetItem(self->extra, key, Py_None);
    }
    Py_XDECREF(value);
    return value == NULL ? -1 : 0;
}

PyObject *
fl_transport_extra(TransportObject *self)
{
    fl_state *state = self->loop->state;
    if (self->extra == NULL && (self->extra = PyDict_New()) == NULL) {
        return NULL;
    }
    if (fl_transport_ops_of(self)->socket && (transport_fill_info(self, state->str_socket) < 0 ||
                                              transport_fill_info(self, state->str_sockname) < 0 ||
                                              transport_fill_info(self, state->str_peername) < 0)) {
        return NULL;
    }
    const char *const *name = fl_transport_ops_of(self)->infos;
    for (; name != NULL && *name != NULL; name++) {
        PyObject *key = PyUnicode_InternFromString(*name);
        int rc = key == NULL ? -1 : transport_fill_info(self, key);
        Py_XDECREF(key);
        if (rc < 0) {
            return NULL;
        }
    }
    return self->extra;
}

int
fl_transport_keep_names(TransportObject *self)
{
    if (!fl_transport_ops_of(self)->socket || self->io.fd < 0 || self->local.len) {
        return 0;
    }
    struct sockaddr_storage storage;
    socklen_t len = sizeof(storage);
    if (getsockname(self->io.fd, (struct sockaddr *)&storage, &len) < 0) {
        return 0;
    }
    fl_inet_set(&self->local, (struct sockaddr *)&storage, len);
    if (self->local.len) {
        return 0;
    }
    fl_state *state = self->loop->state;
    return transport_fill_info(self, state->str_sockname) < 0 ||
                   transport_fill_info(self, state->str_peername) < 0
               ? -1
               : 0;
}
