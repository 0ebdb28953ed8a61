"""What users may do with a TLS connection besides using it: its SSLObject in their hands, its end by other means."""

import array
import asyncio
import contextlib
import gc
import ssl
import sys
import threading
import weakref

import pytest
from support.net import Recorder, receive, receive_exactly, run, run_until
from support.tls import TlsEnds, buffered, client_context, each_side, each_version, server_context

BIG = bytes(range(256)) * 8000


def ssl_object_of(connection):
    return connection.transport.get_extra_info("ssl_object")


# The SSLObject in the hands of users.


@each_version
@each_side
def test_it_may_write(tls, server_side):
    """What it makes leaves with what the transport sends next."""
    connection = tls.connect(server_side=server_side)
    assert ssl_object_of(connection).write(b"one ") == 4
    connection.transport.write(b"two")
    assert connection.run(connection.peer.read(7)) == b"one two"


@each_version
def test_it_has_nothing_to_read(tls):
    connection = tls.connect()
    with pytest.raises(ssl.SSLWantReadError):
        ssl_object_of(connection).read(10)
    connection.send(b"data")
    with pytest.raises(ssl.SSLWantReadError):
        ssl_object_of(connection).read(10)
    connection.send(b"more")


@each_version
@each_side
def test_it_may_say_goodbye(tls, server_side):
    """close_notify by way of the object: the peer hears it, and the connection ends."""
    connection = tls.connect(server_side=server_side)
    with pytest.raises(ssl.SSLWantReadError):
        ssl_object_of(connection).unwrap()
    connection.transport.close()
    assert connection.run(connection.peer.read_to_end()) == b""
    with contextlib.suppress(ConnectionError):
        connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()


@each_version
def test_it_may_shake_hands_again(tls):
    """Which is to do nothing."""
    connection = tls.connect()
    ssl_object_of(connection).do_handshake()
    connection.send(b"data")


@each_version
@each_side
@pytest.mark.parametrize("end", ["close", "abort", "lost to the peer"])
def test_it_survives_the_connection(tls, server_side, end):
    """Whatever is asked of it then, the answer may be an exception."""
    connection = tls.connect(server_side=server_side)
    connection.send(b"data")
    ssl_object = ssl_object_of(connection)
    if end == "lost to the peer":
        connection.peer.reset()
    else:
        getattr(connection.transport, end)()
        if end == "close":
            connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    tls.protocols.clear()
    del connection
    gc.collect()
    assert ssl_object.version() is None or ssl_object.version() == tls.version
    for method, *args in (
        ("read", 10),
        ("write", b"data"),
        ("pending",),
        ("getpeercert",),
        ("get_channel_binding",),
        ("unwrap",),
        ("do_handshake",),
        ("read", 10),
        ("write", bytes(100_000)),
    ):
        with contextlib.suppress(ssl.SSLError, ValueError):
            getattr(ssl_object, method)(*args)
    assert ssl_object.context is not None and ssl_object.cipher()[0]


@each_side
def test_it_survives_the_loop(tls, server_side):
    connection = tls.connect(server_side=server_side)
    ssl_object = ssl_object_of(connection)
    connection.transport.abort()
    connection.run_until_lost()
    for closer in tls.closers:
        closer()
    tls.loop.close()
    gc.collect()
    with contextlib.suppress(ssl.SSLError):
        ssl_object.write(b"data")
    assert ssl_object.version() == "TLSv1.3"


def test_another_context_later(tls):
    """What an SNI callback may do, a user may as well."""
    connection = tls.connect(server_side=True)
    context = server_context()
    ssl_object_of(connection).context = context
    assert ssl_object_of(connection).context is context
    connection.send(b"data")


# Memory of other kinds.


@pytest.mark.parametrize("write", ["write", "writelines"])
def test_memory_that_is_not_of_bytes(impl, tls, write):
    """All of its bytes are sent.  asyncio counts items."""
    if impl.name == "asyncio":
        pytest.skip("asyncio sends a part")
    connection = tls.connect()
    numbers = memoryview(array.array("i", range(1000)))
    getattr(connection.transport, write)(numbers if write == "write" else [numbers, b"x"])
    expected = numbers.tobytes() + b"x" * (write == "writelines")
    assert connection.run(connection.peer.read(len(expected))) == expected


@pytest.mark.parametrize("size", [10, 100_000])
def test_memory_in_pieces(impl, tls, size):
    """Sent as if it were in one, or refused, without harm to the connection.  asyncio ends it."""
    if impl.name == "asyncio":
        pytest.skip("asyncio ends the connection")
    connection = tls.connect()
    view = memoryview(BIG)[: 2 * size : 2]
    try:
        connection.transport.write(view)
    except (BufferError, ValueError, TypeError):
        view = b""
    connection.transport.write(b"end")
    assert connection.run(connection.peer.read(len(view) + 3)) == bytes(view) + b"end"


# Transports that nobody keeps, and loops that are closed.


def test_an_unclosed_transport_warns(impl, loop, tls):
    connection = tls.connect()
    connection.run(connection.peer.write(b"unread"))
    tls.protocols.clear()
    protocol, transport = weakref.ref(connection.protocol), connection.transport
    sock = transport.get_extra_info("socket")
    loop.close()
    del connection, transport, sock
    with pytest.warns(ResourceWarning, match=r"unclosed .*"):
        gc.collect()
    if impl.name == "fastloop":
        assert protocol() is None


def test_a_loop_that_is_closed_during_a_handshake(loop, tls):
    left, right = tls.sockets()
    connecting = loop.create_task(tls.make(left, Recorder()))
    run(loop, receive_exactly(loop, right, 5))
    connecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(connecting)
    loop.close()
    del connecting
    gc.collect()


@each_side
def test_freed_without_the_collector(impl, tls, turn, server_side):
    """A connection that has ended leaves no cycle behind.  asyncio's is one."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's transport and its protocols refer to each other")
    connection = tls.connect(server_side=server_side)
    connection.send(b"data")
    connection.transport.close()
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    turn()
    tls.protocols.clear()
    connection.protocol.transport = None
    connection.protocol.calls.clear()
    protocol, transport = connection.protocol, connection.transport
    alive = weakref.ref(protocol)
    ssl_object = weakref.ref(ssl_object_of(connection))
    gc.disable()
    try:
        del connection, protocol, transport
        assert alive() is None and ssl_object() is None
    finally:
        gc.enable()


# Threads.


def test_one_context_in_the_loops_of_several_threads(impl):
    contexts = server_context(), client_context()
    failures = []

    def work():
        loop = impl.new_event_loop()
        tls = TlsEnds(loop)
        try:
            for _ in range(10):
                connection = tls.connect(ssl=contexts[1], peer_context=contexts[0])
                connection.send(BIG[:100_000])
                connection.transport.write(BIG[:100_000])
                assert connection.run(connection.peer.read(100_000)) == BIG[:100_000]
        except Exception as exc:
            failures.append(exc)
        finally:
            tls.end()
            loop.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# Protocols that are not quite such.


class Minimal:
    """Of a protocol's methods the two that each connection calls, and one more."""

    def __init__(self):
        self.received = b""
        self.lost = False
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data

    def connection_lost(self, exc):
        self.lost = True


def test_a_protocol_without_eof_received(tls, reported):
    connection = tls.connect(Minimal())
    connection.send(b"data")
    connection.run(connection.peer.send_close_notify())
    run_until(tls.loop, lambda: connection.protocol.lost)
    assert [type(context["exception"]) for context in reported] == [AttributeError]
    reported.clear()


def test_a_connection_given_up_in_connection_made(loop, tls):
    """Who waits for it is cancelled in the turn in which it is there: the connection is closed."""
    left, right = tls.sockets()
    peer, protocol = tls.raw(right, server_side=True), Recorder()

    async def main():
        connecting = loop.create_task(tls.make(left, protocol))
        protocol.on["connection_made"] = lambda transport: connecting.cancel()
        await peer.handshake()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert await peer.read_to_end() == b""
        await peer.send_close_notify()

    run(loop, main())
    run_until(loop, lambda: protocol.lost)
    assert protocol.names[0] == "connection_made" and protocol.reason is None


# Pre-shared keys instead of certificates.


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the ssl module has them since Python 3.13")
@each_side
def test_pre_shared_keys(tls, server_side):
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in (server, client):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("PSK")
    server.set_psk_server_callback(lambda identity: {"me": b"key"}[identity])
    client.set_psk_client_callback(lambda hint: ("me", b"key"))
    ours, theirs = (server, client) if server_side else (client, server)
    connection = tls.connect(server_side=server_side, ssl=ours, peer_context=theirs)
    connection.send(b"data")
    assert "PSK" in connection.transport.get_extra_info("cipher")[0]


def test_another_class_by_hand(impl, connection, turn):
    """A transport without TLS stays one, whatever it is called: its methods raise TypeError."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's classes cannot be exchanged")
    from fastloop._fastloop import SSLTransport

    transport = connection.transport
    transport.__class__ = SSLTransport
    for name in (
        "get_read_buffer_size",
        "get_read_buffer_limits",
        "set_read_buffer_limits",
        "_close_unanswered",
    ):
        with pytest.raises(TypeError, match="TLS has not begun"):
            getattr(transport, name)()
    with pytest.raises(TypeError, match="TLS has not begun"):
        _ = transport._sslcontext
    assert not transport.is_closing()
    transport.write(b"data")
    turn()
    assert receive(connection.peer) == b"data"


class EndsWhenRead(ssl.SSLObject):
    """Calls `end()` when there is something to read."""

    end = staticmethod(lambda: None)

    def read(self, *args):
        data = super().read(*args)
        self.end()
        return data


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("make", [Recorder, buffered])
def test_ended_while_it_reads(impl, tls, end, make):
    """Nothing is delivered after close() or abort()."""
    if impl.name == "asyncio":
        pytest.skip("asyncio delivers it")
    context = client_context()
    context.sslobject_class = EndsWhenRead
    connection = tls.connect(make(), ssl=context)
    ssl_object_of(connection).end = getattr(connection.transport, end)
    connection.run(connection.peer.write(b"data"))
    connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert connection.protocol.received == b""


class ResumesWhenAsked(ssl.SSLObject):
    """Asked how much it holds, it resumes reading."""

    resume = staticmethod(lambda: None)

    def pending(self):
        count = super().pending()
        self.resume()
        return count


def test_resumed_while_asked_how_much_is_kept(tls):
    """What has come is delivered."""
    context = client_context()
    context.sslobject_class = ResumesWhenAsked
    connection = tls.connect(ssl=context)
    connection.transport.pause_reading()
    ssl_object_of(connection).resume = connection.transport.resume_reading
    connection.run(connection.peer.write(b"data"))
    connection.transport.resume_reading()  # asyncio does not ask
    connection.run_until(lambda: connection.protocol.received == b"data")
