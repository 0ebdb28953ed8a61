/* Calling Python and handling what comes back. */
#include "py/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>

int
fl_raise_errno(int err)
{
    if (err == -ENOMEM) {
        PyErr_NoMemory();
        return -1;
    }
    errno = -err;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

PyObject *
fl_take_stop_iteration(void)
{
    if (!PyErr_Occurred()) {
        Py_RETURN_NONE;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return NULL;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *value = Py_XNewRef(((PyStopIterationObject *)exc)->value);
    Py_DECREF(exc);
    return value != NULL ? value : Py_NewRef(Py_None);
}

PyObject *
fl_return_from_iternext(PyObject *value)
{
    if (value == Py_None) {
        Py_DECREF(value);
        return NULL; /* no exception stands for StopIteration(None) */
    }
    /* Instantiated here: PyErr_SetObject would unpack a tuple and re-raise an exception. */
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
    Py_DECREF(value);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

/* An exception instance from throw()'s first two arguments. */
static PyObject *
thrown_instance(PyObject *type, PyObject *value)
{
    bool has_value = value != NULL && value != Py_None;
    if (PyExceptionInstance_Check(type)) {
        if (has_value) {
            PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
            return NULL;
        }
        return Py_NewRef(type);
    }
    if (!PyExceptionClass_Check(type)) {
        PyErr_SetString(
            PyExc_TypeError,
            "exceptions must be classes deriving BaseException or instances of such a class");
        return NULL;
    }
    if (has_value && PyObject_TypeCheck(value, (PyTypeObject *)type)) {
        return Py_NewRef(value);
    }
    return has_value ? PyObject_CallOneArg(type, value) : PyObject_CallNoArgs(type);
}

PyObject *
fl_thrown_exception(PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError, "throw expected 1 to 3 arguments, got %zd", nargs);
        return NULL;
    }
    if (FL_HAS_THROW_DEPRECATED && nargs > 1 &&
        PyErr_WarnEx(PyExc_DeprecationWarning,
                     "the (type, exc, tb) signature of throw() is deprecated, "
                     "use the single-arg signature instead.",
                     1) < 0) {
        return NULL;
    }
    PyObject *traceback = nargs > 2 && args[2] != Py_None ? args[2] : NULL;
    if (traceback != NULL && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback");
        return NULL;
    }
    PyObject *exc = thrown_instance(args[0], nargs > 1 ? args[1] : NULL);
    if (exc != NULL && !PyExceptionInstance_Check(exc)) {
        PyErr_SetString(PyExc_TypeError, "calling the exception class did not make an exception");
        Py_CLEAR(exc);
    }
    if (exc != NULL && traceback != NULL && PyException_SetTraceback(exc, traceback) < 0) {
        Py_CLEAR(exc);
    }
    return exc;
}

int
fl_call_soon_method(fl_state *state, PyObject *loop, PyObject *callback, PyObject *argument,
                    PyObject *context)
{
    PyObject *kwnames = PyTuple_Pack(1, state->str_context);
    if (kwnames == NULL) {
        return -1;
    }
    PyObject *args[5] = {NULL, loop, callback, argument, context};
    size_t nargs = argument == NULL ? 2 : 3;
    args[nargs + 1] = context;
    PyObject *handle = PyObject_VectorcallMethod(state->str_call_soon, args + 1,
                                                 nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
    Py_DECREF(kwnames);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

PyObject *
fl_error_context(fl_state *state, PyObject *message, ...)
{
    PyObject *context = message == NULL ? NULL : PyDict_New();
    PyObject *name = state->str_message, *value = message;
    va_list pairs;
    va_start(pairs, message);
    while (context != NULL && name != NULL) {
        if (value != NULL && PyDict_SetItem(context, name, value) < 0) {
            Py_CLEAR(context);
        }
        name = va_arg(pairs, PyObject *);
        value = name == NULL ? NULL : va_arg(pairs, PyObject *);
    }
    va_end(pairs);
    Py_XDECREF(message);
    return context;
}

int
fl_call_exception_handler(fl_state *state, PyObject *loop, PyObject *context)
{
    if (context == NULL) {
        return -1;
    }
    PyObject *result = PyObject_CallMethodOneArg(loop, state->str_call_exception_handler, context);
    Py_DECREF(context);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
fl_report_exception(fl_state *state, PyObject *loop, PyObject *context, PyObject *exc)
{
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(exc);
    int rc = fl_call_exception_handler(state, loop, context);
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    return rc;
}

int
fl_loop_get_debug(fl_state *state, PyObject *loop)
{
    PyObject *debug = PyObject_CallMethodNoArgs(loop, state->str_get_debug);
    if (debug == NULL) {
        return -1;
    }
    int truth = PyObject_IsTrue(debug);
    Py_DECREF(debug);
    return truth;
}

PyObject *
fl_extract_stack(fl_state *state)
{
    return PyObject_CallNoArgs(state->extract_stack);
}

int
fl_set_traceback(PyObject *exc, PyObject *tb)
{
    return PyException_SetTraceback(exc, tb == NULL ? Py_None : tb);
}
