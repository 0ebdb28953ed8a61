"""Defects that other event loops have or had with TCP and Unix streams, each named after its report there.

Further ones are tests of their own elsewhere: timers in test_loop_schedule.py, servers in test_server.py, what happens
to descriptors in tests/fault.
"""

import asyncio
import contextvars
import gc
import inspect
import os
import random
import signal
import socket
import sys
import weakref

import pytest
from support.net import BufferedRecorder, Recorder, at_end, receive, receive_all, run, run_until, unix_pair

# uvloop


@pytest.mark.parametrize("method", ["close", "abort"])
def test_write_on_a_closed_transport(connection, turn, method):
    """uvloop #506: write() raised once the transport was closed."""
    getattr(connection.transport, method)()
    for _ in range(3):
        assert connection.transport.write(b"x") is None
        turn()
    assert connection.protocol.reason is None


def test_buffers_after_connection_lost(connection):
    """uvloop #548: what was waiting to be sent was kept after connection_lost()."""
    data = os.urandom(100_000)
    before = sys.getrefcount(data)
    connection.fill_kernel()
    for _ in range(3):
        connection.transport.write(data)
    connection.peer.close()
    connection.run_until_lost()
    assert connection.transport.get_write_buffer_size() == 0
    assert sys.getrefcount(data) == before


def test_read_buffer_after_connection_lost(connect):
    """uvloop #548: and so was the buffer of a BufferedProtocol."""
    connection = connect(BufferedRecorder())
    connection.peer.send(b"x")
    run_until(connection.loop, lambda: connection.protocol.received)
    connection.peer.close()
    connection.run_until_lost()
    connection.protocol.buffer.clear()  # raises while somebody has a view of it
    watching = weakref.ref(connection.protocol)
    connection.protocol.calls.clear()
    connection.protocol = None
    gc.collect()
    assert watching() is None


def test_number_of_a_closed_transport_is_left_alone(loop, turn):
    """uvloop #763, #738: transport and socket object both closed the number, which was another thread's by then."""
    left, right = unix_pair()
    transport, _ = run(loop, loop.create_connection(Recorder, sock=left))
    number = left.fileno()
    transport.close()
    turn()
    reader, writer = os.pipe()
    assert number in (reader, writer)
    left.close()
    transport.get_extra_info("socket")
    del transport, left
    gc.collect()
    turn()
    assert os.write(writer, b"x") == 1 and os.read(reader, 10) == b"x"
    os.close(reader)
    os.close(writer)
    right.close()


ENDS = """
import gc, socket, warnings
warnings.simplefilter("ignore")

class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"x" * 500_000)
    def data_received(self, data):
        gc.collect()
        self.transport.write(data)
    def connection_lost(self, exc):
        gc.collect()
        self.transport = None

def life(steps, end):
    loop = new_event_loop()
    server = loop.run_until_complete(loop.create_server(Protocol, "127.0.0.1", 0))
    peers = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(4)]
    kept = [loop.run_until_complete(loop.create_connection(Protocol, sock=peers.pop()))]
    for step in range(steps):
        loop.call_later(0, gc.collect)
        loop.stop()
        loop.run_forever()
        if step % 2:
            peers[0].send(b"y")
    end(loop, server, peers, kept)
    for peer in peers:
        peer.close()
    del loop, server, kept
    gc.collect()

def close_loop(loop, server, peers, kept):
    loop.close()

def close_server_and_loop(loop, server, peers, kept):
    server.close()
    loop.close()

def close_all(loop, server, peers, kept):
    kept[0][0].close()
    server.close()
    loop.close()

def close_peers(loop, server, peers, kept):
    for peer in peers:
        peer.close()
    loop.close()

def drop(loop, server, peers, kept):
    kept.clear()

for steps in range(8):
    for end in (close_loop, close_server_and_loop, close_all, close_peers, drop):
        life(steps, end)
print("alive")
"""


def test_loop_closed_with_connections_in_every_state(run_script):
    """uvloop #706, #538, #83, #469: segmentation faults when a loop was closed or freed."""
    result = run_script(ENDS)
    assert (result.stdout, result.returncode) == ("alive\n", 0), result.stderr


def test_contexts_of_connections_are_freed(loop, turn):
    """uvloop #191, #220: the context of a connection, and what it refers to, stayed for ever."""

    class Value:
        pass

    variable = contextvars.ContextVar("variable")
    value = Value()
    watching = weakref.ref(value)

    def connect(value):
        variable.set(value)
        left, right = unix_pair()
        connecting = loop.create_task(loop.create_connection(Recorder, sock=left))
        return connecting, right

    connecting, right = contextvars.copy_context().run(connect, value)
    transport, protocol = run(loop, connecting)
    right.send(b"x")
    turn()
    assert protocol.received == b"x"
    transport.close()
    turn()
    right.close()
    del value, connecting, transport, protocol
    gc.collect()
    assert watching() is None


def test_interrupt_while_serving(run_script):
    """uvloop #295: Ctrl-C was ignored while the loop waited."""
    result = run_script("""
import os, signal, threading
loop = new_event_loop()
server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    loop.run_forever()
except KeyboardInterrupt:
    print("interrupted")
server.close()
loop.run_until_complete(server.wait_closed())
loop.close()
""")
    assert (result.stdout, result.stderr) == ("interrupted\n", "")


@pytest.mark.parametrize("name", ["happy_eyeballs_delay", "interleave", "all_errors"])
def test_arguments_of_create_connection(impl, loop, name):
    """uvloop #406: some arguments of asyncio's were missing."""
    if name == "all_errors" and sys.version_info < (3, 12):
        pytest.skip("new in Python 3.12")
    assert name in inspect.signature(type(loop).create_connection).parameters


def test_close_clients(impl, loop):
    """uvloop #683: Server.close_clients() was missing."""
    if impl.name == "asyncio" and sys.version_info < (3, 13):
        pytest.skip("asyncio has it since Python 3.13")
    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[-1]

    server = run(loop, loop.create_server(factory, "127.0.0.1", 0))
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        run_until(loop, lambda: protocols and protocols[0].transport)
        server.close()
        server.close_clients()
        run_until(loop, lambda: protocols[0].lost)
        assert client.recv(1) == b""
    run(loop, server.wait_closed())


# rloop


class Failure(Exception):
    pass


def test_exception_in_a_servers_factory(impl, run_script):
    """rloop: an exception in protocol_factory() aborted the process."""
    result = run_script("""
import socket, warnings
warnings.simplefilter("ignore")
calls = []
def factory():
    calls.append(1)
    raise ValueError
loop = new_event_loop()
server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
for count in (1, 2):
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        while len(calls) < count:
            loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
server.close()
loop.run_until_complete(server.wait_closed())
loop.close()
print("alive")
""")
    assert (result.stdout, result.returncode) == ("alive\n", 0), result.stderr


def test_exception_in_a_clients_factory(loop):
    """rloop: likewise; it is create_connection() that raises it."""

    def factory():
        raise Failure

    left, right = unix_pair()
    with left, right, pytest.raises(Failure):
        run(loop, loop.create_connection(factory, sock=left))


def test_exception_in_data_received(connect, turn, reported):
    """rloop: it was never reported, and connection_lost() never came."""

    def fail(_):
        raise Failure

    connection = connect(Recorder(data_received=fail))
    connection.peer.send(b"x")
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, Failure)
    assert [context["exception"] for context in reported] == [connection.protocol.reason]


def test_interrupted_waits(loop, connect):
    """rloop #39: a signal that interrupted the wait ended the loop with an error."""
    hits = []
    before = signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
    connection = connect()
    try:
        for number in range(5):
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            loop.call_later(0.02, connection.peer.send, b"x")
            run_until_received(loop, connection.protocol, number + 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(hits) == 5 and connection.protocol.received == b"xxxxx"


def run_until_received(loop, protocol, count):
    """Run the loop, which has to wait, until so much has arrived."""
    protocol.on["data_received"] = lambda _: len(protocol.received) < count or loop.stop()
    giving_up = loop.call_later(10, loop.stop)
    loop.run_forever()
    giving_up.cancel()


# talyn


def test_small_writes_do_not_wait_for_each_other(loop):
    """talyn: without TCP_NODELAY a message written in two parts took 43 ms.  Both ends have it on."""
    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[-1]

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        await loop.create_connection(factory, *server.sockets[0].getsockname())
        while len(protocols) < 2 or not all(protocol.transport for protocol in protocols):
            await asyncio.sleep(0)
        for protocol in protocols:
            sock = protocol.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            protocol.transport.close()
        while not all(protocol.lost for protocol in protocols):
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()

    run(loop, main())


# aiofastnet


def test_greedy_reads_do_not_starve_the_consumer(loop):
    """aiofastnet #62: whoever always has more to send kept everybody else from running, and buffers grew."""
    left, right = unix_pair()
    piece = bytes(65536)
    waiting = []

    def send_more():
        try:
            while True:
                right.send(piece)
        except BlockingIOError:
            pass

    async def consume():
        reader, writer = await asyncio.open_connection(sock=left, limit=65536)
        loop.add_writer(right, send_more)
        for _ in range(200):
            await reader.readexactly(10_000)
            waiting.append(len(reader._buffer))
        loop.remove_writer(right)
        writer.transport.abort()
        await asyncio.sleep(0)

    run(loop, consume())
    assert max(waiting) <= 2 * 65536 + 256 * 1024
    right.close()


def test_greedy_reads_let_callbacks_run(loop, connection, turn):
    """aiofastnet #62: one read for each connection in a turn."""
    ticks = []

    def tick():
        ticks.append(len(connection.protocol.received))
        try:
            connection.peer.send(bytes(300_000))
        except BlockingIOError:
            pass
        loop.call_soon(tick)

    loop.call_soon(tick)
    turn(50)
    assert len(ticks) == 50 and connection.protocol.names.count("data_received") <= 50


# All


def test_bytes_accepted_are_bytes_sent(loop, connect):
    """What several loops lose when a transport is closed, aborted or switched while it sends: nothing here."""
    data = random.Random(4).randbytes(2_000_000)
    connection = connect(sndbuf=1)
    connection.transport.write(data)
    connection.transport.set_protocol(Recorder())
    connection.transport.close()
    assert run(loop, receive_all(loop, connection.peer)) == data
    assert at_end(connection.peer) and receive(connection.peer) == b""
    connection.protocol = Recorder()
