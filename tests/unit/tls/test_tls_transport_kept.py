"""TLS transports: what has arrived and the protocol has not got yet."""

import pytest
from support.tls import RECORD, each_side, each_version, pattern

READ_AT_ONCE = 256 * 1024  # bytes: so far a limit may be exceeded


# While reading is paused.


def paused(tls, **options):
    connection = tls.connect(**options)
    connection.transport.pause_reading()
    return connection


@each_side
def test_reset_while_paused(tls, server_side):
    """The connection is lost then, not when somebody resumes."""
    connection = paused(tls, server_side=server_side)
    connection.peer.reset()
    connection.run_until(lambda: connection.protocol.lost)
    name, exc = connection.protocol.calls[-1]
    assert name == "connection_lost" and isinstance(exc, ConnectionResetError)


@each_version
def test_what_arrives_while_paused_is_kept(tls):
    connection = paused(tls)
    transport, protocol = connection.transport, connection.protocol
    data = pattern(100_000)
    assert transport.get_read_buffer_size() == 0
    for start in range(0, len(data), 10_000):
        connection.run(connection.peer.write(data[start : start + 10_000]))
    connection.run_until(lambda: transport.get_read_buffer_size() >= len(data))
    assert protocol.received == b""
    transport.resume_reading()
    connection.run_until(lambda: len(protocol.received) >= len(data))
    assert protocol.received == data
    assert transport.get_read_buffer_size() == 0


def test_data_and_close_notify_while_paused(tls, turn):
    """Both are told when reading goes on."""
    connection = paused(tls)
    connection.run(connection.peer.write(b"data"))
    connection.run(connection.peer.send_close_notify())
    turn(5)
    assert connection.protocol.received == b"" and not connection.protocol.lost
    connection.transport.resume_reading()
    connection.run_until(lambda: connection.protocol.lost)
    assert connection.protocol.received == b"data"
    assert [name for name, *_ in connection.protocol.calls[-2:]] == ["eof_received", "connection_lost"]


@each_version
def test_pausing_again_and_again(tls, turn):
    """Nothing gets lost or out of order."""
    connection = tls.connect()
    transport, protocol, data = connection.transport, connection.protocol, pattern(900_000)
    sending = tls.loop.create_task(connection.peer.write(data))
    while len(protocol.received) < len(data):
        transport.pause_reading()
        known = len(protocol.received)
        turn(3)
        assert len(protocol.received) == known
        transport.resume_reading()
        turn(1)
    assert protocol.received == data
    connection.run(sending)


@pytest.mark.parametrize("limit", [1, 50_000, 256 * 1024])
def test_no_more_than_the_limit_is_kept(tls, turn, limit):
    connection = paused(tls, kind="unix")
    transport, data = connection.transport, pattern(5_000_000)
    transport.set_read_buffer_limits(limit)
    sending = tls.loop.create_task(connection.peer.write(data))
    turn(100)
    kept = transport.get_read_buffer_size()
    assert limit <= kept < limit + READ_AT_ONCE
    turn(20)
    assert transport.get_read_buffer_size() == kept
    assert not sending.done()
    transport.resume_reading()
    connection.run_until(lambda: len(connection.protocol.received) >= len(data))
    assert connection.protocol.received == data
    connection.run(sending)


def test_resuming_for_a_moment_lets_no_more_in_than_goes_out(tls, turn):
    """A protocol that takes its time over each piece holds the peer up."""
    connection = paused(tls, kind="unix")
    transport, protocol = connection.transport, connection.protocol
    protocol.on = {"data_received": lambda *_: transport.pause_reading()}
    sending = tls.loop.create_task(connection.peer.write(pattern(20_000_000)))
    most = 0
    for _ in range(30):
        transport.resume_reading()
        turn(5)
        most = max(most, transport.get_read_buffer_size())
    assert 0 < most < 256 * 1024 + READ_AT_ONCE
    sending.cancel()
    transport.abort()


def test_a_higher_limit_while_paused(tls, turn):
    connection = paused(tls, kind="unix")
    transport = connection.transport
    transport.set_read_buffer_limits(1)
    sending = tls.loop.create_task(connection.peer.write(pattern(5_000_000)))
    turn(50)
    kept = transport.get_read_buffer_size()
    transport.set_read_buffer_limits(1_000_000)
    turn(50)
    assert transport.get_read_buffer_size() >= 1_000_000 > kept
    sending.cancel()
    transport.abort()


# Limits.

LIMITS = {
    "default": ((), {}, (64 * 1024, 256 * 1024)),
    "high": ((4096,), {}, (1024, 4096)),
    "high, low": ((4096, 10), {}, (10, 4096)),
    "low": ((), {"low": 1000}, (1000, 4000)),
    "zero": ((0,), {}, (0, 0)),
}


@pytest.mark.parametrize("args, kwargs, limits", LIMITS.values(), ids=LIMITS)
def test_read_buffer_limits(tls, args, kwargs, limits):
    transport = tls.connect().transport
    assert transport.get_read_buffer_limits() == (64 * 1024, 256 * 1024)
    transport.set_read_buffer_limits(1 << 20)
    transport.set_read_buffer_limits(*args, **kwargs)
    assert transport.get_read_buffer_limits() == limits


@pytest.mark.parametrize("limits", [(1, 2), (-1,), (10, -1)])
def test_impossible_read_buffer_limits(tls, limits):
    transport = tls.connect().transport
    with pytest.raises(ValueError, match="must be >= low"):
        transport.set_read_buffer_limits(*limits)
    assert transport.get_read_buffer_limits() == (64 * 1024, 256 * 1024)


# Records that arrive in pieces, as they do over networks whose packets are shorter.


@each_version
@each_side
@pytest.mark.parametrize("last", [1, 300, 1448, RECORD // 2])
def test_record_in_pieces(tls, turn, server_side, last):
    """The protocol gets it at once, however little of it came last."""
    connection = tls.connect(server_side=server_side)
    sizes, data = [], pattern(RECORD)
    note = connection.protocol.data_received

    def data_received(received):
        sizes.append(len(received))
        note(received)

    connection.protocol.data_received = data_received
    for size in (RECORD, RECORD - 1, 2000):
        record = connection.peer.encrypt(data[:size])
        connection.run(connection.peer.send(record[:-last]))
        turn(3)
        connection.run(connection.peer.send(record[-last:]))
        connection.run_until(lambda size=size: len(connection.protocol.received) >= size)
        assert connection.protocol.received == data[:size]
        connection.protocol.received.clear()
    assert sizes == [RECORD, RECORD - 1, 2000]


@each_version
def test_the_rest_of_a_record_and_the_next_ones(tls, turn):
    connection = tls.connect()
    data = pattern(5 * RECORD)
    records = b"".join(connection.peer.encrypt(data[i : i + RECORD]) for i in range(0, len(data), RECORD))
    for piece in (records[:RECORD], records[RECORD : RECORD + 50], records[RECORD + 50 :]):
        connection.run(connection.peer.send(piece))
        turn(3)
    connection.run_until(lambda: len(connection.protocol.received) >= len(data))
    assert connection.protocol.received == data


@each_version
def test_a_record_in_pieces_then_garbage(impl, tls, turn):
    """What was good is delivered, then the connection fails."""
    if impl.name == "asyncio":
        pytest.skip("asyncio drops what it has decrypted")
    connection = tls.connect()
    record = connection.peer.encrypt(pattern(RECORD))
    connection.run(connection.peer.send(record[:-10]))
    turn(3)
    connection.run(connection.peer.send(record[-10:] + b"\x17\x03\x03\x00\x20" + bytes(32)))
    connection.run_until(lambda: connection.protocol.lost)
    assert connection.protocol.received == pattern(RECORD)
    assert connection.protocol.calls[-1][1] is not None
