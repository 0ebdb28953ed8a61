/* The Python face of Future, which Task inherits. */
#ifndef FL_TASK_FUTURE_TYPE_H
#define FL_TASK_FUTURE_TYPE_H

#include "task/future.h"

/* Free a Future or Task whose fields have been cleared, or keep its memory in the list (NULL: free it). */
void fl_future_free(FutureObject *future, fl_freelist *list);

/* Whether a Future or Task that is deallocated by this function of its type has no Python subclass, whose own
   deallocator would have run before.  Asks nothing of the state, which may be gone. */
static inline bool
fl_future_dies_exact(PyObject *future, destructor dealloc)
{
    return Py_TYPE(future)->tp_dealloc == dealloc;
}

/* What `__class__` answers: asyncio's class for the exact type, so that isinstance() holds; for a
   subclass its face.  A new reference, or NULL. */
PyObject *fl_future_get_class(FutureObject *future, PyTypeObject *exact, PyObject *asyncio_class);

/* tp_new of both types. */
PyObject *fl_future_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* Add the type Future to the module and the function for FL_READY_DONE to the state.  0 or -1. */
int fl_future_setup_types(PyObject *module, fl_state *state);

#endif
