"""Certificates, contexts, and TLS peers in a thread or by hand: for the tests of everything that speaks TLS."""

import _ssl
import asyncio
import contextlib
import ctypes
import datetime
import functools
import socket
import ssl
import threading

import pytest

from support.net import PAIRS, TIMEOUT, BothEnds, BufferedRecorder, Recorder, reset, run, run_until

NAME = "server.example"  # what the server's certificate is for, and what clients expect unless told otherwise
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
RECORD = 16384  # bytes of plaintext that a record can hold
# For tests that use the fixture `tls`, which otherwise lets the two ends agree on the best version.
each_version = pytest.mark.parametrize("tls", VERSIONS, indirect=True)
# Which side of TLS the transport under test is.
each_side = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])


@functools.cache
def authority_named(name):
    """A certificate authority, one per session and name."""
    import trustme  # late, so that tests without TLS run without it

    return trustme.CA(organization_name=name)


def authority():
    """The certificate authority that contexts trust."""
    return authority_named("trusted")


@functools.cache
def certificate(kind):
    """A `trustme.LeafCert`, one per session of each kind; only "right" and "client" are ones to accept.

    "wrong name", "expired" and "untrusted" (by another authority) are a server's; "client" is a client's.
    """
    issuer = authority_named("untrusted") if kind == "untrusted" else authority()
    name = {"wrong name": "other.example", "client": "client@client.example"}.get(kind, NAME)
    validity = {}
    if kind == "expired":
        year = datetime.timedelta(days=365)
        now = datetime.datetime.now(datetime.UTC)
        validity = {"not_before": now - 2 * year, "not_after": now - year}
    return issuer.issue_cert(name, **validity)


def limit_version(context, version):
    """Have a context agree to one version of TLS only, a key of `VERSIONS`; None leaves it alone."""
    if version is not None:
        context.minimum_version = context.maximum_version = VERSIONS[version]


def server_context(version=None, kind="right", client_certificate=False):
    """A new server's context with a certificate of that kind, or "self-signed", or None for no certificate.

    With client_certificate, clients must show one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    limit_version(context, version)
    if kind == "self-signed":
        root = authority_named("self-signed")
        with root.private_key_pem.tempfile() as key, root.cert_pem.tempfile() as cert:
            context.load_cert_chain(cert, key)
    elif kind is not None:
        certificate(kind).configure_cert(context)
    if client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        authority().configure_trust(context)
    return context


def client_context(version=None, kind=None):
    """A new client's context that trusts the authority, with a certificate of that kind, if any, to show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limit_version(context, version)
    authority().configure_trust(context)
    if kind is not None:
        certificate(kind).configure_cert(context)
    return context


def context_for(server_side, version=None):
    return server_context(version) if server_side else client_context(version)


def with_name(server_side, **options):
    """The keyword arguments of one end; a client's have `NAME` as the server's name unless they have another."""
    return options if server_side else {"server_hostname": NAME, **options}


def make_transport(loop, factory, sock, server_side, **options):
    """A coroutine that makes the transport of a connected socket, with its handshake: (transport, protocol)."""
    options = with_name(server_side, sock=sock, **options)
    make = loop.connect_accepted_socket if server_side else loop.create_connection
    return make(factory, **options)


def start_tls(loop, transport, protocol, context, server_side, **options):
    """A coroutine that begins TLS on a transport, of which it returns the one with TLS."""
    options = with_name(server_side, **options)
    return loop.start_tls(transport, protocol, context, server_side=server_side, **options)


def buffered(size=65536, **on):
    """A BufferedRecorder whose buffer is a memoryview: asyncio loses what it reads into the slice of another type."""
    protocol = BufferedRecorder(size, **on)
    protocol.buffer = memoryview(protocol.buffer)
    return protocol


def pattern(size):
    """So many bytes, no two places of which are easily taken for each other."""
    words = b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))
    return words[:size]


class Cut(Exception):
    """A RawPeer has sent as many bytes as it may."""


class RawPeer:
    """A TLS peer over a raw non-blocking socket: TLS by hand, so that each byte that it sends can be the last.

    What is to be sent stands in `output` until flush(). `limit` is how many more bytes may be sent, None for no limit;
    the flush() that would send more sends that many and raises Cut. `sent` and `received` count the bytes of the wire.
    A client expects a server of the name `NAME`.
    """

    def __init__(self, loop, sock, context, server_side, session=None, limit=None):
        self.loop, self.sock, self.limit = loop, sock, limit
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl_object = context.wrap_bio(
            self.incoming, self.outgoing, server_side, None if server_side else NAME, session
        )
        self.output = bytearray()
        self.sent = self.received = 0
        self.at_eof = False

    async def receive(self):
        """Take one read's worth of records from the socket; False at its end, which TLS is then told."""
        data = await self.loop.sock_recv(self.sock, 1 << 18)
        self.received += len(data)
        self.feed(data)
        return bool(data)

    def feed(self, data):
        """Take records as if they had arrived; b"" is the end."""
        if data:
            self.incoming.write(data)
        else:
            self.at_eof = True
            self.incoming.write_eof()

    def collect(self):
        """Take what TLS wants to send, which flush() is then not going to: the records as bytes."""
        self.output += self.outgoing.read()
        data = bytes(self.output)
        self.output.clear()
        return data

    async def flush(self):
        """Send what TLS wants to send."""
        data = self.collect()
        allowed = len(data) if self.limit is None else min(self.limit, len(data))
        if self.limit is not None:
            self.limit -= allowed
        await self.send(data[:allowed])
        if allowed < len(data):
            self.output += data[allowed:]
            raise Cut

    async def send(self, data):
        """Send bytes as they are."""
        if data:
            await self.loop.sock_sendall(self.sock, data)
            self.sent += len(data)

    async def complete(self, step, *args):
        """Call a method of `ssl_object`, sending and receiving as it wants; return what it returns.

        What it wants to send when it fails, an alert, is sent as well if that is possible.
        """
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                await self.flush()
                await self.receive()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self.flush()
                raise
            else:
                await self.flush()
                return result

    async def handshake(self, also=b""):
        """Complete the handshake. What is in `also` is encrypted and sent along with its last records."""
        await self.complete(self._handshake, also)

    def _handshake(self, also):
        self.ssl_object.do_handshake()
        if also:
            self.ssl_object.write(also)

    def encrypt(self, data):
        """The records that carry `data`, which are not sent."""
        self.ssl_object.write(data)
        return self.collect()

    async def write(self, data):
        await self.send(self.encrypt(data))

    async def read(self, count):
        """Exactly `count` bytes of plaintext, fewer only at close_notify."""
        data = bytearray()
        while len(data) < count:
            chunk = await self.complete(self.ssl_object.read, count - len(data))
            if not chunk:
                break
            data += chunk
        return bytes(data)

    async def read_to_end(self):
        """All plaintext up to close_notify. Raises ssl.SSLEOFError if the connection ends without one."""
        data = bytearray()
        try:
            while chunk := await self.complete(self.ssl_object.read, 1 << 18):
                data += chunk
        except ssl.SSLZeroReturnError:  # instead of b"", if we had sent ours before
            pass
        return bytes(data)

    def close_notify(self):
        """The record that closes our side, which is not sent. No plaintext of the peer may be waiting."""
        try:
            self.ssl_object.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.collect()

    async def send_close_notify(self):
        await self.send(self.close_notify())

    async def shutdown(self):
        """Send close_notify and wait for the other one."""
        await self.complete(self.ssl_object.unwrap)

    def close(self):
        self.sock.close()

    def reset(self):
        """Close with a reset, if the socket is a TCP one."""
        reset(self.sock)


class Library:
    """Functions of OpenSSL that Python does not offer, for the SSL behind the `ssl_object` of one side."""

    def __init__(self, side):
        self.functions = ctypes.CDLL(_ssl.__file__)
        self.ssl = ctypes.c_void_p.from_address(id(side.ssl_object._sslobj) + object.__basicsize__ + 8)

    def __getattr__(self, name):
        return lambda *args: getattr(self.functions, name)(self.ssl, *args)


class ThreadPeer:
    """A peer in a thread, where `talk(sock)` uses a blocking `ssl.SSLSocket` after its handshake.

    Waiting for the peer lasts `net.TIMEOUT` seconds at most. What talk() returns or raises, result() does, and the
    handshake's failure likewise. The socket given belongs to this object. A client expects a server of the name `NAME`.
    """

    def __init__(self, sock, context, talk, server_side, **options):
        sock.settimeout(TIMEOUT)
        options = {"server_side": server_side, "server_hostname": None if server_side else NAME, **options}
        self.sock = context.wrap_socket(sock, do_handshake_on_connect=False, **options)
        self.outcome = None
        self.thread = threading.Thread(target=self._run, args=(talk,), daemon=True)
        self.thread.start()

    def _run(self, talk):
        try:
            with self.sock:
                self.sock.do_handshake()
                result = talk(self.sock)
            self.outcome = (result, None)
        except Exception as exc:
            self.outcome = (None, exc.with_traceback(None))

    @property
    def done(self):
        return not self.thread.is_alive()

    def result(self):
        """What talk() has returned, once the thread is done. Not to be called while the loop must run for that."""
        self.thread.join(TIMEOUT)
        assert self.done
        result, exc = self.outcome
        if exc is not None:
            raise exc
        return result

    async def wait(self):
        """result(), while the loop runs."""
        await asyncio.get_running_loop().run_in_executor(None, self.thread.join, TIMEOUT)
        return self.result()

    def close(self):
        """End the thread, whatever it waits for."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(TIMEOUT)
        assert self.done
        self.sock.close()


class TlsConnection(BothEnds):
    """A transport with TLS whose peer is a `RawPeer`."""

    def send(self, data):
        """Have the peer write plaintext, and wait until the protocol has received as much."""
        wanted = len(self.protocol.received) + len(data)
        self.run(self.peer.write(data))
        self.run_until(lambda: len(self.protocol.received) >= wanted)


class TlsEnds:
    """The TLS connections of one test; end() leaves nothing of them open.

    `version` is what contexts that are made here are limited to. Protocols are `net.Recorder` unless given.
    """

    def __init__(self, loop, version=None):
        self.loop, self.version = loop, version
        self.protocols, self.closers = [], []

    def note(self, protocol, sock):
        """Have end() abort the transport that this protocol may get."""
        self.protocols.append((protocol, sock))
        return protocol

    def sockets(self, kind="tcp", sndbuf=None):
        """Two connected sockets, closed by end(); `sndbuf` is the first one's send buffer in bytes."""
        left, right = PAIRS[kind]() if isinstance(kind, str) else kind
        self.closers += [left.close, right.close]
        if sndbuf is not None:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        return left, right

    def options(self, server_side, **options):
        """The keyword arguments of one end: {"ssl": …} and for a client "server_hostname", each unless given."""
        ours = {"ssl": context_for(server_side, self.version)} if "ssl" not in options else {}
        return with_name(server_side, **ours, **options)

    def raw(self, sock, server_side, context=None, **options):
        """A RawPeer whose handshake has not begun."""
        context = context or context_for(server_side, self.version)
        return RawPeer(self.loop, sock, context, server_side, **options)

    def thread(self, sock, talk, server_side, context=None, **options):
        """A ThreadPeer, closed by end()."""
        context = context or context_for(server_side, self.version)
        peer = ThreadPeer(sock, context, talk, server_side, **options)
        self.closers.append(peer.close)
        return peer

    def make(self, sock, protocol, server_side=False, **options):
        """A coroutine that makes the transport of a connected socket, with its handshake: (transport, protocol)."""
        options = self.options(server_side, **options)
        return make_transport(self.loop, lambda: self.note(protocol, sock), sock, server_side, **options)

    def connect(
        self,
        protocol=None,
        server_side=False,
        kind="tcp",
        peer_context=None,
        sndbuf=None,
        session=None,
        also=b"",
        **options,
    ):
        """A TlsConnection, by default with the loop's transport as the client; `session` is the peer's.

        What is in `also` the peer sends along with the last records of its handshake.
        """
        left, right = self.sockets(kind, sndbuf)
        protocol = Recorder() if protocol is None else protocol
        peer = self.raw(right, not server_side, peer_context, session=session)

        async def main():
            making = self.make(left, protocol, server_side, **options)
            return await asyncio.gather(making, peer.handshake(also))

        (transport, _), _ = run(self.loop, main())
        return TlsConnection(self.loop, transport, protocol, peer)

    def pair(self, server=None, client=None, kind="tcp", server_options=None, **client_options):
        """Two protocols of the loop under test, by default recorders, connected by TLS: their transports, server's first."""
        left, right = self.sockets(kind)

        async def main():
            return await asyncio.gather(
                self.make(left, server or Recorder(), True, **(server_options or {})),
                self.make(right, client or Recorder(), **client_options),
            )

        return [transport for transport, _ in run(self.loop, main())]

    def plain(self, protocol=None, kind="tcp", sndbuf=None):
        """A transport without TLS, to begin TLS on: the transport, its protocol, and the raw socket at the other end."""
        left, right = self.sockets(kind, sndbuf)
        protocol = self.note(Recorder() if protocol is None else protocol, left)
        transport, _ = run(self.loop, self.loop.create_connection(lambda: protocol, sock=left))
        return transport, protocol, right

    def start(self, transport, protocol, server_side=False, context=None, **options):
        """A coroutine that begins TLS on one side of a connection."""
        context = context or context_for(server_side, self.version)
        return start_tls(self.loop, transport, protocol, context, server_side, **options)

    def end(self):
        made = [(protocol, sock) for protocol, sock in self.protocols if protocol.transport is not None]
        if not self.loop.is_closed():
            for protocol, _ in made:
                protocol.transport.abort()
            run_until(self.loop, lambda: all(sock.fileno() == -1 for _, sock in made))
        for close in self.closers:
            close()
