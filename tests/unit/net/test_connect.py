"""create_connection() and connect_accepted_socket(): addresses, sockets handed over, and what can go wrong."""

import asyncio
import contextlib
import errno
import gc
import logging
import socket
import ssl

import pytest
from support.addresses import Busy, asyncio_since, needs_ipv6, refusal, refusing, resolve_to
from support.net import Recorder, open_fds, receive_exactly, run, run_until, tcp_pair


@pytest.fixture
def refused():
    """Two addresses where nobody listens."""
    with refusing(2) as addresses:
        yield addresses


async def finish(loop, transport, peer):
    """Close both ends and wait until the transport's protocol knows."""
    protocol = transport.get_protocol()
    peer.close()
    transport.close()
    while not protocol.lost:
        await asyncio.sleep(0)


# Connections.


def exchange(loop, listener, *args, **kwargs):
    """Connect to the listener, send something there and back, and close; return what `connected()` said."""

    async def main():
        transport, protocol = await loop.create_connection(Recorder, *args, **kwargs)
        assert protocol.calls == [("connection_made", transport)] and transport.get_protocol() is protocol
        peer, address = await loop.sock_accept(listener)
        transport.write(b"question")
        assert await receive_exactly(loop, peer, 8) == b"question"
        await loop.sock_sendall(peer, b"answer")
        while protocol.received != b"answer":
            await asyncio.sleep(0)
        sock = transport.get_extra_info("socket")
        assert sock.getsockname() == address and sock.gettimeout() == 0
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        await finish(loop, transport, peer)
        return address

    return run(loop, main())


def test_connection_by_address(loop, listener):
    exchange(loop, listener, *listener.getsockname())


def test_sock_connect_of_a_subclass_is_used(impl, listener):
    class OwnLoop(impl.Loop):
        async def sock_connect(self, sock, address):
            asked.append(address)
            await super().sock_connect(sock, address)

    asked = []
    with contextlib.closing(OwnLoop()) as loop:
        exchange(loop, listener, *listener.getsockname())
        exchange(loop, listener, *listener.getsockname(), happy_eyeballs_delay=1)
    assert asked == [listener.getsockname()] * 2


def test_sock_connect_of_an_instance_is_used(loop, listener):
    async def sock_connect(sock, address):
        raise OSError(errno.ENETDOWN, "not today")

    loop.sock_connect = sock_connect
    with pytest.raises(OSError, match="not today"):
        run(loop, loop.create_connection(Recorder, *listener.getsockname()))
    del loop.sock_connect
    exchange(loop, listener, *listener.getsockname())


@pytest.mark.parametrize("port_type", [str, lambda port: str(port).encode()], ids=["str", "bytes"])
def test_connection_by_text(loop, listener, port_type):
    host, port = listener.getsockname()
    exchange(loop, listener, host.encode(), port_type(port))


@needs_ipv6
def test_connection_by_ipv6_address(loop):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.setblocking(False)
        exchange(loop, listener, "::1", listener.getsockname()[1])
        exchange(loop, listener, "::1", listener.getsockname()[1], happy_eyeballs_delay=1)


def test_connection_by_name(loop, listener):
    lookups = resolve_to(loop, listener.getsockname())
    exchange(loop, listener, "name.invalid", 99, family=1, proto=2, flags=3)
    assert lookups == [
        ("name.invalid", 99, {"family": 1, "type": socket.SOCK_STREAM, "proto": 2, "flags": 3})
    ]


def test_connection_by_port_alone(loop, listener):
    lookups = resolve_to(loop, listener.getsockname())
    exchange(loop, listener, port=99)
    assert [lookup[:2] for lookup in lookups] == [(None, 99)]


def test_connection_by_real_name(loop, listener):
    exchange(loop, listener, "localhost", listener.getsockname()[1], family=socket.AF_INET)
    loop.run_until_complete(loop.shutdown_default_executor())


def test_connection_over_a_socket(loop, listener):
    sock = socket.create_connection(listener.getsockname())
    exchange(loop, listener, sock=sock)
    assert sock.fileno() == -1


def test_connection_over_a_unix_socket(loop, pair):
    left, right = pair
    transport, _ = run(loop, loop.create_connection(Recorder, sock=left))
    transport.write(b"unix")
    assert run(loop, receive_exactly(loop, right, 4)) == b"unix"
    run(loop, finish(loop, transport, right))


@pytest.mark.parametrize("delay", [None, 1])
def test_local_address(loop, listener, delay):
    address = exchange(
        loop, listener, *listener.getsockname(), local_addr=("127.0.0.2", 0), happy_eyeballs_delay=delay
    )
    assert address[0] == "127.0.0.2"


def test_local_address_by_name(loop, listener):
    lookups = resolve_to(loop, ("127.0.0.3", 0))
    assert exchange(loop, listener, *listener.getsockname(), local_addr=("me.invalid", 7))[0] == "127.0.0.3"
    assert [lookup[:2] for lookup in lookups] == [("me.invalid", 7)]


def test_local_addresses_are_tried_in_turn(loop, listener, refused):
    resolve_to(loop, refused[0], ("127.0.0.4", 0))
    assert exchange(loop, listener, *listener.getsockname(), local_addr=("me.invalid", 7))[0] == "127.0.0.4"


def test_second_address_when_the_first_refuses(loop, listener, refused):
    resolve_to(loop, refused[0], listener.getsockname(), refused[1])
    exchange(loop, listener, "name.invalid", 1)


def test_streams(loop, listener):
    async def main():
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        peer, _ = await loop.sock_accept(listener)
        writer.write(b"line\n")
        await writer.drain()
        assert await receive_exactly(loop, peer, 5) == b"line\n"
        await loop.sock_sendall(peer, b"answer\nrest")
        peer.close()
        assert await reader.readline() == b"answer\n"
        assert await reader.read() == b"rest"
        writer.close()
        await writer.wait_closed()

    run(loop, main())


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_server_of_the_same_loop_accepts_meanwhile(loop, kind, tmp_path):
    """Who connects to a server of his own loop finds that it has noticed, without waiting for it."""
    accepted = []

    def factory():
        accepted.append(Recorder())
        return accepted[-1]

    async def main():
        if kind == "tcp":
            server = await loop.create_server(factory, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
        else:
            server = await loop.create_unix_server(factory, tmp_path / "socket")
        for _ in range(20):
            if kind == "tcp":
                transport, protocol = await loop.create_connection(Recorder, *address)
            else:
                transport, protocol = await loop.create_unix_connection(Recorder, tmp_path / "socket")
            for _ in range(3):
                await asyncio.sleep(0)
            assert [each.names for each in accepted] == [["connection_made"]]
            transport.close()
            while not (protocol.lost and accepted[0].lost):
                await asyncio.sleep(0)
            accepted.clear()
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_debug_mode_logs_the_connection(loop, listener, caplog):
    loop.set_debug(True)
    with caplog.at_level(logging.DEBUG, logger="asyncio"):
        exchange(loop, listener, *listener.getsockname())
    host, port = listener.getsockname()
    assert any(f" connected to {host}:{port}: (" in record.getMessage() for record in caplog.records)


# Connections that fail.


def fails(loop, exception, *args, **kwargs):
    """Try to connect: the exception, after checking that no descriptor is left open."""
    before = open_fds()
    with pytest.raises(exception) as raised:
        run(loop, loop.create_connection(Recorder, *args, **kwargs))
    assert open_fds() == before
    return raised.value


@pytest.mark.parametrize("delay", [None, 1])
def test_refused(loop, refused, delay):
    error = fails(loop, ConnectionRefusedError, *refused[0], happy_eyeballs_delay=delay)
    assert str(error) == refusal(refused[0]) and error.errno == errno.ECONNREFUSED


@pytest.mark.parametrize("delay", [None, 1])
def test_all_addresses_refuse(loop, refused, delay):
    resolve_to(loop, *refused)
    error = fails(loop, OSError, "name.invalid", 1, happy_eyeballs_delay=delay)
    assert str(error) == f"Multiple exceptions: {refusal(refused[0])}, {refusal(refused[1])}"
    assert type(error) is OSError


@pytest.mark.parametrize("delay", [None, 1])
def test_all_addresses_refuse_alike(loop, refused, delay):
    resolve_to(loop, refused[0], refused[0])
    error = fails(loop, ConnectionRefusedError, "name.invalid", 1, happy_eyeballs_delay=delay)
    assert str(error) == refusal(refused[0])


@pytest.mark.parametrize("delay", [None, 1])
def test_all_errors(impl, loop, refused, delay):
    asyncio_since(impl, 3, 12)
    resolve_to(loop, *refused)
    error = fails(loop, ExceptionGroup, "name.invalid", 1, happy_eyeballs_delay=delay, all_errors=True)
    assert error.message == "create_connection failed"
    assert [str(each) for each in error.exceptions] == [refusal(address) for address in refused]
    assert {type(each) for each in error.exceptions} == {ConnectionRefusedError}


def test_name_without_addresses(loop, listener):
    resolve_to(loop)
    assert str(fails(loop, OSError, "name.invalid", 1)) == "getaddrinfo() returned empty list"
    error = fails(loop, OSError, *listener.getsockname(), local_addr=("me.invalid", 0))
    assert str(error) == "getaddrinfo() returned empty list"


def test_name_unknown(loop):
    async def getaddrinfo(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    loop.getaddrinfo = getaddrinfo
    fails(loop, socket.gaierror, "name.invalid", 1)


def test_local_address_in_use(impl, loop, listener, refused):
    asyncio_since(impl, 3, 13)
    error = fails(loop, OSError, *listener.getsockname(), local_addr=refused[0])
    assert error.errno == errno.EADDRINUSE
    assert str(error) == (
        f"[Errno {errno.EADDRINUSE}] error while attempting to bind on address {refused[0]!r}: "
        f"[errno {errno.EADDRINUSE}] address already in use"
    )


def test_local_addresses_in_use(impl, loop, listener, refused):
    asyncio_since(impl, 3, 12)
    resolve_to(loop, *refused)
    error = fails(
        loop, ExceptionGroup, *listener.getsockname(), local_addr=("me.invalid", 0), all_errors=True
    )
    assert [str(address) in str(each) for address, each in zip(refused, error.exceptions, strict=True)] == [
        True,
        True,
    ]


def test_local_address_of_another_family(loop, listener):
    error = fails(loop, OSError, *listener.getsockname(), local_addr=("::1", 0))
    assert str(error) == f"no matching local address with family={socket.AF_INET!r} found"


def test_failed_bind_is_reported_with_a_failed_connection(impl, loop, refused):
    """All that went wrong with one address counts, though a later local address could be had."""
    asyncio_since(impl, 3, 12)
    resolve_to(loop, refused[1], ("127.0.0.1", 0))
    error = fails(loop, ExceptionGroup, *refused[0], local_addr=("me.invalid", 0), all_errors=True)
    assert [each.errno for each in error.exceptions] == [errno.EADDRINUSE, errno.ECONNREFUSED]


def test_what_is_no_oserror_ends_the_search(loop, listener):
    resolve_to(loop, ("127.0.0.1", 70000), listener.getsockname())
    fails(loop, OverflowError, "name.invalid", 1)


def test_cancelled(loop):
    with contextlib.closing(Busy()) as busy:
        before = open_fds()

        async def main():
            connecting = loop.create_task(loop.create_connection(Recorder, *busy.address))
            while open_fds() == before:
                await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

        run(loop, main())
        assert open_fds() == before


@pytest.mark.parametrize("by", ["address", "socket", "accepted"])
def test_protocol_factory_raises(impl, loop, listener, by):
    """The socket is closed, also if it was the caller's: it had been handed over."""
    asyncio_since(impl, 3, 14)
    before = open_fds()

    def factory():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        if by == "address":
            run(loop, loop.create_connection(factory, *listener.getsockname()))
        else:
            sock = socket.create_connection(listener.getsockname())
            if by == "socket":
                run(loop, loop.create_connection(factory, sock=sock))
            else:
                run(loop, loop.connect_accepted_socket(factory, sock))
    assert open_fds() == before


def test_connection_made_raises(loop, listener, reported):
    """The connection is made all the same, as in asyncio."""
    protocol = Recorder(connection_made=lambda transport: 1 / 0)
    transport, _ = run(loop, loop.create_connection(lambda: protocol, *listener.getsockname()))
    peer, _ = listener.accept()
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    run(loop, finish(loop, transport, peer))


def test_closed_in_connection_made(loop, listener):
    protocol = Recorder(connection_made=lambda transport: transport.close())
    transport, _ = run(loop, loop.create_connection(lambda: protocol, *listener.getsockname()))
    assert transport.is_closing()
    run_until(loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "connection_lost"] and protocol.reason is None


@pytest.mark.parametrize("delay", [None, 1])
def test_failures_leave_no_cycles(impl, loop, refused, delay):
    """An exception refers to frames: if these referred back to it, all of them would stay until a collection."""
    asyncio_since(impl, 3, 14)
    resolve_to(loop, *refused)

    async def fail():
        try:
            await loop.create_connection(Recorder, "name.invalid", 1, happy_eyeballs_delay=delay)
        except OSError:
            return
        raise AssertionError

    gc.collect()
    gc.disable()
    flags = gc.get_debug()
    try:
        run(loop, fail())
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert [each for each in gc.garbage if isinstance(each, OSError)] == []
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
        gc.enable()


# Arguments.


BAD_ARGUMENTS = {
    "host/port and sock can not be specified at the same time": {"host": "127.0.0.1", "sock": "sock"},
    "host and port was not specified and no sock specified": {},
    "server_hostname is only meaningful with ssl": {"host": "127.0.0.1", "server_hostname": "x"},
    "ssl_handshake_timeout is only meaningful with ssl": {"host": "127.0.0.1", "ssl_handshake_timeout": 1},
    "ssl_shutdown_timeout is only meaningful with ssl": {"host": "127.0.0.1", "ssl_shutdown_timeout": 1},
    "You must set server_hostname when using ssl without a host": {"ssl": True, "port": 1},
}


@pytest.mark.parametrize("message", BAD_ARGUMENTS)
def test_bad_arguments(loop, tcp_pair, message):
    arguments = dict(BAD_ARGUMENTS[message])
    if "sock" in arguments:
        arguments["sock"] = tcp_pair[0]
    with pytest.raises(ValueError, match=f"^{message}$"):
        run(loop, loop.create_connection(Recorder, **arguments))
    assert tcp_pair[0].fileno() != -1


def test_ssl_socket(loop, tcp_pair):
    with ssl.create_default_context().wrap_socket(
        tcp_pair[0], server_hostname="x", do_handshake_on_connect=False
    ) as sock:
        for connecting in (
            loop.create_connection(Recorder, sock=sock),
            loop.connect_accepted_socket(Recorder, sock),
        ):
            with pytest.raises(TypeError, match=r"^Socket cannot be of type SSLSocket$"):
                run(loop, connecting)


def test_datagram_socket(loop):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for connecting in (
            loop.create_connection(Recorder, sock=sock),
            loop.connect_accepted_socket(Recorder, sock),
        ):
            with pytest.raises(ValueError, match=r"^A Stream Socket was expected, got <socket"):
                run(loop, connecting)


@pytest.mark.parametrize("argument", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_bad_arguments_for_an_accepted_socket(loop, tcp_pair, argument):
    with pytest.raises(ValueError, match=f"^{argument} is only meaningful with ssl$"):
        run(loop, loop.connect_accepted_socket(Recorder, tcp_pair[0], **{argument: 1}))


# Sockets accepted elsewhere.


def test_accepted_socket(loop, listener, caplog):
    loop.set_debug(True)
    with socket.create_connection(listener.getsockname()) as client:
        sock, _ = listener.accept()
        with caplog.at_level(logging.DEBUG, logger="asyncio"):
            transport, protocol = run(loop, loop.connect_accepted_socket(Recorder, sock))
        assert any(" handled: (" in record.getMessage() for record in caplog.records)
        assert protocol.calls == [("connection_made", transport)] and sock.gettimeout() == 0
        client.sendall(b"question")
        run_until(loop, lambda: protocol.received == b"question")
        transport.write(b"answer")
        transport.close()
        run_until(loop, lambda: protocol.lost)
        assert client.recv(100) == b"answer"
        assert client.recv(100) == b""


def test_socket_in_use(loop):
    """One descriptor has one transport."""
    left, right = tcp_pair()
    transport, _ = run(loop, loop.create_connection(Recorder, sock=left))
    with socket.socket(fileno=left.fileno()) as again:
        with pytest.raises(RuntimeError, match=r"^File descriptor .* is used by transport <"):
            run(loop, loop.sock_recv(again, 1))
        again.detach()
    run(loop, finish(loop, transport, right))
