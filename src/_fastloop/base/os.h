/* What differs by operating system: system calls that not every one has, and the flags that go with them.  Each function
   sets errno like the call that it makes. */
#ifndef FL_BASE_OS_H
#define FL_BASE_OS_H

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* One of many messages that are received or sent at once: msg_hdr, and msg_len for what came. */
typedef struct mmsghdr fl_os_message;

/* Accept a connection: a descriptor that does not block and is not inherited, or -1. */
static inline int
fl_os_accept(int fd, struct sockaddr *address, socklen_t *len)
{
    return accept4(fd, address, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* Make a pipe whose ends do not block and are not inherited.  0 or -1. */
static inline int
fl_os_pipe(int ends[2])
{
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK);
}

/* Receive without blocking, whatever mode the socket is in. */
static inline ssize_t
fl_os_receive_now(int fd, void *buffer, size_t size)
{
    return recv(fd, buffer, size, MSG_DONTWAIT);
}

/* Send without blocking, whatever mode the socket is in, and without SIGPIPE. */
static inline ssize_t
fl_os_send_now(int fd, const void *data, size_t size)
{
    return send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Send without SIGPIPE. */
static inline ssize_t
fl_os_send(int fd, const void *data, size_t size)
{
    return send(fd, data, size, MSG_NOSIGNAL);
}

static inline ssize_t
fl_os_send_message(int fd, const struct msghdr *message)
{
    return sendmsg(fd, message, MSG_NOSIGNAL);
}

/* Receive up to n messages without blocking, or send n without SIGPIPE: how many were, or -1 when there was none. */
static inline int
fl_os_receive_messages(int fd, fl_os_message *messages, unsigned n)
{
    return recvmmsg(fd, messages, n, MSG_DONTWAIT, NULL);
}

static inline int
fl_os_send_messages(int fd, fl_os_message *messages, unsigned n)
{
    return sendmmsg(fd, messages, n, MSG_NOSIGNAL);
}

#endif
