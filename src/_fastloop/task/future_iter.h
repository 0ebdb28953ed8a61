/* The iterator behind `await future`. */
#ifndef FL_TASK_FUTURE_ITER_H
#define FL_TASK_FUTURE_ITER_H

#include "task/future.h"

/* Future.__await__ and __iter__: a new iterator, or NULL with an exception. */
PyObject *fl_future_iter_new(PyObject *future);

/* Add the type FutureIter to the module state.  0 or -1. */
int fl_future_iter_setup_types(PyObject *module, fl_state *state);

#endif
