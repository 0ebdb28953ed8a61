"""What calls the transport in the middle of its own work: message callbacks, eager tasks, KeyboardInterrupt."""

import asyncio
import contextlib
import socket
import sys

import pytest
from support.net import BufferedRecorder, Recorder, run, run_until
from support.tls import client_context, server_context

BIG = bytes(100_000)


def interrupt(*args):
    raise KeyboardInterrupt


def only_once(act):
    """What calls `act` the first time only."""
    acts = [act]

    def called(*args):
        return acts.pop()(*args) if acts else None

    return called


def skip_asyncio(impl, reason):
    """Skip where asyncio does otherwise, which is no example."""
    if impl.name == "asyncio":
        pytest.skip(reason)


class Interlude:
    """A server's context; once `act` is set, it is called in the middle of the next call into OpenSSL."""

    def __init__(self):
        self.act, self.direction = None, "write"
        self.context = server_context()
        self.context._msg_callback = self.called

    def called(self, connection, direction, *args):
        if self.act is not None and direction == self.direction:
            act, self.act = self.act, None
            act()


@pytest.fixture
def interlude():
    interlude = Interlude()
    yield interlude
    interlude.context._msg_callback = None  # the collector does not find the way through a context


# Message callbacks.


def test_abort_in_the_middle_of_writing(impl, tls, interlude):
    """The bytes under encryption stay alive: a sanitizer sees it if they do not."""
    skip_asyncio(impl, "asyncio does not expect to be called in the middle of a call into OpenSSL")
    connection = tls.connect(server_side=True, ssl=interlude.context)
    interlude.act = connection.transport.abort
    connection.transport.write(bytearray(BIG))
    connection.run_until_lost()
    assert interlude.act is None and connection.protocol.names == ["connection_made", "connection_lost"]


def test_close_in_the_middle_of_reading_while_output_waits(impl, tls, interlude):
    """Once close() did not return: it tried for ever to send what the busy engine did not give out."""
    skip_asyncio(impl, "asyncio does not expect to be called in the middle of a call into OpenSSL")
    connection = tls.connect(server_side=True, ssl=interlude.context, kind="unix", sndbuf=4096)
    connection.transport.write(BIG * 10)
    connection.run(asyncio.sleep(0))
    assert connection.transport.get_write_buffer_size()
    interlude.act, interlude.direction = connection.transport.close, "read"
    connection.run(connection.peer.write(b"data"))
    connection.run_until(connection.transport.is_closing)
    assert connection.run(connection.peer.read_to_end()) == BIG * 10
    connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert connection.protocol.reason is None


def test_another_connection_is_written_to_in_the_middle_of_writing(tls, interlude):
    """Each peer gets its own plaintext.  Once both were gathered in the same memory."""
    one, other = tls.connect(server_side=True, ssl=interlude.context), tls.connect(server_side=True)
    interlude.act = lambda: other.transport.writelines([b"b" * 50_000] * 2)
    one.transport.writelines([b"a" * 30_000] * 2)
    assert one.run(one.peer.read(60_000)) == b"a" * 60_000
    assert other.run(other.peer.read(100_000)) == b"b" * 100_000


# KeyboardInterrupt out of callbacks; the loop runs again afterwards.


@pytest.mark.parametrize("after", ["write", "abort"])
def test_interrupted_in_the_middle_of_writing(impl, tls, interlude, after):
    """It leaves the loop, and the connection ends: nobody knows how much was encrypted.

    Once the connection went on with a hole in what it sent, and abort() kept the exception for itself.
    """
    skip_asyncio(impl, "asyncio's connection goes on")
    connection = tls.connect(server_side=True, ssl=interlude.context)
    transport = connection.transport

    def act():
        transport.write(b"before")
        interlude.act = interrupt
        transport.abort() if after == "abort" else transport.write(b"also before")

    tls.loop.call_soon(act)
    with pytest.raises(KeyboardInterrupt):
        tls.loop.run_forever()
    transport.write(b"after")
    with contextlib.suppress(OSError):
        assert b"after" not in connection.run(connection.peer.read_to_end())
    connection.run_until_lost()
    assert connection.protocol.names == ["connection_made", "connection_lost"]


def test_interrupted_in_eof_received(impl, loop, tls):
    """The connection is closed all the same, once the loop runs again."""
    skip_asyncio(impl, "asyncio's stays open")
    connection = tls.connect(Recorder(eof_received=interrupt), server_side=True)
    connection.peer.sock.send(connection.peer.close_notify())
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    connection.run_until_lost()
    assert connection.protocol.names == ["connection_made", "eof_received", "connection_lost"]


def test_interrupted_in_data_received(impl, loop, tls):
    """The next run of the loop delivers the rest, which was read already.  Once it waited for more to arrive."""
    protocol = Recorder(data_received=only_once(interrupt))
    connection = tls.connect(protocol, server_side=True, kind="unix")
    records = b"".join(connection.peer.encrypt(BIG[:16_000]) for _ in range(8))
    assert connection.peer.sock.send(records) == len(records)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert 0 < len(protocol.received)
    connection.run_until(lambda: len(protocol.received) == 8 * 16_000)


def test_interrupted_in_the_exception_handler(loop, tls):
    """The error that was to be reported ends the connection all the same."""
    protocol = Recorder(data_received=lambda data: 1 / 0)
    connection = tls.connect(protocol, server_side=True)
    loop.set_exception_handler(interrupt)
    connection.peer.sock.send(connection.peer.encrypt(b"data"))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.set_exception_handler(lambda loop, context: None)
    connection.run_until_lost()
    assert isinstance(protocol.reason, ZeroDivisionError)


# start_tls() that begins in a callback.


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks can be eager since Python 3.12")
def test_started_in_connection_made(loop, tls):
    """create_connection() and start_tls() are each done in their time.

    Once start_tls() was done before the handshake, and create_connection() never.
    """
    left, right = tls.sockets()
    peer, protocol = tls.raw(right, server_side=True), tls.note(Recorder(), left)
    started = []

    def start(transport):
        started.append(asyncio.eager_task_factory(loop, tls.start(transport, protocol)))

    protocol.on["connection_made"] = start
    run(loop, loop.create_connection(lambda: protocol, sock=left))
    assert not started[0].done()
    run(loop, peer.handshake())
    run_until(loop, started[0].done)
    run(loop, peer.write(b"data"))
    run_until(loop, lambda: protocol.received == b"data")
    assert started[0].result().get_extra_info("cipher")


@pytest.mark.parametrize("arrives", ["handshake", "eof"])
def test_started_in_get_buffer(impl, loop, tls, arrives):
    """What has arrived is for TLS.  Once the protocol got records, and EOF was a crash."""
    skip_asyncio(impl, "asyncio reads into the buffer of the protocol as it was about to")
    transport, protocol, right = tls.plain(BufferedRecorder())
    starting = tls.start(transport, protocol, server_side=True)
    waiters = []
    protocol.on["get_buffer"] = lambda sizehint: waiters.append(starting.send(None)) if not waiters else None
    if arrives == "eof":
        right.shutdown(socket.SHUT_WR)
        run_until(loop, lambda: waiters and waiters[0].done())
        with pytest.raises(ConnectionResetError):
            starting.send(None)
        assert not protocol.received
        return
    peer = tls.raw(right, server_side=False, context=client_context())
    run(loop, peer.handshake())
    run_until(loop, waiters[0].done)
    with pytest.raises(StopIteration):
        starting.send(None)
    run(loop, peer.write(b"data"))
    run_until(loop, lambda: protocol.received)
    assert protocol.received == b"data"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="classes can be buffers since Python 3.12")
def test_started_while_a_buffer_is_released(impl, loop, tls):
    """The end of the stream, which was received for the plain transport, ends the handshake.  Once it was a crash."""
    skip_asyncio(impl, "asyncio never releases the buffer by itself")
    protocol = BufferedRecorder()
    transport, protocol, right = tls.plain(protocol)
    starting = tls.start(transport, protocol, server_side=True)
    waiters = []

    class Buffer:
        def __buffer__(self, flags):
            return memoryview(bytearray(100))

        def __release_buffer__(self, view):
            if not waiters:
                waiters.append(starting.send(None))

    protocol.get_buffer = lambda sizehint: Buffer()
    right.shutdown(socket.SHUT_WR)
    run_until(loop, lambda: waiters and waiters[0].done())
    with pytest.raises(ConnectionResetError):
        starting.send(None)


# set_protocol() in get_buffer().


@pytest.mark.parametrize("after", [Recorder, BufferedRecorder], ids=["bytes", "buffers"])
def test_set_protocol_in_get_buffer(impl, tls, after):
    """The new protocol gets the data.  asyncio puts it into the old one's buffer, whichever of them it tells."""
    skip_asyncio(impl, "asyncio fills the buffer that the old protocol has just returned")
    first, second = BufferedRecorder(), after()
    connection = tls.connect(first, server_side=True)  # without tickets, what arrives first is the data
    first.on["get_buffer"] = lambda sizehint: connection.transport.set_protocol(second)
    connection.run(connection.peer.write(b"data"))
    connection.run_until(lambda: second.received == b"data")
    assert first.received == b"" and "buffer_updated" not in first.names
    connection.transport.abort()
    connection.run_until(lambda: second.lost)
