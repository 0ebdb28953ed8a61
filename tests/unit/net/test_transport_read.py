"""What a protocol receives: data, its end, pauses in between, and buffers of its own."""

import array
import asyncio
import itertools
import mmap
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.net import BufferedRecorder, Recorder, fill, receive, reset, run, run_until, unix_pair
from support.properties import checked

READ_SIZE = 256 * 1024  # bytes: the most that one data_received() gets


def reading(protocol_type):
    """The name of the call that brings data to a protocol of this type."""
    return {Recorder: "data_received", BufferedRecorder: "buffer_updated"}[protocol_type]


@pytest.fixture(params=[Recorder, BufferedRecorder])
def protocol_type(request):
    return request.param


# Data.


@pytest.mark.parametrize("size", [1, 2, 100, 4096, 65535, 65536, 65537, 100_000, READ_SIZE, 1_000_003])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_data_arrives_unchanged(loop, connect, protocol_type, kind, size):
    data = bytes(range(251)) * (size // 251 + 1)
    connection = connect(protocol_type(), kind=kind)
    run(loop, loop.sock_sendall(connection.peer, data[:size]))
    run_until(loop, lambda: len(connection.protocol.received) >= size)
    assert connection.protocol.received == data[:size]


def test_data_is_bytes_of_the_right_size(connection, turn):
    for size in (1, 3, 1000, 32768, 65536, 5):
        connection.peer.send(bytes(size))
        turn()
    pieces = [args[0] for name, *args in connection.protocol.calls[1:]]
    assert {type(piece) for piece in pieces} == {bytes}
    assert [len(piece) for piece in pieces] == [1, 3, 1000, 32768, 65536, 5]


def test_data_that_is_kept_does_not_change(connection, turn):
    for letter in b"abc":
        connection.peer.send(bytes([letter]) * 40_000)
        turn()
    kept = [args[0] for name, *args in connection.protocol.calls[1:]]
    assert kept == [b"a" * 40_000, b"b" * 40_000, b"c" * 40_000]


def test_what_came_together_is_received_together(connection, turn):
    connection.peer.send(b"one ")
    connection.peer.send(b"two")
    turn()
    assert connection.protocol.calls[1:] == [("data_received", b"one two")]


def test_one_read_a_turn(loop, connect, turn, protocol_type):
    """However much there is to read, everybody else gets his turn."""
    connection = connect(protocol_type())
    sent = fill(connection.peer)
    seen = []

    def someone_else():
        seen.append(len(connection.protocol.received))
        loop.call_soon(someone_else)

    someone_else()
    while len(connection.protocol.received) < sent:
        turn()
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert max(steps) <= READ_SIZE
    assert connection.protocol.names.count(reading(protocol_type)) >= sent / READ_SIZE


def test_data_at_once_when_the_connection_is_made(loop, turn, protocol_type):
    left, right = unix_pair()
    right.send(b"early")
    protocol = protocol_type()
    transport, _ = run(loop, loop.create_connection(lambda: protocol, sock=left))
    turn()
    assert protocol.received == b"early"
    assert protocol.names[0] == "connection_made"
    right.close()
    transport.abort()
    turn()


def test_no_call_before_connection_made(loop, turn):
    """With data there and the peer gone already, the calls still come in order."""
    left, right = unix_pair()
    right.send(b"early")
    right.close()
    protocol = Recorder()
    run(loop, loop.create_connection(lambda: protocol, sock=left))
    run_until(loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.reason is None


# Pauses.


def test_is_reading(connection, turn):
    transport = connection.transport
    assert transport.is_reading() is True
    assert transport.pause_reading() is None
    assert transport.is_reading() is False
    assert transport.resume_reading() is None
    assert transport.is_reading() is True
    transport.close()
    assert transport.is_reading() is False
    turn()
    assert transport.is_reading() is False


def test_nothing_arrives_during_a_pause(connection, turn):
    connection.transport.pause_reading()
    connection.peer.send(b"x")
    turn(3)
    assert connection.protocol.received == b""
    connection.transport.resume_reading()
    connection.peer.send(b"y")
    turn()
    assert connection.protocol.received == b"xy"


def test_pause_with_data_waiting(connection, turn):
    connection.peer.send(b"x")
    connection.transport.pause_reading()
    turn()
    assert connection.protocol.received == b""
    connection.transport.resume_reading()
    turn()
    assert connection.protocol.received == b"x"


def test_pause_and_resume_do_not_add_up(connection, turn):
    transport = connection.transport
    for _ in range(3):
        transport.pause_reading()
    connection.peer.send(b"x")
    turn()
    for _ in range(2):
        transport.resume_reading()
    turn()
    assert connection.protocol.calls[1:] == [("data_received", b"x")]


def test_many_pauses(connection, turn):
    for number in range(20):
        connection.transport.pause_reading()
        if number % 2:
            turn()
        connection.peer.send(bytes([number]))
        if number % 3:
            turn()
        assert len(connection.protocol.received) == number
        connection.transport.resume_reading()
        turn()
    assert connection.protocol.received == bytes(range(20))


def test_pause_in_connection_made(connect, turn):
    connection = connect(Recorder(connection_made=lambda transport: transport.pause_reading()))
    connection.peer.send(b"x")
    turn()
    turn()
    assert connection.protocol.names == ["connection_made"]
    connection.transport.resume_reading()
    turn()
    assert connection.protocol.received == b"x"


def test_pause_and_resume_in_connection_made(connect, turn):
    def pause_and_resume(transport):
        transport.pause_reading()
        transport.resume_reading()

    connection = connect(Recorder(connection_made=pause_and_resume))
    connection.peer.send(b"x")
    turn()
    assert connection.protocol.received == b"x"


def test_pause_in_data_received(connect, turn, protocol_type):
    protocol = protocol_type(**{reading(protocol_type): lambda _: protocol.transport.pause_reading()})
    connection = connect(protocol)
    for letter in (b"a", b"b", b"c"):
        connection.peer.send(letter)
        turn()
    assert protocol.received == b"a"
    protocol.transport.resume_reading()
    turn()
    turn()
    assert protocol.received == b"abc" and not protocol.transport.is_reading()


def test_resume_by_another_callback_of_the_turn(loop, connection, turn):
    connection.transport.pause_reading()
    connection.peer.send(b"x")
    turn()
    loop.call_soon(connection.transport.resume_reading)
    turn()
    turn()
    assert connection.protocol.received == b"x"


def test_pause_before_the_event_of_the_turn_is_dispatched(loop, connect, turn):
    """Whoever is ready in the same turn may pause the other: that one then gets nothing."""
    one, other = connect(), connect()
    one.protocol.on["data_received"] = lambda _: other.transport.pause_reading()
    other.protocol.on["data_received"] = lambda _: one.transport.pause_reading()
    one.peer.send(b"x")
    other.peer.send(b"x")
    turn(3)
    assert sorted([bytes(one.protocol.received), bytes(other.protocol.received)]) == [b"", b"x"]
    one.transport.resume_reading()
    other.transport.resume_reading()
    one.protocol.on.clear()
    other.protocol.on.clear()
    turn()
    turn()
    assert one.protocol.received == other.protocol.received == b"x"


def test_pause_and_resume_of_a_closing_transport(connection, turn):
    connection.transport.close()
    connection.transport.pause_reading()
    connection.transport.resume_reading()
    connection.peer.send(b"x")
    turn()
    connection.transport.pause_reading()
    connection.transport.resume_reading()
    assert connection.protocol.names == ["connection_made", "connection_lost"]


def test_writing_goes_on_during_a_pause(connection):
    connection.transport.pause_reading()
    written = connection.fill()
    assert len(connection.drain()) == written
    assert connection.protocol.names == ["connection_made", "pause_writing", "resume_writing"]


def test_end_is_not_seen_during_a_pause(connection, turn):
    connection.transport.pause_reading()
    connection.peer.send(b"x")
    connection.peer.close()
    turn(3)
    assert connection.protocol.names == ["connection_made"]
    connection.transport.resume_reading()
    run_until(connection.loop, lambda: connection.protocol.lost)
    assert connection.protocol.names[1:] == ["data_received", "eof_received", "connection_lost"]


def cpu_seconds(loop, seconds):
    """Run `loop`, which has nothing to do, for `seconds`; return how much of it the processor was busy."""
    before = time.thread_time()
    run(loop, asyncio.sleep(seconds))
    return time.thread_time() - before


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("end", [reset, socket.socket.close, lambda sock: sock.shutdown(socket.SHUT_RDWR)])
def test_paused_transport_without_a_peer_costs_nothing(loop, connect, kind, end):
    """The kernel reports a hangup for as long as it is asked about the descriptor."""
    connection = connect(kind=kind)
    connection.transport.pause_reading()
    end(connection.peer)
    assert cpu_seconds(loop, 0.1) < 0.05
    assert connection.protocol.names == ["connection_made"]
    connection.transport.resume_reading()
    connection.run_until_lost()
    assert connection.protocol.names[-1] == "connection_lost"


def test_reset_during_a_pause_is_seen_afterwards(loop, connect):
    connection = connect(kind="tcp")
    connection.transport.pause_reading()
    reset(connection.peer)
    run(loop, asyncio.sleep(0.001))
    connection.transport.resume_reading()
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, ConnectionResetError)
    assert connection.protocol.names == ["connection_made", "connection_lost"]


# The end.


@pytest.mark.parametrize("answer", [None, False, 0, ""])
def test_end_closes(connect, turn, protocol_type, answer):
    connection = connect(protocol_type(eof_received=lambda: answer))
    connection.peer.send(b"x")
    connection.peer.shutdown(socket.SHUT_WR)
    turn()
    turn()
    assert connection.transport.is_closing()
    turn()
    names = [name for name in connection.protocol.names if name != "get_buffer"]
    assert names == ["connection_made", reading(protocol_type), "eof_received", "connection_lost"]
    assert connection.protocol.reason is None
    assert connection.peer.recv(1) == b""


@pytest.mark.parametrize("answer", [True, 1, "yes"])
def test_end_may_leave_the_other_direction_open(loop, connect, turn, protocol_type, answer):
    connection = connect(protocol_type(eof_received=lambda: answer))
    connection.peer.shutdown(socket.SHUT_WR)
    turn(3)
    assert connection.protocol.names.count("eof_received") == 1
    assert not connection.transport.is_closing() and not connection.protocol.lost
    connection.transport.write(b"still here")
    assert connection.peer.recv(100) == b"still here"
    connection.transport.close()
    turn()
    assert connection.protocol.reason is None and connection.peer.recv(100) == b""


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_half_closed_transport_costs_nothing(loop, connect, kind):
    connection = connect(Recorder(eof_received=lambda: True), kind=kind)
    connection.peer.shutdown(socket.SHUT_WR)
    run_until(loop, lambda: "eof_received" in connection.protocol.names)
    assert cpu_seconds(loop, 0.1) < 0.05
    connection.transport.write_eof()
    assert cpu_seconds(loop, 0.1) < 0.05
    assert connection.protocol.names == ["connection_made", "eof_received"]


def test_answer_after_the_end(connect, turn):
    """A request, its end, then the answer: much, through a half-closed connection."""
    connection = connect(Recorder(eof_received=lambda: True))
    connection.peer.send(b"request")
    connection.peer.shutdown(socket.SHUT_WR)
    turn()
    turn()
    written = connection.fill()
    connection.transport.close()
    assert connection.read_to_end() == b"x" * written
    connection.run_until_lost()
    assert connection.protocol.reason is None


def test_our_end_leaves_reading_open(connection, turn):
    connection.transport.write(b"request")
    connection.transport.write_eof()
    turn()
    assert receive(connection.peer) == b"request" and connection.peer.recv(1) == b""
    for letter in (b"a", b"b"):
        connection.peer.send(letter)
        turn()
    assert connection.protocol.received == b"ab" and not connection.transport.is_closing()
    connection.peer.close()
    turn()
    turn()
    assert connection.protocol.names[-2:] == ["eof_received", "connection_lost"]


def test_both_ends_half_closed(connect, turn):
    connection = connect(Recorder(eof_received=lambda: True))
    connection.transport.write_eof()
    connection.peer.shutdown(socket.SHUT_WR)
    turn(3)
    assert connection.protocol.names == ["connection_made", "eof_received"]
    connection.transport.close()
    turn()
    assert connection.protocol.reason is None


def test_pause_in_the_last_data_received(connect, turn):
    """The end waits like data does."""
    protocol = Recorder(data_received=lambda _: protocol.transport.pause_reading())
    connection = connect(protocol)
    connection.peer.send(b"x")
    connection.peer.close()
    turn(3)
    assert protocol.names == ["connection_made", "data_received"]
    protocol.transport.resume_reading()
    turn()
    turn()
    assert protocol.names[2:] == ["eof_received", "connection_lost"]


def test_peer_resets(loop, connect):
    connection = connect(kind="tcp")
    reset(connection.peer)
    connection.run_until_lost()
    assert connection.protocol.names == ["connection_made", "connection_lost"]
    assert isinstance(connection.protocol.reason, ConnectionResetError)
    assert connection.transport.is_closing()


def test_data_before_a_reset_is_either_whole_or_lost(loop, connect):
    connection = connect(kind="tcp")
    connection.peer.send(b"data")
    run_until(loop, lambda: connection.protocol.received)
    reset(connection.peer)
    connection.run_until_lost()
    assert connection.protocol.received == b"data"


# BufferedProtocol.


def test_buffered_calls(connect, turn):
    connection = connect(BufferedRecorder(10))
    connection.peer.send(b"hello")
    turn()
    assert connection.protocol.calls[1:] == [("get_buffer", -1), ("buffer_updated", 5)]
    assert connection.protocol.buffer == b"hello" + bytes(5)


def test_buffered_end(connect, turn):
    connection = connect(BufferedRecorder())
    connection.peer.close()
    turn()
    turn()
    assert connection.protocol.names[1:] == ["get_buffer", "eof_received", "connection_lost"]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_small_buffer(connect, turn, size):
    connection = connect(BufferedRecorder(size))
    connection.peer.send(b"some data")
    turn(9)
    counts = [args[0] for name, *args in connection.protocol.calls if name == "buffer_updated"]
    assert connection.protocol.received == b"some data"
    assert counts == [size] * (9 // size) + [9 % size] * (9 % size > 0)


@pytest.mark.parametrize(
    "make",
    [bytearray, lambda size: memoryview(bytearray(size)), lambda size: mmap.mmap(-1, size)],
    ids=["bytearray", "memoryview", "mmap"],
)
def test_kinds_of_buffers(connect, turn, make):
    buffer = make(4096)
    connection = connect(BufferedRecorder(get_buffer=lambda _: buffer))
    connection.peer.send(b"data")
    turn()
    assert bytes(buffer[:6]) == b"data\0\0"
    assert connection.protocol.calls[-1] == ("buffer_updated", 4)


def test_buffer_of_larger_items(connect, turn):
    """The count given to buffer_updated() is one of bytes."""
    buffer = array.array("I", bytes(40))
    connection = connect(BufferedRecorder(get_buffer=lambda _: buffer))
    connection.peer.send(bytes(range(30)))
    turn()
    assert connection.protocol.calls[-1] == ("buffer_updated", 30)
    assert buffer.tobytes()[:30] == bytes(range(30))


def test_part_of_a_buffer(connect, turn):
    protocol = BufferedRecorder()
    filled = 0

    def get_buffer(_):
        return memoryview(protocol.buffer)[filled : filled + 4]

    protocol.on["get_buffer"] = get_buffer
    connection = connect(protocol)
    connection.peer.send(b"0123456789")
    for count in (4, 4, 2):
        turn()
        filled += count
    assert protocol.buffer[:12] == b"0123456789\0\0"


def test_buffer_is_let_go_of(connect, turn):
    """The protocol may resize its buffer as soon as buffer_updated() is called."""
    protocol = BufferedRecorder(4)

    def buffer_updated(_):
        protocol.buffer.extend(bytes(4))

    protocol.on["buffer_updated"] = buffer_updated
    connection = connect(protocol)
    connection.peer.send(bytes(100))
    turn(5)
    assert [args[0] for name, *args in protocol.calls if name == "buffer_updated"] == [4, 8, 12, 16, 20]
    protocol.buffer.clear()


def test_pause_in_get_buffer_loses_nothing(connect, turn):
    protocol = BufferedRecorder()

    def get_buffer(_):
        protocol.transport.pause_reading()

    protocol.on["get_buffer"] = get_buffer
    connection = connect(protocol)
    connection.peer.send(b"x")
    turn()
    turn()
    protocol.on.clear()
    protocol.transport.resume_reading()
    connection.peer.send(b"y")
    turn()
    assert protocol.received == b"xy"


@pytest.mark.parametrize(
    "buffer, exception",
    [
        (bytearray(), RuntimeError("get_buffer() returned an empty buffer")),
        (7, TypeError("object of type 'int' has no len()")),
    ],
)
def test_get_buffer_returns_no_buffer(connect, turn, reported, buffer, exception):
    connection = connect(BufferedRecorder(get_buffer=lambda _: buffer))
    connection.peer.send(b"x")
    turn()
    turn()
    [context] = reported
    assert context["message"] == "Fatal error: protocol.get_buffer() call failed."
    assert context["transport"] is connection.transport and context["protocol"] is connection.protocol
    assert type(context["exception"]) is type(exception)
    if exception.args[0].startswith("get_buffer"):
        assert context["exception"].args == exception.args
    assert connection.protocol.reason is context["exception"]


@pytest.mark.parametrize("buffer", [b"read-only", memoryview(b"read-only"), "text", [1]])
def test_get_buffer_returns_what_cannot_be_written(connect, turn, reported, buffer):
    connection = connect(BufferedRecorder(get_buffer=lambda _: buffer))
    connection.peer.send(b"x")
    turn()
    turn()
    [context] = reported
    assert isinstance(context["exception"], TypeError | BufferError)
    assert connection.protocol.reason is context["exception"]


# Changing the protocol in mid-stream.


@pytest.mark.parametrize("first, second", [(Recorder, BufferedRecorder), (BufferedRecorder, Recorder)])
def test_switch_between_reads(connect, turn, first, second):
    connection = connect(first())
    connection.peer.send(b"one")
    turn()
    other = second()
    connection.transport.set_protocol(other)
    connection.peer.send(b"two")
    turn()
    connection.peer.close()
    turn()
    turn()
    assert connection.protocol.received == b"one" and not connection.protocol.lost
    assert other.received == b"two" and other.lost


@pytest.mark.parametrize("first, second", [(Recorder, BufferedRecorder), (BufferedRecorder, Recorder)])
def test_switch_in_the_callback(connect, turn, first, second):
    other = second()
    protocol = first(**{reading(first): lambda _: protocol.transport.set_protocol(other)})
    connection = connect(protocol)
    connection.peer.send(b"one")
    turn()
    connection.peer.send(b"two")
    turn()
    assert protocol.received == b"one" and other.received == b"two"


def test_switch_in_connection_made(connect, turn):
    other = BufferedRecorder()
    connection = connect(Recorder(connection_made=lambda transport: transport.set_protocol(other)))
    connection.peer.send(b"x")
    turn()
    assert other.received == b"x"


# Any order of all this.


class Script:
    """Does to a connection what hypothesis has made up."""

    def __init__(self, connection, turn):
        self.connection = connection
        self.turn = turn
        self.sent = bytearray()
        self.protocols = [connection.protocol]

    def send(self, size):
        data = bytes((len(self.sent) + i) % 253 for i in range(size))
        self.sent += data[: self.connection.peer.send(data)]

    def pause(self, _):
        self.connection.transport.pause_reading()

    def resume(self, _):
        self.connection.transport.resume_reading()

    def turns(self, count):
        for _ in range(count % 4):
            self.turn()

    def switch(self, size):
        self.protocols.append(BufferedRecorder(size) if size % 2 else Recorder())
        self.connection.transport.set_protocol(self.protocols[-1])

    def finish(self):
        """Everything that was sent has arrived, once, in order."""
        self.connection.transport.resume_reading()
        self.connection.peer.close()
        while not self.protocols[-1].lost:
            self.turn()
        return b"".join(bytes(protocol.received) for protocol in self.protocols)


STEPS = st.tuples(
    st.sampled_from(["send", "send", "pause", "resume", "turns", "turns", "switch"]), st.integers(1, 3000)
)


@checked(60)
@given(steps=st.lists(STEPS, max_size=30))
def test_stream_arrives_unchanged(connect, turn, steps):
    script = Script(connect(), turn)
    for action, number in steps:
        getattr(script, action)(number)
    assert script.finish() == script.sent
