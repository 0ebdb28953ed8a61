"""TLS connections that end in the middle of data, or whose peer does not end them as one should."""

import contextlib
import random
import socket
import ssl

import pytest
from hostile import GONE, each_role, each_version, each_way
from support.addresses import asyncio_since
from support.tls import Cut

# -- the end without a close_notify ---------------------------------------------------------------------


def cut_record(meeting, count):
    """So many bytes of a record with data; a negative number counts from its end."""
    return meeting.peer.encrypt(b"never complete" * 100)[:count]


@pytest.mark.parametrize("count", [0, 1, 5, 100, -1])
@each_way
@each_role
@each_version
def test_end_in_the_middle_of_data(meet, reported, version, server_side, way, count):
    """What was complete is delivered; the end itself is none to complain of, as ever in asyncio."""
    meeting = meet(server_side, way, version)
    meeting.shake_hands()
    meeting.run(meeting.peer.write(b"data"))
    meeting.run(meeting.peer.send(cut_record(meeting, count)))
    meeting.peer.sock.shutdown(socket.SHUT_WR)
    meeting.run_until_lost()
    assert meeting.protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert meeting.protocol.received == b"data" and meeting.protocol.reason is None
    assert reported == []


@pytest.mark.parametrize("count", [0, 3, 100])
@each_way
@each_role
@each_version
def test_reset_in_the_middle_of_data(meet, reported, version, server_side, way, count):
    meeting = meet(server_side, way, version)
    meeting.shake_hands()
    meeting.send(b"data")
    meeting.run(meeting.peer.send(cut_record(meeting, count)))
    meeting.peer.reset()
    meeting.run_until_lost()
    assert meeting.protocol.names == ["connection_made", "data_received", "connection_lost"]
    assert isinstance(meeting.protocol.reason, ConnectionResetError)
    assert reported == []


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("pause", [False, True], ids=["reading", "paused"])
@each_role
@each_version
def test_peer_goes_away_in_mid_write(meet, turn, reported, version, server_side, pause, end):
    meeting = meet(server_side, version=version)
    transport = meeting.shake_hands()
    if pause:
        transport.pause_reading()
    while "pause_writing" not in meeting.protocol.names:
        transport.write(bytes(1 << 20))
    getattr(meeting.peer, end)()
    meeting.run_until_lost()
    for _ in range(3):
        transport.write(b"in vain")
        turn()
    assert meeting.protocol.names.count("connection_lost") == 1
    assert isinstance(meeting.protocol.reason, GONE)
    assert reported == []


@each_role
@each_version
def test_write_to_who_is_gone(meet, turn, reported, version, server_side):
    meeting = meet(server_side, version=version)
    transport = meeting.shake_hands()
    transport.pause_reading()
    meeting.peer.reset()
    for _ in range(10):
        transport.write(b"in vain")
        turn()
    meeting.run_until_lost()
    assert isinstance(meeting.protocol.reason, GONE)
    assert meeting.protocol.names.count("connection_lost") == 1
    assert reported == []


# -- close() and a peer that does not play along --------------------------------------------------------

SHORT = 0.05  # a shutdown timeout in seconds, for peers that wait for it to pass


def shutdown_timed_out(meeting):
    """Run until our end gives up."""
    meeting.run_until_lost()
    assert (
        type(meeting.protocol.reason) is TimeoutError
        and str(meeting.protocol.reason) == "SSL shutdown timed out"
    )
    meeting.run_until_closed()


@pytest.mark.parametrize("size", [0, 5, 100_000])
@each_way
@each_role
@each_version
def test_close_notify_is_not_answered(meet, reported, version, server_side, way, size):
    """What was written arrives, and behind it our close_notify; the peer has the timeout to answer."""
    meeting = meet(server_side, way, version, ssl_shutdown_timeout=SHORT)
    transport = meeting.shake_hands()
    transport.write(bytes(size))
    transport.close()
    assert len(meeting.run(meeting.peer.read_to_end())) == size
    shutdown_timed_out(meeting)
    assert meeting.protocol.names == ["connection_made", "connection_lost"]
    assert reported == []


@each_way
@each_role
@each_version
def test_backlog_is_never_read(meet, reported, version, server_side, way):
    meeting = meet(server_side, way, version, ssl_shutdown_timeout=SHORT)
    transport = meeting.fill()
    transport.close()
    shutdown_timed_out(meeting)
    assert transport.get_write_buffer_size() == 0
    assert reported == []


@pytest.mark.parametrize("begun", [True, False], ids=["by us", "by the peer"])
@each_role
@each_version
def test_backlog_is_never_read_by_who_has_closed(impl, meet, reported, version, server_side, begun):
    """The peer's close_notify does not end the wait for it to read, whoever was the first to close."""
    asyncio_since(impl, 3, 14)
    meeting = meet(server_side, version=version, ssl_shutdown_timeout=SHORT)
    transport = meeting.fill()
    if begun:
        transport.close()
    meeting.run(meeting.peer.send_close_notify())
    shutdown_timed_out(meeting)
    assert begun or meeting.protocol.names.count("eof_received") == 1
    assert reported == []


@each_role
@each_version
def test_backlog_is_read_after_close(meet, reported, version, server_side):
    meeting = meet(server_side, version=version)
    transport = meeting.shake_hands()
    data = random.Random(1).randbytes(8 << 20)
    transport.write(data)
    transport.close()
    assert meeting.run(meeting.peer.read_to_end()) == data
    meeting.run(meeting.peer.send_close_notify())
    meeting.run_until_lost()
    assert meeting.protocol.reason is None and reported == []


@each_role
@each_version
def test_backlog_is_read_after_the_peers_close(impl, meet, reported, version, server_side):
    """Who has sent its close_notify may still read.  asyncio drops what its own buffer holds."""
    if impl.name == "asyncio":
        pytest.skip("asyncio may lose data")
    meeting = meet(server_side, version=version)
    transport = meeting.shake_hands()
    data = random.Random(1).randbytes(8 << 20)
    transport.write(data)
    meeting.run(meeting.peer.send_close_notify())
    assert meeting.run(meeting.peer.read_to_end()) == data
    meeting.run_until_lost()
    assert meeting.protocol.reason is None and reported == []


@each_role
@each_version
def test_data_behind_our_close_notify(impl, meet, reported, version, server_side):
    """It is thrown away, up to the peer's own close_notify.  To asyncio it is an error."""
    meeting = meet(server_side, version=version)
    transport = meeting.shake_hands()
    meeting.send(b"in time")
    transport.close()
    meeting.run(meeting.peer.read_to_end())

    async def flood():
        for _ in range(20):
            await meeting.peer.write(bytes(50_000))
        await meeting.peer.send_close_notify()

    if impl.name == "fastloop":
        meeting.run(flood())
        meeting.run_until_lost()
        assert meeting.protocol.reason is None
    else:
        meeting.run(meeting.peer.write(b"late"))
        meeting.run_until_lost()
        assert isinstance(meeting.protocol.reason, ssl.SSLError)
    assert meeting.protocol.received == b"in time"
    assert "eof_received" in meeting.protocol.names or impl.name == "asyncio"
    assert reported == []


@each_role
@each_version
def test_endless_data_behind_our_close_notify(impl, meet, reported, version, server_side):
    """It costs the timeout and no memory."""
    if impl.name == "asyncio":
        pytest.skip("asyncio ends the connection with an error at once")
    meeting = meet(server_side, version=version, ssl_shutdown_timeout=SHORT)
    transport = meeting.shake_hands()
    transport.close()

    async def flood():
        with pytest.raises(GONE):
            while True:
                await meeting.peer.write(bytes(100_000))

    meeting.run(flood())
    shutdown_timed_out(meeting)
    assert meeting.protocol.received == b"" and reported == []


@each_role
@each_version
def test_garbage_behind_our_close_notify(meet, reported, version, server_side):
    meeting = meet(server_side, version=version)
    transport = meeting.shake_hands()
    transport.close()
    meeting.run(meeting.peer.read_to_end())
    meeting.run(meeting.peer.send(bytes(100)))
    meeting.run_until_lost()
    assert isinstance(meeting.protocol.reason, ssl.SSLError)
    assert meeting.protocol.names == ["connection_made", "connection_lost"] and reported == []


@pytest.mark.parametrize("end", ["close", "reset"])
@each_way
@each_role
@each_version
def test_peer_ends_instead_of_answering(meet, reported, version, server_side, way, end):
    meeting = meet(server_side, way, version)
    transport = meeting.shake_hands()
    transport.close()
    meeting.run(meeting.peer.read_to_end())
    getattr(meeting.peer, end)()
    meeting.run_until_lost()
    assert isinstance(meeting.protocol.reason, GONE if end == "reset" else type(None))
    meeting.run_until_closed()
    assert reported == []


@pytest.mark.parametrize("prior", ["nothing", "close", "backlog", "backlog, close"])
@each_way
@each_role
def test_abort(meet, turn, reported, server_side, way, prior):
    """It is over at once, and the peer learns nothing by TLS."""
    meeting = meet(server_side, way)
    transport = meeting.fill() if "backlog" in prior else meeting.shake_hands()
    if "close" in prior:
        transport.close()
    transport.abort()
    turn(2)
    assert meeting.protocol.lost and meeting.protocol.reason is None
    assert transport.is_closing() and meeting.sock.fileno() == -1
    assert reported == []


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("whole", [0, 1])
@each_role
def test_closed_while_start_tls_shakes_hands(impl, meet, reported, server_side, whole, end):
    """Who awaits it gets None.  asyncio lets the handshake go on after close() until something happens."""
    meeting = meet(server_side, "start_tls", ssl_handshake_timeout=0.05 if impl.name == "asyncio" else None)
    meeting.peer.whole = whole

    async def main():
        with contextlib.suppress(Cut, OSError):
            await meeting.answer()

    meeting.run(main())
    getattr(meeting.protocol.transport, end)()
    failure = meeting.failure()
    if impl.name == "fastloop":
        assert failure is None and meeting.making.result() is None
        meeting.run_until_lost()
    meeting.run_until_closed()
    assert reported == []
