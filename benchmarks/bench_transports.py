"""Transports, hop by hop: a packet's way in and out, streams on top of it, datagrams, connections, children."""

import asyncio
import socket
import sys


class Echo(asyncio.Protocol):
    """Sends back what arrives, in `parts` writes."""

    parts = 1

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        step = len(data) // self.parts
        for start in range(0, len(data), step):
            self.transport.write(data[start : start + step])


class EchoInFour(Echo):
    parts = 4


class Ping(asyncio.Protocol):
    """Sends a message, and again when it is back, so many times."""

    def __init__(self, message, rounds, done):
        self.message, self.rounds, self.done = message, rounds, done
        self.missing = len(message)

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.message)

    def data_received(self, data):
        self.missing -= len(data)
        if self.missing == 0:
            self.missing = len(self.message)
            self.rounds -= 1
            if self.rounds:
                self.transport.write(self.message)
            else:
                self.transport.close()

    def connection_lost(self, exc):
        self.done.set_result(exc)


def measure_echo(measure_coroutine, loop, protocol_factory, size, rounds):
    async def main():
        ours, theirs = socket.socketpair()
        done = loop.create_future()
        await loop.create_unix_connection(protocol_factory, sock=theirs)
        await loop.create_unix_connection(lambda: Ping(b"x" * size, rounds, done), sock=ours)
        assert await done is None

    measure_coroutine(rounds, main)


def bench_echo(measure_coroutine, loop):
    """1 KiB from a protocol to another one of the same loop, and back."""
    measure_echo(measure_coroutine, loop, Echo, 1024, 5000)


def bench_echo_in_four_writes(measure_coroutine, loop):
    """The same, but the answer is written in four parts."""
    measure_echo(measure_coroutine, loop, EchoInFour, 1024, 5000)


def bench_echo_64k(measure_coroutine, loop):
    """64 KiB instead."""
    measure_echo(measure_coroutine, loop, Echo, 65536, 1000)


def bench_stream_lines(measure_coroutine, loop):
    """A line through StreamWriter and StreamReader, and back."""
    rounds = 2000

    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        line = b"x" * 63 + b"\n"
        for _ in range(rounds):
            writer.write(line)
            assert await reader.readline() == line
        writer.close()
        await writer.wait_closed()
        server.close()

    measure_coroutine(rounds, main)


def bench_datagrams(measure_coroutine, loop):
    """A datagram to a port of the same loop."""
    rounds, burst = 200, 16

    class Count(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport, self.arrived, self.full = transport, 0, None

        def datagram_received(self, data, address):
            self.arrived += 1
            if self.arrived % burst == 0:
                self.full.set_result(None)

    async def main():
        transport, protocol = await loop.create_datagram_endpoint(Count, local_addr=("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        for _ in range(rounds):
            protocol.full = loop.create_future()
            for _ in range(burst):
                transport.sendto(b"x" * 64, address)
            await protocol.full
        transport.close()

    measure_coroutine(rounds * burst, main)


def bench_connect(measure_coroutine, loop):
    """A connection to a server of the same loop, opened and closed."""
    rounds = 300

    async def main():
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for _ in range(rounds):
            transport, _ = await loop.create_connection(asyncio.Protocol, *address)
            transport.abort()
            await asyncio.sleep(0)
        server.close()

    measure_coroutine(rounds, main)


def bench_subprocess(measure_coroutine, loop):
    """A child that writes a line, and its end."""
    rounds = 5

    async def main():
        for _ in range(rounds):
            child = await asyncio.create_subprocess_exec("/bin/echo", "line", stdout=asyncio.subprocess.PIPE)
            assert await child.communicate() == (b"line\n", None)

    # A loop's watcher of children may want the main thread's policy to be that loop's.
    if sys.version_info < (3, 12):
        asyncio.set_event_loop(loop)
    measure_coroutine(rounds, main)
    if sys.version_info < (3, 12):
        asyncio.set_event_loop(None)
