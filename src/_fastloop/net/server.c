/* BaseServer: counting connections. */
#include "net/server.h"

#include "net/transport.h"
#include "py/types.h"

#include <structmember.h>

/* -- connections ----------------------------------------------------------------------------------- */

void
fl_server_attach(ServerObject *self, fl_list *link)
{
    fl_list_append(&self->clients, link);
    self->active++;
}

/* One less.  The last one of a server that is closed wakes whoever waits for that. */
static int
server_count_down(ServerObject *self)
{
    if (--self->active > 0 || !self->closed) {
        return 0;
    }
    PyObject *done = PyObject_CallMethodNoArgs((PyObject *)self, self->state->str__wakeup);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
fl_server_detach(ServerObject *self, fl_list *link)
{
    fl_list_remove(link);
    return server_count_down(self);
}

PyDoc_STRVAR(clients_doc,
             "_clients($self, /)\n--\n\n"
             "Return a list of the transports whose connections this server has accepted.");

static PyObject *
BaseServer_clients(ServerObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);
    for (fl_list *node = self->clients.next; list != NULL && node != &self->clients;
         node = node->next) {
        PyObject *transport = (PyObject *)FL_LIST_OWNER(node, TransportObject, server_link);
        if (PyList_Append(list, transport) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

PyDoc_STRVAR(attach_doc, "_attach($self, transport=None, /)\n--\n\n"
                         "Count one more connection.");

static PyObject *
BaseServer_attach(ServerObject *self, PyObject *const *Py_UNUSED(args), Py_ssize_t nargs)
{
    if (nargs > 1) {
        return PyErr_Format(PyExc_TypeError, "_attach() takes at most 1 argument");
    }
    self->active++;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(detach_doc, "_detach($self, transport=None, /)\n--\n\n"
                         "Count one connection less, that _attach() has counted.");

static PyObject *
BaseServer_detach(ServerObject *self, PyObject *const *Py_UNUSED(args), Py_ssize_t nargs)
{
    if (nargs > 1) {
        return PyErr_Format(PyExc_TypeError, "_detach() takes at most 1 argument");
    }
    return server_count_down(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef server_methods[] = {
    {"_clients", (PyCFunction)BaseServer_clients, METH_NOARGS, clients_doc},
    {"_attach", (PyCFunction)(void (*)(void))BaseServer_attach, METH_FASTCALL, attach_doc},
    {"_detach", (PyCFunction)(void (*)(void))BaseServer_detach, METH_FASTCALL, detach_doc},
    {NULL},
};

static PyMemberDef server_members[] = {
    {"_active_count", T_PYSSIZET, offsetof(ServerObject, active), READONLY,
     "How many connections are attached."},
    {"_closed", T_BOOL, offsetof(ServerObject, closed), 0,
     "Set when close() is called: _wakeup() is called once no connection is left."},
    {NULL},
};

/* -- the type -------------------------------------------------------------------------------------- */

static PyObject *
BaseServer_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    fl_state *state = fl_state_of(type);
    ServerObject *self = state == NULL ? NULL : (ServerObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->state = fl_state_hold(state);
        fl_list_init(&self->clients);
    }
    return (PyObject *)self;
}

static int
BaseServer_traverse(ServerObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void
BaseServer_dealloc(ServerObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    fl_state *state = self->state;
    PyObject_GC_UnTrack(self);
    type->tp_free(self);
    if (state != NULL) {
        fl_state_release(state);
    }
    Py_DECREF(type);
}

PyDoc_STRVAR(BaseServer_doc, "BaseServer()\n--\n\n"
                             "The part of a server that is written in C: it counts connections.");

static PyType_Slot server_slots[] = {
    {Py_tp_doc, (void *)BaseServer_doc},
    {Py_tp_new, BaseServer_new},
    {Py_tp_dealloc, BaseServer_dealloc},
    {Py_tp_traverse, BaseServer_traverse},
    {Py_tp_methods, server_methods},
    {Py_tp_members, server_members},
    {0, NULL},
};

static PyType_Spec server_spec = {
    .name = "fastloop._fastloop.BaseServer",
    .basicsize = sizeof(ServerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = server_slots,
};

int
fl_server_setup_types(PyObject *module, fl_state *state)
{
    return fl_add_type(module, &server_spec, NULL, "BaseServer", &state->BaseServer_type);
}
