"""Servers with ssl=: connections appear after their handshake; those whose handshake fails leave nothing behind."""

import asyncio
import contextvars
import gc
import socket
import ssl
import sys

import pytest
import trustme
from support.net import TIMEOUT, Recorder, at_end, open_fds, run, run_until
from support.serving import Service, settle

NAME = "server.example"
MESSAGE = "Error on transport creation for incoming connection"
SINCE_313 = sys.version_info >= (3, 13)


@pytest.fixture(scope="module")
def contexts():
    """The context of a server and of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(NAME).configure_cert(server)
    authority.configure_trust(client)
    return server, client


class TlsService(Service):
    """A service whose clients are connections of the same loop, with TLS."""

    def __init__(self, loop, contexts):
        super().__init__(loop)
        self.server_context, self.client_context = contexts

    def start(self, **options):
        return super().start(ssl=self.server_context, **options)

    def open(self, server=None):
        """Return the protocols of both ends of a new connection, the server's first."""
        server = server or self.servers[-1]
        before = len(self.protocols)
        name = server.sockets[0].getsockname()
        options = {"ssl": self.client_context, "server_hostname": NAME}
        if isinstance(name, tuple):
            creation = self.loop.create_connection(Recorder, *name, **options)
        else:
            creation = self.loop.create_unix_connection(Recorder, name, **options)
        _, client = run(self.loop, creation)
        run_until(self.loop, lambda: self.protocols[before:] and self.protocols[before].transport)
        self.others.append(client)
        return self.protocols[before], client

    def end(self):
        super().end()
        for client in self.others:
            client.transport.abort()
        run_until(self.loop, lambda: all(client.lost for client in self.others))


@pytest.fixture
def service(loop, contexts):
    service = TlsService(loop, contexts)
    service.others = []
    yield service
    service.end()


def silent(service):
    """A raw client that is connected but says nothing; its protocol was made."""
    before = len(service.protocols)
    client = service.call()
    run_until(service.loop, lambda: len(service.protocols) == before + 1)
    return client


def test_connection(loop, service):
    server = service.start()
    assert server._ssl_context is service.server_context
    protocol, client = service.open()
    transport = protocol.transport
    assert transport.get_extra_info("sslcontext") is service.server_context
    assert transport.get_extra_info("ssl_object").server_side
    assert transport.get_extra_info("peername") == client.transport.get_extra_info("sockname")
    client.transport.write(b"hello")
    run_until(loop, lambda: protocol.received == b"hello")
    transport.write(b"world")
    run_until(loop, lambda: client.received == b"world")
    transport.close()
    run_until(loop, lambda: protocol.lost and client.lost)
    assert protocol.names[:2] == ["connection_made", "data_received"]
    assert protocol.reason is None and client.reason is None


def test_unix_server(loop, service, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    service.start_unix("socket", ssl=service.server_context)
    protocol, client = service.open()
    client.transport.write(b"hello")
    run_until(loop, lambda: protocol.received == b"hello")


def test_several_clients(loop, service):
    service.start()
    connections = [service.open() for _ in range(5)]
    for number, (_, client) in enumerate(connections):
        client.transport.write(b"%d" % number)
    for number, (protocol, _) in enumerate(connections):
        run_until(loop, lambda p=protocol, n=number: p.received == b"%d" % n)


def test_connection_made_waits_for_the_handshake(loop, service):
    """A client that says nothing holds up nobody."""
    service.start()
    client = silent(service)
    settle(loop)
    waiting = service.protocols[0]
    assert waiting.names == []
    service.open()
    client.close()
    settle(loop)
    assert waiting.names == []


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("words", [b"GET / HTTP/1.0\r\n\r\n", None], ids=["no TLS", "nothing"])
def test_handshake_fails(loop, service, reported, debug, words):
    """The protocol never hears of it, and the log only in debug mode."""
    loop.set_debug(debug)
    service.start()
    before = open_fds()
    client = silent(service)
    if words is not None:
        client.send(words)
        run_until(loop, lambda: len(open_fds()) == len(before) + 1)
    client.close()
    run_until(loop, lambda: open_fds() == before)
    settle(loop)
    assert service.protocols[0].calls == []
    failures = [context for context in reported if context["message"] == MESSAGE]
    assert len(failures) == debug
    if debug:
        assert isinstance(failures[0]["exception"], (ssl.SSLError, ConnectionError))
        assert failures[0]["protocol"] is service.protocols[0]
        assert isinstance(failures[0]["transport"], asyncio.Transport)
    assert len(reported) == len(failures)
    service.open()
    del failures
    reported.clear()
    gc.collect()


def test_handshake_timeout(loop, service):
    service.start(ssl_handshake_timeout=0.01)
    client = silent(service)
    run_until(loop, lambda: is_disconnected(client))
    assert service.protocols[0].calls == []


def is_disconnected(sock):
    try:
        return at_end(sock)
    except ConnectionResetError:
        return True


def test_timeouts_are_kept(service):
    server = service.start(ssl_handshake_timeout=3, ssl_shutdown_timeout=4)
    assert server._ssl_handshake_timeout == 3
    assert server._ssl_shutdown_timeout == 4


@pytest.mark.filterwarnings("ignore")  # asyncio leaves that socket to the collector
@pytest.mark.parametrize("debug", [False, True])
def test_protocol_factory_fails(impl, loop, service, reported, debug):
    """That client is disconnected, others are served.  asyncio says so in debug mode only."""
    loop.set_debug(debug)
    failures = [ZeroDivisionError("no protocol")]

    def factory():
        if failures:
            raise failures.pop()
        return service.make_protocol()

    service.start(factory=factory)
    failed = service.call()
    service.open()
    if impl.name == "fastloop":
        run_until(loop, lambda: is_disconnected(failed))
    assert [context["message"] for context in reported] == [MESSAGE] * (debug or impl.name == "fastloop")
    reported.clear()
    gc.collect()


def test_server_closed_during_a_handshake(loop, service):
    """Who was accepted is served, and counts as a client."""
    server = service.start()
    creation = loop.create_connection(
        Recorder, *server.sockets[0].getsockname(), ssl=service.client_context, server_hostname=NAME
    )
    task = loop.create_task(creation)
    run_until(loop, lambda: service.protocols)
    server.close()
    _, client = run(loop, task)
    service.others.append(client)
    run_until(loop, lambda: service.protocols[0].transport)
    if sys.version_info >= (3, 12):
        waiting = loop.create_task(server.wait_closed())
        settle(loop)
        assert not waiting.done()
        client.transport.close()
        run(loop, waiting)


def test_close_clients(impl, loop, service):
    """Those in the middle of their handshake too."""
    if impl.name == "asyncio" and not SINCE_313:
        pytest.skip("asyncio has it from Python 3.13 on")
    server = service.start()
    protocol, client = service.open()
    waiting = silent(service)
    server.close()
    server.close_clients()
    run(loop, server.wait_closed())
    run_until(loop, lambda: protocol.lost and client.lost and is_disconnected(waiting))
    assert service.protocols[1].calls == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="wait_closed() returns at once up to Python 3.11")
def test_close_clients_waits_for_no_peer(impl, loop, service):
    """A client that is connected and does not answer would hold a server up for the whole shutdown timeout."""
    if impl.name == "asyncio" and not SINCE_313:
        pytest.skip("asyncio has it from Python 3.13 on")
    server = service.start()
    protocol, client = service.open()
    client.transport.pause_reading()  # and so it does not answer the close_notify
    data = bytes(100_000)
    protocol.transport.write(data)
    server.close()
    server.close_clients()
    began = loop.time()
    run(loop, server.wait_closed())
    assert protocol.calls[-1] == ("connection_lost", None)
    assert loop.time() - began < 20  # the shutdown timeout is 30 s
    client.transport.resume_reading()
    run_until(loop, lambda: client.lost)
    assert client.received == data


def test_close_clients_when_they_are_closing(impl, loop, service):
    """Those that wait for their peer's close_notify do not any longer."""
    if impl.name == "asyncio" and not SINCE_313:
        pytest.skip("asyncio has it from Python 3.13 on")
    server = service.start()
    protocol, client = service.open()
    client.transport.pause_reading()
    protocol.transport.close()
    settle(loop)
    assert not protocol.lost
    server.close_clients()
    run_until(loop, lambda: protocol.lost)
    assert protocol.calls[-1] == ("connection_lost", None)


def test_run_ends_during_a_handshake(impl):
    """What the end of a run cancels is the handshake too: nothing is left of the connection."""

    async def main():
        server = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 0, ssl=context)
        sock = socket.create_connection(server.sockets[0].getsockname())
        await asyncio.sleep(0.01)
        server.close()
        return sock

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
        sock = runner.run(main())
    with sock:
        sock.settimeout(TIMEOUT)
        assert at_end(sock)


def test_a_task_factory_that_fails(impl, loop, service, turn, reported):
    """The connection does not come about, nor does anything stay open."""
    if impl.name == "asyncio":
        pytest.skip("asyncio forgets the socket")
    service.start()
    loop.set_task_factory(lambda *args, **kwargs: 1 / 0)
    waiting = service.call()
    while not reported:
        turn()
    loop.set_task_factory(None)
    run_until(loop, lambda: is_disconnected(waiting))
    gc.collect()
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    reported.clear()


NUMBER = contextvars.ContextVar("number", default=0)


def test_connections_run_in_a_copy_of_the_servers_context(loop, service):
    seen = []

    def note(*args):
        seen.append(NUMBER.get())
        NUMBER.set(NUMBER.get() + 1)

    def factory():
        note()
        return service.make_protocol()

    async def serve():
        NUMBER.set(100)
        return await loop.create_server(factory, "127.0.0.1", 0, ssl=service.server_context)

    service.on["connection_made"] = note
    service.servers.append(run(loop, serve()))
    service.open()
    service.open()
    assert seen == [100, 101, 100, 101]


def test_streams(loop, service):
    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async def main():
        async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=service.server_context) as server:
            name = server.sockets[0].getsockname()
            options = {"ssl": service.client_context, "server_hostname": NAME}
            reader, writer = await asyncio.open_connection(*name, **options)
            for line in (b"one\n", b"x" * 50_000 + b"\n"):
                writer.write(line)
                assert await reader.readline() == line
            writer.close()
            await writer.wait_closed()
        await server.wait_closed()

    run(loop, main())
