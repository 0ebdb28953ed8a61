"""TLS over stream transports: handshakes that work and that fail, echo, and connections upgraded by start_tls()."""

import asyncio
import contextlib
import socket
import ssl

import pytest
import trustme
from addresses import asyncio_since
from net import Recorder, open_fds, run, run_until, tcp_pair

DATA = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def server_context(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("right.example").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def tls_pair(loop, server_context, client_context):
    """A function that connects two protocols, by default recorders, by TLS; it returns their transports."""
    ends = []

    def connect(server=None, client=None, sockets=None, **client_options):
        left, right = sockets or tcp_pair()
        options = {"ssl": client_context, "server_hostname": "right.example", **client_options}

        async def main():
            return await asyncio.gather(
                loop.connect_accepted_socket(lambda: server or Recorder(), left, ssl=server_context),
                loop.create_connection(lambda: client or Recorder(), sock=right, **options),
            )

        connections = run(loop, main())
        ends.extend(connections)
        return [transport for transport, _ in connections]

    yield connect
    for transport, _ in ends:
        transport.abort()
    run_until(loop, lambda: all(protocol.lost for _, protocol in ends))


def close(loop, *transports):
    """Close both ends in turn, and wait until their protocols know."""
    protocols = [transport.get_protocol() for transport in transports]
    for transport in transports:
        transport.close()
    run_until(loop, lambda: all(protocol.lost for protocol in protocols))
    return [protocol.reason for protocol in protocols]


def test_handshake(loop, tls_pair, client_context):
    server, client = tls_pair()
    for transport in (server, client):
        assert transport.get_protocol().calls == [("connection_made", transport)]
        assert isinstance(transport, asyncio.Transport) and not transport.is_closing()
    assert client.get_extra_info("sslcontext") is client_context
    assert client.get_extra_info("peercert")["subjectAltName"] == (("DNS", "right.example"),)
    assert client.get_extra_info("cipher") == server.get_extra_info("cipher")
    assert isinstance(client.get_extra_info("ssl_object"), ssl.SSLObject)
    assert client.get_extra_info("peername") == server.get_extra_info("sockname")
    assert client.get_extra_info("socket").fileno() >= 0


@pytest.mark.parametrize("sockets", [tcp_pair, socket.socketpair], ids=["tcp", "unix"])
def test_data_in_both_directions(loop, tls_pair, sockets):
    server, client = tls_pair(sockets=sockets())
    client.write(DATA)
    server.writelines([DATA, DATA])
    run_until(loop, lambda: len(client.get_protocol().received) == 2 * len(DATA))
    run_until(loop, lambda: len(server.get_protocol().received) == len(DATA))
    assert client.get_protocol().received == 2 * DATA and server.get_protocol().received == DATA


def test_close(loop, tls_pair):
    before = open_fds()
    server, client = tls_pair()
    server.write(DATA)
    protocol = client.get_protocol()
    server_protocol = server.get_protocol()
    server.close()
    run_until(loop, lambda: protocol.lost and server_protocol.lost)
    assert protocol.received == DATA and protocol.reason is None and server_protocol.reason is None
    assert "eof_received" in protocol.names
    assert open_fds() == before


def test_abort(loop, tls_pair):
    before = open_fds()
    server, client = tls_pair()
    protocols = [server.get_protocol(), client.get_protocol()]
    server.abort()
    run_until(loop, lambda: all(protocol.lost for protocol in protocols))
    assert open_fds() == before


def test_back_pressure(loop, tls_pair):
    server, client = tls_pair()
    protocol = server.get_protocol()
    client.pause_reading()
    while "pause_writing" not in protocol.names:
        server.write(DATA)
    client.resume_reading()
    run_until(loop, lambda: "resume_writing" in protocol.names)


def handshake_fails(loop, server_context, exception, **client_options):
    """Connect to a server that wants TLS: the exception, after checking that nothing is left open."""
    before = open_fds()
    left, right = tcp_pair()

    async def main():
        return await asyncio.gather(
            loop.connect_accepted_socket(Recorder, left, ssl=server_context),
            loop.create_connection(Recorder, sock=right, **client_options),
            return_exceptions=True,
        )

    server_error, error = run(loop, main())
    assert isinstance(server_error, OSError) and isinstance(error, exception)
    run_until(loop, lambda: open_fds() == before)
    return error


def test_wrong_name(loop, server_context, client_context):
    error = handshake_fails(
        loop,
        server_context,
        ssl.SSLCertVerificationError,
        ssl=client_context,
        server_hostname="wrong.example",
    )
    assert "Hostname mismatch" in str(error)


def test_default_context(loop, server_context):
    handshake_fails(
        loop, server_context, ssl.SSLCertVerificationError, ssl=True, server_hostname="right.example"
    )


def test_server_needs_a_context(loop, tcp_pair):
    with pytest.raises(ValueError, match=r"^Server side SSL needs a valid SSLContext$"):
        run(loop, loop.connect_accepted_socket(Recorder, tcp_pair[0], ssl=True))


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_unusable_timeouts(impl, loop, tcp_pair, client_context, name):
    asyncio_since(impl, 3, 14)
    options = {"ssl": client_context, "server_hostname": "right.example", name: 0}
    with pytest.raises(ValueError, match=f"^{name} should be a positive number, got 0$"):
        run(loop, loop.create_connection(Recorder, sock=tcp_pair[0], **options))
    assert tcp_pair[0].fileno() == -1


def test_handshake_timeout(loop, tcp_pair, client_context):
    protocol = Recorder()
    options = {"ssl": client_context, "server_hostname": "right.example", "ssl_handshake_timeout": 0.01}
    with pytest.raises(ConnectionAbortedError, match=r"^SSL handshake is taking longer than 0\.01 seconds"):
        run(loop, loop.create_connection(lambda: protocol, sock=tcp_pair[0], **options))
    assert protocol.calls == []
    run_until(loop, lambda: tcp_pair[0].fileno() == -1)


def test_peer_goes_away_during_the_handshake(loop, tcp_pair, client_context):
    tcp_pair[1].close()
    with pytest.raises(ConnectionResetError):
        run(
            loop,
            loop.create_connection(
                Recorder, sock=tcp_pair[0], ssl=client_context, server_hostname="right.example"
            ),
        )
    run_until(loop, lambda: tcp_pair[0].fileno() == -1)


def test_cancelled_during_the_handshake(loop, tcp_pair, client_context):
    async def main():
        connecting = loop.create_task(
            loop.create_connection(
                Recorder, sock=tcp_pair[0], ssl=client_context, server_hostname="right.example"
            )
        )
        await loop.sock_recv(tcp_pair[1], 1)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    run(loop, main())
    run_until(loop, lambda: tcp_pair[0].fileno() == -1)


def test_host_is_the_server_name(loop, listener, server_context, client_context):
    """The certificate is for another name than the address in use."""

    async def main():
        connecting = loop.create_task(
            loop.create_connection(Recorder, *listener.getsockname(), ssl=client_context)
        )
        sock, _ = await loop.sock_accept(listener)
        with pytest.raises(OSError):
            await loop.connect_accepted_socket(Recorder, sock, ssl=server_context)
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await connecting

    run(loop, main())


# start_tls().


@contextlib.contextmanager
def plain_pair(loop):
    """Two connected transports without TLS."""
    left, right = tcp_pair()
    transports = [run(loop, loop.create_connection(Recorder, sock=sock))[0] for sock in (left, right)]
    yield transports
    for transport in transports:
        transport.abort()
    run_until(loop, lambda: left.fileno() == right.fileno() == -1)


async def upgrade(loop, server, client, server_context, client_context, **options):
    """Begin TLS at both ends of a connection."""
    return await asyncio.gather(
        loop.start_tls(server, server.get_protocol(), server_context, server_side=True),
        loop.start_tls(
            client, client.get_protocol(), client_context, **{"server_hostname": "right.example", **options}
        ),
        return_exceptions=True,
    )


def test_start_tls(loop, server_context, client_context):
    with plain_pair(loop) as transports:
        protocols = [transport.get_protocol() for transport in transports]
        secured = run(loop, upgrade(loop, *transports, server_context, client_context))
        for transport, protocol in zip(secured, protocols, strict=True):
            assert transport.get_protocol() is protocol
            assert protocol.names == ["connection_made"], "connection_made() is not called again"
            transport.write(DATA)
        run_until(loop, lambda: all(len(protocol.received) == len(DATA) for protocol in protocols))
        assert close(loop, *secured) == [None, None]


def test_tls_in_tls(loop, tls_pair, server_context, client_context):
    server, client = tls_pair()
    protocols = [server.get_protocol(), client.get_protocol()]
    secured = run(loop, upgrade(loop, server, client, server_context, client_context))
    for transport in secured:
        transport.write(DATA)
    run_until(loop, lambda: all(len(protocol.received) == len(DATA) for protocol in protocols))
    assert close(loop, *secured) == [None, None]


def test_start_tls_with_the_wrong_name(loop, server_context, client_context):
    with plain_pair(loop) as transports:
        server, client = run(
            loop, upgrade(loop, *transports, server_context, client_context, server_hostname="wrong.example")
        )
        assert isinstance(server, OSError) and isinstance(client, ssl.SSLCertVerificationError)
        assert all(transport.is_closing() for transport in transports)


async def serve_streams(loop, sock):
    """The reader and the writer that a server's callback gets for a connection it has accepted."""
    served = loop.create_future()

    def make_protocol():
        reader = asyncio.StreamReader(loop=loop)
        return asyncio.StreamReaderProtocol(reader, lambda *streams: served.set_result(streams), loop=loop)

    await loop.connect_accepted_socket(make_protocol, sock)
    return await served


def test_start_tls_of_streams(loop, listener, server_context, client_context):
    async def main():
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        sock, _ = await loop.sock_accept(listener)
        server_reader, server_writer = await serve_streams(loop, sock)
        writer.write(b"STARTTLS\n")
        assert await server_reader.readline() == b"STARTTLS\n"
        await asyncio.gather(
            server_writer.start_tls(server_context),
            writer.start_tls(client_context, server_hostname="right.example"),
        )
        writer.write(b"question\n")
        assert await server_reader.readline() == b"question\n"
        server_writer.write(b"answer\n")
        assert await reader.readline() == b"answer\n"
        for each in (writer, server_writer):
            each.close()
            await each.wait_closed()

    run(loop, main())


def test_start_tls_takes_what_the_reader_has_buffered(impl, loop, server_context, client_context):
    """A client that does not wait for permission: its handshake belongs to TLS, not to the reader."""
    asyncio_since(impl, 3, 14)
    left, right = tcp_pair()

    async def main():
        reader, writer = await serve_streams(loop, left)
        client, protocol = await loop.create_connection(Recorder, sock=right)
        starting = loop.create_task(
            loop.start_tls(client, protocol, client_context, server_hostname="right.example")
        )
        while not reader._buffer:
            await asyncio.sleep(0)
        await writer.start_tls(server_context)
        secured = await starting
        secured.write(b"question\n")
        assert await reader.readline() == b"question\n"
        secured.close()
        writer.close()
        await writer.wait_closed()
        while not protocol.lost:
            await asyncio.sleep(0)

    run(loop, main())


def test_start_tls_while_writing_is_paused(impl, loop, reported, server_context, client_context):
    """The protocol hears that it may write again, and nothing written before is lost."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's layer fails an assertion")
    before_tls = b"x" * 4_000_000
    left, right = tcp_pair()
    protocol = Recorder()
    transport, _ = run(loop, loop.create_connection(lambda: protocol, sock=left))
    transport.write(before_tls)
    assert protocol.names[-1] == "pause_writing"

    async def main():
        starting = loop.create_task(
            loop.start_tls(transport, protocol, client_context, server_hostname="right.example")
        )
        received = 0
        while received < len(before_tls):
            received += len(await loop.sock_recv(right, min(1 << 18, len(before_tls) - received)))
        server, server_protocol = await loop.connect_accepted_socket(Recorder, right, ssl=server_context)
        secured = await starting
        assert protocol.names[-1] == "resume_writing" and protocol.names.count("resume_writing") == 1
        secured.write(DATA)
        while server_protocol.received != DATA:
            await asyncio.sleep(0)
        return secured, server

    assert close(loop, *run(loop, main())) == [None, None]
    assert reported == []


@pytest.mark.parametrize("context", [None, True, "context"], ids=repr)
def test_start_tls_without_a_context(loop, connection, context):
    message = f"^sslcontext is expected to be an instance of ssl.SSLContext, got {context!r}$"
    with pytest.raises(TypeError, match=message):
        run(loop, loop.start_tls(connection.transport, connection.protocol, context))


def test_start_tls_of_another_transport(loop, client_context):
    transport = asyncio.Transport()
    with pytest.raises(TypeError, match=r"^transport <.*> is not supported by start_tls\(\)$"):
        run(loop, loop.start_tls(transport, Recorder(), client_context))


def test_start_tls_cancelled(loop, tcp_pair, client_context):
    transport, protocol = run(loop, loop.create_connection(Recorder, sock=tcp_pair[0]))

    async def main():
        starting = loop.create_task(
            loop.start_tls(transport, protocol, client_context, server_hostname="right.example")
        )
        await loop.sock_recv(tcp_pair[1], 1)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    run(loop, main())
    run_until(loop, lambda: tcp_pair[0].fileno() == -1)
