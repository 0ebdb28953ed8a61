"""A process that forks while it serves: programs that test_fork_serving.py and test_tls_memory.py run."""

import asyncio
import gc
import os
import select
import socket
import sys
import traceback
import warnings

TIMEOUT = 20  # seconds


# -- what the child does --------------------------------------------------------------------------------


def exit_at_once(protocol):
    os._exit(0)


def leave(protocol):
    """Through all that the interpreter does at its end."""
    sys.exit(0)


def close_everything(protocol):
    for method in ("close", "abort"):
        try:
            getattr(protocol.transport, method)()
        except RuntimeError:
            pass
    protocol.transport = None
    gc.collect()
    os._exit(0)


def write_more(protocol):
    try:
        protocol.transport.write(b"the child has no say")
    except RuntimeError:
        pass
    os._exit(0)


def run_another_loop(protocol):
    """What a child of multiprocessing does."""
    asyncio._set_running_loop(None)
    loop = type(protocol.loop)()
    loop.run_until_complete(echo_once(loop))
    loop.close()
    os._exit(0)


async def echo_once(loop):
    left, right = socket.socketpair()
    left.setblocking(False)
    transport, _ = await loop.create_connection(lambda: Echo(loop, None), sock=left)
    right.send(b"x")
    while not select.select([right], [], [], 0)[0]:
        await asyncio.sleep(0)
    assert right.recv(10) == b"x!"
    transport.close()
    await asyncio.sleep(0)


# -- the server -----------------------------------------------------------------------------------------


class Echo(asyncio.Protocol):
    """Forks when told to, after it has written its answer."""

    def __init__(self, loop, child):
        self.loop, self.child = loop, child

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data + b"!")
        if data == b"fork":
            fork(self.child, self)


def fork(child, protocol):
    pid = os.fork()
    if pid == 0:
        try:
            child(protocol)
        except SystemExit:
            raise
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


class Client:
    """Over TCP."""

    def __init__(self, loop):
        self.loop, self.sock = loop, socket.socket()
        self.sock.setblocking(False)

    async def connect(self, address):
        await self.loop.sock_connect(self.sock, address)

    async def ask(self, question):
        await self.loop.sock_sendall(self.sock, question)
        assert await self.loop.sock_recv(self.sock, 100) == question + b"!"

    async def close(self):
        self.sock.close()


class TlsClient(Client):
    async def connect(self, address):
        from support.tls import RawPeer, client_context  # late, for Pythons without the ssl module

        await super().connect(address)
        self.peer = RawPeer(self.loop, self.sock, client_context(), False)
        await self.peer.handshake()

    async def ask(self, question):
        await self.peer.write(question)
        assert await self.peer.read(len(question) + 1) == question + b"!"

    async def close(self):
        await self.peer.shutdown()
        await super().close()


async def main(loop, child, client_type, **options):
    server = await loop.create_server(lambda: Echo(loop, child), "127.0.0.1", 0, **options)
    address = server.sockets[0].getsockname()
    clients = []

    async def connect():
        clients.append(client_type(loop))
        await clients[-1].connect(address)

    for _ in range(3):
        await connect()
    for client in clients:
        await client.ask(b"before")
    for _ in range(2):
        await clients[1].ask(b"fork")
        for client in clients:
            await client.ask(b"after")
    await connect()
    await clients[-1].ask(b"late")
    for client in clients:
        await client.close()
    server.close()
    await server.wait_closed()


def serve(loop, child, tls=False):
    """Serve some clients, one of whom has the server fork; `child` is the name of a function above."""
    warnings.simplefilter("ignore")
    options = {"client_type": Client}
    if tls:
        from support.tls import server_context

        options = {"client_type": TlsClient, "ssl": server_context()}
    try:
        loop.run_until_complete(asyncio.wait_for(main(loop, globals()[child], **options), TIMEOUT))
        loop.run_until_complete(asyncio.sleep(0.01))
    finally:
        loop.close()
    print("served")
