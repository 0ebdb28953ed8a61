/* The socket object of a transport, and what get_extra_info() knows. */
#ifndef FL_NET_TRANSPORT_INFO_H
#define FL_NET_TRANSPORT_INFO_H

#include "net/transport.h"

/* The transport owns this socket object from now on: closing it elsewhere takes effect when the transport closes it
   too, or another file with the same number would get what is written.  0, or -1 with an exception. */
int fl_transport_hold(TransportObject *self, PyObject *sock);

/* A transport that could not be made gives the socket back to its caller; the raised exception stays. */
void fl_transport_disown(TransportObject *self);

/* The socket object, made when nobody has asked for it before: borrowed, or NULL with an exception. */
PyObject *fl_transport_socket(TransportObject *self);

/* What get_extra_info(key) gives, remembering what had to be found out.  A new reference, or NULL with or without an
   exception. */
PyObject *fl_transport_find_info(TransportObject *self, PyObject *key);

/* asyncio's _extra, filled in with what is known lazily: borrowed, or NULL with an exception. */
PyObject *fl_transport_extra(TransportObject *self);

/* Before the descriptor goes: keep the names that are still to be had.  0 or -1. */
int fl_transport_keep_names(TransportObject *self);

#endif
