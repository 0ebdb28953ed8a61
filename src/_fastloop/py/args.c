/* Table-driven argument binding. */
#include "py/args.h"

static PyObject *
param_name(fl_state *state, const fl_signature *signature, int i)
{
    return *(PyObject **)((char *)state + signature->params[i]);
}

/* The index of the parameter called name, -1 when there is none, -2 on error. */
static int
param_find(fl_state *state, const fl_signature *signature, PyObject *name)
{
    for (int i = 0; i < signature->count; i++) {
        if (param_name(state, signature, i) == name) {
            return i;
        }
    }
    for (int i = 0; i < signature->count; i++) { /* a name that was not interned */
        int equal = PyObject_RichCompareBool(param_name(state, signature, i), name, Py_EQ);
        if (equal != 0) {
            return equal < 0 ? -2 : i;
        }
    }
    return -1;
}

static int
bind_keyword(fl_state *state, const fl_signature *signature, PyObject *name, PyObject *value,
             PyObject **out)
{
    int i = param_find(state, signature, name);
    if (i >= 0 && out[i] == NULL) {
        out[i] = value;
        return 0;
    }
    if (i >= 0) {
        PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'",
                     signature->function, name);
    }
    else if (i == -1) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                     signature->function, name);
    }
    return -1;
}

static int
bind_positional(const fl_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                PyObject **out)
{
    if (nargs > signature->positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes %d positional argument%s but %zd %s given",
                     signature->function, signature->positional,
                     signature->positional == 1 ? "" : "s", nargs, nargs == 1 ? "was" : "were");
        return -1;
    }
    for (int i = 0; i < signature->count; i++) {
        out[i] = i < nargs ? args[i] : NULL;
    }
    return 0;
}

static int
check_required(fl_state *state, const fl_signature *signature, PyObject **out)
{
    for (int i = 0; i < signature->required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%U' (pos %d)",
                         signature->function, param_name(state, signature, i), i + 1);
            return -1;
        }
    }
    return 0;
}

int
fl_args_bind(fl_state *state, const fl_signature *signature, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames, PyObject **out)
{
    if (bind_positional(signature, args, nargs, out) < 0) {
        return -1;
    }
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (bind_keyword(state, signature, name, args[nargs + i], out) < 0) {
            return -1;
        }
    }
    return check_required(state, signature, out);
}

PyObject *
fl_args_one(fl_state *state, const char *function, size_t param, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames)
{
    fl_signature signature = {function, 1, 1, 1, {param}};
    PyObject *value;
    return fl_args_bind(state, &signature, args, nargs, kwnames, &value) < 0 ? NULL : value;
}

int
fl_args_bind_tuple(fl_state *state, const fl_signature *signature, PyObject *args, PyObject *kwargs,
                   PyObject **out)
{
    PyObject *const *items = &PyTuple_GET_ITEM(args, 0);
    if (bind_positional(signature, items, PyTuple_GET_SIZE(args), out) < 0) {
        return -1;
    }
    PyObject *name, *value;
    for (Py_ssize_t pos = 0; kwargs != NULL && PyDict_Next(kwargs, &pos, &name, &value);) {
        if (bind_keyword(state, signature, name, value, out) < 0) {
            return -1;
        }
    }
    return check_required(state, signature, out);
}

int
fl_args_context(fl_state *state, const char *function, PyObject *const *kwvalues, PyObject *kwnames,
                PyObject **context)
{
    fl_signature only_context = {function, 0, 0, 1, {FL_PARAM(context)}};
    *context = NULL;
    if (kwnames == NULL) {
        return 0;
    }
    if (fl_args_bind(state, &only_context, kwvalues, 0, kwnames, context) < 0) {
        return -1;
    }
    *context = fl_arg_given(*context) ? *context : NULL;
    return 0;
}

PyObject *
fl_arg_bytes(PyObject *data, const char *complaint)
{
    if (PyBytes_CheckExact(data)) {
        return Py_NewRef(data);
    }
    if (PyBytes_Check(data) || PyByteArray_Check(data) || PyMemoryView_Check(data)) {
        return PyBytes_FromObject(data);
    }
    PyObject *name = PyType_GetName(Py_TYPE(data));
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError, complaint, name);
        Py_DECREF(name);
    }
    return NULL;
}

int
fl_arg_fd(PyObject *fileobj)
{
    if (PyLong_Check(fileobj)) {
        long fd = PyLong_AsLong(fileobj);
        if (fd == -1 && PyErr_Occurred()) {
            return -1;
        }
        if (fd >= 0 && fd <= INT_MAX) {
            return (int)fd;
        }
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %ld", fd);
        return -1;
    }
    PyObject *number = PyObject_CallMethod(fileobj, "fileno", NULL);
    if (number == NULL || !PyLong_Check(number)) {
        if (number != NULL || PyErr_ExceptionMatches(PyExc_AttributeError) ||
            PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_ValueError)) {
            PyErr_Format(PyExc_ValueError, "Invalid file object: %R", fileobj);
        }
        Py_XDECREF(number);
        return -1;
    }
    int fd = fl_arg_fd(number);
    Py_DECREF(number);
    return fd;
}
