/* Socket addresses as Python's socket module shows them. */
#ifndef FL_NET_ADDRESS_H
#define FL_NET_ADDRESS_H

#include "state.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* An IPv4 or IPv6 address in little room; len == 0: none. */
typedef struct {
    union {
        sa_family_t family;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    uint8_t len;
} fl_inet;

/* Keep an address of these two families; of any other, none is kept. */
void fl_inet_set(fl_inet *inet, const struct sockaddr *address, socklen_t len);

/* The address as an object: a tuple, or for AF_UNIX a str or bytes.  NULL with an exception, or without one
   for a family that is not known here. */
PyObject *fl_address_object(const struct sockaddr *address, socklen_t len);

/* Fill *inet from (host, port[, flowinfo[, scope_id]]) of exactly these types with a numeric host.
   1, or 0 when the address is of another shape and is the socket module's business. */
int fl_inet_parse(fl_inet *inet, int family, PyObject *object);

#endif
