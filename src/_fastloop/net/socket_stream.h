/* A connected socket as the wire of a stream. */
#ifndef FL_NET_SOCKET_STREAM_H
#define FL_NET_SOCKET_STREAM_H

#include "net/stream.h"

/* recv(2) and sendmsg(2): bytes, or -errno. */
ssize_t fl_socket_receive(int fd, void *buffer, size_t size);
ssize_t fl_socket_send(int fd, const struct iovec *pieces, int n);

/* The operations of a stream transport without a layer. */
extern const fl_stream_ops fl_socket_stream_ops;

#endif
