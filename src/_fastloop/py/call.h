/* Calling Python and handling what comes back. */
#ifndef FL_PY_CALL_H
#define FL_PY_CALL_H

#include "state.h"

#include <errno.h>
#include <stdbool.h>

/* Raise the OSError (or its subclass) for a negative errno, -ENOMEM as MemoryError.  Always returns -1. */
int fl_raise_errno(int err);

/* A system call that has failed with this negative errno is to be made again later. */
static inline bool
fl_try_later(ssize_t err)
{
    return err == -EAGAIN || err == -EINTR;
}

/* When StopIteration (or nothing) is raised, take it away and return its value, a new reference.
   Otherwise return NULL with the exception still raised. */
PyObject *fl_take_stop_iteration(void);

/* End a tp_iternext with a value, whose reference is taken: raises StopIteration(value).  Returns NULL. */
PyObject *fl_return_from_iternext(PyObject *value);

/* What tp_iternext returns after an am_send with this outcome, whose result is taken. */
static inline PyObject *
fl_iternext_of_send(PySendResult sent, PyObject *result)
{
    return sent == PYGEN_RETURN ? fl_return_from_iternext(result) : result;
}

/* What send() returns after a tp_iternext with this result: to end it without an exception is StopIteration(). */
static inline PyObject *
fl_send_of_iternext(PyObject *result)
{
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

/* The exception that throw(type[, value[, traceback]]) asks for: a new reference, or NULL with TypeError. */
PyObject *fl_thrown_exception(PyObject *const *args, Py_ssize_t nargs);

/* loop.call_soon(callback, [argument,] context=context) by attribute, for loops that are not ours or
   whose call_soon was overridden.  0, or -1 with an exception. */
int fl_call_soon_method(fl_state *state, PyObject *loop, PyObject *callback, PyObject *argument,
                        PyObject *context);

/* What an exception handler is told, as a new dict: {"message": message} and the pairs of a name and a value that follow
   up to NULL, less those without a value.  `message` is taken, NULL: an exception is raised already.  NULL with an
   exception. */
PyObject *fl_error_context(fl_state *state, PyObject *message, ...);

/* loop.call_exception_handler(context); `context` is a reference that is taken (NULL: an exception is
   already raised).  0, or -1 with an exception. */
int fl_call_exception_handler(fl_state *state, PyObject *loop, PyObject *context);

/* The same as if in an except clause of exc (borrowed), which `context` tells of. */
int fl_report_exception(fl_state *state, PyObject *loop, PyObject *context, PyObject *exc);

/* Whether obj answers get_debug() with a true value; -1 on error. */
int fl_loop_get_debug(fl_state *state, PyObject *loop);

/* The caller's stack, as asyncio records it in debug mode. */
PyObject *fl_extract_stack(fl_state *state);

/* The exception's traceback, None as NULL, becomes tb (borrowed, may be NULL).  0 or -1. */
int fl_set_traceback(PyObject *exc, PyObject *tb);

#endif
