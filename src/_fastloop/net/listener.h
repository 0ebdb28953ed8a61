/* Listener: accepts the connections of one listening socket. */
#ifndef FL_NET_LISTENER_H
#define FL_NET_LISTENER_H

#include "state.h"

/* Add the type Listener to the module state.  0 or -1. */
int fl_listener_setup_types(PyObject *module, fl_state *state);

#endif
