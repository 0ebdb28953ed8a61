"""The hot paths whose instructions benchmarks/instructions.py counts: what runs for each callback, step or packet.

    python benchmarks/hot_paths.py NAME OPERATIONS [FOLDER]

Runs that path twice, with so many operations and with twice as many, and calls `mark()` before, between and after.

A path is an asynchronous generator: it prepares, yields a coroutine function that makes so many operations, and cleans
up. What it does must not depend on the time: sockets are pairs in one process, timers are due at once or in hours, and
whoever waits for something waits until it is there. Work comes in batches of `BATCH`, so that no queue grows with the
number of operations.
"""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import sys
import types
from pathlib import Path

BATCH = 16
MESSAGE = b"x" * 1024
CERTIFICATE, AUTHORITY = "server.pem", "authority.pem"  # files in FOLDER, for the paths with TLS


def nothing(*_):
    pass


@types.coroutine
def bare_yield():
    yield


# -- callbacks and timers ----------------------------------------------------------------------------


async def call_soon(loop, _folder):
    """call_soon(), and the call."""

    async def run(count):
        for _ in range(count // BATCH):
            for _ in range(BATCH):
                loop.call_soon(nothing)
            await bare_yield()

    yield run


async def call_soon_threadsafe(loop, _folder):
    """call_soon_threadsafe() in the loop's own thread, and the call."""

    async def run(count):
        for _ in range(count // BATCH):
            for _ in range(BATCH):
                loop.call_soon_threadsafe(nothing)
            await bare_yield()

    yield run


async def call_later_and_cancel(loop, _folder):
    """A timer that is cancelled before it is due."""

    async def run(count):
        for _ in range(count // BATCH):
            for handle in [loop.call_later(3600 * hours, nothing) for hours in range(BATCH, 0, -1)]:
                handle.cancel()
            await bare_yield()

    yield run


async def call_later_fired(loop, _folder):
    """A timer that is due when the loop looks."""

    async def run(count):
        for _ in range(count // BATCH):
            for hours in range(BATCH):
                loop.call_later(-3600 * (1 + hours * 7 % BATCH), nothing)
            await bare_yield()
            await bare_yield()

    yield run


# -- tasks and futures -------------------------------------------------------------------------------


async def sleep_zero(_loop, _folder):
    """await asyncio.sleep(0)."""

    async def run(count):
        for _ in range(count):
            await asyncio.sleep(0)

    yield run


async def bare_yields(_loop, _folder):
    """A bare yield: one step of a task."""

    async def run(count):
        for _ in range(count):
            await bare_yield()

    yield run


async def spawn_and_await(loop, _folder):
    """A task that is made, runs in the next turn and is awaited."""

    async def child():
        return None

    async def run(count):
        for _ in range(count):
            await loop.create_task(child())

    yield run


async def eager_spawn(loop, _folder):
    """A task that starts and ends while it is made (Python 3.12 on)."""

    from fastloop import Task

    async def child():
        return None

    async def run(count):
        for _ in range(count):
            Task(child(), loop=loop, eager_start=True)

    yield run


async def cancel_task(loop, _folder):
    """A task that is cancelled while it waits for a future."""

    async def child():
        await loop.create_future()

    async def run(count):
        for _ in range(count):
            task = loop.create_task(child())
            await bare_yield()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    yield run


async def future_hand_off(loop, _folder):
    """A task completes the future that another one awaits."""

    async def run(count):
        async def receive():
            for _ in range(count):
                await futures[-1]

        futures = [loop.create_future()]
        receiver = loop.create_task(receive())
        for _ in range(count):
            await bare_yield()
            done, futures[-1] = futures[-1], loop.create_future()
            done.set_result(None)
        await receiver

    yield run


async def done_callback(loop, _folder):
    """A future with a done-callback, completed, and the call."""

    async def run(count):
        for _ in range(count // BATCH):
            for _ in range(BATCH):
                future = loop.create_future()
                future.add_done_callback(nothing)
                future.set_result(None)
            await bare_yield()

    yield run


# -- sockets -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def socket_pair():
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


async def add_reader(loop, _folder):
    """A callback of add_reader(), which reads one byte."""
    with socket_pair() as (ours, theirs):

        async def run(count):
            done = loop.create_future()
            left = count

            def readable():
                nonlocal left
                ours.recv(1)
                left -= 1
                if left:
                    theirs.send(b"x")
                else:
                    done.set_result(None)

            loop.add_reader(ours, readable)
            theirs.send(b"x")
            await done
            loop.remove_reader(ours)

        yield run


async def sock_recv_hand_off(loop, _folder):
    """A task waits in sock_recv() for the byte that another task sends."""
    with socket_pair() as (ours, theirs):

        async def answer(count):
            for _ in range(count):
                await loop.sock_recv(theirs, 1)
                theirs.send(b"x")

        async def run(count):
            answering = loop.create_task(answer(count // 2))
            for _ in range(count // 2):
                ours.send(b"x")
                await loop.sock_recv(ours, 1)
            await answering

        yield run


async def sock_sendall(loop, _folder):
    """1 KiB by sock_sendall(), which need not wait."""
    with socket_pair() as (ours, theirs):

        async def run(count):
            for _ in range(count):
                await loop.sock_sendall(ours, MESSAGE)
                theirs.recv(len(MESSAGE))

        yield run


# -- transports --------------------------------------------------------------------------------------


class Echo(asyncio.Protocol):
    """Sends back what arrives, in `pieces` writes."""

    pieces = 1

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        step = len(data) // self.pieces
        for start in range(0, len(data), step):
            self.transport.write(data[start : start + step])


class EchoInPieces(Echo):
    pieces = 16


class Ping(asyncio.Protocol):
    """Sends a message, and again when it is back, so many times."""

    def connection_made(self, transport):
        self.transport = transport

    def begin(self, message, count, done):
        self.message, self.left, self.done = message, count, done
        self.missing = len(message)
        self.transport.write(message)

    def data_received(self, data):
        self.arrived(len(data))

    def arrived(self, size):
        self.missing -= size
        if self.missing:
            return
        self.missing = len(self.message)
        self.left -= 1
        if self.left:
            self.transport.write(self.message)
        else:
            self.done.set_result(None)


class BufferedEcho(asyncio.BufferedProtocol):
    """Sends back what arrives in its own memory."""

    def connection_made(self, transport):
        self.transport, self.memory = transport, memoryview(bytearray(2 * len(MESSAGE)))

    def get_buffer(self, _sizehint):
        return self.memory

    def buffer_updated(self, size):
        self.transport.write(self.memory[:size])


class BufferedPing(asyncio.BufferedProtocol):
    """As Ping, with memory of its own."""

    begin, arrived = Ping.begin, Ping.arrived

    def connection_made(self, transport):
        self.transport, self.memory = transport, bytearray(2 * len(MESSAGE))

    def get_buffer(self, _sizehint):
        return self.memory

    def buffer_updated(self, size):
        self.arrived(size)


def tls_contexts(folder):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(Path(folder, CERTIFICATE))
    return server, ssl.create_default_context(cafile=Path(folder, AUTHORITY))


async def echoes(loop, echo, ping, message, contexts=(None, None)):
    """A path of messages from the protocol `ping` to the protocol `echo` and back, by TLS when contexts are given."""
    with socket_pair() as (ours, theirs):
        server, client = contexts
        accepting = loop.create_task(loop.connect_accepted_socket(echo, theirs, ssl=server))
        transport, protocol = await loop.create_connection(
            ping, sock=ours, ssl=client, server_hostname=client and "localhost"
        )
        accepted, _ = await accepting

        async def run(count):
            done = loop.create_future()
            protocol.begin(message, count, done)
            await done

        yield run
        transport.abort()
        accepted.abort()
        await asyncio.sleep(0)


def echo(loop, _folder):
    """1 KiB to a protocol and back."""
    return echoes(loop, Echo, Ping, MESSAGE)


def echo_buffered(loop, _folder):
    """The same with BufferedProtocols."""
    return echoes(loop, BufferedEcho, BufferedPing, MESSAGE)


def echo_64k(loop, _folder):
    """64 KiB to a protocol and back."""
    return echoes(loop, Echo, Ping, 64 * MESSAGE)


def echo_in_pieces(loop, _folder):
    """1 KiB to a protocol and back, in 16 writes of one callback."""
    return echoes(loop, EchoInPieces, Ping, MESSAGE)


def echo_tls(loop, folder):
    """1 KiB to a protocol and back by TLS."""
    return echoes(loop, Echo, Ping, MESSAGE, tls_contexts(folder))


def echo_tls_buffered(loop, folder):
    """The same with BufferedProtocols."""
    return echoes(loop, BufferedEcho, BufferedPing, MESSAGE, tls_contexts(folder))


def echo_tls_sslobject(loop, folder):
    """1 KiB to a protocol and back by TLS, through ssl.SSLObject."""
    os.environ["FASTLOOP_TLS"] = "python"
    return echo_tls(loop, folder)


async def stream_lines(_loop, _folder):
    """A line through asyncio's StreamWriter and StreamReader, and back."""

    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    with socket_pair() as (ours, theirs):
        accepted = await asyncio.open_connection(sock=theirs)
        serving = asyncio.create_task(serve(*accepted))
        reader, writer = await asyncio.open_connection(sock=ours)
        line = b"x" * 63 + b"\n"

        async def run(count):
            for _ in range(count):
                writer.write(line)
                await reader.readline()

        yield run
        writer.close()
        await serving
        await asyncio.sleep(0)


class Accepted(asyncio.Protocol):
    """Closes the connection as soon as it is made, and completes a future when it is lost."""

    def __init__(self, made):
        self.made = made

    def connection_made(self, transport):
        transport.abort()

    def connection_lost(self, _exc):
        self.made.pop().set_result(None)


async def accept(loop, _folder):
    """A TCP connection, accepted and aborted."""
    made = []
    server = await loop.create_server(lambda: Accepted(made), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    async def run(count):
        for _ in range(count):
            done = loop.create_future()
            made.append(done)
            with socket.create_connection(address):
                await done

    yield run
    server.close()


class Datagrams(asyncio.DatagramProtocol):
    """Sends datagrams back to where they came from, so many of them."""

    def connection_made(self, transport):
        self.transport = transport

    def begin(self, count, done, address):
        self.left, self.done = count, done
        self.transport.sendto(MESSAGE, address)

    def datagram_received(self, data, address):
        self.left -= 1
        if self.left:
            self.transport.sendto(data, address)
        else:
            self.done.set_result(None)


def datagram_socket():
    """A socket with a port that ends in the same bits each time, because addresses are remembered by them."""
    for port in range(20008, 60000, 16):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return sock
        sock.close()
    raise OSError("no port is free")


async def datagram_echo(loop, _folder):
    """A datagram of 1 KiB from a socket to itself, by its address."""
    transport, protocol = await loop.create_datagram_endpoint(Datagrams, sock=datagram_socket())
    address = transport.get_extra_info("sockname")

    async def run(count):
        done = loop.create_future()
        protocol.begin(count, done, address)
        await done

    yield run
    transport.abort()
    await asyncio.sleep(0)


PATHS = {
    path.__name__: path
    for path in [
        call_soon,
        call_soon_threadsafe,
        call_later_and_cancel,
        call_later_fired,
        sleep_zero,
        bare_yields,
        spawn_and_await,
        cancel_task,
        future_hand_off,
        done_callback,
        add_reader,
        sock_recv_hand_off,
        sock_sendall,
        echo,
        echo_buffered,
        echo_64k,
        echo_in_pieces,
        echo_tls,
        echo_tls_buffered,
        echo_tls_sslobject,
        stream_lines,
        accept,
        datagram_echo,
    ]
}
if sys.version_info >= (3, 12):
    PATHS["eager_spawn"] = eager_spawn


# -- running one -------------------------------------------------------------------------------------


def mark():
    """A call of getpgid(2), of which callgrind takes note. Nothing else here makes one."""
    os.getpgid(0)


def main(name, operations, folder=None):
    import fastloop  # late, so that the names of the paths are there without a build

    loop = fastloop.new_event_loop()
    path = contextlib.asynccontextmanager(PATHS[name])(loop, folder)
    run = loop.run_until_complete(path.__aenter__())
    loop.run_until_complete(run(operations))  # fills freelists and the interpreter's inline caches
    gc.collect()
    gc.disable()
    mark()
    for count in (operations, 2 * operations):
        loop.run_until_complete(run(count))
        mark()
    loop.run_until_complete(path.__aexit__(None, None, None))
    loop.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
