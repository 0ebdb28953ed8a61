"""Peers that reset, vanish, or are slow: nothing that was accepted is lost, and the end comes once, with its reason."""

import errno
import hashlib
import random
import socket

import pytest
from support.net import (
    BufferedRecorder,
    Echo,
    Recorder,
    receive,
    receive_all,
    reset,
    run,
    run_until,
    tcp_pair,
    unix_pair,
)

KINDS = ["unix", "tcp"]
SIZE = 8 << 20  # bytes
GONE = (ConnectionResetError, BrokenPipeError)


@pytest.fixture(scope="module")
def data():
    return random.Random(1).randbytes(SIZE)


def digest(data):
    return hashlib.sha256(data).hexdigest()


# Peers that go away.


@pytest.mark.parametrize("pause", [False, True], ids=["reading", "paused"])
@pytest.mark.parametrize("end", [reset, socket.socket.close])
@pytest.mark.parametrize("kind", KINDS)
def test_peer_goes_away_in_mid_write(connect, turn, reported, kind, end, pause):
    connection = connect(kind=kind)
    connection.fill()
    if pause:
        connection.transport.pause_reading()
    connection.peer.recv(100)
    end(connection.peer)
    connection.run_until_lost()
    for _ in range(3):
        connection.transport.write(b"in vain")
        turn()
    assert connection.protocol.names.count("connection_lost") == 1
    assert "resume_writing" not in connection.protocol.names or kind == "tcp"
    if not (
        kind == "unix" and not pause
    ):  # there the end may be seen as the end of reading, before the error
        assert isinstance(connection.protocol.reason, GONE)
    assert connection.transport.get_write_buffer_size() == 0 and reported == []


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_write_to_who_is_gone(connect, turn, reported, size):
    """EPIPE ends the connection, not the process."""
    connection = connect()
    connection.transport.pause_reading()
    connection.peer.close()
    connection.transport.write(bytes(size))
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, BrokenPipeError)
    assert connection.protocol.reason.errno == errno.EPIPE and reported == []


def test_many_writes_to_who_is_gone(loop, connect, turn, reported):
    """All in one callback: the first fails, the others are silent."""
    connection = connect()
    connection.transport.pause_reading()
    connection.peer.close()
    loop.call_soon(lambda: [connection.transport.write(b"x") for _ in range(5)])
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, BrokenPipeError)
    assert connection.protocol.names == ["connection_made", "connection_lost"] and reported == []


def test_answer_to_who_is_gone(connect, reported):
    """A request whose sender did not wait."""
    protocol = Recorder(data_received=lambda _: protocol.transport.write(b"answer"))
    connection = connect(protocol)
    connection.peer.send(b"request")
    connection.peer.close()
    connection.run_until_lost()
    assert protocol.received == b"request" and protocol.names.count("connection_lost") == 1
    assert isinstance(protocol.reason, (*GONE, type(None))) and reported == []


@pytest.mark.parametrize("kind", KINDS)
def test_write_eof_to_who_is_gone(connect, turn, kind):
    connection = connect(kind=kind)
    connection.transport.pause_reading()
    reset(connection.peer)
    try:
        connection.transport.write_eof()
    except OSError as error:
        assert error.errno == errno.ENOTCONN
    connection.transport.abort()
    turn()
    assert connection.protocol.reason is None


def test_write_eof_behind_what_is_lost(connect):
    connection = connect(kind="tcp")
    connection.fill()
    connection.transport.write_eof()
    reset(connection.peer)
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, GONE)


def test_hundred_peers_reset_at_once(loop, turn, reported):
    protocols, peers = [], []
    for number in range(100):
        left, right = tcp_pair()
        protocol = (Recorder, BufferedRecorder)[number % 2]()
        run(loop, loop.create_connection(lambda protocol=protocol: protocol, sock=left))
        protocol.transport.write(bytes(100) if number % 3 else bytes(100_000))
        protocols.append(protocol)
        peers.append(right)
    for peer in peers:
        reset(peer)
    run_until(loop, lambda: all(protocol.lost for protocol in protocols))
    turn(3)
    assert {type(protocol.reason) for protocol in protocols} <= {*GONE} and reported == []


def test_one_connection_aborts_the_others_that_failed_too(loop, turn):
    """What has been polled in the same turn may be gone by its turn."""
    protocols, peers = [], []
    for _ in range(10):
        left, right = tcp_pair()
        protocol = Recorder()
        run(loop, loop.create_connection(lambda protocol=protocol: protocol, sock=left))
        protocols.append(protocol)
        peers.append(right)

    def abort_all(*_):
        for protocol in protocols:
            protocol.transport.abort()

    for protocol in protocols:
        protocol.on["connection_lost"] = protocol.on["eof_received"] = abort_all
    for number, peer in enumerate(peers):
        (reset if number % 2 else socket.socket.close)(peer)
    run_until(loop, lambda: all(protocol.lost for protocol in protocols))
    turn(3)
    assert [protocol.names.count("connection_lost") for protocol in protocols] == [1] * 10


# Peers that are slow.


class Source(Recorder):
    """Sends `data` piece by piece, not more than asked for, then ends."""

    def __init__(self, data, piece, end="close"):
        super().__init__()
        self.data = memoryview(data)
        self.piece = piece
        self.end = end
        self.paused = False

    def connection_made(self, transport):
        super().connection_made(transport)
        self.send()

    def pause_writing(self):
        super().pause_writing()
        self.paused = True

    def resume_writing(self):
        super().resume_writing()
        self.paused = False
        self.send()

    def send(self):
        while self.data and not self.paused:
            piece, self.data = self.data[: self.piece], self.data[self.piece :]
            self.transport.write(piece)
        if not self.data and not self.paused:
            getattr(self.transport, self.end)()


@pytest.mark.parametrize("end", ["close", "write_eof"])
@pytest.mark.parametrize("piece", [10_000, 300_000])
@pytest.mark.parametrize("kind", KINDS)
def test_slow_reader(loop, connect, turn, data, kind, piece, end):
    """The peer takes a little each turn: the last byte arrives, and little waits in between."""
    source = Source(data, piece, end)
    connection = connect(source, kind=kind)
    received = bytearray()
    waiting = 0
    while len(received) < SIZE:
        try:
            received += connection.peer.recv(200_000)
        except BlockingIOError:
            pass
        turn()
        if not source.lost:
            waiting = max(waiting, source.transport.get_write_buffer_size())
    assert digest(received) == digest(data)
    assert waiting <= 65536 + piece
    assert source.names.count("pause_writing") == source.names.count("resume_writing") >= 1
    run_until(loop, lambda: receive(connection.peer) == b"" and (end == "write_eof" or source.lost))
    connection.peer.close()
    connection.run_until_lost()
    assert source.reason is None


class Sink(Recorder):
    """Reads in fits and starts."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def data_received(self, data):
        self.received += data
        self.transport.pause_reading()
        self.loop.call_soon(self.transport.resume_reading)


@pytest.mark.parametrize("kind", KINDS)
def test_reader_that_pauses(loop, data, kind):
    left, right = {"unix": unix_pair, "tcp": tcp_pair}[kind]()
    source, sink = Source(data, 50_000), Sink(loop)
    run(loop, loop.create_connection(lambda: sink, sock=right))
    run(loop, loop.create_connection(lambda: source, sock=left))
    run_until(loop, lambda: source.lost and sink.lost, timeout=60)
    assert digest(sink.received) == digest(data)
    assert source.reason is None and sink.reason is None


class BufferedEcho(Echo, BufferedRecorder):
    def buffer_updated(self, nbytes):
        self.transport.write(memoryview(self.buffer)[:nbytes])


@pytest.mark.parametrize("echo_type", [Echo, BufferedEcho])
@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_at_once(loop, connect, data, kind, echo_type):
    connection = connect(echo_type(), kind=kind)

    async def send():
        await loop.sock_sendall(connection.peer, data)
        connection.peer.shutdown(socket.SHUT_WR)

    async def main():
        sending = loop.create_task(send())
        received = await receive_all(loop, connection.peer)
        await sending
        return received

    assert digest(run(loop, main())) == digest(data)
    connection.run_until_lost()
    assert connection.protocol.reason is None
