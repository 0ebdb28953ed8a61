/* Accepting: each connection gets a protocol and a transport without a turn of the loop in between. */
#include "net/listener.h"

#include "base/os.h"
#include "loop/exit.h"
#include "loop/watch.h"
#include "net/socket_object.h"
#include "net/stream.h"
#include "py/args.h"
#include "py/call.h"
#include "py/types.h"

#include <errno.h>
#include <unistd.h>

#define RETRY_DELAY 1.0 /* asyncio.constants.ACCEPT_RETRY_DELAY, seconds */

typedef struct {
    PyObject_HEAD
    LoopObject *loop;     /* owned */
    fl_io io;             /* fd is -1 once closed */
    PyObject *sock;       /* owned */
    ServerObject *server; /* owned or NULL */
    PyObject *factory;    /* owned: makes protocols */
    PyObject *accepted;   /* owned: what deals with accepted sockets instead, or NULL */
    PyObject *context;    /* owned: of whoever began to listen */
    int backlog;          /* connections accepted at once at most */
} ListenerObject;

/* -- one connection -------------------------------------------------------------------------------- */

/* Report the raised exception, of a time before the connection's transport exists. */
static void
listener_report(ListenerObject *self, const char *message)
{
    if (fl_exit_if_asked(self->loop)) {
        return;
    }
    fl_state *state = self->loop->state;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *context =
        fl_error_context(state, PyUnicode_FromString(message), state->str_exception, exc, NULL);
    fl_exit_report(self->loop, context, exc);
    Py_DECREF(exc);
}

/* accepted(sock, address), where address is None unless it is IPv4 or IPv6.  0 or -1 with an exception. */
static int
listener_call_accepted(ListenerObject *self, PyObject *sock, const fl_inet *peer)
{
    PyObject *address = fl_address_object((const struct sockaddr *)&peer->v6, peer->len);
    PyObject *done =
        address == NULL ? NULL : PyObject_CallFunctionObjArgs(self->accepted, sock, address, NULL);
    Py_XDECREF(address);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Give a socket object to whoever makes the transport.  Takes fd.  0 or -1 with an exception. */
static int
listener_hand_on(ListenerObject *self, int fd, const fl_inet *peer)
{
    PyObject *sock = fl_socket_object(self->loop->state, fd);
    if (sock == NULL) {
        close(fd);
        return -1;
    }
    int rc = listener_call_accepted(self, sock, peer);
    Py_DECREF(sock);
    return rc;
}

/* Make protocol and transport.  Takes fd.  0 or -1 with an exception. */
static int
listener_serve(ListenerObject *self, int fd, const fl_inet *peer)
{
    PyObject *protocol = PyObject_CallNoArgs(self->factory);
    if (protocol == NULL) {
        close(fd);
        return -1;
    }
    int rc = fl_stream_accept(self->loop, fd, peer, protocol, self->server);
    Py_DECREF(protocol);
    return rc;
}

/* Deal with one connection in a context of its own. */
static void
listener_admit(ListenerObject *self, int fd, const fl_inet *peer)
{
    static const char failed[] = "Error on transport creation for incoming connection";
    PyObject *context = PyContext_Copy(self->context);
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        close(fd);
        listener_report(self, failed);
        return;
    }
    int rc =
        self->accepted != NULL ? listener_hand_on(self, fd, peer) : listener_serve(self, fd, peer);
    if (rc < 0) {
        listener_report(self, failed);
    }
    if (PyContext_Exit(context) < 0) {
        fl_exit_with_raised(self->loop);
    }
    Py_DECREF(context);
}

/* -- accepting ------------------------------------------------------------------------------------- */

/* Errors of the connection that was about to be accepted, not of the listening socket: accept(2). */
static bool
accept_error_is_passing(int err)
{
    switch (err) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}

static bool
accept_error_is_shortage(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

/* Have _resume() called in a second.  0 or -1. */
static int
listener_set_alarm(ListenerObject *self)
{
    PyObject *resume = PyObject_GetAttrString((PyObject *)self, "_resume");
    PyObject *timer = resume == NULL ? NULL
                                     : PyObject_CallMethod((PyObject *)self->loop, "call_later",
                                                           "dO", RETRY_DELAY, resume);
    Py_XDECREF(resume);
    Py_XDECREF(timer);
    return timer == NULL ? -1 : 0;
}

/* Listen no more for a while: until then the system may have what it lacks now. */
static int
listener_rest(ListenerObject *self, int err)
{
    fl_state *state = self->loop->state;
    fl_io_forget(self->loop, &self->io);
    if (listener_set_alarm(self) < 0) {
        return -1;
    }
    errno = err;
    PyErr_SetFromErrno(PyExc_OSError);
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *sock = PyObject_CallOneArg(state->TransportSocket, self->sock);
    PyObject *message =
        sock == NULL ? NULL : PyUnicode_FromString("socket.accept() out of system resource");
    PyObject *context =
        fl_error_context(state, message, state->str_exception, exc, state->str_socket, sock, NULL);
    Py_DECREF(exc);
    Py_XDECREF(sock);
    return fl_call_exception_handler(state, (PyObject *)self->loop, context);
}

static void
listener_failed(ListenerObject *self, int err)
{
    if (accept_error_is_shortage(err)) {
        if (listener_rest(self, err) < 0) {
            listener_report(self, "Error on accept");
        }
        return;
    }
    fl_io_forget(self->loop, &self->io);
    errno = err;
    PyErr_SetFromErrno(PyExc_OSError);
    listener_report(self, "Fatal error on accept");
}

static void
listener_ready(fl_io *io, unsigned Py_UNUSED(ready))
{
    ListenerObject *self = (ListenerObject *)io->object;
    LoopObject *loop = self->loop;
    for (int i = 0; i < self->backlog && !loop->closed && loop->exit == NULL && io->wanted != 0;
         i++) {
        struct sockaddr_storage storage;
        socklen_t len = sizeof(storage);
        fl_inet peer;
        int fd = fl_os_accept(io->fd, (struct sockaddr *)&storage, &len);
        if (fd < 0 && accept_error_is_passing(errno)) {
            continue;
        }
        if (fd < 0 && errno == EAGAIN) {
            return;
        }
        if (fd < 0) {
            listener_failed(self, errno);
            return;
        }
        fl_inet_set(&peer, (struct sockaddr *)&storage, len);
        listener_admit(self, fd, &peer);
        fl_io_flush(loop);
    }
}

static const fl_io_ops listener_ops = {.ready = listener_ready};

/* -- life ------------------------------------------------------------------------------------------ */

enum { ARG_LOOP, ARG_SOCK, ARG_SERVER, ARG_FACTORY, ARG_BACKLOG, ARG_ACCEPTED, ARGS };

static int
listener_fill(ListenerObject *self, PyObject **given)
{
    PyObject *server = given[ARG_SERVER], *accepted = given[ARG_ACCEPTED];
    int fd = PyObject_AsFileDescriptor(given[ARG_SOCK]);
    self->backlog = fd < 0 ? -1 : (int)PyLong_AsLong(given[ARG_BACKLOG]);
    self->context = PyErr_Occurred() ? NULL : PyContext_CopyCurrent();
    if (self->context == NULL) {
        return -1;
    }
    self->backlog = self->backlog < 1 ? 1 : self->backlog;
    self->loop = (LoopObject *)Py_NewRef(given[ARG_LOOP]);
    self->sock = Py_NewRef(given[ARG_SOCK]);
    self->server = (ServerObject *)(fl_arg_given(server) ? Py_NewRef(server) : NULL);
    self->factory = Py_NewRef(given[ARG_FACTORY]);
    self->accepted = fl_arg_given(accepted) ? Py_NewRef(accepted) : NULL;
    self->io.ops = &listener_ops;
    self->io.object = (PyObject *)self;
    self->io.fd = fd;
    fl_socket_set_nodelay(fd); /* the sockets it accepts inherit that */
    return fl_io_watch(self->loop, &self->io, FL_READ);
}

static PyObject *
Listener_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const fl_signature signature = {"Listener",
                                           5,
                                           6,
                                           ARGS,
                                           {FL_PARAM(loop), FL_PARAM(sock), FL_PARAM(server),
                                            FL_PARAM(protocol_factory), FL_PARAM(backlog),
                                            FL_PARAM(accepted)}};
    PyObject *given[ARGS];
    fl_state *state = fl_state_of(type);
    if (state == NULL || fl_args_bind_tuple(state, &signature, args, kwargs, given) < 0) {
        return NULL;
    }
    if (!PyObject_TypeCheck(given[ARG_LOOP], state->BaseLoop_type) ||
        (fl_arg_given(given[ARG_SERVER]) &&
         !PyObject_TypeCheck(given[ARG_SERVER], state->BaseServer_type))) {
        PyErr_SetString(PyExc_TypeError, "a fastloop.Loop and a server of it are required");
        return NULL;
    }
    ListenerObject *self = (ListenerObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->io.fd = -1;
        if (listener_fill(self, given) < 0) {
            Py_CLEAR(self);
        }
    }
    return (PyObject *)self;
}

static int
Listener_traverse(ListenerObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->sock);
    Py_VISIT(self->server);
    Py_VISIT(self->factory);
    Py_VISIT(self->accepted);
    Py_VISIT(self->context);
    return 0;
}

static int
Listener_clear(ListenerObject *self)
{
    Py_CLEAR(self->sock);
    Py_CLEAR(self->server);
    Py_CLEAR(self->factory);
    Py_CLEAR(self->accepted);
    Py_CLEAR(self->context);
    return 0;
}

static void
Listener_dealloc(ListenerObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Listener_clear(self);
    Py_CLEAR(self->loop);
    type->tp_free(self);
    Py_DECREF(type);
}

/* -- methods --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(Listener_close_doc, "close($self, /)\n--\n\n"
                                 "Accept no more; the socket stays open.");

static PyObject *
Listener_close(ListenerObject *self, PyObject *Py_UNUSED(ignored))
{
    self->io.closing = true;
    fl_io_forget(self->loop, &self->io);
    self->io.fd = -1;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Listener_resume_doc, "_resume($self, /)\n--\n\n"
                                  "Accept again, after a lack of resources.");

static PyObject *
Listener_resume(ListenerObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->io.fd >= 0 && fl_io_watch(self->loop, &self->io, FL_READ) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef listener_methods[] = {
    {"close", (PyCFunction)Listener_close, METH_NOARGS, Listener_close_doc},
    {"_resume", (PyCFunction)Listener_resume, METH_NOARGS, Listener_resume_doc},
    {NULL},
};

PyDoc_STRVAR(
    Listener_doc,
    "Listener(loop, sock, server, protocol_factory, backlog, accepted=None)\n--\n\n"
    "Accepts the connections of a listening socket, up to `backlog` at once.\n\n"
    "Each gets protocol_factory() and a StreamTransport attached to server; with accepted,\n"
    "accepted(socket, address) is called instead, address being None unless it is IPv4 or IPv6.");

static PyType_Slot listener_slots[] = {
    {Py_tp_doc, (void *)Listener_doc},
    {Py_tp_new, Listener_new},
    {Py_tp_dealloc, Listener_dealloc},
    {Py_tp_traverse, Listener_traverse},
    {Py_tp_clear, Listener_clear},
    {Py_tp_methods, listener_methods},
    {0, NULL},
};

static PyType_Spec listener_spec = {
    .name = "fastloop._fastloop.Listener",
    .basicsize = sizeof(ListenerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = listener_slots,
};

int
fl_listener_setup_types(PyObject *module, fl_state *state)
{
    return fl_add_type(module, &listener_spec, NULL, "Listener", &state->Listener_type);
}
