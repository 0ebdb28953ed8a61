"""How a TLS connection ends: close() and abort(), the peer's part in it, its timeout, and callbacks that fail."""

import contextlib
import ssl

import pytest
from support.addresses import asyncio_since
from support.net import Recorder, fail, receive_all, run, run_until
from support.tls import buffered, each_side, each_version

BIG = bytes(range(256)) * 5000  # more than the kernel and the limits of a connection take
SHORT = 0.05  # seconds that a test waits for a timeout


# close().


@each_version
@each_side
def test_close(tls, server_side):
    """The peer gets close_notify, and the connection lasts until it has answered."""
    connection = tls.connect(server_side=server_side)
    connection.transport.close()
    assert connection.transport.is_closing()
    assert connection.run(connection.peer.read_to_end()) == b""
    assert not connection.protocol.lost
    connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert connection.protocol.reason is None
    assert connection.run(receive_all(connection.loop, connection.peer.sock)) == b""


@each_version
def test_close_of_both_ends_at_once(loop, tls):
    server, client = tls.pair()
    protocols = [server.get_protocol(), client.get_protocol()]
    server.close()
    client.close()
    run_until(loop, lambda: all(protocol.lost for protocol in protocols))
    assert [protocol.reason for protocol in protocols] == [None, None]


@each_version
@each_side
def test_close_sends_what_was_written(tls, server_side):
    connection = tls.connect(server_side=server_side, kind="unix", sndbuf=4096)
    connection.transport.write(BIG)
    connection.transport.write(b"last")
    connection.transport.close()
    assert connection.run(connection.peer.read_to_end()) == BIG + b"last"
    connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert connection.protocol.reason is None


def test_close_in_the_callback_that_wrote(loop, tls):
    connection = tls.connect()

    def write_and_close():
        connection.transport.write(b"first,")
        connection.transport.write(b"second")
        connection.transport.close()

    loop.call_soon(write_and_close)
    assert connection.run(connection.peer.read_to_end()) == b"first,second"


@each_version
def test_close_is_unwrap_to_a_blocking_peer(loop, tls):
    def talk(sock):
        data = bytearray()
        while chunk := sock.recv(1 << 16):
            data += chunk
        return bytes(data), sock.unwrap().recv(1)

    left, right = tls.sockets()
    peer = tls.thread(right, talk, server_side=True)
    transport, protocol = run(loop, tls.make(left, Recorder()))
    transport.write(BIG)
    transport.close()
    assert run(loop, peer.wait()) == (BIG, b"")
    run_until(loop, lambda: protocol.lost)
    assert protocol.reason is None


def test_close_again(tls):
    connection = tls.connect()
    connection.transport.close()
    connection.transport.close()
    assert connection.transport.is_closing()
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    connection.transport.close()
    connection.transport.abort()
    assert connection.protocol.names.count("connection_lost") == 1


def test_close_in_data_received(impl, tls):
    """No data comes after it; what comes all the same is discarded.  asyncio: an error."""
    protocol = Recorder()
    protocol.on["data_received"] = lambda data: protocol.transport.close()
    connection = tls.connect(protocol)
    connection.run(connection.peer.write(b"first"))
    connection.run_until(lambda: protocol.received)
    connection.run(connection.peer.write(b"second"))
    assert connection.run(connection.peer.read_to_end()) == b""
    with contextlib.suppress(ConnectionError):
        connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert protocol.received == b"first"
    if impl.name == "fastloop":
        assert protocol.reason is None


def test_close_in_buffer_updated(impl, tls):
    """The rest of what had arrived is discarded.  asyncio delivers more of it, and ends with an error."""
    if impl.name == "asyncio":
        pytest.skip("asyncio aborts the connection")
    protocol = buffered(10)
    protocol.on["buffer_updated"] = lambda size: protocol.transport.close()
    connection = tls.connect(protocol)
    connection.run(connection.peer.write(bytes(100)))
    connection.run_until(lambda: protocol.received)
    assert connection.run(connection.peer.read_to_end()) == b""
    connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert protocol.names.count("buffer_updated") == 1 and protocol.reason is None


def test_close_in_data_received_with_more_decrypted(impl, tls):
    """The same as above with as much as makes several calls."""
    protocol = Recorder()
    protocol.on["data_received"] = lambda data: protocol.transport.close()
    connection = tls.connect(protocol, kind="unix")
    sending = tls.loop.create_task(connection.peer.write(bytes(600_000)))
    connection.run_until(lambda: protocol.lost or connection.transport.is_closing())
    if impl.name == "fastloop":
        connection.run(sending)
        assert connection.run(connection.peer.read_to_end()) == b""
        connection.run(connection.peer.send_close_notify())
        connection.run_until_lost()
        assert protocol.reason is None
    sending.cancel()
    connection.run_until_lost()
    assert protocol.names.count("data_received") == 1


@pytest.mark.parametrize("size", [1, 100_000])
def test_data_of_the_peer_after_close(impl, loop, tls, size):
    """It was on its way.  asyncio takes it for an error, which fastloop does not."""
    connection = tls.connect()
    connection.transport.close()

    async def main():
        with contextlib.suppress(ConnectionError):
            for _ in range(3):
                await connection.peer.write(bytes(size))
            await connection.peer.send_close_notify()
        with contextlib.suppress(ssl.SSLError):
            return await connection.peer.read_to_end()

    assert run(loop, main()) in (b"", None)
    connection.run_until_lost()
    assert connection.protocol.received == b""
    if impl.name == "fastloop":
        assert connection.protocol.reason is None
    else:
        assert isinstance(connection.protocol.reason, (ssl.SSLError, type(None)))


def test_tickets_after_close(tls):
    """A server's tickets and its close_notify, of which a client that closes at once has read nothing yet."""
    connection = tls.connect(Recorder(connection_made=lambda transport: transport.close()))
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    assert connection.protocol.reason is None


@each_side
def test_close_while_reading_is_paused(tls, server_side):
    """Nobody has to resume reading for it."""
    connection = tls.connect(server_side=server_side)
    connection.transport.pause_reading()
    connection.transport.write(b"last")
    connection.transport.close()
    assert connection.run(connection.peer.read_to_end()) == b"last"
    connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert connection.protocol.reason is None


@pytest.mark.parametrize("size", [1, 2_000_000])
def test_close_while_data_is_held_back(impl, loop, tls, turn, size):
    """What arrived while reading was paused is discarded.  asyncio takes it for an error or waits for the timeout."""
    if impl.name == "asyncio":
        pytest.skip("asyncio reports APPLICATION_DATA_AFTER_CLOSE_NOTIFY, or stops to read for good")
    connection = tls.connect()
    connection.transport.pause_reading()

    async def talk():
        await connection.peer.write(bytes(size))
        await connection.peer.shutdown()

    talking = loop.create_task(talk())
    turn(10)
    connection.transport.close()
    run(loop, talking)
    connection.run_until_lost()
    assert connection.protocol.reason is None and connection.protocol.received == b""


def test_resuming_after_close(tls):
    connection = tls.connect()
    connection.transport.pause_reading()
    connection.transport.close()
    connection.transport.resume_reading()
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    connection.transport.abort()
    assert connection.protocol.reason is None


@pytest.mark.parametrize("write", ["write", "writelines"])
def test_writing_after_close(tls, caplog, write):
    """It is ignored, and at length a warning tells so."""
    connection = tls.connect()
    transport, peer = connection.transport, connection.peer
    data = b"late" if write == "write" else [b"late"]
    transport.close()
    getattr(transport, write)(data)
    assert connection.run(peer.read_to_end()) == b""
    connection.run(peer.send_close_notify())
    connection.run_until_lost()
    for _ in range(10):
        getattr(transport, write)(data)
    assert {record.getMessage() for record in caplog.records} == {"SSL connection is closed"}


def test_writing_in_connection_lost(tls):
    protocol = Recorder()
    protocol.on["connection_lost"] = lambda exc: protocol.transport.write(b"late")
    connection = tls.connect(protocol)
    connection.transport.close()
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    assert connection.run(receive_all(connection.loop, connection.peer.sock)) == b""


# A peer that does not do its part.


@each_side
def test_the_peer_closes_its_socket_instead(tls, server_side):
    connection = tls.connect(server_side=server_side)
    connection.transport.close()
    assert connection.run(connection.peer.read_to_end()) == b""
    connection.peer.close()
    connection.run_until_lost()
    assert connection.protocol.reason is None


def test_the_peer_resets_instead(tls):
    connection = tls.connect()
    connection.transport.close()
    assert connection.run(connection.peer.read_to_end()) == b""
    connection.peer.reset()
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, ConnectionResetError)


@each_side
@pytest.mark.parametrize("waiting", [b"", BIG], ids=["nothing", "data"])
def test_shutdown_timeout(tls, server_side, waiting):
    """A peer that never answers close_notify, or does not even read."""
    connection = tls.connect(server_side=server_side, kind="unix", sndbuf=4096, ssl_shutdown_timeout=SHORT)
    connection.transport.write(waiting)
    connection.transport.close()
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, TimeoutError)
    assert str(connection.protocol.reason) == "SSL shutdown timed out"


def test_shutdown_timeout_holds_until_the_connection_is_lost(impl, tls):
    """The peer has said its close_notify, but does not read what is still to be sent."""
    asyncio_since(impl, 3, 14)
    connection = tls.connect(kind="unix", sndbuf=4096, ssl_shutdown_timeout=SHORT)
    connection.transport.write(BIG)
    connection.run(connection.peer.send(connection.peer.close_notify()))
    connection.run_until_lost()
    assert connection.protocol.names[-2:] == ["eof_received", "connection_lost"]
    assert isinstance(connection.protocol.reason, TimeoutError)


def test_shutdown_timeout_while_data_keeps_coming(impl, tls):
    """It is for the whole shutdown: who sends on does not keep the connection alive."""
    if impl.name == "asyncio":
        pytest.skip("asyncio ends the connection when data comes after close()")
    connection = tls.connect(ssl_shutdown_timeout=SHORT)
    connection.transport.close()

    async def send():
        with contextlib.suppress(ConnectionError):
            while True:
                await connection.peer.write(bytes(10_000))

    connection.run(send())
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, TimeoutError)


def test_abort_ends_the_wait(tls):
    connection = tls.connect()
    connection.transport.close()
    assert connection.run(connection.peer.read_to_end()) == b""
    connection.transport.abort()
    connection.run_until_lost()
    assert connection.protocol.reason is None


# abort().


@each_side
def test_abort(tls, server_side):
    """No close_notify, and what was not sent yet is not."""
    connection = tls.connect(server_side=server_side, kind="unix", sndbuf=4096)
    connection.transport.write(BIG)
    connection.transport.abort()
    assert connection.transport.is_closing() and not connection.protocol.lost
    connection.run_until_lost()
    assert connection.protocol.reason is None
    assert connection.protocol.names[-1] == "connection_lost"
    assert "eof_received" not in connection.protocol.names
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        connection.run(connection.peer.read_to_end())


def test_abort_again(tls, turn):
    connection = tls.connect()
    for _ in range(3):
        connection.transport.abort()
    connection.run_until_lost()
    connection.transport.abort()
    turn(10)
    assert connection.protocol.names == ["connection_made", "connection_lost"]


def test_close_after_abort(tls, turn):
    connection = tls.connect()
    connection.transport.abort()
    connection.transport.close()
    connection.run_until_lost()
    turn(10)
    assert connection.protocol.names == ["connection_made", "connection_lost"]


def test_no_data_after_abort(tls, turn):
    connection = tls.connect()
    connection.run(connection.peer.write(b"data"))
    connection.transport.abort()
    turn(10)
    assert connection.protocol.names == ["connection_made", "connection_lost"]


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
def test_abort_in_a_callback(tls, turn, name):
    protocol = Recorder()
    protocol.on[name] = lambda *args: protocol.transport.abort()
    connection = tls.connect(protocol)
    peer = connection.peer
    connection.run(peer.send(peer.encrypt(b"data") + peer.close_notify()))
    connection.run_until_lost()
    turn(10)
    assert protocol.reason is None and protocol.names.count("connection_lost") == 1
    assert protocol.names.index("connection_lost") == len(protocol.names) - 1


def test_abort_with_reading_paused(tls, turn):
    connection = tls.connect()
    connection.transport.pause_reading()
    connection.run(connection.peer.write(b"held"))
    turn(10)
    connection.transport.abort()
    connection.run_until_lost()
    assert connection.protocol.names == ["connection_made", "connection_lost"]


# Callbacks that fail: data_received(), eof_received() and those for buffers are in test_tls_transport_read.py.


@each_side
def test_connection_made_that_fails(tls, reported, server_side):
    left, right = tls.sockets()
    peer, protocol = tls.raw(right, not server_side), Recorder(connection_made=fail)

    async def main():
        handshake = tls.loop.create_task(peer.handshake())
        with pytest.raises(ZeroDivisionError):
            await tls.make(left, protocol, server_side)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await handshake

    run(tls.loop, main())
    run_until(tls.loop, lambda: left.fileno() == -1)
    run_until(tls.loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "connection_lost"]
    assert isinstance(protocol.reason, ZeroDivisionError)
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    reported.clear()


def test_connection_lost_that_fails(tls, reported, turn):
    connection = tls.connect(Recorder(connection_lost=fail))
    connection.transport.abort()
    turn(10)
    assert connection.protocol.lost
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    reported.clear()


def test_protocol_factory_that_fails(loop, tls):
    left, _right = tls.sockets()
    with pytest.raises(ZeroDivisionError):
        run(loop, loop.create_connection(fail, sock=left, **tls.options(server_side=False)))


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
def test_exits_leave_the_loop(loop, tls, name):
    """SystemExit from a callback ends run_forever(), and nothing else."""

    def leave(*args):
        raise SystemExit(3)

    connection = tls.connect(Recorder(**{name: leave}))
    peer = connection.peer
    with pytest.raises(SystemExit):
        connection.run(peer.send(peer.encrypt(b"data") + peer.close_notify()))
        loop.run_forever()
    assert name in connection.protocol.names
    connection.transport.abort()
    connection.run_until_lost()
