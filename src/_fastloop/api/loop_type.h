/* The type BaseLoop. */
#ifndef FL_API_LOOP_TYPE_H
#define FL_API_LOOP_TYPE_H

#include "loop/loop.h"

/* Add the type to the module and its state.  0 or -1. */
int fl_loop_setup_types(PyObject *module, fl_state *state);

#endif
