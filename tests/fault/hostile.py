"""Handshakes of the loop under test with a peer that ends them anywhere, and what OpenSSL itself makes of such a peer."""

import asyncio
import functools
import gc
import socket
import ssl
import weakref
from typing import NamedTuple

import pytest
from support.net import Recorder, run, run_turns, run_until, tcp_pair
from support.tls import VERSIONS, Cut, RawPeer, context_for, make_transport, start_tls

shared_context = functools.cache(context_for)  # for those who change nothing about it

GONE = (ConnectionResetError, BrokenPipeError)
WAYS = ["connect", "start_tls"]
each_way = pytest.mark.parametrize("way", WAYS)
each_version = pytest.mark.parametrize("version", VERSIONS)
# Which side of TLS our end is.
each_role = pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])


def split_records(data):
    """The TLS records that `data` consists of."""
    records = []
    while data:
        size = 5 + int.from_bytes(data[3:5], "big")
        records.append(data[:size])
        data = data[size:]
    return records


class CutPeer(RawPeer):
    """A RawPeer that may send so many whole records, and so many bytes of the one after them.

    The flush() that would send more sends that many and raises Cut. `whole` of None means no limit; `more` is a number of
    bytes, or "half" or "all but one". With `drip`, each byte of the handshake arrives alone.
    """

    whole = None
    more = 0
    drip = False

    async def drop(self, data):
        """Send byte by byte."""
        for i in range(len(data)):
            await self.send(data[i : i + 1])
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def flush(self):
        if self.drip:
            await self.drop(self.collect())
        elif self.whole is None:
            await super().flush()
        else:
            await self._flush_some()

    async def _flush_some(self):
        for record in split_records(self.collect()):
            if not self.whole:
                count = {"half": len(record) // 2, "all but one": len(record) - 1}.get(self.more, self.more)
                await self.send(record[:count])
                raise Cut
            self.whole -= 1
            await self.send(record)


def failure_of(step, *args):
    """The ssl.SSLError that a call ends with; None if it succeeds or wants more input."""
    try:
        step(*args)
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError as error:
        return error
    return None


class Facts(NamedTuple):
    """What is the same about an exception wherever it is raised."""

    type: type
    errno: int
    reason: str

    @classmethod
    def of(cls, error):
        return error and cls(type(error), error.errno, error.reason)


class Reaction(NamedTuple):
    """What becomes of a handshake: our failure, and what a peer says that is told of it."""

    ours: Facts
    peers: Facts


def reaction(server_side, version=None, context=None, peer_context=None, whole=None, instead=b""):
    """What Python's SSLObject does where our end of a `Meeting` is to do the same.

    The peer sends `whole` records, None for its whole handshake, and `instead` for the rest.
    """
    ours = RawPeer(None, None, context or shared_context(server_side, version), server_side)
    peer = RawPeer(None, None, peer_context or shared_context(not server_side, version), not server_side)
    failure = peers = records = None
    while failure is None and records != [] and whole != 0:
        failure = failure_of(ours.ssl_object.do_handshake)
        peer.incoming.write(ours.collect())
        peers = peers or failure_of(peer.ssl_object.do_handshake)
        records = split_records(peer.collect())[:whole]
        ours.incoming.write(b"".join(records))
        whole = None if whole is None else whole - len(records)
    if failure is None:
        ours.incoming.write(instead)
        connected = ours.ssl_object.version() is not None
        failure = failure_of(ours.ssl_object.read if connected else ours.ssl_object.do_handshake)
    peer.incoming.write(ours.collect())
    return Reaction(Facts.of(failure), Facts.of(peers or failure_of(peer.ssl_object.read)))


class Meeting:
    """Our end of a connection in the making, and the `CutPeer` at the other end.

    `making` is the task that makes our end's transport, `protocol` a `net.Recorder` unless given.
    """

    def __init__(self, loop, server_side, way="connect", version=None, context=None, peer_context=None,
                 protocol=None, **options):  # fmt: skip
        self.loop = loop
        self.sock, sock = tcp_pair()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # no waiting for acknowledgements
        self.protocol = Recorder() if protocol is None else protocol
        self.context = context or shared_context(server_side, version)
        peer_context = peer_context or shared_context(not server_side, version)
        self.peer = CutPeer(loop, sock, peer_context, not server_side)
        self.begun = asyncio.Event()
        make = {"connect": self._connect, "start_tls": self._start_tls}[way]
        self.making = loop.create_task(make(server_side, options))

    async def _connect(self, server_side, options):
        self.begun.set()
        making = make_transport(
            self.loop, lambda: self.protocol, self.sock, server_side, ssl=self.context, **options
        )
        return (await making)[0]

    async def _start_tls(self, server_side, options):
        plain, _ = await self.loop.create_connection(lambda: self.protocol, sock=self.sock)
        self.begun.set()
        return await start_tls(self.loop, plain, self.protocol, self.context, server_side, **options)

    def run(self, coro):
        return run(self.loop, coro)

    def turn(self, count=1):
        run_turns(self.loop, count)

    async def answer(self):
        """The peer's handshake, once ours has begun."""
        await self.begun.wait()
        await self.peer.handshake()

    @property
    def transport(self):
        return self.protocol.transport

    def shake_hands(self):
        """Run until both ends are connected; our transport."""

        async def main():
            return await asyncio.gather(self.making, self.answer())

        return self.run(main())[0]

    def clash(self):
        """Have both ends shake hands and the peer then wait: what our end fails with, or None, and what the peer does."""

        async def main():
            return await asyncio.gather(self.making, self.wait_for_failure(), return_exceptions=True)

        ours, peers = self.run(main())
        return ours if isinstance(ours, BaseException) else None, peers

    async def wait_for_failure(self):
        """What the peer's handshake or its wait for data ends with."""
        try:
            await self.answer()
            await self.peer.read(1)
        except (ssl.SSLError, *GONE) as error:
            return error.with_traceback(None)
        return None

    def fill(self):
        """Connect, and write so much that it waits: our transport, whose protocol is paused."""
        transport = self.shake_hands()
        while "pause_writing" not in self.protocol.names:
            transport.write(bytes(1 << 20))
        for _ in range(3):
            transport.write(bytes(1 << 20))
        return transport

    def send(self, data):
        """Have the peer send data that our protocol has received then."""
        wanted = len(self.protocol.received) + len(data)
        self.run(self.peer.write(data))
        run_until(self.loop, lambda: len(self.protocol.received) == wanted)

    def failure(self):
        """Run until our end is made: what ended it, or None; the socket is closed then."""

        async def main():
            [result] = await asyncio.gather(self.making, return_exceptions=True)
            return result

        result = self.run(main())
        if not isinstance(result, BaseException):
            return None
        self.run_until_closed()
        return result.with_traceback(None)

    def run_until_closed(self):
        run_until(self.loop, lambda: self.sock.fileno() == -1)

    def run_until_lost(self):
        run_until(self.loop, lambda: self.protocol.lost)

    def end(self):
        """Leave nothing open."""
        self.peer.close()
        self.making.cancel()
        self.run(asyncio.wait([self.making]))
        made = None
        if not self.making.cancelled() and self.making.exception() is None:
            made = self.making.result()  # asyncio's start_tls() returns None if close() was called meanwhile
        if made or self.protocol.transport:
            (made or self.protocol.transport).abort()
        self.run_until_closed()


class Meetings:
    """All meetings of one test. end() leaves nothing of them open, and leftovers() is what is still alive then."""

    leaks = False

    def __init__(self, loop):
        self.loop = loop
        self.meetings = []

    def __call__(self, *args, **options):
        self.meetings.append(Meeting(self.loop, *args, **options))
        return self.meetings[-1]

    def end(self):
        for meeting in self.meetings:
            meeting.end()
        self.loop.set_exception_handler(None)  # what it has been given refers to transports
        run_turns(self.loop, 3)

    def leftovers(self):
        """What of our ends is still alive, though nobody refers to it; to be called once, when all has ended."""
        alive = [weakref.ref(meeting.protocol) for meeting in self.meetings]
        alive += [
            weakref.ref(meeting.protocol.transport) for meeting in self.meetings if meeting.protocol.transport
        ]
        self.meetings.clear()
        gc.collect()
        return [ref() for ref in alive if ref() is not None] + list(asyncio.all_tasks(self.loop))
