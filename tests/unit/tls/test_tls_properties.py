"""Whatever splits a byte stream into writes, records, segments and reads: the other end gets the same plaintext."""

import asyncio
import contextlib
import functools
import itertools
import random
import socket
import ssl
import threading
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st
from support.net import TIMEOUT, BufferedRecorder, Recorder, run
from support.properties import checked
from support.tls import VERSIONS, Cut, RawPeer, TlsEnds, context_for, make_transport, start_tls

TEXT = random.Random(5).randbytes(500_000)
PLAIN = b"220 ready\r\n"

# What ends the connection: the transport's close(), the peer's close_notify, or the peer's EOF without one; and when.
CLOSE, CLOSE_AT_ONCE = "close()", "close() at once"
CLOSE_NOTIFY, CLOSE_NOTIFY_AT_ONCE = "close_notify", "close_notify at once"
EOF, EOF_AT_ONCE = "EOF", "EOF at once"
ABORT, CUT = "abort()", "the peer is gone after some byte"
# The others, when both ends have all there is.
AT_ONCE = {CLOSE_AT_ONCE, CLOSE_NOTIFY_AT_ONCE, EOF_AT_ONCE, ABORT, CUT}

SIZES = st.one_of(st.integers(1, 3000), st.sampled_from([16384, 16385, 70_000]))


@dataclass(frozen=True)
class Plan:
    """What the two ends of one connection do; sizes are in bytes."""

    server_side: bool  # whether the loop's end is the server
    version: str
    plain: bool | None  # whether start_tls() follows on plain text; None for a connection made with ssl=
    buffers: list  # the sizes of a BufferedProtocol's buffers, in turn; none for a Protocol
    pauses: list  # for how many turns reading is paused after each piece in turn; None for not at all
    sndbuf: int | None
    ours: list  # what the loop's end does: a list of sizes to write at once, or a number of turns to wait
    theirs: list  # what the peer does: the size of a write, or, negative, of a read
    end: str

    @property
    def our_text(self):
        return TEXT[: sum(sum(step) for step in self.ours if isinstance(step, list))]

    @property
    def their_text(self):
        return TEXT[: sum(step for step in self.theirs if step > 0)]


def plans(*ends):
    return st.builds(
        Plan,
        server_side=st.booleans(),
        version=st.sampled_from(sorted(VERSIONS)),
        plain=st.sampled_from([None, False, True]),
        buffers=st.one_of(st.just([]), st.lists(SIZES, min_size=1, max_size=3)),
        pauses=st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=6),
        sndbuf=st.sampled_from([None, 4096]),
        ours=st.lists(st.one_of(st.lists(SIZES, min_size=1, max_size=3), st.integers(1, 4)), max_size=5),
        theirs=st.lists(st.one_of(SIZES, SIZES.map(int.__neg__)), max_size=6),
        end=st.sampled_from(ends),
    )


# How the peer's records are cut and joined: what SegmentedPeer.prepare() takes.
SEGMENTS = st.fixed_dictionaries(
    {
        "pieces": st.lists(
            st.tuples(st.one_of(st.just(1), SIZES), st.sampled_from([1, 2, 5, 50, 1500])), max_size=10
        ),
        "held": st.booleans(),
    }
)

cached_context = functools.cache(context_for)


class End:
    """The loop's end of a connection, which carries out its part of a plan."""

    def __init__(self, ends, plan, sock):
        self.ends, self.plan, self.sock = ends, plan, sock
        self.loop = ends.loop
        self.transport = None
        self.written = bytearray()
        self.written_before_eof = None
        self.complete = self.loop.create_future()  # all that the peer writes is here
        self.lost = self.loop.create_future()
        self.pauses = iter(plan.pauses)
        self.buffers = itertools.cycle(plan.buffers)
        self.protocol = self.make_protocol()

    def make_protocol(self):
        on = {"connection_made": self.made, "eof_received": self.at_eof, "connection_lost": self.at_end}
        if self.plan.buffers:
            return BufferedRecorder(get_buffer=self.get_buffer, buffer_updated=self.arrived, **on)
        return Recorder(data_received=self.arrived, **on)

    def made(self, transport):
        if self.plan.plain is None:
            self.transport = transport

    def at_eof(self):
        self.written_before_eof = bytes(self.written)

    def at_end(self, reason):
        if self.written_before_eof is None:
            self.at_eof()
        self.lost.set_result(reason)

    def get_buffer(self, _):
        buffer = self.protocol.buffer = bytearray(next(self.buffers))
        # asyncio reads into buffer[offset:], which of a bytearray is a copy.
        return memoryview(buffer) if isinstance(self.loop, asyncio.SelectorEventLoop) else buffer

    def arrived(self, _):
        if self.transport is None:  # asyncio's start_tls() delivers before it returns
            return self.check_complete()
        assert self.transport.is_reading()
        turns = next(self.pauses, None)
        if turns is not None:
            self.transport.pause_reading()
            self.resume_after(turns)
        return self.check_complete()

    def check_complete(self):
        if not self.complete.done() and len(self.protocol.received) >= len(self.plan.their_text):
            self.complete.set_result(None)

    def resume_after(self, turns):
        if turns:
            self.loop.call_soon(self.resume_after, turns - 1)
        else:
            self.transport.resume_reading()

    async def secure(self):
        """Make the transport, and complete the handshake."""
        plan = self.plan
        context = cached_context(plan.server_side, plan.version)
        if plan.plain is None:
            await make_transport(self.loop, lambda: self.protocol, self.sock, plan.server_side, ssl=context)
            return
        transport, _ = await self.loop.create_connection(lambda: self.protocol, sock=self.sock)
        if plan.plain:
            transport.write(PLAIN)
        self.transport = await start_tls(self.loop, transport, self.protocol, context, plan.server_side)

    async def write(self):
        position = 0
        types = itertools.cycle([bytes, bytearray, memoryview])
        for step in self.plan.ours:
            if not isinstance(step, list):
                for _ in range(step):
                    await asyncio.sleep(0)
                continue
            if self.transport.is_closing():
                break
            cuts = list(itertools.accumulate(step, initial=position))
            parts = [TEXT[begin:end] for begin, end in itertools.pairwise(cuts)]
            self.written += b"".join(parts)
            position = cuts[-1]
            parts = [kind(part) for kind, part in zip(types, parts, strict=False)]
            self.transport.writelines(parts) if len(parts) > 1 else self.transport.write(parts[0])

    async def live(self):
        """From the handshake to connection_lost(), whose argument is returned."""
        try:
            return await self.live_quietly()
        finally:
            if self.transport is not None and not self.lost.done():
                self.transport.abort()

    async def live_quietly(self):
        await self.secure()
        self.check_complete()
        await self.write()
        if self.plan.end == CLOSE:
            await self.complete
        if self.plan.end in (CLOSE, CLOSE_AT_ONCE):
            self.transport.close()
        if self.plan.end == ABORT:
            self.transport.abort()
        return await self.lost


class ThreadScript:
    """The peer's part of a plan for a blocking socket of Python's ssl module."""

    def __init__(self, plan):
        self.plan = plan
        self.received = bytearray()
        self.complete = threading.Event()  # as End.complete

    def wait_for(self, end):
        """To be told by the loop's end when it has all there is."""
        end.complete.add_done_callback(lambda _: self.complete.set())

    def read(self, sock, count):
        """Read until `count` bytes more are here, or all there are."""
        wanted = min(len(self.received) + count, len(self.plan.our_text))
        while len(self.received) < wanted:
            self.received += sock.recv(wanted - len(self.received))

    def __call__(self, sock):
        position = 0
        for size in self.plan.theirs:
            if size < 0:
                self.read(sock, -size)
            else:
                sock.sendall(TEXT[position : position + size])
                position += size
        if self.plan.end in (CLOSE, CLOSE_AT_ONCE):
            while data := sock.recv(70_000):
                self.received += data
        else:
            self.read(sock, len(TEXT))
            assert self.plan.end in AT_ONCE or self.complete.wait(TIMEOUT)
        if self.plan.end in (EOF, EOF_AT_ONCE):
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(70_000):
                pass
        else:
            sock.unwrap()


class SegmentedPeer(RawPeer):
    """A peer that sends what TLS wants to send in pieces of given sizes, then of any; each is there to be read alone.

    When `held`, what is to be sent is held back until the peer can only wait: one segment carries the last of the
    handshake, all that is written after it, and the end.
    """

    def prepare(self, plan, pieces, held):
        self.plan, self.held = plan, held
        self.pieces = itertools.chain.from_iterable(itertools.repeat(size, times) for size, times in pieces)
        self.plaintext = bytearray()

    async def flush(self):
        if not self.held:
            await self.release()

    async def release(self):
        await super().flush()

    async def receive(self):
        await self.release()
        return await super().receive()

    async def send(self, data):
        while data:
            size = next(self.pieces, len(data))
            await super().send(data[:size])
            data = data[size:]
            for _ in range(2 if data else 0):  # so that a poll reports this piece before there is another
                await asyncio.sleep(0)

    async def read_up_to(self, count):
        """Read until `count` bytes are here, or all there are; count None: to the end."""
        try:
            while count is None or len(self.plaintext) < count:
                wanted = 70_000 if count is None else count - len(self.plaintext)
                data = await self.complete(self.ssl_object.read, wanted)
                if not data:
                    break
                self.plaintext += data
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLEOFError:
            assert self.plan.end in (EOF, EOF_AT_ONCE, ABORT, CUT)

    async def live(self, end):
        """Carry out the peer's part of the plan, for the loop's end of the connection."""
        plan = self.plan
        if plan.plain:
            assert await self.loop.sock_recv(self.sock, len(PLAIN)) == PLAIN
        await self.handshake()
        position = 0
        for size in plan.theirs:
            if size < 0:
                await self.read_up_to(min(len(self.plaintext) - size, len(plan.our_text)))
            else:
                self.ssl_object.write(TEXT[position : position + size])
                await self.flush()
                position += size
        if plan.end not in AT_ONCE:
            await self.read_up_to(len(plan.our_text))
            await self.release()
            await end.complete
        await self.finish()

    async def finish(self):
        end = self.plan.end
        if end in (CLOSE_NOTIFY, CLOSE_NOTIFY_AT_ONCE):
            with contextlib.suppress(ssl.SSLWantReadError):
                while True:  # what is here is read before close_notify is sent: then it could not be
                    self.plaintext += self.ssl_object.read(70_000)
            self.output += self.close_notify()
        await self.release()
        if end in (EOF, EOF_AT_ONCE):
            self.sock.shutdown(socket.SHUT_WR)
        if end != CUT:
            await self.read_up_to(None)
        if end in (CLOSE, CLOSE_AT_ONCE):
            self.output += self.close_notify()
            await self.release()
        self.close()

    async def live_until_cut(self, end):
        """live(), which may end at any moment."""
        try:
            await self.live(end)
        except (Cut, OSError):
            self.close()


@contextlib.contextmanager
def ends_of(impl, plan):
    """A `TlsEnds` of a fresh loop, to which nothing may be reported."""
    reported = []
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    ends = TlsEnds(loop, plan.version)
    try:
        yield ends
        assert reported == []
    finally:
        ends.end()
        loop.close()


def check(end, plan, received):
    protocol = end.protocol
    assert end.written.startswith(received) and received.startswith(end.written_before_eof)
    if plan.end not in (CLOSE_NOTIFY_AT_ONCE, EOF_AT_ONCE):
        assert received == plan.our_text
    if plan.end != CLOSE_AT_ONCE:
        assert protocol.received == plan.their_text
    check_calls(protocol, plan)


def check_calls(protocol, plan):
    assert plan.their_text.startswith(protocol.received)
    names = protocol.names
    assert names[0] == "connection_made" and names[-1] == "connection_lost"
    for name in ("connection_made", "eof_received", "connection_lost"):
        assert names.count(name) <= 1
    flow = [name for name in names if name in ("pause_writing", "resume_writing")]
    assert flow[::2] == ["pause_writing"] * len(flow[::2])
    assert flow[1::2] == ["resume_writing"] * len(flow[1::2])


def settled(impl, plan):
    """The plan without what asyncio is not right about.

    It fails when a peer still sends while the transport closes. At an EOF it drops what the protocol has not read
    yet, and what it writes before eof_received().
    """
    if impl.name == "asyncio":
        return replace(plan, end={CLOSE_AT_ONCE: CLOSE, EOF_AT_ONCE: EOF}.get(plan.end, plan.end))
    return plan


@checked(100)
@given(
    plan=plans(CLOSE, CLOSE_AT_ONCE, CLOSE_NOTIFY, EOF, EOF_AT_ONCE), kind=st.sampled_from(["tcp", "unix"])
)
def test_against_a_blocking_ssl_socket(impl, plan, kind):
    plan = replace(settled(impl, plan), plain=None if plan.plain is None else False)
    with ends_of(impl, plan) as ends:
        ours, theirs = ends.sockets(kind, plan.sndbuf)
        script = ThreadScript(plan)

        async def main():
            end = End(ends, plan, ours)
            script.wait_for(end)
            living = asyncio.create_task(end.live())
            while plan.plain is not None and end.protocol.transport is None:
                await asyncio.sleep(0)
            context = cached_context(not plan.server_side, plan.version)
            peer = ends.thread(theirs, script, not plan.server_side, context, suppress_ragged_eofs=False)
            await asyncio.gather(living, peer.wait())
            return end

        end = run(ends.loop, main())
        assert end.protocol.reason is None
        check(end, plan, script.received)


async def connect_segmented(ends, plan, segments, limit=None):
    """A loop's end that has begun, in a task, and the peer."""
    ours, theirs = ends.sockets("unix", plan.sndbuf)
    context = cached_context(not plan.server_side, plan.version)
    peer = SegmentedPeer(ends.loop, theirs, context, not plan.server_side, limit=limit)
    peer.prepare(plan, **segments)
    end = End(ends, plan, ours)
    living = asyncio.create_task(end.live())
    while plan.plain is not None and end.protocol.transport is None:
        await asyncio.sleep(0)
    return end, living, peer


@checked(100)
@given(
    plan=plans(CLOSE, CLOSE_AT_ONCE, CLOSE_NOTIFY, CLOSE_NOTIFY_AT_ONCE, EOF, EOF_AT_ONCE), segments=SEGMENTS
)
def test_records_cut_and_joined(impl, plan, segments):
    """Segments of one byte, of many records, of the handshake's last record with the data and the end that follow."""
    plan = settled(impl, plan)
    with ends_of(impl, plan) as ends:

        async def main():
            end, living, peer = await connect_segmented(ends, plan, segments)
            await asyncio.gather(living, peer.live(end))
            return end, peer

        end, peer = run(ends.loop, main())
        assert end.protocol.reason is None
        check(end, plan, peer.plaintext)


@checked(100)
@given(plan=plans(ABORT, CUT), segments=SEGMENTS, limit=st.integers(0, 6000))
def test_broken_off(impl, plan, segments, limit):
    """What has arrived until then is a beginning of what was sent, and who was connected hears of the end."""
    with ends_of(impl, plan) as ends:

        async def main():
            limits = {"limit": limit} if plan.end == CUT else {}
            end, living, peer = await connect_segmented(ends, plan, segments, **limits)
            failure, _ = await asyncio.gather(living, peer.live_until_cut(end), return_exceptions=True)
            if impl.name == "fastloop" and end.protocol.transport is not None:
                await end.lost  # asyncio may not tell it when start_tls() fails
            return end, peer, failure

        end, peer, failure = run(ends.loop, main())
        assert end.written.startswith(peer.plaintext)
        if end.lost.done():
            check_calls(end.protocol, plan)
        else:
            assert isinstance(failure, OSError)
