"""Descriptors that run out, and descriptors that somebody closes under a transport."""

import contextlib
import errno
import gc
import itertools
import os

import pytest
from support.net import Recorder, at_end, open_fds, receive, run, run_until, unix_pair

EXHAUSTED = """
import errno, os, resource, socket, time

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

def exhaust():
    kept = []
    try:
        while True:
            kept.append(os.dup(0))
    except OSError as error:
        assert error.errno == errno.EMFILE
    return kept

async def main(loop, reports):
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    clients = [socket.socket() for _ in range(5)]
    kept = exhaust()
    for client in clients:
        client.setblocking(False)
        try:
            client.connect(server.sockets[0].getsockname())
        except BlockingIOError:
            pass
    while not reports:
        await asyncio.sleep(0)
    started, before = time.monotonic(), time.thread_time()
    os.close(kept.pop())  # the second's connection fits now, but the pause lasts
    await asyncio.sleep(0.5)
    assert time.thread_time() - before < 0.25, "busy while it pauses"
    for fd in kept:
        os.close(fd)
    for number, client in enumerate(clients):
        await loop.sock_sendall(client, b"%d" % number)
    for number, client in enumerate(clients):
        assert await loop.sock_recv(client, 10) == b"%d" % number
    assert time.monotonic() - started > 0.75, "no pause"
    for client in clients:
        client.close()
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        await loop.sock_sendall(client, b"more")
        assert await loop.sock_recv(client, 10) == b"more"
    server.close()
    await server.wait_closed()
    [described] = {(report["message"], type(report["exception"]), report["exception"].errno) for report in reports}
    assert described == ("socket.accept() out of system resource", OSError, errno.EMFILE), described
    assert {type(report["socket"]).__name__ for report in reports} == {"TransportSocket"}

resource.setrlimit(resource.RLIMIT_NOFILE, (50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
before = len(os.listdir("/proc/self/fd"))
loop = new_event_loop()
reports = []
loop.set_exception_handler(lambda _loop, context: reports.append(context))
loop.run_until_complete(asyncio.wait_for(main(loop, reports), 20))
loop.run_until_complete(asyncio.sleep(0.01))
loop.close()
reports.clear()
assert len(os.listdir("/proc/self/fd")) == before
print("served")
"""


def test_no_descriptors_while_clients_wait(run_script):
    """Accepting is reported and pauses for a second; then everybody who waited is served."""
    result = run_script(EXHAUSTED)
    assert (result.stdout, result.stderr, result.returncode) == ("served\n", "", 0)


EXHAUSTED_CLIENT = """
import errno, os, resource, socket

async def main(loop):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    kept = []
    try:
        while True:
            kept.append(os.dup(0))
    except OSError:
        pass
    try:
        await loop.create_connection(asyncio.Protocol, *address)
    except OSError as error:
        print(errno.errorcode[error.errno])
    for fd in kept:
        os.close(fd)
    transport, _ = await loop.create_connection(asyncio.Protocol, *address)
    transport.close()
    server.close()
    await server.wait_closed()

resource.setrlimit(resource.RLIMIT_NOFILE, (30, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
loop = new_event_loop()
loop.run_until_complete(asyncio.wait_for(main(loop), 20))
loop.run_until_complete(asyncio.sleep(0.01))
loop.close()
"""


def test_no_descriptor_for_a_client(run_script):
    result = run_script(EXHAUSTED_CLIENT)
    assert (result.stdout, result.stderr, result.returncode) == ("EMFILE\n", "", 0)


# Closed under the transport.


@pytest.fixture
def close_number(impl):
    """A function that closes the descriptor of a connection's transport by its number."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's registrations and its own clean-up fail when the number is closed")
    return lambda connection: os.close(connection.transport.get_extra_info("socket").fileno())


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_write_to_a_closed_number(connection, turn, reported, size, close_number):
    close_number(connection)
    connection.transport.write(bytes(size))
    connection.run_until_lost()
    turn(2)
    assert connection.protocol.names.count("connection_lost") == 1
    assert connection.protocol.reason.errno == errno.EBADF
    assert at_end(connection.peer)


def test_write_to_a_closed_number_in_a_callback(loop, connection, turn, close_number):
    close_number(connection)
    loop.call_soon(connection.transport.write, b"one")
    loop.call_soon(connection.transport.write, b"two")
    connection.run_until_lost()
    assert connection.protocol.reason.errno == errno.EBADF


@pytest.mark.parametrize("method", ["close", "abort"])
def test_end_of_a_closed_number(connection, turn, reported, method, close_number):
    """The descriptor cannot be closed again, which is reported; connection_lost() comes all the same."""
    close_number(connection)
    getattr(connection.transport, method)()
    turn(3)
    assert connection.protocol.names == ["connection_made", "connection_lost"]
    assert connection.protocol.reason is None
    assert [context["exception"].errno for context in reported] in ([], [errno.EBADF])


def test_pause_and_resume_of_a_closed_number(connection, turn, reported, close_number):
    close_number(connection)
    connection.transport.pause_reading()
    turn()
    try:
        connection.transport.resume_reading()
    except OSError as error:
        assert error.errno == errno.EBADF
    turn()
    connection.transport.abort()
    turn(2)
    assert connection.protocol.names.count("connection_lost") == 1


def test_closed_number_with_data_that_waits(connection, turn, close_number):
    connection.fill()
    close_number(connection)
    connection.transport.write(b"more")
    connection.transport.abort()
    turn()
    turn()
    assert connection.protocol.reason is None and connection.transport.get_write_buffer_size() == 0


def test_other_connections_do_not_notice(connect, turn, close_number):
    one, other = connect(), connect()
    close_number(one)
    one.transport.write(b"x")
    other.peer.send(b"y")
    turn()
    other.transport.write(b"z")
    turn()
    assert other.protocol.received == b"y" and receive(other.peer) == b"z"


@contextlib.contextmanager
def heirs_of(number):
    """Connected pairs of sockets one of which got this number; nothing may have arrived, and they stay usable.

    Unless the number is still in use: then it has no heir.
    """
    in_use = number in open_fds()
    with contextlib.ExitStack() as stack:
        pairs = [unix_pair() for _ in range(3)]
        for sock in itertools.chain(*pairs):
            stack.enter_context(sock)
        assert in_use or number in [sock.fileno() for sock in itertools.chain(*pairs)]
        yield
        for one, other in pairs:
            assert receive(one) == receive(other) == b""
            assert one.send(b"x") == 1 and receive(other) == b"x"


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "sending"])
def test_socket_closed_by_who_made_it(impl, loop, turn, size, waiting):
    """Its number may belong to somebody else at once: nothing of the transport's may go there."""
    if impl.name == "asyncio" and waiting:
        pytest.skip("asyncio modifies a registration that is no longer there, and fails")
    left, right = unix_pair()
    with right:
        protocol = Recorder()
        transport, _ = run(loop, loop.create_connection(lambda: protocol, sock=left))
        if waiting:
            transport.write(bytes(1_000_000))
        number = left.fileno()
        left.close()
        with heirs_of(number):
            transport.write(b"secret" * size)
            for _ in range(3):
                receive(right)
                turn()
            transport.abort()
            turn(3)
        assert protocol.names.count("connection_lost") == 1


def test_number_is_closed_once(loop, turn):
    """A number that was given back may belong to another thread at once."""
    left, right = unix_pair()
    with right:
        transport, _ = run(loop, loop.create_connection(Recorder, sock=left))
        number = left.fileno()
        transport.close()
        turn()
        with heirs_of(number):
            transport.abort()
            left.close()
            del transport, left
            gc.collect()
            turn()


def test_socket_closed_while_it_connects(loop, turn):
    left, right = unix_pair()
    connecting = loop.create_task(loop.create_connection(BaseExceptionProtocol, sock=left))
    turn()
    left.close()
    run_until(loop, connecting.done)
    if connecting.exception() is None:
        connecting.result()[0].abort()
    turn(3)
    right.close()


class BaseExceptionProtocol:
    """The least that a protocol can be."""

    def connection_made(self, transport):
        pass

    def connection_lost(self, exc):
        pass
