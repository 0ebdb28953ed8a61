"""Features: connections, servers, datagrams, pipes and children."""

import asyncio
import contextlib
import os
import socket

from ._tools import Oops, feature


class Closing(asyncio.Protocol):
    """Notes the end of its connection in a future."""

    def __init__(self, loop):
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class Echo(Closing):
    def data_received(self, data):
        self.transport.write(data[:1])
        self.transport.writelines([data[1:], bytearray(b"!")])


class Buffered(Closing, asyncio.BufferedProtocol):
    def get_buffer(self, hint):
        self.buffer = bytearray(1000)
        return self.buffer

    def buffer_updated(self, count):
        self.transport.write(self.buffer[:count])


class Faulty(Closing):
    def data_received(self, data):
        raise Oops


async def connected(env, protocol_factory):
    """A protocol over one end of a socket pair, and the other end."""
    ours, theirs = socket.socketpair()
    _, protocol = await env.loop.create_connection(lambda: protocol_factory(env.loop), sock=ours)
    return protocol, theirs


@feature
async def transport_echoes(env):
    protocol, peer = await connected(env, Echo)
    with peer:
        peer.setblocking(False)
        peer.send(b"data")
        assert await env.loop.sock_recv(peer, 100) == b"data!"
        for key in ("socket", "sockname", "peername", "nothing"):
            protocol.transport.get_extra_info(key)
        protocol.transport.close()
        assert await protocol.lost is None


@feature
async def transport_of_a_buffered_protocol(env):
    protocol, peer = await connected(env, Buffered)
    with peer:
        peer.setblocking(False)
        peer.send(b"data")
        assert await env.loop.sock_recv(peer, 100) == b"data"
    assert await protocol.lost is None


@feature
async def transport_aborted_while_it_sends(env):
    protocol, peer = await connected(env, Echo)
    with peer:
        for _ in range(10):
            protocol.transport.write(bytes(100_000))
        protocol.transport.pause_reading()
        protocol.transport.abort()
        assert await protocol.lost is None


@feature
async def data_received_raises(env):
    env.loop.set_exception_handler(lambda loop, context: None)
    protocol, peer = await connected(env, Faulty)
    with peer:
        peer.send(b"data")
        assert isinstance(await protocol.lost, Oops)
    env.loop.set_exception_handler(None)


@feature
async def server_and_clients(env):
    served = []

    def factory():
        served.append(Echo(env.loop))
        return served[-1]

    server = await env.loop.create_server(factory, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for _ in range(3):
        _, client = await env.loop.create_connection(lambda: Closing(env.loop), *address)
        client.transport.close()
        await client.lost
    for protocol in served:
        await protocol.lost
    server.close()
    await server.wait_closed()


@feature
async def connection_refused(env):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with contextlib.suppress(ConnectionRefusedError):
            await env.loop.create_connection(asyncio.Protocol, *unused.getsockname())


@feature
async def streams(env):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line\n")
    assert await reader.read() == b"line\n"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


@feature
async def datagrams(env):
    class Receiver(asyncio.DatagramProtocol):
        def __init__(self):
            self.lost = env.loop.create_future()
            self.arrived = []
            self.full = env.loop.create_future()

        def datagram_received(self, data, address):
            self.arrived.append((data, address))
            if len(self.arrived) == 5:
                self.full.set_result(None)

        def connection_lost(self, exc):
            self.lost.set_result(exc)

    transport, protocol = await env.loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
    for _ in range(5):
        transport.sendto(b"data", transport.get_extra_info("sockname"))
    await protocol.full
    transport.close()
    await protocol.lost


@feature
async def pipes(env):
    read, write = os.pipe()
    _, reader = await env.loop.connect_read_pipe(lambda: Closing(env.loop), os.fdopen(read, "rb", 0))
    _, writer = await env.loop.connect_write_pipe(lambda: Closing(env.loop), os.fdopen(write, "wb", 0))
    writer.transport.write(b"data")
    writer.transport.close()
    await writer.lost
    await reader.lost


@feature(since=(3, 12))  # asyncio of 3.11 wants a child watcher attached to the loop
async def child(env):
    process = await asyncio.create_subprocess_exec(
        "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert await process.communicate(b"data") == (b"data", None)
