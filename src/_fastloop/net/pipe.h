/* Transports of pipes: ReadPipeTransport and WritePipeTransport. */
#ifndef FL_NET_PIPE_H
#define FL_NET_PIPE_H

#include "state.h"

/* Add both types to the module state.  0 or -1. */
int fl_pipe_setup_types(PyObject *module, fl_state *state);

#endif
