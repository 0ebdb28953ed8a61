"""A server of the loop under test, the protocols that it makes, and raw clients that connect to it."""

import socket

from net import Notes, Recorder, run, run_until


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
