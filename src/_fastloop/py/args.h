/* Argument binding for METH_FASTCALL | METH_KEYWORDS methods: keywords are found by comparing interned
   pointers, which costs a few nanoseconds each. */
#ifndef FL_PY_ARGS_H
#define FL_PY_ARGS_H

#include "state.h"

#define FL_ARGS_MAX 8

/* For PyMethodDef entries. */
#define FL_KEYWORDS (METH_FASTCALL | METH_KEYWORDS)
#define FL_FASTCALL(function) ((PyCFunction)(void (*)(void))(function))

/* One parameter: the offset of its interned name in fl_state. */
#define FL_PARAM(name) (offsetof(fl_state, str_##name))

/* A callable's parameters: `positional` of them may be given by position, `required` must be given,
   all may be given by keyword. */
typedef struct {
    const char *function;
    int required;
    int positional;
    int count;
    size_t params[FL_ARGS_MAX];
} fl_signature;

/* Store borrowed references in out[0 .. count-1], NULL for what was not given.
   Return 0, or -1 with a TypeError worded as for a Python function. */
int fl_args_bind(fl_state *state, const fl_signature *signature, PyObject *const *args,
                 Py_ssize_t nargs, PyObject *kwnames, PyObject **out);

/* The same for a tp_init or tp_new, which gets a tuple and a dict (or NULL). */
int fl_args_bind_tuple(fl_state *state, const fl_signature *signature, PyObject *args,
                       PyObject *kwargs, PyObject **out);

/* Bind the only parameter of a method: a borrowed reference, or NULL with a TypeError. */
PyObject *fl_args_one(fl_state *state, const char *function, size_t param, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames);

/* For callables with *args, context=None: accept no other keyword than context and store it, NULL for
   None or none, in *context (borrowed).  0, or -1 with a TypeError. */
int fl_args_context(fl_state *state, const char *function, PyObject *const *kwvalues,
                    PyObject *kwnames, PyObject **context);

/* argument == NULL or None counts as not given. */
static inline int
fl_arg_given(PyObject *argument)
{
    return argument != NULL && argument != Py_None;
}

/* Data to send as bytes, mutable data copied.  NULL with a TypeError for what is neither bytes, bytearray nor
   memoryview: `complaint`, whose %R shows the type's name. */
PyObject *fl_arg_bytes(PyObject *data, const char *complaint);

/* A file descriptor from an int or an object with fileno(), the ValueErrors of the selectors module
   included.  -1 with an exception on failure. */
int fl_arg_fd(PyObject *fileobj);

#endif
