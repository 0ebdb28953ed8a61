"""Servers and datagram endpoints of the loop under test, their protocols, and the raw sockets at the other end."""

import asyncio
import socket

from support.net import Notes, Recorder, datagram_socket, run, run_turns, run_until


class Service:
    """Servers, clients and protocols of one test; end() leaves none of them open.

    Each connection gets a `net.Recorder`, made with the arguments `on`, unless start() is given a factory.
    """

    def __init__(self, loop, **on):
        self.loop = loop
        self.on = on
        self.protocols = []
        self.servers = []
        self.clients = []

    def make_protocol(self):
        protocol = Recorder(**self.on)
        self.protocols.append(protocol)
        return protocol

    def start(self, host="127.0.0.1", port=0, factory=None, **options):
        """Return what loop.create_server() returns."""
        return self._started(self.loop.create_server(factory or self.make_protocol, host, port, **options))

    def start_unix(self, path=None, factory=None, **options):
        """Return what loop.create_unix_server() returns."""
        return self._started(self.loop.create_unix_server(factory or self.make_protocol, path, **options))

    def _started(self, creation):
        server = run(self.loop, creation)
        self.servers.append(server)
        return server

    def call(self, server=None):
        """Return a non-blocking socket connected to the first socket of a server, by default the last."""
        listening = (server or self.servers[-1]).sockets[0]
        client = socket.socket(listening.family)
        self.clients.append(client)
        client.connect(listening.getsockname())
        client.setblocking(False)
        return client

    def connect(self, server=None):
        """Return the protocol of a new connection, and the client's socket."""
        before = len(self.protocols)
        client = self.call(server)
        run_until(self.loop, lambda: self.protocols[before:] and self.protocols[before].transport)
        return self.protocols[before], client

    def end(self):
        for server in self.servers:
            server.close()
        for client in self.clients:
            client.close()
        if self.loop.is_closed():
            return
        made = [p for p in self.protocols if isinstance(p, Notes) and p.transport is not None and not p.lost]
        for protocol in made:
            protocol.transport.abort()
        run_until(self.loop, lambda: all(protocol.lost for protocol in made))


class Datagrams(Notes, asyncio.DatagramProtocol):
    """Takes notes of what a datagram transport calls."""

    def datagram_received(self, data, addr):
        self.called("datagram_received", data, addr)

    def error_received(self, exc):
        self.called("error_received", exc)

    @property
    def datagrams(self):
        """The datagrams received, in their order."""
        return [args[0] for name, *args in self.calls if name == "datagram_received"]

    @property
    def errors(self):
        return [args[0] for name, *args in self.calls if name == "error_received"]


class Endpoints:
    """Datagram endpoints and raw sockets of one test; end() leaves none of them open."""

    def __init__(self, loop):
        self.loop = loop
        self.protocols = []
        self.sockets = []

    def open(self, local_addr=None, remote_addr=None, on=None, **options):
        """Return the protocol of a new endpoint, its `transport` among its attributes."""
        protocol = Datagrams(**(on or {}))
        creation = self.loop.create_datagram_endpoint(lambda: protocol, local_addr, remote_addr, **options)
        transport, made = run(self.loop, creation)
        assert made is protocol and protocol.transport is transport
        self.protocols.append(protocol)
        return protocol

    def bound(self, **on):
        """An endpoint that is bound to the loopback interface; `on` is what `net.Notes` takes."""
        return self.open(("127.0.0.1", 0), on=on)

    def connected(self, sock, **on):
        """An endpoint that is connected to a raw socket, and has a name if it is an IP socket."""
        local = ("127.0.0.1", 0) if sock.family == socket.AF_INET else None
        return self.open(local, sock.getsockname(), on=on, family=sock.family)

    def socket(self, family=socket.AF_INET, address=("127.0.0.1", 0)):
        """A raw non-blocking socket."""
        self.sockets.append(datagram_socket(family, address))
        return self.sockets[-1]

    def end(self):
        for sock in self.sockets:
            sock.close()
        if self.loop.is_closed():
            return
        alive = [protocol for protocol in self.protocols if not protocol.lost and protocol.transport]
        for protocol in alive:
            protocol.transport.abort()
        run_until(self.loop, lambda: all(protocol.lost for protocol in alive))


def address_of(protocol):
    """The name of an endpoint's socket."""
    return protocol.transport.get_extra_info("sockname")


def settle(loop):
    """Run some turns of the loop, for what is on its way to arrive."""
    run_turns(loop, 5)
