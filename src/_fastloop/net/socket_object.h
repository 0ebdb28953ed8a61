/* Python's socket objects for descriptors that are ours. */
#ifndef FL_NET_SOCKET_OBJECT_H
#define FL_NET_SOCKET_OBJECT_H

#include "state.h"

/* A non-blocking socket.socket for fd.  NULL with an exception: fd is still the caller's. */
PyObject *fl_socket_object(fl_state *state, int fd);

/* The descriptor of a socket object, or -1 with an exception: OSError EBADF when it was closed. */
int fl_socket_object_fileno(PyObject *sock);

/* Small writes are sent at once; a socket that is not TCP refuses, which does not matter. */
void fl_socket_set_nodelay(int fd);

/* It does not own the descriptor any more; the raised exception stays. */
void fl_socket_object_detach(PyObject *sock);

/* A socket.socket of that family which is closed. */
PyObject *fl_socket_object_closed(fl_state *state, int family);

#endif
