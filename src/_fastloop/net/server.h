/* BaseServer: what a server knows of its connections.  The rest of a server is written in Python. */
#ifndef FL_NET_SERVER_H
#define FL_NET_SERVER_H

#include "loop/loop.h"

typedef struct {
    PyObject_HEAD
    fl_state *state;   /* held */
    fl_list clients;   /* TransportObject.server_link of the attached transports; not owned */
    Py_ssize_t active; /* attached transports, and whatever _attach() counted besides */
    char closed;       /* a bool that Python sets: it accepts no more */
} ServerObject;

/* A transport belongs to the server from now on; it keeps the reference that is given away here. */
void fl_server_attach(ServerObject *server, fl_list *link);

/* Not any more; wakes who waits for the last one.  0, or -1 with an exception. */
int fl_server_detach(ServerObject *server, fl_list *link);

/* Add the type BaseServer to the module state.  0 or -1. */
int fl_server_setup_types(PyObject *module, fl_state *state);

#endif
