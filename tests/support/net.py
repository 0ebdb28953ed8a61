"""Sockets, protocols that take notes, and ways to wait: for the tests of everything that talks to a peer."""

import asyncio
import os
import socket

TIMEOUT = 10  # seconds after which a test that waits for an event gives up


def run(loop, coro):
    """Run `loop` until `coro` is done; return its result."""
    return loop.run_until_complete(asyncio.wait_for(coro, TIMEOUT))


def run_until(loop, condition, timeout=TIMEOUT):
    """Run `loop` until `condition()` holds, which is asked once a turn."""

    async def wait():
        while not condition():
            await asyncio.sleep(0)

    loop.run_until_complete(asyncio.wait_for(wait(), timeout))


def write_soon(loop, transport, pieces):
    """Have one callback of `loop` write all of these pieces; return what they are together."""

    def write():
        for piece in pieces:
            transport.write(piece)

    loop.call_soon(write)
    return b"".join(pieces)


def check_limits(transport, default):
    """Set the limits of a transport that has nothing to send, in every way; at the end they are by `default` again."""
    assert transport.get_write_buffer_limits() == default
    assert transport.set_write_buffer_limits(1000, 100) is None
    assert transport.get_write_buffer_limits() == (100, 1000)
    for given, expected in (
        ({"high": 1000}, (250, 1000)),
        ({"low": 1000}, (1000, 4000)),
        ({"high": 0}, (0, 0)),
        ({"high": 5, "low": 5}, (5, 5)),
        ({}, default),
        ({"high": None, "low": None}, default),
    ):
        transport.set_write_buffer_limits(**given)
        assert transport.get_write_buffer_limits() == expected


def run_turns(loop, count=1):
    """Run exactly so many turns of `loop`, each of them a poll and then what was ready."""
    for _ in range(count):
        loop.stop()
        loop.run_forever()


async def cancel_after(turns, coro):
    """Begin a coroutine as a task and cancel it so many turns later, which must end it."""
    task = asyncio.ensure_future(coro)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def tcp_socket():
    """A non-blocking TCP socket that is not connected."""
    sock = socket.socket()
    sock.setblocking(False)
    return sock


def datagram_socket(family=socket.AF_INET, address=("127.0.0.1", 0)):
    """A non-blocking datagram socket bound to `address`."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(address)
    return sock


def unix_pair():
    """Two connected non-blocking Unix stream sockets: what one sends, the other can receive at once."""
    sockets = socket.socketpair()
    for sock in sockets:
        sock.setblocking(False)
    return sockets


def tcp_pair(host="127.0.0.1"):
    """Two connected non-blocking TCP sockets; `host` is a literal address of the loopback interface."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        left = socket.create_connection(server.getsockname()[:2])
        right, _ = server.accept()
    left.setblocking(False)
    right.setblocking(False)
    return left, right


PAIRS = {"unix": unix_pair, "tcp": tcp_pair}


def fill(sock):
    """Send until the kernel takes no more; return the number of bytes it took."""
    sent = 0
    try:
        while True:
            sent += sock.send(b"x" * 65536)
    except BlockingIOError:
        return sent


def receive(sock):
    """Everything that can be received now without waiting."""
    data = bytearray()
    try:
        while chunk := sock.recv(1 << 20):
            data += chunk
    except (BlockingIOError, ConnectionResetError):
        pass
    return bytes(data)


def reset(sock):
    """Close a TCP socket so that the peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def at_end(sock):
    """Whether the peer has closed its side and every byte it sent was received."""
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:  # a Unix socket says so once when its peer was closed with data unread
        return True


async def receive_exactly(loop, sock, count):
    """Receive `count` bytes by way of `loop`."""
    data = bytearray()
    while len(data) < count:
        chunk = await loop.sock_recv(sock, count - len(data))
        assert chunk
        data += chunk
    return bytes(data)


async def receive_all(loop, sock):
    """Receive by way of `loop` until the peer has sent its last byte."""
    data = bytearray()
    while chunk := await loop.sock_recv(sock, 1 << 20):
        data += chunk
    return bytes(data)


def open_fds():
    """The numbers of this process's open descriptors."""
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


def fail(*args):
    """A callback that does nothing else."""
    raise ZeroDivisionError("on purpose")


class Notes:
    """What every note-taking protocol has.

    `calls` lists each call as (name, argument …). `on` maps the name of a call to a function that is then called with
    the same arguments; what it returns or raises, the call returns or raises.
    """

    def __init__(self, **on):
        self.calls = []
        self.on = on
        self.transport = None
        self.received = bytearray()

    @property
    def names(self):
        return [name for name, *_ in self.calls]

    @property
    def lost(self):
        """Whether connection_lost() was called."""
        return "connection_lost" in self.names

    @property
    def reason(self):
        """The argument of the only connection_lost()."""
        [reason] = [args[0] for name, *args in self.calls if name == "connection_lost"]
        return reason

    def called(self, name, *args):
        self.calls.append((name, *args))
        act = self.on.get(name)
        return None if act is None else act(*args)

    def connection_made(self, transport):
        self.transport = transport
        self.called("connection_made", transport)

    def connection_lost(self, exc):
        self.called("connection_lost", exc)

    def pause_writing(self):
        self.called("pause_writing")

    def resume_writing(self):
        self.called("resume_writing")

    def eof_received(self):
        return self.called("eof_received")


class Recorder(Notes, asyncio.Protocol):
    """Takes notes and gathers in `received` what arrives."""

    def data_received(self, data):
        self.received += data
        self.called("data_received", data)


class BufferedRecorder(Notes, asyncio.BufferedProtocol):
    """Takes notes and gathers in `received` what arrives in `buffer`, which has `size` bytes."""

    def __init__(self, size=65536, **on):
        super().__init__(**on)
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint):
        buffer = self.called("get_buffer", sizehint)
        return self.buffer if buffer is None else buffer

    def buffer_updated(self, nbytes):
        self.received += memoryview(self.buffer)[:nbytes]
        self.called("buffer_updated", nbytes)


class Echo(Recorder):
    """Sends back what it gets, and reads no more than it can send."""

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


class BothEnds:
    """A transport of the loop under test, its protocol, and the `peer` at the other end."""

    def __init__(self, loop, transport, protocol, peer):
        self.loop = loop
        self.transport = transport
        self.protocol = protocol
        self.peer = peer

    def run(self, coro):
        return run(self.loop, coro)

    def run_until(self, condition):
        run_until(self.loop, condition)

    def run_until_lost(self):
        self.run_until(lambda: self.protocol.lost)


class Connection(BothEnds):
    """A stream transport whose peer is a raw socket."""

    def fill(self):
        """Write until the transport holds more than its limit: return how many bytes were written in all.

        The kernel then takes no more and the protocol is paused; all bytes are b"x".
        """
        written = 0
        _, limit = self.transport.get_write_buffer_limits()
        while self.transport.get_write_buffer_size() <= limit:
            self.transport.write(b"x" * 65536)
            written += 65536
        return written

    def fill_kernel(self):
        """Have the kernel take no more, with nothing left in the transport; return how many b"x" it took."""
        with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as sock:
            return fill(sock)

    def drain(self):
        """Run the loop and receive at the peer, until the transport has nothing left to send."""
        data = bytearray()

        def is_drained():
            data.extend(receive(self.peer))
            return not self.transport.get_write_buffer_size()

        self.run_until(is_drained)
        return bytes(data) + receive(self.peer)

    def read_to_end(self):
        """Run the loop and receive at the peer, to the end of what the transport sends."""
        return self.run(receive_all(self.loop, self.peer))
