"""Features: TLS, its handshakes that fail, and its ends."""

import asyncio
import contextlib
import functools
import socket
import ssl
from types import SimpleNamespace

from ._tools import Oops, cancelled, feature, fresh_loop, run_one_turn, turns
from .transports import Buffered, Closing, Echo, Faulty

NAME = "server.example"
WRONG_NAME = "other.example"
RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: close() resets the connection


@functools.cache
def authority():
    import trustme  # late: it takes longer to import than the other features need

    return trustme.CA()


@functools.cache
def certificate():
    return authority().issue_cert(NAME)


def server_context():
    # With TLS 1.2 the context would remember sessions, up to a limit that no round reaches.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    certificate().configure_cert(context)
    return context


@functools.cache
def contexts():
    """The contexts of a server and a client."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(client)
    return server_context(), client


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        return left, server.accept()[0]


async def serve(env, sock, protocol_factory=Echo, context=None, **options):
    """The protocol of a server's end, after its handshake."""
    _, protocol = await env.loop.connect_accepted_socket(
        lambda: protocol_factory(env.loop), sock, ssl=context or contexts()[0], **options
    )
    return protocol


async def call(env, sock, protocol_factory=Closing, name=NAME, **options):
    """The protocol of a client's end, after its handshake."""
    _, protocol = await env.loop.create_connection(
        lambda: protocol_factory(env.loop), sock=sock, ssl=contexts()[1], server_hostname=name, **options
    )
    return protocol


async def both(env, server=Echo, client=Closing, sockets=None):
    """The protocols of both ends of a connection, the server's first."""
    left, right = sockets or socket.socketpair()
    return await asyncio.gather(serve(env, left, server), call(env, right, client))


async def fails(handshake):
    """Which side finds fault is no matter: the other one's connection ends."""
    try:
        await handshake
    except OSError:
        return
    raise AssertionError("nothing went wrong")


async def until_closed(env, sock):
    """Receive until the other end has closed."""
    with contextlib.suppress(ConnectionError):
        while await env.loop.sock_recv(sock, 100_000):
            pass


class Gatherer(Closing):
    """Has a future for the arrival of so many bytes."""

    wanted = 100_000

    def __init__(self, loop):
        super().__init__(loop)
        self.count = 0
        self.complete = loop.create_future()

    def data_received(self, data):
        self.count += len(data)
        if self.count == self.wanted:
            self.complete.set_result(None)


async def close(*protocols):
    protocols[0].transport.close()
    for protocol in protocols:
        assert await protocol.lost is None


@feature
async def tls_connect_and_close(env):
    await close(*await both(env))


@feature
async def tls_data_in_both_directions(env):
    server, client = await both(env, Gatherer, Gatherer)
    client.transport.writelines([b"a" * 50_000, bytearray(49_990), b"0123456789"])
    server.transport.write(bytes(100_000))
    await server.complete
    await client.complete
    for key in (
        "socket",
        "peername",
        "sslcontext",
        "ssl_object",
        "peercert",
        "cipher",
        "compression",
        "none",
    ):
        client.transport.get_extra_info(key)
    client.transport.pause_reading()
    server.transport.write(b"unread")
    await turns()
    client.transport.resume_reading()
    await close(client, server)


@feature
async def tls_of_a_buffered_protocol(env):
    server, client = await both(env, Buffered, Gatherer)
    client.transport.write(bytes(100_000))
    await client.complete
    await close(server, client)


@feature
async def tls_data_received_raises(env):
    env.loop.set_exception_handler(lambda loop, context: None)
    server, client = await both(env, Faulty)
    client.transport.write(b"data")
    assert isinstance(await server.lost, Oops)
    await client.lost
    env.loop.set_exception_handler(None)


@feature
async def tls_aborted_while_it_sends(env):
    server, client = await both(env)
    server.transport.pause_reading()
    for _ in range(10):
        client.transport.write(bytes(100_000))
    client.transport.abort()
    await client.lost
    server.transport.resume_reading()
    await server.lost


@feature
async def tls_closed_while_it_sends(env):
    server, client = await both(env, Gatherer)
    client.transport.write(bytes(100_000))
    await close(client, server)
    assert server.complete.done()


@feature
async def tls_reset_by_peer(env):
    server, client = await both(env, sockets=tcp_pair())
    server.transport.write(bytes(100_000))
    client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.transport.abort()
    await client.lost
    await server.lost


@feature
async def tls_certificate_for_another_name(env):
    left, right = socket.socketpair()
    await asyncio.gather(fails(serve(env, left)), fails(call(env, right, name=WRONG_NAME)))


@feature
async def tls_garbage_instead_of_a_handshake(env):
    left, right = socket.socketpair()
    with right:
        right.setblocking(False)
        right.send(b"GET / HTTP/1.0\r\n\r\n")
        await fails(serve(env, left))
        await until_closed(env, right)


@feature
async def tls_peer_leaves_in_the_handshake(env):
    left, right = tcp_pair()
    calling = asyncio.ensure_future(fails(call(env, left)))
    right.setblocking(False)
    await env.loop.sock_recv(right, 1)  # what is not received makes the end a reset
    right.close()
    await calling


@feature
async def tls_handshake_times_out(env):
    left, right = socket.socketpair()
    with right:
        right.setblocking(False)
        await fails(call(env, left, ssl_handshake_timeout=0.001))
        await until_closed(env, right)


@feature
async def tls_handshake_cancelled(env):
    left, right = socket.socketpair()
    with right:
        right.setblocking(False)
        await cancelled(call(env, left))
        await until_closed(env, right)


@feature
async def tls_shutdown_times_out(env):
    left, right = socket.socketpair()
    deaf = contexts()[0].wrap_bio(incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), True)
    with right:
        right.setblocking(False)
        calling = asyncio.ensure_future(call(env, left, ssl_shutdown_timeout=0.001))
        while not calling.done():
            with contextlib.suppress(ssl.SSLWantReadError):
                deaf.do_handshake()
                break
            right.send(outgoing.read())
            incoming.write(await env.loop.sock_recv(right, 100_000))
        right.send(outgoing.read())
        client = await calling
        client.transport.close()
        assert isinstance(await client.lost, TimeoutError)


async def plain_pair(env):
    left, right = socket.socketpair()
    _, server = await env.loop.create_connection(lambda: Gatherer(env.loop), sock=left)
    _, client = await env.loop.create_connection(lambda: Gatherer(env.loop), sock=right)
    return server, client


async def upgrade(env, protocol, server_side, name=NAME):
    options = {"server_side": True} if server_side else {"server_hostname": name}
    context = contexts()[not server_side]
    protocol.transport = await env.loop.start_tls(protocol.transport, protocol, context, **options)


@feature
async def tls_after_plain_text(env):
    server, client = await plain_pair(env)
    server.transport.write(b"begin")
    while not client.count:
        await asyncio.sleep(0)
    await asyncio.gather(upgrade(env, server, True), upgrade(env, client, False))
    server.transport.write(bytes(99_995))
    await client.complete
    await close(server, client)


@feature
async def tls_within_tls(env):
    server, client = await both(env, Gatherer, Gatherer)
    inner = Gatherer(env.loop), Gatherer(env.loop)
    for outer, protocol in zip((server, client), inner, strict=True):
        protocol.transport = outer.transport
    await asyncio.gather(upgrade(env, inner[0], True), upgrade(env, inner[1], False))
    inner[1].transport.write(bytes(100_000))
    await inner[0].complete
    await close(*inner)


@feature
async def start_tls_fails(env):
    env.loop.set_exception_handler(lambda loop, context: None)
    server, client = await plain_pair(env)
    await asyncio.gather(fails(upgrade(env, server, True)), fails(upgrade(env, client, False, WRONG_NAME)))
    await turns(5)
    env.loop.set_exception_handler(None)


@feature
async def start_tls_cancelled(env):
    server, client = await plain_pair(env)
    await cancelled(upgrade(env, client, False))
    await server.lost
    await turns(5)


@feature
async def tls_server_and_clients(env):
    served = []

    def factory():
        served.append(Closing(env.loop))
        return served[-1]

    server = await env.loop.create_server(factory, "127.0.0.1", 0, ssl=contexts()[0])
    address = server.sockets[0].getsockname()
    options = {"ssl": contexts()[1], "server_hostname": NAME}
    for _ in range(2):
        _, client = await env.loop.create_connection(lambda: Closing(env.loop), *address, **options)
        await close(client)
    options["server_hostname"] = WRONG_NAME
    await fails(env.loop.create_connection(lambda: Closing(env.loop), *address, **options))
    for protocol in served[:2]:
        await protocol.lost
    server.close()
    await server.wait_closed()


@feature
async def tls_streams(env):
    left = env.loop.create_future()

    async def answer(reader, writer):
        await writer.start_tls(contexts()[0])
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()
        left.set_result(None)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await writer.start_tls(contexts()[1], server_hostname=NAME)
    writer.write(b"line\n")
    assert await reader.read() == b"line\n"
    writer.close()
    await writer.wait_closed()
    await left
    server.close()
    await server.wait_closed()


@feature
async def tls_server_name_callback(env):
    """One that swaps the context, and one that refuses."""
    context = server_context()
    left, right = socket.socketpair()
    context.sni_callback = lambda ssl_object, name, _: setattr(ssl_object, "context", contexts()[0])
    await close(*await asyncio.gather(serve(env, left, context=context), call(env, right)))
    left, right = socket.socketpair()
    context.sni_callback = lambda *args: ssl.ALERT_DESCRIPTION_ACCESS_DENIED
    await asyncio.gather(fails(serve(env, left, context=context)), fails(call(env, right)))
    context.sni_callback = None


@feature
def tls_loop_closed_with_a_connection_open(env):
    with fresh_loop(env) as loop:
        server, client = loop.run_until_complete(both(SimpleNamespace(loop=loop)))
        server.transport.pause_reading()
        client.transport.write(bytes(1_000_000))
        run_one_turn(loop)
