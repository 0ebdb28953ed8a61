"""Pipes and what is like them: made, connected to the loop under test, watched from the other end."""

import asyncio
import contextlib
import errno
import os
import pty
import socket
import tty

from support.net import Recorder, run, run_until

LARGE = os.urandom(1 << 20)  # bytes; more than any pipe or socket holds


class Far:
    """The other end, a descriptor that does not block."""

    def __init__(self, fd):
        self.fd = fd
        os.set_blocking(fd, False)

    def write(self, data):
        """Write what can be written now; return its length."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0

    def read(self):
        """Everything that can be read now."""
        data = bytearray()
        try:
            while chunk := os.read(self.fd, 1 << 16):
                data += chunk
        except OSError as exc:  # a terminal fails with EIO when its other end is closed
            assert exc.errno in {errno.EAGAIN, errno.EIO}
        return bytes(data)

    def at_end(self):
        """Whether nothing is left to read and nobody can write any more."""
        try:
            return os.read(self.fd, 1) == b""
        except BlockingIOError:
            return False
        except OSError as exc:
            assert exc.errno == errno.EIO
            return True

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def pipe_ends(tmp_path):
    read, write = os.pipe()
    return open(read, "rb", 0), open(write, "wb", 0)


def fifo_ends(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    read = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return open(read, "rb", 0), open(path, "wb", 0)


def socket_ends(tmp_path):
    return socket.socketpair()


def terminal_ends(tmp_path):
    """Its control side reads, its user's side writes."""
    control, user = pty.openpty()
    tty.setraw(user)
    return open(control, "rb", 0), open(user, "wb", 0)


KINDS = {"pipe": pipe_ends, "fifo": fifo_ends, "socket": socket_ends, "terminal": terminal_ends}


class End:
    """A transport of the loop under test, its protocol, its file, and `far`, the other end."""

    def __init__(self, loop, connect, file, far, protocol):
        self.loop = loop
        self.file = file
        self.far = Far(os.dup(far.fileno()))
        far.close()
        self.protocol = protocol
        try:
            self.transport, same = run(loop, connect(lambda: protocol, file))
            assert same is protocol
        except BaseException:
            self.far.close()
            raise

    def run_until_lost(self):
        run_until(self.loop, lambda: self.protocol.lost)
        for _ in range(2):  # what comes twice would come now
            run(self.loop, asyncio.sleep(0))
        assert self.protocol.names.count("connection_lost") == 1
        assert self.protocol.names[-1] == "connection_lost"
        assert is_closed(self.file)
        assert self.transport.is_closing()

    def read_until(self, condition):
        """Run the loop and read at the far end until `condition()` holds; return what was read."""
        data = bytearray()

        def step():
            data.extend(self.far.read())
            return condition(data)

        run_until(self.loop, step)
        return bytes(data)

    def fill(self):
        """Write until the protocol is paused; return what was written."""
        data = bytearray()
        while "pause_writing" not in self.protocol.names:
            data += LARGE
            self.transport.write(LARGE)
        return bytes(data)


def is_closed(file):
    return file.fileno() < 0 if isinstance(file, socket.socket) else file.closed


@contextlib.contextmanager
def ends_of(loop, tmp_path):
    """Give a function that makes an End, of a reader or with writing=True a writer; close all of them afterwards.

    `on` is what a Recorder takes.
    """
    made = []

    def make(kind="pipe", writing=False, **on):
        read, write = KINDS[kind](tmp_path)
        protocol = Recorder(**on)
        if writing:
            made.append(End(loop, loop.connect_write_pipe, write, read, protocol))
        else:
            made.append(End(loop, loop.connect_read_pipe, read, write, protocol))
        return made[-1]

    yield make
    for end in made:
        end.far.close()
        if not end.protocol.lost:
            end.transport.close()
            end.run_until_lost()
