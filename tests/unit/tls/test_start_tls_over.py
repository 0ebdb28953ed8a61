"""start_tls() over transports that are not plain ones of the loop: those with TLS already, and those of others."""

import asyncio
import socket
import ssl

import pytest
from support.addresses import asyncio_since
from support.net import Recorder, run, run_until
from support.tls import client_context, each_side, each_version

DATA = bytes(range(256)) * 1000


def secured_pair(tls, server, client, **options):
    """Begin TLS on both ends of a connection: their new transports, or exceptions."""

    async def main():
        return await asyncio.gather(
            tls.start(server, server.get_protocol(), server_side=True),
            tls.start(client, client.get_protocol(), **options),
            return_exceptions=True,
        )

    return run(tls.loop, main())


def close_pair(loop, *transports):
    """Close the first of two connected transports; what both protocols are told."""
    protocols = [transport.get_protocol() for transport in transports]
    transports[0].close()
    run_until(loop, lambda: all(protocol.lost for protocol in protocols))
    return [protocol.reason for protocol in protocols]


@each_version
def test_tls_within_tls(loop, tls):
    outer = tls.pair()
    protocols = [transport.get_protocol() for transport in outer]
    inner = secured_pair(tls, *outer)
    for transport, protocol in zip(inner, protocols, strict=True):
        assert transport.get_protocol() is protocol
        transport.write(DATA)
    run_until(loop, lambda: all(len(protocol.received) == len(DATA) for protocol in protocols))
    assert [bytes(protocol.received) for protocol in protocols] == [DATA, DATA]
    assert all(protocol.names[0] == "connection_made" for protocol in protocols)
    assert close_pair(loop, *inner) == [None, None]
    assert all(protocol.names.count("connection_made") == 1 for protocol in protocols)


def test_tls_thrice(loop, tls):
    transports = tls.pair()
    for _ in range(2):
        transports = secured_pair(tls, *transports)
    transports[0].write(DATA)
    protocol = transports[1].get_protocol()
    run_until(loop, lambda: protocol.received == DATA)
    assert close_pair(loop, *transports) == [None, None]


def test_tls_on_top_of_start_tls(loop, tls):
    """The second layer begins where a first one was put on later."""
    left, right = tls.sockets()
    transports = [run(loop, loop.create_connection(Recorder, sock=sock))[0] for sock in (left, right)]
    for _ in range(2):
        transports = secured_pair(tls, *transports)
    transports[0].write(b"hello")
    protocol = transports[1].get_protocol()
    run_until(loop, lambda: protocol.received == b"hello")
    assert close_pair(loop, *transports) == [None, None]


def test_tls_within_tls_that_fails(impl, tls):
    asyncio_since(impl, 3, 13)
    outer = tls.pair()
    errors = secured_pair(tls, *outer, server_hostname="wrong.example")
    assert isinstance(errors[0], OSError) and isinstance(errors[1], ssl.SSLCertVerificationError)
    assert all(transport.is_closing() for transport in outer)


class Foreign(asyncio.Transport):
    """A transport in Python that is not the loop's: what start_tls() may ask of one."""

    _start_tls_compatible = True

    def __init__(self, loop, sock, protocol):
        super().__init__({"socket": sock, "peername": "elsewhere"})
        self.loop, self.sock, self.protocol = loop, sock, protocol
        self.closing = False
        self.resume_reading()
        protocol.connection_made(self)

    def set_protocol(self, protocol):
        self.protocol = protocol

    def get_protocol(self):
        return self.protocol

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        self.loop.remove_reader(self.sock)

    def resume_reading(self):
        if not self.closing:
            self.loop.add_reader(self.sock, self.read)

    def read(self):
        data = self.sock.recv(65536)
        if not data:
            if not self.protocol.eof_received():
                self.close()
        elif isinstance(self.protocol, asyncio.BufferedProtocol):
            self.protocol.get_buffer(len(data))[: len(data)] = data
            self.protocol.buffer_updated(len(data))
        else:
            self.protocol.data_received(data)

    def write(self, data):
        if not self.closing:
            assert self.sock.send(data) == len(data)

    def close(self):
        self._force_close(None)

    abort = close

    def _force_close(self, exc):
        if not self.closing:
            self.closing = True
            self.loop.remove_reader(self.sock)
            self.loop.call_soon(self.lose, exc)

    def lose(self, exc):
        self.sock.close()
        self.protocol.connection_lost(exc)


@each_version
@each_side
def test_a_foreign_transport(loop, tls, server_side):
    left, right = tls.sockets("unix")
    protocol = Recorder()
    foreign, peer = Foreign(loop, left, protocol), tls.raw(right, not server_side)

    async def main():
        starting = tls.start(foreign, protocol, server_side)
        transport, _ = await asyncio.gather(starting, peer.handshake())
        transport.write(b"hello")
        assert await peer.read(5) == b"hello"
        await peer.write(b"world")
        while not protocol.received:
            await asyncio.sleep(0)
        assert transport is not foreign and transport.get_protocol() is protocol
        assert transport.get_extra_info("peername") == "elsewhere"
        assert transport.get_extra_info("ssl_object").version() == tls.version
        transport.close()
        await peer.shutdown()

    run(loop, main())
    run_until(loop, lambda: protocol.lost)
    assert protocol.received == b"world" and protocol.reason is None
    assert protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]


def test_a_foreign_transport_that_fails(loop, tls):
    left, right = tls.sockets("unix")
    protocol = Recorder()
    foreign, peer = Foreign(loop, left, protocol), tls.raw(right, server_side=True)

    async def main():
        starting = tls.start(foreign, protocol, server_hostname="wrong.example")
        return await asyncio.gather(starting, peer.handshake(), return_exceptions=True)

    exc, _ = run(loop, main())
    assert isinstance(exc, ssl.SSLCertVerificationError) and foreign.is_closing()
    run_until(loop, lambda: protocol.lost)


def test_a_transport_of_the_loop_that_is_no_socket(loop):
    """Pipes have one direction only."""
    left, right = socket.socketpair()
    with right:
        transport, protocol = run(loop, loop.connect_write_pipe(Recorder, left))
        with pytest.raises(TypeError, match=r"is not supported by start_tls\(\)$"):
            run(loop, loop.start_tls(transport, protocol, client_context()))
        transport.close()
        run_until(loop, lambda: protocol.lost)
