"""The Server that create_server() returns: whom it accepts, how it serves, how it ends."""

import asyncio
import contextvars
import errno
import gc
import os
import re
import resource
import socket
import sys
from asyncio import trsock

import pytest
from support.net import Recorder, at_end, receive, receive_exactly, reset, run, run_until
from support.serving import Service, settle

SINCE_312 = sys.version_info >= (3, 12)
SINCE_313 = sys.version_info >= (3, 13)
SINCE_315 = sys.version_info >= (3, 15)


@pytest.fixture
def service(loop):
    service = Service(loop)
    yield service
    service.end()


@pytest.fixture
def has_client_methods(impl):
    """Skips the test where asyncio has no close_clients() yet."""
    if impl.name == "asyncio" and not SINCE_313:
        pytest.skip("asyncio has it from Python 3.13 on")


def is_done(loop, task):
    """Whether a task is done after some turns."""
    settle(loop)
    return task.done()


# What it is.


def test_server_is_an_abstract_server(loop, service):
    server = service.start()
    assert isinstance(server, asyncio.AbstractServer)
    assert server.get_loop() is loop
    assert server.is_serving() is True
    server.attribute = 1


def test_sockets(service):
    server = service.start()
    [sock] = server.sockets
    assert isinstance(server.sockets, tuple)
    assert type(sock) is trsock.TransportSocket
    assert sock.type == socket.SOCK_STREAM
    assert sock.gettimeout() == 0
    assert not os.get_inheritable(sock.fileno())
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_repr(service):
    server = service.start()
    assert repr(server) == f"<Server sockets={server.sockets!r}>"
    server.close()
    assert repr(server) == "<Server sockets=()>"


def test_private_names_that_others_read(impl, loop, service):
    server = service.start(backlog=7)
    assert server._loop is loop
    assert [sock.fileno() for sock in server._sockets] == [sock.fileno() for sock in server.sockets]
    assert server._waiters == []
    assert server._serving is True
    assert server._serving_forever_fut is None
    assert server._protocol_factory == service.make_protocol
    assert server._backlog == 7
    assert server._ssl_context is None
    assert server._ssl_handshake_timeout is None
    assert server._ssl_shutdown_timeout is None
    server.close()
    assert server._sockets is None
    assert server._waiters is None


def test_active_count(impl, service):
    if impl.name == "asyncio" and SINCE_313:
        pytest.skip("asyncio has it up to Python 3.12")
    server = service.start()
    assert server._active_count == 0
    _, client = service.connect()
    other, _ = service.connect()
    assert server._active_count == 2
    client.close()
    other.transport.abort()
    run_until(service.loop, lambda: server._active_count == 0)
    assert [protocol.lost for protocol in service.protocols] == [True, True]


def test_server_lives_without_references(loop, service):
    service.start()
    address = service.servers[0].sockets[0].getsockname()
    del service.servers[:]
    gc.collect()
    client = socket.create_connection(address)
    service.clients.append(client)
    run_until(loop, lambda: service.protocols and service.protocols[0].transport)
    service.servers.append(service.protocols[0].transport._server)


# Connections.


def test_connection_is_accepted(loop, service):
    protocol, client = service.connect(service.start())
    transport = protocol.transport
    assert isinstance(transport, asyncio.Transport)
    assert transport.get_protocol() is protocol
    assert transport.get_extra_info("peername") == client.getsockname()
    assert transport.get_extra_info("sockname") == client.getpeername()
    sock = transport.get_extra_info("socket")
    assert type(sock) is trsock.TransportSocket
    assert sock.gettimeout() == 0
    assert not os.get_inheritable(sock.fileno())
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert transport._server is service.servers[0]


def test_data_goes_both_ways(loop, service):
    service.on["data_received"] = lambda data: service.protocols[0].transport.write(data.upper())
    protocol, client = service.connect(service.start())
    client.send(b"hello")
    assert run(loop, receive_exactly(loop, client, 5)) == b"HELLO"
    client.shutdown(socket.SHUT_WR)
    run_until(loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.reason is None
    assert at_end(client)


def test_data_that_came_before_the_connection_was_accepted(loop, service):
    service.start()
    client = service.call()
    client.send(b"early")
    run_until(loop, lambda: service.protocols and service.protocols[0].received)
    assert service.protocols[0].names == ["connection_made", "data_received"]


def test_client_that_left_before_it_was_accepted(loop, service):
    service.start()
    client = service.call()
    client.send(b"gone")
    client.close()
    run_until(loop, lambda: service.protocols and service.protocols[0].lost)
    [protocol] = service.protocols
    assert protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.received == b"gone"


def test_client_that_reset_before_it_was_accepted(loop, service):
    service.start()
    client = service.call()
    reset(client)
    run_until(loop, lambda: service.protocols and service.protocols[0].lost)
    [protocol] = service.protocols
    assert protocol.names == ["connection_made", "connection_lost"]
    assert isinstance(protocol.reason, ConnectionResetError)


@pytest.mark.parametrize("backlog", [1, 3, 100])
def test_many_clients_at_once(loop, service, backlog):
    """More than one turn accepts when there are more than the backlog; every client is served."""
    service.on["data_received"] = lambda data: None
    server = service.start(backlog=backlog)
    clients = [service.call(server) for _ in range(min(backlog, 20))]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    run_until(loop, lambda: sum(bool(protocol.received) for protocol in service.protocols) == len(clients))
    received = {bytes(protocol.received) for protocol in service.protocols}
    assert received == {b"%d" % number for number in range(len(clients))}
    peers = {protocol.transport.get_extra_info("peername") for protocol in service.protocols}
    assert peers == {client.getsockname() for client in clients}


def test_clients_one_after_the_other(loop, service):
    server = service.start()
    for number in range(20):
        protocol, client = service.connect(server)
        client.close()
        run_until(loop, lambda p=protocol: p.lost)
        assert len(service.protocols) == number + 1


def test_backlog_is_that_of_the_socket(service):
    server = service.start(backlog=17)
    info = server.sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    assert int.from_bytes(info[28:32], sys.byteorder) == 17  # tcpi_sacked, when listening


def test_set_protocol_in_connection_made(loop, service):
    later = Recorder()
    service.on["connection_made"] = lambda transport: transport.set_protocol(later)
    protocol, client = service.connect(service.start())
    client.send(b"data")
    run_until(loop, lambda: later.received)
    client.close()
    run_until(loop, lambda: later.lost)
    assert protocol.names == ["connection_made"]
    protocol.transport = None


@pytest.mark.parametrize("way", ["close", "abort"])
def test_transport_ended_in_connection_made(loop, service, way):
    service.on["connection_made"] = lambda transport: getattr(transport, way)()
    protocol, client = service.connect(service.start())
    run_until(loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "connection_lost"]
    assert protocol.reason is None
    run_until(loop, lambda: at_end(client))


# Failing protocols.


def failing_first(service, failure):
    """A protocol factory that raises `failure` at its first call."""
    failures = [failure]

    def factory():
        if failures:
            raise failures.pop()
        return service.make_protocol()

    return factory


@pytest.mark.filterwarnings("ignore")  # asyncio leaves that socket to the collector
@pytest.mark.parametrize("debug", [False, True])
def test_protocol_factory_fails(impl, loop, service, reported, debug):
    """That client is disconnected, others are served.  asyncio says so in debug mode only."""
    loop.set_debug(debug)
    service.start(factory=failing_first(service, ZeroDivisionError("no protocol")))
    failed = service.call()
    service.connect()
    if impl.name == "fastloop":
        run_until(loop, lambda: at_end(failed))
    assert len(reported) == (debug or impl.name == "fastloop")
    if reported:
        assert reported[0]["message"] == "Error on transport creation for incoming connection"
        assert str(reported[0]["exception"]) == "no protocol"
        assert "protocol" not in reported[0] and "transport" not in reported[0]
        reported.clear()
    gc.collect()


@pytest.mark.filterwarnings("ignore")  # as above
def test_protocol_factory_interrupts(loop, service):
    """KeyboardInterrupt leaves run_forever; the server goes on."""
    service.start(factory=failing_first(service, KeyboardInterrupt()))
    service.call()
    with pytest.raises(KeyboardInterrupt):
        run(loop, asyncio.sleep(10))
    gc.collect()
    service.connect()


def test_connection_made_fails(loop, service, reported):
    """It is reported; the connection stays."""
    service.on["connection_made"] = lambda transport: 1 / 0
    protocol, client = service.connect(service.start())
    assert [str(context["exception"]) for context in reported] == ["division by zero"]
    client.send(b"data")
    run_until(loop, lambda: protocol.received)
    assert not protocol.lost


# Serving.


def test_start_serving_later(loop, service):
    server = service.start(start_serving=False)
    address = server.sockets[0].getsockname()
    assert server.is_serving() is False
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    assert run(loop, server.start_serving()) is None
    assert server.is_serving() is True
    service.connect()
    run(loop, server.start_serving())
    service.connect()


def test_serving_is_logged_in_debug_mode(loop, service, caplog):
    loop.set_debug(True)
    with caplog.at_level("INFO", logger="asyncio"):
        server = service.start()
    assert f"{server!r} is serving" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("start", [False, True])
def test_serve_forever(loop, service, start):
    server = service.start(start_serving=start)
    task = loop.create_task(server.serve_forever())
    assert not is_done(loop, task)
    assert server.is_serving() is True
    protocol, client = service.connect()
    client.close()
    run_until(loop, lambda: protocol.lost)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as caught:
        run(loop, task)
    assert caught.value.args == ("enough",)
    assert server.is_serving() is False
    assert server.sockets == ()
    assert server._serving_forever_fut is None


def test_serve_forever_twice(loop, service):
    server = service.start()
    task = loop.create_task(server.serve_forever())
    assert not is_done(loop, task)
    message = re.escape(f"server {server!r} is already being awaited on serve_forever()")
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        run(loop, server.serve_forever())
    task.cancel()
    assert is_done(loop, task)
    message = re.escape("server <Server sockets=()> is closed")
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        run(loop, server.serve_forever())


def test_close_ends_serve_forever(loop, service):
    server = service.start()
    task = loop.create_task(server.serve_forever())
    assert not is_done(loop, task)
    server.close()
    with pytest.raises(asyncio.CancelledError):
        run(loop, task)


def test_serve_forever_cancelled_with_clients(loop, service):
    """From Python 3.13.1 on the clients are closed; 3.12 waits for them, 3.11 lets them be."""
    server = service.start()
    task = loop.create_task(server.serve_forever())
    protocol, client = service.connect()
    task.cancel()
    if (3, 12) <= sys.version_info < (3, 13, 1):
        if sys.version_info < (3, 12, 8) or sys.version_info >= (3, 13):
            assert not is_done(loop, task)
            client.close()
    with pytest.raises(asyncio.CancelledError):
        run(loop, task)
    assert protocol.lost is SINCE_312


def test_protocol_may_close_its_server(loop, service):
    service.on["connection_made"] = lambda transport: service.servers[0].close()
    protocol, client = service.connect(service.start())
    assert service.servers[0].sockets == ()
    client.send(b"still")
    run_until(loop, lambda: protocol.received == b"still")


def test_server_closed_while_clients_wait(loop, service):
    """Clients that were not accepted are disconnected, none is half accepted."""
    server = service.start()
    clients = [service.call() for _ in range(3)]
    server.close()
    run_until(loop, lambda: all(is_disconnected(client) for client in clients))
    assert service.protocols == []


def is_disconnected(sock):
    try:
        return at_end(sock)
    except ConnectionResetError:
        return True


def test_server_closed_by_the_first_protocol_of_many(loop, service):
    """No matter how many were accepted by then: each has its connection_made, or is disconnected."""
    server = service.start()
    service.on["connection_made"] = lambda transport: server.close()
    clients = [service.call() for _ in range(5)]
    run_until(loop, lambda: service.protocols and service.protocols[0].transport)
    settle(loop)
    accepted = {p.transport.get_extra_info("peername") for p in service.protocols if p.transport}
    assert accepted
    for client in clients:
        assert (client.getsockname() in accepted) is not is_disconnected(client)


# Closing.


def test_close(loop, service):
    server = service.start()
    [sock] = server.sockets
    address = sock.getsockname()
    assert server.close() is None
    assert server.sockets == ()
    assert server.is_serving() is False
    assert sock.fileno() == -1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    server.close()


def test_close_before_serving(loop, service):
    server = service.start(start_serving=False)
    [sock] = server.sockets
    server.close()
    assert sock.fileno() == -1
    run(loop, server.wait_closed())


def test_connections_outlive_the_server(loop, service):
    protocol, client = service.connect(service.start())
    service.servers[0].close()
    client.send(b"hello")
    run_until(loop, lambda: protocol.received == b"hello")
    protocol.transport.write(b"world")
    assert run(loop, receive_exactly(loop, client, 5)) == b"world"


def test_new_server_on_the_old_port(loop, service):
    first = service.start()
    port = first.sockets[0].getsockname()[1]
    service.connect()
    first.close()
    service.connect(service.start(port=port))


def test_wait_closed_waits_for_close(loop, service):
    server = service.start()
    waiting = [loop.create_task(server.wait_closed()) for _ in range(3)]
    assert not is_done(loop, waiting[0])
    waiting[1].cancel()
    assert not is_done(loop, waiting[0])
    server.close()
    assert run(loop, waiting[0]) is None
    assert is_done(loop, waiting[2])
    run(loop, server.wait_closed())


def test_wait_closed_waits_for_clients(loop, service):
    """From Python 3.12 on; but waiting that began before close() did so on 3.11 already."""
    server = service.start()
    first, _ = service.connect()
    second, client = service.connect()
    before = loop.create_task(server.wait_closed())
    assert not is_done(loop, before)
    server.close()
    after = loop.create_task(server.wait_closed())
    assert is_done(loop, after) is not SINCE_312
    first.transport.abort()
    run_until(loop, lambda: first.lost)
    assert not is_done(loop, before)
    client.close()
    run(loop, before)
    run(loop, after)
    assert second.lost
    run(loop, server.wait_closed())


def test_wait_closed_waits_while_data_is_sent(loop, service):
    """A closing transport with unsent data counts as a client until its last byte is gone."""
    protocol, client = service.connect(service.start())
    size = 20_000_000
    protocol.transport.write(bytes(size))
    protocol.transport.close()
    task = loop.create_task(service.servers[0].wait_closed())
    assert not is_done(loop, task)
    service.servers[0].close()
    assert not is_done(loop, task)
    data = run(loop, receive_exactly(loop, client, size))
    assert len(data) == size
    run(loop, task)


def test_context_manager(loop, service):
    async def serve():
        async with await loop.create_server(service.make_protocol, "127.0.0.1", 0) as server:
            [sock] = server.sockets
            assert server.is_serving()
        assert not server.is_serving()
        assert sock.fileno() == -1

    run(loop, serve())


def test_close_clients(loop, service, has_client_methods):
    """Closed as by transport.close(): what was written arrives."""
    server = service.start()
    connections = [service.connect() for _ in range(3)]
    for protocol, _ in connections:
        protocol.transport.write(b"last words")
    assert server.close_clients() is None
    assert all(protocol.transport.is_closing() for protocol, _ in connections)
    assert server.is_serving()
    for protocol, client in connections:
        run_until(loop, lambda p=protocol: p.lost)
        assert protocol.reason is None
        assert run(loop, receive_exactly(loop, client, 10)) == b"last words"
        assert at_end(client)
    assert not service.connect()[0].lost


def test_abort_clients(loop, service, has_client_methods):
    """Aborted as by transport.abort(): what the kernel has not taken is lost."""
    server = service.start()
    protocol, client = service.connect()
    protocol.transport.write(bytes(20_000_000))
    assert server.abort_clients() is None
    assert protocol.transport.is_closing()
    run_until(loop, lambda: protocol.lost)
    assert protocol.reason is None
    assert len(receive(client)) < 20_000_000


def test_close_clients_of_an_idle_server(loop, service, has_client_methods):
    server = service.start()
    server.close_clients()
    server.abort_clients()
    server.close()
    server.close_clients()
    server.abort_clients()


def test_close_clients_after_close(loop, service, has_client_methods):
    server = service.start()
    protocol, _ = service.connect()
    server.close()
    server.close_clients()
    run(loop, server.wait_closed())
    assert protocol.lost


def test_close_clients_whose_protocol_makes_trouble(loop, service, reported, has_client_methods):
    """connection_lost() that fails does not keep the server from being closed."""
    service.on["connection_lost"] = lambda exc: 1 / 0
    server = service.start()
    service.connect()
    service.connect()
    server.close()
    server.abort_clients()
    run(loop, server.wait_closed())
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError] * 2


def test_loop_closed_while_serving(impl, service):
    if impl.name == "asyncio":
        pytest.skip("asyncio's server cannot be closed any more")
    server = service.start()
    [sock] = server.sockets
    service.loop.close()
    server.close()
    assert sock.fileno() == -1


# Contexts.

NUMBER = contextvars.ContextVar("number", default=0)


def test_connections_run_in_a_copy_of_the_servers_context(loop, service):
    """Each in its own; from Python 3.15 on the server's is that of its maker, before that of its starter."""
    seen = []

    def note(*args):
        seen.append(NUMBER.get())
        NUMBER.set(NUMBER.get() + 1)

    def factory():
        note()
        return service.make_protocol()

    async def serve():
        NUMBER.set(100)
        server = await loop.create_server(factory, "127.0.0.1", 0, start_serving=False)
        NUMBER.set(200)
        await server.start_serving()
        return server

    service.on["connection_made"] = note
    service.servers.append(run(loop, serve()))
    base = 100 if SINCE_315 else 200
    service.connect()
    service.connect()
    assert seen == [base, base + 1, base, base + 1]
    assert NUMBER.get() == 0


# Running out of descriptors.


def test_no_descriptors_left(loop, service, reported):
    """It is reported, with the socket; who waits is accepted as soon as there are descriptors again."""
    server = service.start(backlog=1)
    client = service.call()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as file:
        lowest_free = file.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        run_until(loop, lambda: reported)
        settle(loop)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(reported) <= 2  # asyncio tries again at once, as often as the backlog
    for context in reported:
        assert context["message"] == "socket.accept() out of system resource"
        assert context["exception"].errno == errno.EMFILE
        assert context["socket"].fileno() == server.sockets[0].fileno()
    client.send(b"waited")
    run_until(loop, lambda: service.protocols and service.protocols[0].received == b"waited")
