"""Data that a server sends back, over sockets and over TLS: the programs of test_partial.py and test_tls_partial.py."""

import asyncio
import hashlib
import io
import pathlib
import random
import socket

from support import net

TIMEOUT = 50  # seconds


def random_data(size):
    return random.Random(2).randbytes(size)


class Echo(net.Echo):
    lost = 0

    def connection_lost(self, exc):
        assert exc is None
        Echo.lost += 1


class Client(asyncio.BufferedProtocol):
    """Ends its side when it has sent everything, or if that cannot be closes when everything has come back."""

    def __init__(self, loop, data):
        self.data, self.received = data, bytearray()
        self.buffer, self.ended = bytearray(10_000), loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def send(self):
        for start in range(0, len(self.data), 20_000):
            self.transport.writelines([self.data[start : start + 10], self.data[start + 10 : start + 5_000]])
            self.transport.write(self.data[start + 5_000 : start + 20_000])
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def get_buffer(self, sizehint):
        return memoryview(self.buffer)  # of a bytearray asyncio's TLS would fill a copy

    def buffer_updated(self, nbytes):
        self.received += self.buffer[:nbytes]
        if len(self.received) == len(self.data) and not self.transport.can_write_eof():
            self.transport.close()

    def connection_lost(self, exc):
        self.ended.set_result(exc)


class EagerClient(Client):
    """Sends before it is reading."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.send()


async def until_ended(server, clients):
    """Print a digest of what each client has got."""
    for client in clients:
        assert await client.ended is None
        print(hashlib.sha256(client.received).hexdigest())
    server.close()
    await server.wait_closed()


async def over_sockets(loop, data, path):
    """Three clients by TCP, and three by a Unix socket of that path."""
    for family in (socket.AF_INET, socket.AF_UNIX):
        with socket.socket(family) as listener:
            listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else path)
            server = await loop.create_server(Echo, sock=listener)
            clients = []
            for _ in range(3):
                sock = socket.socket(family)
                sock.setblocking(False)
                await loop.sock_connect(sock, listener.getsockname())
                clients.append((await loop.create_connection(lambda: EagerClient(loop, data), sock=sock))[1])
            await until_ended(server, clients)
    assert Echo.lost == 6


async def files(loop, data, path):
    """A file in many parts by a socket, and then by a transport."""
    pathlib.Path(path).write_bytes(data)
    file = io.FileIO(path)
    for send in (send_by_socket, send_by_transport):
        left, right = net.unix_pair()
        with left, right:
            received, _ = await asyncio.gather(
                net.receive_all(loop, right), send(loop, left, file, range(0, len(data), 5_000))
            )
        print(hashlib.sha256(received).hexdigest())
        assert file.tell() == len(data)
    file.close()


async def send_by_socket(loop, sock, file, offsets):
    for offset in offsets:
        await loop.sock_sendfile(sock, file, offset, 5_000, fallback=False)
    sock.shutdown(socket.SHUT_WR)


async def send_by_transport(loop, sock, file, offsets):
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
    for offset in offsets:
        await loop.sendfile(transport, file, offset, 5_000, fallback=False)
    transport.close()


async def over_tls(loop, data):
    """With each version a client by ssl= and one by start_tls()."""
    from support.tls import (  # late, for Pythons without the ssl module
        NAME,
        VERSIONS,
        client_context,
        server_context,
    )

    for version in VERSIONS:
        context, options = client_context(version), {"server_hostname": NAME}
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context(version))
        address = server.sockets[0].getsockname()
        _, client = await loop.create_connection(lambda: Client(loop, data), *address, ssl=context, **options)
        client.send()
        plain, other = await loop.create_connection(lambda: Client(loop, data), *address)
        other.transport = await loop.start_tls(plain, other, context, **options)
        other.send()
        await until_ended(server, [client, other])


def run(loop, program, size, *args):
    """Run one of the programs above."""
    loop.run_until_complete(asyncio.wait_for(program(loop, random_data(size), *args), TIMEOUT))
    loop.close()
