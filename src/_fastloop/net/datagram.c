/* Datagrams: many with one system call, where there are many. */
#include "net/datagram.h"

#include "base/os.h"
#include "loop/exit.h"
#include "loop/watch.h"
#include "net/transport_info.h"
#include "py/call.h"

#include <errno.h>
#include <sys/socket.h>

#define DATAGRAM_MAX 65536 /* bytes of an IPv4 or IPv6 datagram, and more */

static const char datagrams_lost[] = "Datagrams were lost";
static const char write_failed[] = "Fatal write error on datagram transport";

/* -- calling the protocol -------------------------------------------------------------------------- */

/* protocol.error_received() with the raised exception. */
static void
datagram_tell_error(DatagramObject *self)
{
    PyObject *name = self->loop->state->str_error_received;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *result = fl_transport_call(&self->transport, name, exc);
    Py_DECREF(exc);
    fl_transport_called(&self->transport, name, result);
}

/* The same for a system call that has failed. */
static void
datagram_error(DatagramObject *self, int err)
{
    fl_raise_errno(err);
    datagram_tell_error(self);
}

/* The raised exception of a method of the socket: an OSError goes to the protocol, any other ends the transport. */
static void
datagram_method_failed(DatagramObject *self, const char *message)
{
    if (PyErr_ExceptionMatches(PyExc_OSError)) {
        datagram_tell_error(self);
    }
    else {
        fl_transport_fatal(&self->transport, message);
    }
}

/* protocol.datagram_received(data, address); both are taken. */
static void
datagram_deliver(DatagramObject *self, PyObject *data, PyObject *address)
{
    PyObject *name = self->loop->state->str_datagram_received;
    PyObject *result = fl_transport_call_two(&self->transport, name, data, address);
    Py_DECREF(data);
    Py_DECREF(address);
    fl_transport_called(&self->transport, name, result);
}

/* Keep a datagram for later; both are taken. */
static void
datagram_keep(DatagramObject *self, PyObject *data, PyObject *address)
{
    PyObject *pair = PyTuple_Pack(2, data, address);
    Py_DECREF(data);
    Py_DECREF(address);
    if (pair != NULL && self->arrived == NULL) {
        self->arrived = PyList_New(0);
    }
    if (pair == NULL || self->arrived == NULL || PyList_Append(self->arrived, pair) < 0) {
        fl_transport_report(&self->transport, datagrams_lost);
    }
    Py_XDECREF(pair);
}

/* Deliver a datagram; or keep it, while reading is paused or an exception ends the run; or drop it, once a callback
   has closed the transport.  Both are taken. */
static void
datagram_dispose(DatagramObject *self, PyObject *data, PyObject *address)
{
    if (self->phase >= FL_CLOSING) {
        Py_DECREF(data);
        Py_DECREF(address);
    }
    else if (self->paused || self->loop->exit != NULL) {
        datagram_keep(self, data, address);
    }
    else {
        datagram_deliver(self, data, address);
    }
}

int
fl_datagram_deliver_soon(TransportObject *transport)
{
    DatagramObject *self = (DatagramObject *)transport;
    bool due = self->arrived != NULL && !self->paused && self->phase < FL_CLOSING;
    return due ? fl_io_tell_later(self->loop, &self->io, FL_READ) : 0;
}

/* Have the rest delivered in the next turn. */
static void
datagram_deliver_rest(DatagramObject *self)
{
    if (fl_datagram_deliver_soon(&self->transport) < 0) {
        fl_transport_report(&self->transport, datagrams_lost);
    }
}

/* Deliver what was kept. */
static void
datagram_deliver_kept(DatagramObject *self)
{
    PyObject *kept = self->arrived;
    self->arrived = NULL;
    for (Py_ssize_t i = 0; kept != NULL && i < PyList_GET_SIZE(kept); i++) {
        PyObject *pair = PyList_GET_ITEM(kept, i);
        PyObject *data = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
        PyObject *address = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
        datagram_dispose(self, data, address);
    }
    Py_XDECREF(kept);
    datagram_deliver_rest(self);
}

/* -- addresses ------------------------------------------------------------------------------------- */

static fl_known_address *
known_slot(DatagramObject *self, const fl_inet *inet)
{
    return &self->known[ntohs(inet->v4.sin_port) % FL_DATAGRAM_BATCH]; /* IPv6 has it there too */
}

/* The tuple for an address: a new reference, or NULL with an exception. */
static PyObject *
address_object(DatagramObject *self, const fl_inet *inet)
{
    fl_known_address *slot = known_slot(self, inet);
    if (slot->object == NULL || slot->inet.len != inet->len ||
        memcmp(&slot->inet.v6, &inet->v6, inet->len) != 0) {
        PyObject *object = fl_address_object((const struct sockaddr *)&inet->v6, inet->len);
        if (object == NULL) {
            return NULL;
        }
        Py_XSETREF(slot->object, object);
        slot->inet = *inet;
    }
    return Py_NewRef(slot->object);
}

/* The kernel's shape of an address object: 1, or 0 when that is the socket module's business. */
static int
address_inet(DatagramObject *self, PyObject *object, fl_inet *inet)
{
    for (int i = 0; i < FL_DATAGRAM_BATCH; i++) {
        if (self->known[i].object == object) {
            *inet = self->known[i].inet;
            return 1;
        }
    }
    return fl_inet_parse(inet, self->family, object);
}

/* -- receiving ------------------------------------------------------------------------------------- */

/* For families whose addresses only Python's socket module knows, or whose datagrams may be long: one of them, if there is
   one.  Returns whether there was. */
static bool
datagram_read_one(DatagramObject *self)
{
    PyObject *sock = fl_transport_socket(&self->transport);
    PyObject *pair = sock == NULL ? NULL : PyObject_CallMethod(sock, "recvfrom", "i", 256 * 1024);
    if (pair != NULL && (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2)) {
        PyErr_Format(PyExc_ValueError, "recvfrom() must return a pair, got %R", pair);
        Py_CLEAR(pair);
    }
    if (pair != NULL) {
        PyObject *data = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
        PyObject *address = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
        Py_DECREF(pair);
        datagram_deliver(self, data, address);
        return true;
    }
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
        PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        PyErr_Clear();
    }
    else {
        datagram_method_failed(self, "Fatal read error on datagram transport");
    }
    return false;
}

static void
datagram_read_each(DatagramObject *self)
{
    bool more = true;
    for (int i = 0; i < FL_DATAGRAM_BATCH && more; i++) {
        more = datagram_read_one(self) && self->phase < FL_CLOSING && !self->paused &&
               self->loop->exit == NULL;
    }
}

/* One system call's worth. */
typedef struct {
    fl_os_message messages[FL_DATAGRAM_BATCH];
    struct iovec pieces[FL_DATAGRAM_BATCH];
    fl_inet names[FL_DATAGRAM_BATCH];
} fl_batch;

static int
batch_receive(DatagramObject *self, fl_batch *batch, char *scratch)
{
    for (int i = 0; i < FL_DATAGRAM_BATCH; i++) {
        batch->pieces[i] =
            (struct iovec){.iov_base = scratch + (size_t)i * DATAGRAM_MAX, .iov_len = DATAGRAM_MAX};
        batch->messages[i].msg_hdr = (struct msghdr){.msg_name = &batch->names[i].v6,
                                                     .msg_namelen = sizeof(batch->names[i].v6),
                                                     .msg_iov = &batch->pieces[i],
                                                     .msg_iovlen = 1};
    }
    int n = fl_os_receive_messages(self->io.fd, batch->messages, FL_DATAGRAM_BATCH);
    return n < 0 ? -errno : n;
}

/* Make the objects of all datagrams before the first callback, which may use the scratch memory: the number made,
   fewer than n with an exception. */
static int
batch_objects(DatagramObject *self, fl_batch *batch, int n, PyObject **data, PyObject **addresses)
{
    for (int i = 0; i < n; i++) {
        batch->names[i].len = (uint8_t)batch->messages[i].msg_hdr.msg_namelen;
        data[i] = PyBytes_FromStringAndSize(batch->pieces[i].iov_base,
                                            (Py_ssize_t)batch->messages[i].msg_len);
        addresses[i] = data[i] == NULL ? NULL : address_object(self, &batch->names[i]);
        if (addresses[i] == NULL) {
            Py_XDECREF(data[i]);
            return i;
        }
    }
    return n;
}

/* All that one system call brings. */
static void
datagram_read_batch(DatagramObject *self)
{
    fl_batch batch;
    PyObject *data[FL_DATAGRAM_BATCH], *addresses[FL_DATAGRAM_BATCH];
    char *scratch = fl_loop_scratch(self->loop);
    int n = scratch == NULL ? -ENOMEM : batch_receive(self, &batch, scratch);
    if (n < 0) {
        PyErr_Clear();
        if (!fl_try_later(n)) {
            datagram_error(self, n);
        }
        return;
    }
    int made = batch_objects(self, &batch, n, data, addresses);
    if (made < n) {
        fl_transport_report(&self->transport, datagrams_lost);
    }
    for (int i = 0; i < made; i++) {
        datagram_dispose(self, data[i], addresses[i]);
    }
    datagram_deliver_rest(self);
}

void
fl_datagram_read(DatagramObject *self)
{
    if (self->arrived != NULL) {
        datagram_deliver_kept(self);
    }
    else if (self->family != AF_INET && self->family != AF_INET6) {
        datagram_read_each(self);
    }
    else {
        datagram_read_batch(self);
    }
}

/* -- sending --------------------------------------------------------------------------------------- */

static size_t
datagram_cost(PyObject *data)
{
    return (size_t)PyBytes_GET_SIZE(data) + FL_DATAGRAM_HEADER;
}

static fl_datagram *
queue_first(DatagramObject *self)
{
    return &self->queue[self->queue_head];
}

/* The first one is dealt with. */
static void
queue_pop(DatagramObject *self)
{
    fl_datagram *first = queue_first(self);
    PyObject *data = first->data, *address = first->address;
    self->queue_size -= datagram_cost(data);
    self->queue_len--;
    self->queue_head = self->queue_len == 0 ? 0 : self->queue_head + 1;
    Py_DECREF(data);
    Py_XDECREF(address);
}

void
fl_datagram_discard(TransportObject *transport)
{
    DatagramObject *self = (DatagramObject *)transport;
    while (self->queue_len > 0) {
        queue_pop(self);
    }
    PyMem_Free(self->queue);
    self->queue = NULL;
    self->queue_capacity = 0;
}

/* Room for one more at the end.  0 or -1. */
static int
queue_make_room(DatagramObject *self)
{
    if (self->queue_head + self->queue_len < self->queue_capacity) {
        return 0;
    }
    if (self->queue_head > self->queue_len) {
        memmove(self->queue, queue_first(self), self->queue_len * sizeof(fl_datagram));
        self->queue_head = 0;
        return 0;
    }
    uint32_t capacity = self->queue_capacity == 0 ? 4 : self->queue_capacity * 2;
    fl_datagram *queue = capacity > self->queue_capacity
                             ? PyMem_Realloc(self->queue, capacity * sizeof(fl_datagram))
                             : NULL;
    if (queue == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->queue = queue;
    self->queue_capacity = capacity;
    return 0;
}

/* The first datagram through the socket's own method, which may run anything.  1 when it is dealt with, 0 when the
   kernel takes no more, -1 with an exception. */
static int
queue_send_method(DatagramObject *self)
{
    PyObject *data = Py_NewRef(queue_first(self)->data);
    PyObject *address = Py_NewRef(queue_first(self)->address);
    PyObject *sock = fl_transport_socket(&self->transport);
    self->sending = true;
    PyObject *sent = sock == NULL ? NULL : PyObject_CallMethod(sock, "sendto", "OO", data, address);
    self->sending = false;
    bool full = sent == NULL && (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
                                 PyErr_ExceptionMatches(PyExc_InterruptedError));
    if (full) {
        PyErr_Clear();
    }
    else if (self->queue_len > 0 &&
             queue_first(self)->data == data) { /* it was not dropped meanwhile */
        queue_pop(self);
    }
    Py_DECREF(data);
    Py_DECREF(address);
    Py_XDECREF(sent);
    return full ? 0 : sent == NULL ? -1 : 1;
}

/* As many as one call sends: their number, or -errno of the first. */
static int
queue_send_batch(DatagramObject *self)
{
    fl_batch batch;
    unsigned n = 0;
    for (; n < FL_DATAGRAM_BATCH && n < self->queue_len; n++) {
        fl_datagram *next = queue_first(self) + n;
        if (next->address != NULL) {
            break;
        }
        batch.pieces[n] = (struct iovec){.iov_base = PyBytes_AS_STRING(next->data),
                                         .iov_len = (size_t)PyBytes_GET_SIZE(next->data)};
        batch.messages[n].msg_hdr =
            (struct msghdr){.msg_name = next->inet.len ? &next->inet.v6 : NULL,
                            .msg_namelen = next->inet.len,
                            .msg_iov = &batch.pieces[n],
                            .msg_iovlen = 1};
    }
    int sent;
    if (n == 1) {
        sent = fl_os_send_message(self->io.fd, &batch.messages[0].msg_hdr) < 0 ? -1 : 1;
    }
    else {
        sent = fl_os_send_messages(self->io.fd, batch.messages, n);
    }
    return sent < 0 ? -errno : sent;
}

/* Send the first or some more.  Returns false when the kernel takes no more. */
static bool
queue_advance(DatagramObject *self)
{
    if (queue_first(self)->address != NULL) {
        int sent = queue_send_method(self);
        if (sent < 0) {
            datagram_method_failed(self, write_failed);
        }
        return sent != 0;
    }
    int sent = queue_send_batch(self);
    if (fl_try_later(sent)) {
        return false;
    }
    for (int i = 0; i < (sent < 0 ? 1 : sent); i++) {
        queue_pop(self);
    }
    fl_loop_poll_soon(self->loop); /* the receiver may belong to the same loop */
    if (sent < 0) {
        datagram_error(self, sent);
    }
    return true;
}

/* Send what is queued now; what a callback sends meanwhile waits for the next turn, for the others' sake. */
static void
queue_send(DatagramObject *self)
{
    bool more = true;
    for (uint32_t n = self->queue_len; n > 0 && self->queue_len > 0 && self->io.fd >= 0 && more;
         n--) {
        more = queue_advance(self) && self->loop->exit == NULL;
    }
}

void
fl_datagram_flush(DatagramObject *self)
{
    TransportObject *transport = &self->transport;
    fl_io_uncork(&self->io);
    if (self->loop->forked) { /* the parent sends it */
        fl_datagram_discard(transport);
    }
    if (self->sending) {
        return; /* whoever sends goes on with it */
    }
    queue_send(self);
    bool more = self->queue_len > 0 && self->phase < FL_LOSING;
    if (self->draining != more && self->io.fd >= 0) {
        self->draining = more;
        if (fl_transport_rearm(transport) < 0) {
            fl_transport_fatal(transport, write_failed);
        }
    }
    fl_transport_sent(transport);
    if (self->queue_len == 0 && self->phase == FL_CLOSING) {
        fl_io_forget(self->loop, &self->io);
        fl_transport_report_close(transport, fl_transport_schedule_lost(transport, NULL));
    }
}

/* Send what is queued, or if that must wait, have the protocol pause if it is time to.  0, or -1 with what the protocol has
   raised that ends the run. */
static int
datagram_send_now(DatagramObject *self)
{
    PyObject *before = fl_exit_begin(self->loop);
    if (self->draining || self->sending) {
        fl_transport_maybe_pause(&self->transport);
    }
    else {
        fl_datagram_flush(self);
    }
    return fl_exit_end(self->loop, before, 0);
}

int
fl_datagram_send(DatagramObject *self, PyObject *data, PyObject *address)
{
    fl_inet inet = {.len = 0};
    address = address == NULL ? Py_None
                              : address; /* the socket's own method says what is wrong with it */
    bool simple = self->connected || (self->joined && address == Py_None) ||
                  address_inet(self, address, &inet);
    if (queue_make_room(self) < 0) {
        Py_DECREF(data);
        return -1;
    }
    self->queue[self->queue_head + self->queue_len++] =
        (fl_datagram){.data = data, .address = simple ? NULL : Py_NewRef(address), .inet = inet};
    self->queue_size += datagram_cost(data);
    if (self->draining || self->sending || !simple || self->queue_size > self->high_water ||
        self->queue_len >= FL_DATAGRAM_BATCH ||
        self->loop->thread_id != PyThread_get_thread_ident()) {
        return datagram_send_now(self);
    }
    fl_io_cork(self->loop, &self->io);
    return 0;
}
