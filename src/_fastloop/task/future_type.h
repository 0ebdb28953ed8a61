/* The Python face of Future, which Task inherits. */
#ifndef FL_TASK_FUTURE_TYPE_H
#define FL_TASK_FUTURE_TYPE_H

#include "task/future.h"

/* Free a Future or Task whose fields have been cleared; the memory of an exact one may go to the list. */
void fl_future_free(FutureObject *future, PyTypeObject *exact, fl_freelist *list);

/* What `__class__` answers: asyncio's class for the exact type, so that isinstance() holds; for a
   subclass its face.  A new reference, or NULL. */
PyObject *fl_future_get_class(FutureObject *future, PyTypeObject *exact, PyObject *asyncio_class);

/* tp_new of both types. */
PyObject *fl_future_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* Add the type Future to the module and the function for FL_READY_DONE to the state.  0 or -1. */
int fl_future_setup_types(PyObject *module, fl_state *state);

#endif
