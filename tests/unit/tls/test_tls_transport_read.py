"""Receiving over TLS: buffers of the protocol, pausing and resuming, a new protocol midway, and how reading ends."""

import asyncio
import contextlib
import itertools
import ssl

import pytest
from support.net import BufferedRecorder, Recorder, fail, run
from support.tls import RECORD, buffered, each_side, each_version, pattern

# Buffers of the protocol.


@each_version
@pytest.mark.parametrize("size", [1, 100, RECORD, 3 * RECORD, 1 << 20])
def test_buffers_of_any_size(tls, size):
    """Smaller and larger than a record, and than all there is."""
    connection = tls.connect(buffered(size))
    data = pattern(300 if size == 1 else 5 * RECORD + 7)
    connection.send(data)
    protocol = connection.protocol
    assert protocol.received == data
    assert all(0 < args[0] <= size for name, *args in protocol.calls if name == "buffer_updated")
    before_updates = [
        before for before, name in itertools.pairwise(protocol.names) if name == "buffer_updated"
    ]
    assert set(before_updates) == {"get_buffer"}, "each update has a buffer of its own"
    connection.send(b"more")


def test_buffers_are_filled(tls):
    """Many records that have arrived together need not come one by one."""
    connection = tls.connect(buffered(RECORD))
    peer = connection.peer
    connection.run(peer.send(b"".join(peer.encrypt(bytes([number]) * 1024) for number in range(64))))
    connection.run_until(lambda: len(connection.protocol.received) == 65536)
    updates = [args[0] for name, *args in connection.protocol.calls if name == "buffer_updated"]
    assert RECORD in updates
    assert connection.protocol.received == b"".join(bytes([number]) * 1024 for number in range(64))


def test_buffers_that_change(tls):
    buffers = [memoryview(bytearray(size)) for size in (10, 1000, 1, 50_000)]
    given = []

    class Protocol(BufferedRecorder):
        def get_buffer(self, sizehint):
            self.buffer = buffers[len(given) % len(buffers)]
            given.append(self.buffer)
            return self.buffer

    connection = tls.connect(Protocol())
    data = pattern(3 * RECORD)
    connection.send(data)
    assert connection.protocol.received == data


def test_part_of_a_buffer(tls):
    backing = memoryview(bytearray(5000))
    connection = tls.connect(buffered(get_buffer=lambda sizehint: backing[1000:3000]))
    connection.protocol.buffer = backing[1000:3000]
    connection.send(pattern(5000))
    assert connection.protocol.received == pattern(5000)
    assert not any(backing[:1000]) and not any(backing[3000:])


def test_a_bytearray_as_buffer(impl, tls):
    """asyncio reads into slices, which are copies of it: what comes there is lost."""
    if impl.name == "asyncio":
        pytest.skip("asyncio loses data")
    connection = tls.connect(BufferedRecorder(20_000))
    connection.send(pattern(50_000))
    assert connection.protocol.received == pattern(50_000)


def failing(tls, reported, protocol, data=b"data", **on):
    """Connect the protocol, and send what makes it fail by `on`: the exception that it has been told of."""
    connection = tls.connect(protocol)
    protocol.on.update(on)
    connection.run(connection.peer.write(data))
    connection.run_until_lost()
    assert connection.transport.is_closing()
    exc = protocol.reason
    [context] = reported
    assert context["exception"] is exc
    reported.clear()
    return exc


@pytest.mark.parametrize("name", ["get_buffer", "buffer_updated"])
def test_buffer_callbacks_that_fail(tls, reported, name):
    exc = failing(tls, reported, buffered(), **{name: fail})
    assert isinstance(exc, ZeroDivisionError)


def test_data_received_that_fails(tls, reported):
    protocol = Recorder()
    exc = failing(tls, reported, protocol, pattern(3 * RECORD), data_received=fail)
    assert isinstance(exc, ZeroDivisionError)
    assert protocol.names.count("data_received") == 1


def test_an_empty_buffer(impl, tls, reported):
    """An error of the protocol.  asyncio takes it for the end of the stream."""
    if impl.name == "asyncio":
        pytest.skip("asyncio reads nothing, and takes that for close_notify")
    exc = failing(tls, reported, BufferedRecorder(), get_buffer=lambda sizehint: bytearray())
    assert isinstance(exc, RuntimeError) and str(exc) == "get_buffer() returned an empty buffer"


@pytest.mark.parametrize("buffer", [b"read only", "text", 5], ids=repr)
def test_no_buffer(tls, reported, buffer):
    exc = failing(tls, reported, buffered(), get_buffer=lambda sizehint: buffer)
    assert isinstance(exc, (TypeError, BufferError))


# Pausing.


def test_nothing_arrives_while_paused(tls, turn):
    connection = tls.connect()
    transport, protocol = connection.transport, connection.protocol
    transport.pause_reading()
    assert not transport.is_reading()
    connection.run(connection.peer.write(b"held"))
    turn(5)
    assert protocol.names == ["connection_made"]
    transport.resume_reading()
    assert transport.is_reading()
    assert protocol.names == ["connection_made"], "resume_reading() itself calls nobody"
    connection.run_until(lambda: protocol.received == b"held")
    connection.send(b"more")


def test_pausing_twice(tls, turn):
    connection = tls.connect()
    for _ in range(2):
        connection.transport.pause_reading()
    connection.run(connection.peer.write(b"held"))
    turn(5)
    assert not connection.protocol.received
    for _ in range(2):
        connection.transport.resume_reading()
    connection.run_until(lambda: connection.protocol.received == b"held")


def test_pausing_and_resuming_in_one_callback(loop, tls):
    connection = tls.connect()

    def both():
        connection.transport.pause_reading()
        connection.transport.resume_reading()

    loop.call_soon(both)
    connection.send(b"data")


def test_resuming_and_pausing_again(tls, turn):
    """The last word counts."""
    connection = tls.connect()
    connection.transport.pause_reading()
    connection.run(connection.peer.write(b"held"))
    turn(5)
    connection.transport.resume_reading()
    connection.transport.pause_reading()
    turn(5)
    assert not connection.protocol.received
    connection.transport.resume_reading()
    connection.run_until(lambda: connection.protocol.received == b"held")


def test_pausing_in_data_received(tls, turn):
    """No further call of data_received(), whatever else has been decrypted."""
    protocol = Recorder()
    protocol.on["data_received"] = lambda data: protocol.transport.pause_reading()
    connection = tls.connect(protocol)
    data = pattern(20 * RECORD)
    connection.run(connection.peer.write(data[:RECORD]))
    connection.run_until(lambda: protocol.received)
    connection.run(connection.peer.write(data[RECORD:]))
    for _ in range(1000):
        turn(2)
        assert protocol.names[-1] == "data_received"
        before = len(protocol.received)
        turn(2)
        assert len(protocol.received) == before
        if before == len(data):
            break
        protocol.transport.resume_reading()
    assert protocol.received == data


def test_pausing_in_buffer_updated(tls, turn):
    protocol = buffered(1000)
    protocol.on["buffer_updated"] = lambda size: protocol.transport.pause_reading()
    connection = tls.connect(protocol)
    data = pattern(10_000)
    connection.run(connection.peer.write(data))
    for count in range(1, 11):
        connection.run_until(lambda count=count: protocol.names.count("buffer_updated") == count)
        turn(2)
        assert protocol.names.count("buffer_updated") == count
        assert len(protocol.received) == 1000 * count
        protocol.transport.resume_reading()
    assert protocol.received == data


@each_side
def test_pausing_holds_the_peer_back(tls, turn, server_side):
    """Sooner or later, the kernel takes no more from it; nothing is lost."""
    connection = tls.connect(server_side=server_side)
    connection.transport.pause_reading()
    block, sent = pattern(1 << 18), 0
    peer = connection.peer

    async def send():
        nonlocal sent
        while True:
            await peer.write(block)
            sent += len(block)

    sending = tls.loop.create_task(send())
    before = -1
    while sent != before:
        before = sent
        turn(50)
    assert 0 < sent < 100 * len(block) and not connection.protocol.received
    wanted = sent + len(block)
    connection.transport.resume_reading()
    connection.run_until(lambda: len(connection.protocol.received) >= wanted)
    sending.cancel()
    assert connection.protocol.received[: len(block)] == block


def test_writing_while_reading_is_paused(tls):
    connection = tls.connect()
    connection.transport.pause_reading()
    connection.transport.write(pattern(300_000))
    assert connection.run(connection.peer.read(300_000)) == pattern(300_000)


def test_pausing_with_much_decrypted(tls):
    """More than one call of data_received() is made of."""
    protocol = Recorder()
    protocol.on["data_received"] = lambda data: protocol.transport.pause_reading()
    connection = tls.connect(protocol, kind="unix")
    peer, data = connection.peer, pattern(600_000)
    sending = tls.loop.create_task(peer.send(peer.encrypt(data) + peer.close_notify()))
    while "eof_received" not in protocol.names:
        calls = len(protocol.calls)
        connection.run_until(lambda calls=calls: len(protocol.calls) > calls)
        assert len(protocol.calls) == calls + 1 or protocol.names[calls + 1] != "data_received"
        protocol.transport.resume_reading()
    assert protocol.received == data
    connection.run(sending)
    connection.run(connection.peer.read_to_end())
    connection.run_until_lost()
    assert protocol.reason is None


# Pausing and the end of the stream.


@pytest.mark.parametrize("held", [b"", b"held"], ids=["nothing", "data"])
@each_side
def test_close_notify_while_paused(tls, turn, server_side, held):
    """What was sent before comes first, and the end only after reading was resumed."""
    connection = tls.connect(server_side=server_side)
    protocol = connection.protocol
    connection.transport.pause_reading()
    if held:
        connection.run(connection.peer.write(held))
    connection.run(connection.peer.send_close_notify())
    turn(5)
    assert protocol.names == ["connection_made"]
    connection.transport.resume_reading()
    connection.run_until(lambda: "eof_received" in protocol.names)
    assert protocol.received == held
    assert connection.run(connection.peer.read_to_end()) == b""
    connection.peer.close()
    connection.run_until_lost()
    assert protocol.reason is None
    assert protocol.names[-2:] == ["eof_received", "connection_lost"]


@pytest.mark.parametrize("held", [b"", b"held"], ids=["nothing", "data"])
def test_end_of_the_stream_while_paused(tls, turn, held):
    connection = tls.connect()
    protocol = connection.protocol
    connection.transport.pause_reading()
    if held:
        connection.run(connection.peer.write(held))
    connection.peer.close()
    turn(5)
    assert protocol.names == ["connection_made"]
    connection.transport.resume_reading()
    connection.run_until_lost()
    assert protocol.received == held and protocol.reason is None
    assert protocol.names[-2:] == ["eof_received", "connection_lost"]


def test_pausing_in_the_last_data_received(tls, turn):
    """close_notify came in the same read as the data."""
    protocol = Recorder()
    protocol.on["data_received"] = lambda data: protocol.transport.pause_reading()
    connection = tls.connect(protocol)
    peer = connection.peer
    connection.run(peer.send(peer.encrypt(b"last") + peer.close_notify()))
    connection.run_until(lambda: protocol.received == b"last")
    turn(5)
    protocol.transport.resume_reading()
    peer.close()
    connection.run_until_lost()
    assert protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]


def test_end_without_close_notify(tls):
    connection = tls.connect()
    connection.run(connection.peer.write(b"last"))
    connection.peer.close()
    connection.run_until_lost()
    assert connection.protocol.names == [
        "connection_made",
        "data_received",
        "eof_received",
        "connection_lost",
    ]
    assert connection.protocol.reason is None


def test_end_in_the_middle_of_a_record(tls):
    """The same as between records: the data that cannot be verified is not delivered."""
    connection = tls.connect()
    connection.run(connection.peer.send(connection.peer.encrypt(b"truncated")[:-1]))
    connection.peer.close()
    connection.run_until_lost()
    assert connection.protocol.names == ["connection_made", "eof_received", "connection_lost"]
    assert connection.protocol.reason is None


@each_side
def test_reset(tls, server_side):
    connection = tls.connect(server_side=server_side)
    connection.peer.reset()
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, ConnectionResetError)
    assert "eof_received" not in connection.protocol.names


def test_reset_while_paused(tls, turn):
    """It is noticed now or when reading is resumed."""
    connection = tls.connect()
    connection.transport.pause_reading()
    connection.peer.reset()
    turn(5)
    connection.transport.resume_reading()
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, ConnectionResetError)


@each_side
def test_eof_received_that_wants_to_keep_the_connection(tls, caplog, server_side):
    """There is no half-open TLS connection: it ends, with a warning."""
    connection = tls.connect(Recorder(eof_received=lambda: True), server_side)
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "returning true from eof_received() has no effect when using ssl"
    ]


@pytest.mark.parametrize("end", ["close_notify", "eof"])
def test_eof_received_that_fails(tls, reported, end):
    connection = tls.connect(Recorder(eof_received=fail))
    if end == "close_notify":
        connection.run(connection.peer.send_close_notify())
    else:
        connection.peer.close()
    connection.run_until_lost()
    [context] = reported
    assert context["message"] == "Error calling eof_received()"
    assert isinstance(context["exception"], ZeroDivisionError)
    assert connection.protocol.reason is context["exception"]
    reported.clear()
    del context


def test_answer_to_close_notify(tls):
    """What is written in eof_received() reaches the peer, who has only said that it will send no more."""
    protocol = Recorder()
    protocol.on["eof_received"] = lambda: protocol.transport.write(b"goodbye")
    connection = tls.connect(protocol)
    connection.run(connection.peer.send_close_notify())
    assert connection.run(connection.peer.read_to_end()) == b"goodbye"
    connection.run_until_lost()
    assert protocol.reason is None


def test_what_waits_to_be_sent_goes_out_after_close_notify(tls):
    """The peer has said that it will send no more, not that it will not read."""
    connection = tls.connect(kind="unix", sndbuf=4096)
    data = pattern(1 << 20)
    connection.transport.write(data)
    connection.run(connection.peer.send(connection.peer.close_notify()))
    connection.run_until(lambda: "eof_received" in connection.protocol.names)
    assert connection.transport.is_closing() and not connection.protocol.lost
    assert connection.run(connection.peer.read_to_end()) == data
    connection.run_until_lost()
    assert connection.protocol.reason is None


# Another protocol midway.


@pytest.mark.parametrize("after", [Recorder, lambda: buffered(100)], ids=["bytes", "buffers"])
@pytest.mark.parametrize("before", [Recorder, lambda: buffered(100)], ids=["bytes", "buffers"])
def test_set_protocol(tls, before, after):
    connection = tls.connect(before())
    connection.send(b"before")
    other = after()
    assert connection.transport.get_protocol() is connection.protocol
    connection.transport.set_protocol(other)
    assert connection.transport.get_protocol() is other
    connection.run(connection.peer.write(pattern(50_000)))
    connection.run_until(lambda: len(other.received) == 50_000)
    assert other.received == pattern(50_000) and connection.protocol.received == b"before"
    connection.peer.close()
    connection.run_until(lambda: other.lost)
    assert other.names[-2:] == ["eof_received", "connection_lost"] and not connection.protocol.lost
    assert "connection_made" not in other.names


def test_set_protocol_in_data_received(tls):
    """The rest of what has arrived goes to the new one."""
    first, second = Recorder(), Recorder()
    first.on["data_received"] = lambda data: first.transport.set_protocol(second)
    connection = tls.connect(first)
    connection.run(connection.peer.write(b"first"))
    connection.run_until(lambda: first.received)
    connection.run(connection.peer.write(b"second"))
    connection.run_until(lambda: second.received)
    assert first.received == b"first" and second.received == b"second"
    connection.transport.abort()
    connection.run_until(lambda: second.lost)


@pytest.mark.parametrize("after", [Recorder, lambda: buffered(100)], ids=["bytes", "buffers"])
def test_set_protocol_in_buffer_updated(impl, tls, after):
    """The rest of the record goes to the new one.  asyncio asks the old one for a buffer once more."""
    if impl.name == "asyncio":
        pytest.skip("asyncio has scheduled the old protocol's next read")
    first, second = buffered(10), after()
    first.on["buffer_updated"] = lambda size: first.transport.set_protocol(second)
    connection = tls.connect(first)
    connection.run(connection.peer.write(pattern(1000)))
    connection.run_until(lambda: len(second.received) == 990)
    assert first.received + second.received == pattern(1000)
    connection.transport.abort()
    connection.run_until(lambda: second.lost)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_ending_in_get_buffer(tls, reported, end):
    """What has arrived is dropped."""
    protocol = buffered()
    connection = tls.connect(protocol)
    protocol.on["get_buffer"] = lambda sizehint: getattr(connection.transport, end)()
    connection.run(connection.peer.write(b"data"))
    connection.run_until(lambda: connection.transport.is_closing())
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        connection.run(connection.peer.read_to_end())
        connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert protocol.names.count("connection_lost") == 1 and reported == []


def test_pausing_in_get_buffer(impl, tls, turn):
    """What arrives waits.  asyncio delivers it."""
    if impl.name == "asyncio":
        pytest.skip("asyncio delivers it")
    protocol = buffered()
    connection = tls.connect(protocol)
    protocol.on["get_buffer"] = lambda sizehint: connection.transport.pause_reading()
    connection.run(connection.peer.write(b"data"))
    connection.run_until(lambda: not connection.transport.is_reading())
    turn(5)
    assert not protocol.received
    protocol.on.clear()
    connection.transport.resume_reading()
    connection.run_until(lambda: protocol.received == b"data")


def test_set_protocol_while_paused(tls, turn):
    connection = tls.connect()
    connection.transport.pause_reading()
    connection.run(connection.peer.write(b"held"))
    turn(5)
    other = buffered(3)
    connection.transport.set_protocol(other)
    connection.transport.resume_reading()
    connection.run_until(lambda: other.received == b"held")
    connection.transport.abort()
    connection.run_until(lambda: other.lost)


def test_set_protocol_in_connection_made(tls):
    other = Recorder()
    connection = tls.connect(Recorder(connection_made=lambda transport: transport.set_protocol(other)))
    connection.run(connection.peer.write(b"data"))
    connection.run_until(lambda: other.received == b"data")
    connection.transport.abort()
    connection.run_until(lambda: other.lost)


# Stream readers.


def test_streams(loop, tls):
    left, right = tls.sockets()

    def talk(sock):
        words = [sock.recv(100)]
        sock.sendall(b"line\n" + pattern(200_000))
        while words[-1]:
            words.append(sock.recv(100_000))
        sock.unwrap()
        return b"".join(words)

    peer = tls.thread(right, talk, server_side=True)

    async def main():
        options = tls.options(server_side=False)
        reader, writer = await asyncio.open_connection(sock=left, limit=1000, **options)
        writer.write(b"question")
        assert await reader.readline() == b"line\n"
        assert await reader.readexactly(200_000) == pattern(200_000)
        writer.write(pattern(400_000))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        return await peer.wait()

    assert run(loop, main()) == b"question" + pattern(400_000)


def test_a_stream_reader_that_pauses_all_the_time(loop, tls):
    """Its limit is small.  Nothing is lost, and the end is seen."""
    left, right = tls.sockets()

    def talk(sock):
        sock.sendall(pattern(1 << 20))
        sock.unwrap()

    peer = tls.thread(right, talk, server_side=True)

    async def main():
        reader, writer = await asyncio.open_connection(sock=left, limit=100, **tls.options(server_side=False))
        data = bytearray()
        while chunk := await reader.read(5000):
            data += chunk
        writer.close()
        await writer.wait_closed()
        await peer.wait()
        return bytes(data)

    assert run(loop, main()) == pattern(1 << 20)
