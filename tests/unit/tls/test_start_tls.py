"""start_tls(): TLS on a connection that exists, with nothing lost that was sent before or came too early."""

import asyncio
import contextlib
import socket
import ssl
import sys

import pytest
from support.addresses import asyncio_since
from support.net import Recorder, at_end, cancel_after, open_fds, receive, receive_exactly, run, run_until
from support.serving import Service
from support.tls import NAME, TlsConnection, buffered, client_context, each_side, each_version, server_context

DATA = bytes(range(256)) * 1000
SHORT = 0.02  # seconds until a timeout that is waited for


class Upgraded(TlsConnection):
    """A connection that was `plain`; `transport` is what start_tls() has returned."""

    def __init__(self, tls, server_side=False, protocol=None, new_protocol=None, kind="tcp", **options):
        self.plain, self.old_protocol, sock = tls.plain(protocol, kind)
        super().__init__(
            tls.loop, self.plain, new_protocol or self.old_protocol, tls.raw(sock, not server_side)
        )
        self.protocol.transport = self.plain

        async def main():
            starting = tls.start(self.plain, self.protocol, server_side, **options)
            return await asyncio.gather(starting, self.peer.handshake())

        self.transport, _ = self.run(main())
        self.protocol.transport = self.transport  # for who ends it

    def echo(self, data=DATA):
        """Data passes in both directions."""
        before = len(self.protocol.received)
        self.transport.write(data)
        assert self.run(self.peer.read(len(data))) == data
        self.send(data)
        assert self.protocol.received[before:] == data


def both_in_clear(tls, protocol, raw):
    """Data passes without TLS."""
    protocol.transport.write(b"still clear")
    assert run(tls.loop, receive_exactly(tls.loop, raw, 11)) == b"still clear"
    raw.send(b"and alive")
    run_until(tls.loop, lambda: protocol.received.endswith(b"and alive"))


# A handshake that works.


@each_version
@each_side
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_life(tls, server_side, kind):
    upgraded = Upgraded(tls, server_side, kind=kind)
    assert upgraded.protocol.names == ["connection_made"], "connection_made() is not called again"
    upgraded.echo()
    upgraded.transport.close()
    assert upgraded.transport.is_closing()
    upgraded.run(upgraded.peer.shutdown())
    upgraded.run_until_lost()
    assert upgraded.protocol.reason is None and upgraded.protocol.names.count("connection_lost") == 1


@each_side
def test_which_transport(impl, tls, server_side):
    """fastloop's is the one that it was; asyncio puts another on top."""
    upgraded = Upgraded(tls, server_side)
    assert isinstance(upgraded.transport, asyncio.Transport)
    assert (upgraded.transport is upgraded.plain) == (impl.name == "fastloop")
    assert upgraded.transport.get_protocol() is upgraded.protocol


@each_version
@each_side
def test_extra_info(tls, server_side):
    upgraded = Upgraded(tls, server_side)
    info = upgraded.transport.get_extra_info
    assert info("sslcontext").verify_mode is (ssl.CERT_NONE if server_side else ssl.CERT_REQUIRED)
    assert info("ssl_object").version() == tls.version
    assert info("cipher") == upgraded.peer.ssl_object.cipher()
    if not server_side:
        assert info("peercert")["subjectAltName"] == (("DNS", NAME),)
    assert info("peername") == upgraded.peer.sock.getsockname()
    assert info("socket").fileno() >= 0


def test_kind_of_transport(tls):
    transport = Upgraded(tls).transport
    assert transport.can_write_eof() is False
    with pytest.raises(NotImplementedError):
        transport.write_eof()
    assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
    assert transport.is_reading() and not transport.is_closing()


@each_side
def test_nothing_is_left_open(tls, server_side):
    before = open_fds()
    upgraded = Upgraded(tls, server_side)
    upgraded.transport.abort()
    upgraded.run_until_lost()
    upgraded.peer.close()
    assert open_fds() == before


@each_side
def test_another_protocol(tls, server_side):
    """The old one hears nothing more; the new one hears everything, but not connection_made()."""
    upgraded = Upgraded(tls, server_side, new_protocol=Recorder())
    assert upgraded.transport.get_protocol() is upgraded.protocol
    upgraded.echo()
    upgraded.run(upgraded.peer.shutdown())
    upgraded.run_until_lost()
    assert upgraded.old_protocol.names == ["connection_made"]
    names = upgraded.protocol.names
    assert names[0] == "data_received" and names[-2:] == ["eof_received", "connection_lost"]


def test_a_protocol_with_buffers(tls):
    Upgraded(tls, protocol=buffered(1000)).echo()


@each_side
def test_set_protocol_afterwards(tls, server_side):
    upgraded = Upgraded(tls, server_side)
    other = Recorder()
    other.transport = upgraded.transport
    upgraded.transport.set_protocol(other)
    upgraded.run(upgraded.peer.write(b"for the other"))
    run_until(tls.loop, lambda: other.received == b"for the other")
    upgraded.transport.abort()
    run_until(tls.loop, lambda: other.lost)


@pytest.mark.parametrize(
    ("tls", "server_side"),
    [("TLSv1.2", False), ("TLSv1.3", True)],
    indirect=["tls"],
    ids=["client", "server"],
)
def test_data_with_the_last_record_of_the_handshake(impl, tls, server_side):
    """Who waits for start_tls() has its turn first."""
    transport, protocol, raw = tls.plain()
    peer = tls.raw(raw, not server_side)

    async def upgrade():
        protocol.transport = await tls.start(transport, protocol, server_side)
        protocol.called("returned")

    async def main():
        await asyncio.gather(upgrade(), peer.handshake(b"early"))
        while not protocol.received:
            await asyncio.sleep(0)

    run(tls.loop, main())
    assert protocol.received == b"early"
    if impl.name == "fastloop":
        assert protocol.names == ["connection_made", "returned", "data_received"]


def test_timeouts_are_the_connections(tls):
    upgraded = Upgraded(tls, ssl_handshake_timeout=10, ssl_shutdown_timeout=SHORT)
    upgraded.transport.close()
    upgraded.run_until_lost()
    assert isinstance(upgraded.protocol.reason, TimeoutError)


# What was sent before.


@each_side
@pytest.mark.parametrize("size", [10, 60_000, 2_000_000])
def test_what_waits_to_be_sent_goes_in_clear(impl, tls, server_side, size):
    """In its order, and before the handshake, however slow the peer is."""
    if impl.name == "asyncio" and size > 65536:
        pytest.skip("asyncio's layer fails an assertion when the protocol was paused before")
    transport, protocol, raw = tls.plain(kind="unix", sndbuf=4096)
    clear = (DATA * 8)[:size]
    transport.write(clear)
    peer = tls.raw(raw, not server_side)

    async def main():
        starting = tls.loop.create_task(tls.start(transport, protocol, server_side))
        for _ in range(5):
            await asyncio.sleep(0)
        assert await receive_exactly(tls.loop, raw, size) == clear
        await peer.handshake()
        protocol.transport = await starting
        protocol.transport.write(b"secret")
        assert await peer.read(6) == b"secret"

    run(tls.loop, main())
    if size > 65536:
        assert protocol.names == ["connection_made", "pause_writing", "resume_writing"]


def test_written_in_the_callback_that_starts(loop, tls):
    """Not one byte of it has left when start_tls() is called."""
    transport, protocol, raw = tls.plain()
    peer = tls.raw(raw, server_side=False)

    async def main():
        transport.write(b"220 ")
        transport.write(b"go ahead\r\n")
        starting = asyncio.ensure_future(tls.start(transport, protocol, server_side=True))
        assert await receive_exactly(loop, raw, 14) == b"220 go ahead\r\n"
        await peer.handshake()
        protocol.transport = await starting

    run(loop, main())


def test_written_during_the_handshake(impl, tls):
    """It waits, and is encrypted.  asyncio's user has no transport to write to by then but the one without TLS."""
    if impl.name == "asyncio":
        pytest.skip("asyncio sends it in clear")
    transport, protocol, raw = tls.plain()
    peer = tls.raw(raw, server_side=True)

    async def main():
        starting = asyncio.ensure_future(tls.start(transport, protocol))
        await peer.receive()
        transport.write(b"secret")
        await peer.handshake()
        await starting
        assert await peer.read(6) == b"secret"

    run(tls.loop, main())


def test_writing_is_paused(impl, tls, reported):
    """The protocol hears that it may write again, once, and nothing is lost."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's layer fails an assertion")
    transport, protocol, raw = tls.plain(kind="unix", sndbuf=4096)
    transport.write(DATA)
    assert protocol.names[-1] == "pause_writing"
    peer = tls.raw(raw, server_side=True)

    async def main():
        starting = tls.loop.create_task(tls.start(transport, protocol))
        assert await receive_exactly(tls.loop, raw, len(DATA)) == DATA
        await peer.handshake()
        protocol.transport = await starting
        assert protocol.names[-1] == "resume_writing" and protocol.names.count("resume_writing") == 1
        protocol.transport.write(DATA)
        assert await peer.read(len(DATA)) == DATA

    run(tls.loop, main())
    assert reported == []


def test_much_is_written_during_the_handshake(impl, tls):
    if impl.name == "asyncio":
        pytest.skip("asyncio sends it in clear")
    transport, protocol, raw = tls.plain(kind="unix", sndbuf=4096)
    peer = tls.raw(raw, server_side=False)

    async def main():
        starting = asyncio.ensure_future(tls.start(transport, protocol, True))
        await asyncio.sleep(0)
        while "pause_writing" not in protocol.names:
            transport.write(DATA)
        written = transport.get_write_buffer_size()
        await peer.handshake()
        await starting
        assert await peer.read(written) == DATA * (written // len(DATA))

    run(tls.loop, main())
    run_until(tls.loop, lambda: protocol.names == ["connection_made", "pause_writing", "resume_writing"])


# What came before.


@each_side
def test_what_is_still_in_the_kernel(tls, server_side):
    """Reading was paused, so that it came to nobody.  It is not paused any more, as with a transport of asyncio."""
    transport, protocol, raw = tls.plain()
    transport.pause_reading()
    peer = tls.raw(raw, not server_side)

    async def main():
        handshake = asyncio.ensure_future(peer.handshake())
        for _ in range(5):
            await asyncio.sleep(0)
        protocol.transport = await tls.start(transport, protocol, server_side)
        await handshake
        await peer.write(b"hello")

    run(tls.loop, main())
    run_until(tls.loop, lambda: protocol.received == b"hello")
    assert protocol.transport.is_reading()


def test_from_within_data_received(loop, tls):
    """The command that asks for TLS, its answer in clear, and no byte of the handshake for the protocol."""
    tasks = []

    async def upgrade():
        protocol.transport = await tls.start(protocol.transport, protocol, server_side=True)

    def answer(data):
        if data == b"STARTTLS\r\n":
            protocol.transport.write(b"220 go ahead\r\n")
            tasks.append(loop.create_task(upgrade()))

    protocol = Recorder(data_received=answer)
    _, _, raw = tls.plain(protocol)
    peer = tls.raw(raw, server_side=False)

    async def main():
        await peer.send(b"STARTTLS\r\n")
        assert await receive_exactly(loop, raw, 14) == b"220 go ahead\r\n"
        await peer.handshake()
        await peer.write(b"secret")
        await asyncio.gather(*tasks)

    run(loop, main())
    run_until(loop, lambda: protocol.received == b"STARTTLS\r\nsecret")


# Streams.


async def serve_streams(loop, sock):
    """The reader and the writer that a server's callback gets for a connection it has accepted."""
    served = loop.create_future()

    def make_protocol():
        reader = asyncio.StreamReader(loop=loop)
        return asyncio.StreamReaderProtocol(reader, lambda *streams: served.set_result(streams), loop=loop)

    await loop.connect_accepted_socket(make_protocol, sock)
    return await served


async def close(*writers):
    """Close streams at both ends."""
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers))


@each_version
def test_streams(loop, tls):
    left, right = tls.sockets()

    async def main():
        reader, writer = await asyncio.open_connection(sock=left)
        server_reader, server_writer = await serve_streams(loop, right)
        writer.write(b"STARTTLS\n")
        assert await server_reader.readline() == b"STARTTLS\n"
        await asyncio.gather(
            server_writer.start_tls(server_context(tls.version)),
            writer.start_tls(client_context(tls.version), server_hostname=NAME),
        )
        for each in (writer, server_writer):
            assert each.get_extra_info("ssl_object").version() == tls.version
            assert each.transport.get_extra_info("sslcontext") is not None
        writer.write(b"question\n")
        assert await server_reader.readline() == b"question\n"
        server_writer.write(DATA)
        await server_writer.drain()
        assert await reader.readexactly(len(DATA)) == DATA
        await close(writer, server_writer)

    run(loop, main())


async def until_buffered(reader, count=1):
    """Wait until a stream reader has received so many bytes that nobody has read."""
    while len(reader._buffer) < count:
        await asyncio.sleep(0)


@pytest.mark.parametrize("in_buffer", [1, 5, 50, None], ids=lambda count: f"{count or 'all'}")
def test_the_readers_buffer_belongs_to_tls(impl, loop, tls, in_buffer):
    """A client that does not wait for permission, and whose first record comes in two parts."""
    asyncio_since(impl, 3, 14)
    left, right = tls.sockets()
    peer = tls.raw(right, server_side=False)

    async def main():
        reader, writer = await serve_streams(loop, left)
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.ssl_object.do_handshake()
        hello = peer.collect()
        await peer.send(hello[:in_buffer])
        await until_buffered(reader, len(hello[:in_buffer]))
        starting = asyncio.ensure_future(writer.start_tls(server_context()))
        await asyncio.sleep(0)
        await peer.send(hello[len(hello[:in_buffer]) :])
        await peer.handshake()
        await starting
        await peer.write(b"question\n")
        assert await reader.readline() == b"question\n"
        writer.close()
        await peer.shutdown()
        await writer.wait_closed()

    run(loop, main())


def test_plaintext_behind_the_command_is_no_plaintext(impl, loop, tls):
    """Who injects commands in front of the handshake only makes it fail."""
    asyncio_since(impl, 3, 14)
    left, right = tls.sockets()

    async def main():
        reader, writer = await serve_streams(loop, left)
        await loop.sock_sendall(right, b"STARTTLS\r\nRSET\r\nMAIL FROM:<eve@eve.example>\r\n")
        assert await reader.readline() == b"STARTTLS\r\n"
        with pytest.raises(ssl.SSLError):
            await writer.start_tls(server_context())
        with pytest.raises(ssl.SSLError):
            await reader.readline()
        with contextlib.suppress(ssl.SSLError):
            await close(writer)

    run(loop, main())


def test_a_clients_buffer_stays(loop, tls):
    """What a client has received but not read was sent before it said that it wants TLS."""
    left, right = tls.sockets()
    peer = tls.raw(right, server_side=True)

    async def main():
        reader, writer = await asyncio.open_connection(sock=left)
        await peer.send(b"greeting\n")
        await until_buffered(reader)
        await asyncio.gather(writer.start_tls(client_context(), server_hostname=NAME), peer.handshake())
        assert await reader.readline() == b"greeting\n"
        await peer.write(b"answer\n")
        assert await reader.readline() == b"answer\n"
        writer.close()
        await peer.shutdown()
        await writer.wait_closed()

    run(loop, main())


def test_a_stream_that_fails(loop, tls):
    """The reader and the writer end with the same exception."""
    left, right = tls.sockets()
    peer = tls.raw(right, server_side=True)

    async def main():
        reader, writer = await asyncio.open_connection(sock=left)
        handshake = asyncio.ensure_future(peer.handshake())
        with pytest.raises(ssl.SSLCertVerificationError):
            await writer.start_tls(client_context(), server_hostname="wrong.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            await reader.read()
        with pytest.raises(ssl.SSLCertVerificationError):
            await close(writer)
        with pytest.raises((ssl.SSLError, OSError)):
            await handshake

    run(loop, main())


def test_a_server_of_streams(loop):
    async def serve(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.start_tls(server_context())
        writer.write(await reader.readline())
        await close(writer)

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client_context(), server_hostname=NAME)
        writer.write(b"secret\n")
        assert await reader.readline() == b"secret\n"
        assert await reader.read() == b""
        await close(writer)
        server.close()
        await server.wait_closed()

    run(loop, main())


# Handshakes that fail.


def told_of(impl, tls, protocol, exc):
    """Wait until the protocol was told of the end.  asyncio does not tell it when the connection ends first."""
    if impl.name == "fastloop":
        run_until(tls.loop, lambda: protocol.lost)
        assert protocol.reason is exc
    assert protocol.names.count("connection_lost") <= 1
    assert "data_received" not in protocol.names


def failing(tls, server_side=False, peer_context=None, **options):
    """The exception of a start_tls() that fails, and that of the peer's handshake."""
    transport, protocol, raw = tls.plain()
    peer = tls.raw(raw, not server_side, peer_context)

    async def main():
        starting = tls.start(transport, protocol, server_side, **options)
        return await asyncio.gather(starting, peer.handshake(), return_exceptions=True)

    exc, peer_exc = run(tls.loop, main())
    assert transport.is_closing()
    run_until(tls.loop, lambda: protocol.lost)
    assert protocol.reason is exc
    return exc, peer_exc


@each_version
def test_wrong_name(impl, tls):
    exc, peer_exc = failing(tls, server_hostname="wrong.example")
    assert isinstance(exc, ssl.SSLCertVerificationError) and "Hostname mismatch" in str(exc)
    if impl.name == "fastloop":
        assert "ALERT" in peer_exc.reason


@each_version
def test_a_server_that_is_refused(tls):
    exc, _ = failing(tls, True, peer_context=ssl.create_default_context())
    assert isinstance(exc, ssl.SSLError)


@each_side
def test_the_peer_leaves(impl, tls, server_side):
    transport, protocol, raw = tls.plain()

    async def main():
        starting = asyncio.ensure_future(tls.start(transport, protocol, server_side))
        await asyncio.sleep(0)
        raw.close()
        with pytest.raises(ConnectionResetError) as info:
            await starting
        return info.value

    exc = run(tls.loop, main())
    assert transport.is_closing()
    told_of(impl, tls, protocol, exc)


@each_side
def test_the_peer_has_ended_its_side_before(tls, server_side):
    """So that it cannot take part in a handshake."""
    transport, protocol, raw = tls.plain(Recorder(eof_received=lambda: True))
    raw.shutdown(socket.SHUT_WR)
    run_until(tls.loop, lambda: "eof_received" in protocol.names)
    with pytest.raises(ConnectionResetError):
        run(tls.loop, tls.start(transport, protocol, server_side))
    run_until(tls.loop, lambda: protocol.lost)
    assert protocol.names.count("eof_received") == 1


def test_after_write_eof(impl, tls):
    """We cannot take part in it."""
    if impl.name == "asyncio":
        pytest.skip("asyncio waits for the timeout")
    transport, protocol, _ = tls.plain()
    transport.write_eof()
    with pytest.raises(BrokenPipeError):
        run(tls.loop, tls.start(transport, protocol))
    run_until(tls.loop, lambda: protocol.lost)


@each_side
def test_no_tls_at_the_other_end(tls, server_side):
    transport, protocol, raw = tls.plain()

    async def main():
        starting = asyncio.ensure_future(tls.start(transport, protocol, server_side))
        await asyncio.sleep(0)
        await tls.loop.sock_sendall(raw, b"HELP\r\n" * 10)
        with pytest.raises(ssl.SSLError) as info:
            await starting
        return info.value

    exc = run(tls.loop, main())
    run_until(tls.loop, lambda: protocol.lost)
    assert protocol.reason is exc and protocol.received == b""


@each_side
def test_handshake_timeout(impl, tls, server_side):
    transport, protocol, _ = tls.plain()
    message = rf"^SSL handshake is taking longer than {SHORT} seconds: aborting the connection$"
    with pytest.raises(ConnectionAbortedError, match=message) as info:
        run(tls.loop, tls.start(transport, protocol, server_side, ssl_handshake_timeout=SHORT))
    assert transport.is_closing()
    told_of(impl, tls, protocol, info.value)


def test_handshake_timeout_while_the_peer_does_not_read_what_came_before(impl, tls):
    if impl.name == "asyncio":
        pytest.skip("asyncio's layer fails an assertion")
    transport, protocol, _ = tls.plain(kind="unix", sndbuf=4096)
    transport.write(DATA)
    with pytest.raises(ConnectionAbortedError) as info:
        run(tls.loop, tls.start(transport, protocol, ssl_handshake_timeout=SHORT))
    told_of(impl, tls, protocol, info.value)


@each_side
@pytest.mark.parametrize("turns", [1, 2, 3, 10])
def test_cancelled(impl, tls, server_side, turns):
    """The connection is closed."""
    transport, protocol, raw = tls.plain()

    run(tls.loop, cancel_after(turns, tls.start(transport, protocol, server_side)))
    assert transport.is_closing()
    run_until(tls.loop, lambda: transport.get_extra_info("socket").fileno() == -1)
    told_of(impl, tls, protocol, None)
    receive(raw)
    assert at_end(raw)


@each_side
@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("turns", [1, 2, 10])
def test_closed_meanwhile(impl, tls, server_side, end, turns):
    """start_tls() does not return what is no connection."""
    transport, protocol, _ = tls.plain()

    async def main():
        starting = tls.loop.create_task(tls.start(transport, protocol, server_side))
        for _ in range(turns):
            await asyncio.sleep(0)
        getattr(transport, end)()
        return await starting

    assert run(tls.loop, main()) is None
    told_of(impl, tls, protocol, None)


@each_side
@pytest.mark.parametrize("turns", [1, 2, 10])
def test_failed_meanwhile(impl, tls, server_side, turns):
    """What has ended the connection is what start_tls() raises."""
    transport, protocol, _ = tls.plain()
    reason = OSError("the connection fails")

    async def main():
        starting = tls.loop.create_task(tls.start(transport, protocol, server_side))
        for _ in range(turns):
            await asyncio.sleep(0)
        transport._force_close(reason)
        with pytest.raises(OSError, match="the connection fails") as info:
            await starting
        assert info.value is reason

    run(tls.loop, main())
    told_of(impl, tls, protocol, reason)


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("lost", [False, True], ids=["closing", "lost"])
def test_closed_before(impl, tls, end, lost):
    if impl.name == "asyncio" and lost:
        pytest.skip("asyncio waits for ever")
    transport, protocol, _ = tls.plain()

    async def main():
        getattr(transport, end)()
        while lost and not protocol.lost:
            await asyncio.sleep(0)
        return await tls.start(transport, protocol)

    assert run(tls.loop, main()) is None
    run_until(tls.loop, lambda: protocol.lost)
    assert protocol.reason is None


# Arguments.


@pytest.mark.parametrize("context", [None, True, "context", ssl.SSLContext], ids=repr)
def test_no_context(loop, tls, context):
    transport, protocol, raw = tls.plain()
    with pytest.raises(TypeError) as info:
        run(loop, loop.start_tls(transport, protocol, context))
    assert str(info.value) == f"sslcontext is expected to be an instance of ssl.SSLContext, got {context!r}"
    both_in_clear(tls, protocol, raw)


def test_another_transport(loop):
    transport = asyncio.Transport()
    with pytest.raises(TypeError, match=r"^transport <.*> is not supported by start_tls\(\)$"):
        run(loop, loop.start_tls(transport, Recorder(), client_context()))


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
@pytest.mark.parametrize("timeout", [0, -1])
def test_unusable_timeouts(tls, name, timeout):
    """The connection is left alone."""
    transport, protocol, raw = tls.plain()
    with pytest.raises(ValueError, match=f"^{name} should be a positive number, got {timeout}$"):
        run(tls.loop, tls.start(transport, protocol, **{name: timeout}))
    both_in_clear(tls, protocol, raw)


def test_an_unusable_name(tls):
    transport, protocol, raw = tls.plain()
    with pytest.raises(ValueError):
        run(tls.loop, tls.start(transport, protocol, server_hostname="."))
    both_in_clear(tls, protocol, raw)


def test_a_servers_name_is_no_matter(tls):
    """A server has no use for the name of the other side."""
    upgraded = Upgraded(tls, server_side=True, server_hostname=NAME)
    upgraded.echo()


# Servers.


def test_an_upgraded_connection_is_still_the_servers(impl, loop, tls):
    """It counts for wait_closed(), and close_clients() closes it."""
    asyncio_since(impl, 3, 13)
    service = Service(loop)
    server = service.start()
    protocol, client = service.connect()
    peer = tls.raw(client, server_side=False)

    async def main():
        starting = tls.start(protocol.transport, protocol, server_side=True)
        protocol.transport, _ = await asyncio.gather(starting, peer.handshake())
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        await asyncio.sleep(0)
        assert waiting.done() == (sys.version_info < (3, 12))  # which did not wait for connections
        server.close_clients()
        await (peer.shutdown() if impl.name == "fastloop" else loop.sock_recv(client, 1))
        await waiting

    run(loop, main())
    run_until(loop, lambda: protocol.lost)
    service.end()
