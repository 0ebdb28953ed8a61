/* A connected socket as the wire of a stream: its system calls, its readiness, its end of file. */
#include "net/socket_stream.h"

#include "base/os.h"

#include <errno.h>
#include <sys/socket.h>

ssize_t
fl_socket_receive(int fd, void *buffer, size_t size)
{
    ssize_t n = recv(fd, buffer, size, 0);
    return n < 0 ? -errno : n;
}

ssize_t
fl_socket_send(int fd, const struct iovec *pieces, int n)
{
    ssize_t sent;
    if (n == 1) {
        sent = fl_os_send(fd, pieces[0].iov_base, pieces[0].iov_len);
    }
    else {
        struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)n};
        sent = fl_os_send_message(fd, &message);
    }
    return sent < 0 ? -errno : sent;
}

/* The protocol decides whether the connection stays open for sending. */
static void
socket_end_of_file(StreamObject *self)
{
    TransportObject *transport = &self->transport;
    fl_transport_log(transport, "debug", "%r received EOF");
    int keep_open = fl_sink_call_eof_received(self);
    if (keep_open < 0) {
        fl_transport_fatal(transport, "Fatal error: protocol.eof_received() call failed.");
    }
    else if (keep_open == 0) {
        fl_transport_report_close(transport, fl_transport_close(transport));
    }
    else {
        fl_transport_want(transport, FL_WANT_PROTOCOL, false);
        fl_transport_rearm_ready(transport);
    }
}

static void
socket_ready(fl_io *io, unsigned ready)
{
    StreamObject *self = (StreamObject *)io->object;
    if (ready & FL_READ) {
        fl_stream_read(self);
    }
    if ((ready & FL_WRITE) && self->draining && self->loop->exit == NULL) {
        fl_stream_flush(self);
    }
}

const fl_stream_ops fl_socket_stream_ops = {
    .base =
        {
            .io = FL_TRANSPORT_IO(socket_ready, fl_stream_flush_io),
            .read_error = "Fatal read error on socket transport",
            .write_error = "Fatal write error on socket transport",
            .high_water = FL_TRANSPORT_DEFAULT_HIGH,
            .socket = true,
            .quiet_errors = true,
            .unsent = fl_stream_unsent,
            .flush_last = fl_stream_flush_last,
            .discard = fl_stream_discard,
            .flush_cork = fl_stream_flush_cork,
            .lost = fl_stream_lost,
            .adopt = fl_sink_adopt,
        },
    .vain_write = "socket.send() raised exception.",
    .receive = fl_socket_receive,
    .send = fl_socket_send,
    .transmit = fl_stream_transmit,
    .drained = fl_stream_drained,
    .end_of_file = socket_end_of_file,
};
