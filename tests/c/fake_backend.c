/* A backend that is driven by hand, as an extension module for tests/unit/loop/test_backend.py.  It is put into a loop that was
   made already, and so shows what the loop needs of a backend: the functions of fl_backend_ops and nothing else. */
#include "loop/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST 64 /* descriptors, and events that wait to be reported */

typedef struct {
    int fd;
    uint32_t generation;
    unsigned wanted; /* 0: not in use */
} fake_watch;

typedef struct {
    int64_t now; /* nanoseconds */
    int wakes;   /* how often wake() was called */
    fake_watch watches[MOST];
    fl_event events[MOST];
    int pending;       /* of the events */
    PyObject *on_wait; /* owned: called with the timeout, nanoseconds, by each wait that may block */
} fake_backend;

static fake_watch *
fake_find(fake_backend *self, int fd)
{
    for (int i = 0; i < MOST; i++) {
        if (self->watches[i].wanted != 0 && self->watches[i].fd == fd) {
            return &self->watches[i];
        }
    }
    return NULL;
}

static fake_watch *
fake_find_unused(fake_backend *self)
{
    for (int i = 0; i < MOST; i++) {
        if (self->watches[i].wanted == 0) {
            return &self->watches[i];
        }
    }
    return NULL;
}

/* -- what the loop calls --------------------------------------------------------------------------- */

static int
fake_open(fl_backend **out)
{
    (void)out;
    return -ENOSYS;
}

static void
fake_close(fl_backend *backend)
{
    fake_backend *self = (fake_backend *)backend;
    Py_DECREF(self->on_wait);
    free(self);
}

static int
fake_arm(fl_backend *backend, int fd, uint32_t generation, unsigned known, unsigned wanted)
{
    fake_backend *self = (fake_backend *)backend;
    fake_watch *watch = fake_find(self, fd);
    if ((watch == NULL ? 0 : watch->wanted) != known) {
        return -EINVAL; /* nothing is closed behind the loop's back in these tests */
    }
    if (watch == NULL) {
        watch = fake_find_unused(self);
    }
    if (watch == NULL) {
        return -ENOMEM;
    }
    *watch = (fake_watch){.fd = fd, .generation = generation, .wanted = wanted};
    return 0;
}

static int
fake_forget(fl_backend *backend, int fd)
{
    fake_watch *watch = fake_find((fake_backend *)backend, fd);
    if (watch == NULL) {
        return -ENOENT;
    }
    watch->wanted = 0;
    return 0;
}

/* Have the test decide what happens.  0, or -EIO after an exception. */
static int
fake_ask(fake_backend *self, int64_t timeout)
{
    PyGILState_STATE lock = PyGILState_Ensure();
    PyObject *result = PyObject_CallFunction(self->on_wait, "L", (long long)timeout);
    if (result == NULL) {
        PyErr_WriteUnraisable(self->on_wait);
    }
    Py_XDECREF(result);
    PyGILState_Release(lock);
    return result == NULL ? -EIO : 0;
}

static int
fake_wait(fl_backend *backend, fl_event *events, int capacity, int64_t timeout)
{
    fake_backend *self = (fake_backend *)backend;
    if (timeout != 0 && self->pending == 0) {
        int err = fake_ask(self, timeout);
        if (err < 0) {
            return err;
        }
    }
    int n = self->pending < capacity ? self->pending : capacity;
    memcpy(events, self->events, (size_t)n * sizeof(fl_event));
    self->pending -= n;
    memmove(self->events, self->events + n, (size_t)self->pending * sizeof(fl_event));
    return n;
}

static int64_t
fake_now(const fl_backend *backend)
{
    return backend == NULL ? 0 : ((const fake_backend *)backend)->now;
}

static void
fake_wake(fl_backend *backend)
{
    ((fake_backend *)backend)->wakes++; /* whoever calls it holds the interpreter lock */
}

static const fl_backend_ops fake_ops = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .arm = fake_arm,
    .forget = fake_forget,
    .wait = fake_wait,
    .now = fake_now,
    .wake = fake_wake,
};

/* -- what the test calls --------------------------------------------------------------------------- */

static fake_backend *
fake_of(PyObject *loop)
{
    LoopObject *self = (LoopObject *)loop;
    if (self->ops != &fake_ops || self->backend == NULL) {
        PyErr_SetString(PyExc_ValueError, "no loop with this backend");
        return NULL;
    }
    return (fake_backend *)self->backend;
}

/* install(loop, on_wait): in place of the backend of a loop that watches nothing yet. */
static PyObject *
module_install(PyObject *module, PyObject *args)
{
    (void)module;
    LoopObject *loop;
    PyObject *on_wait;
    if (!PyArg_ParseTuple(args, "OO", &loop, &on_wait)) {
        return NULL;
    }
    fake_backend *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return PyErr_NoMemory();
    }
    self->on_wait = Py_NewRef(on_wait);
    loop->ops->close(loop->backend);
    loop->ops = &fake_ops;
    loop->backend = (fl_backend *)self;
    Py_RETURN_NONE;
}

/* advance(loop, ns): let time pass. */
static PyObject *
module_advance(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *loop;
    long long ns;
    fake_backend *self;
    if (!PyArg_ParseTuple(args, "OL", &loop, &ns) || (self = fake_of(loop)) == NULL) {
        return NULL;
    }
    self->now += ns;
    Py_RETURN_NONE;
}

/* report(loop, fd, ready): have the next wait report it, under the generation in force. */
static PyObject *
module_report(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *loop;
    int fd;
    unsigned ready;
    fake_backend *self;
    if (!PyArg_ParseTuple(args, "OiI", &loop, &fd, &ready) || (self = fake_of(loop)) == NULL) {
        return NULL;
    }
    fake_watch *watch = fake_find(self, fd);
    if (watch == NULL || (watch->wanted & ready) == 0 || self->pending == MOST) {
        return PyErr_Format(PyExc_ValueError, "descriptor %d is not watched for that", fd);
    }
    self->events[self->pending++] =
        (fl_event){.fd = fd, .generation = watch->generation, .ready = ready};
    Py_RETURN_NONE;
}

/* wanted(loop, fd): what a descriptor is watched for. */
static PyObject *
module_wanted(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *loop;
    int fd;
    fake_backend *self;
    if (!PyArg_ParseTuple(args, "Oi", &loop, &fd) || (self = fake_of(loop)) == NULL) {
        return NULL;
    }
    fake_watch *watch = fake_find(self, fd);
    return PyLong_FromUnsignedLong(watch == NULL ? 0 : watch->wanted);
}

/* wakes(loop): how often the loop was woken. */
static PyObject *
module_wakes(PyObject *module, PyObject *loop)
{
    (void)module;
    fake_backend *self = fake_of(loop);
    return self == NULL ? NULL : PyLong_FromLong(self->wakes);
}

static PyMethodDef module_methods[] = {
    {"install", module_install, METH_VARARGS, NULL},
    {"advance", module_advance, METH_VARARGS, NULL},
    {"report", module_report, METH_VARARGS, NULL},
    {"wanted", module_wanted, METH_VARARGS, NULL},
    {"wakes", module_wakes, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "fake_backend",
    .m_methods = module_methods,
};

PyMODINIT_FUNC
PyInit_fake_backend(void)
{
    PyObject *module = PyModule_Create(&module_definition);
    if (module == NULL || PyModule_AddIntConstant(module, "READ", FL_READ) < 0 ||
        PyModule_AddIntConstant(module, "WRITE", FL_WRITE) < 0 ||
        PyModule_AddIntConstant(module, "LOOP_SIZE", sizeof(LoopObject)) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
