"""Random lives of a connection leave the same trace on asyncio and on fastloop."""

import asyncio
import contextlib
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.net import BufferedRecorder, Connection, Recorder, receive, run, unix_pair
from support.properties import checked

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14),
    reason="asyncio's transports before Python 3.14 have defects that leave traces",
)

SIZES = st.sampled_from([0, 1, 5, 1000, 9000])
OWN = ["write", "write_eof", "close", "abort", "pause_reading", "resume_reading", "switch", "limit"]
OWN_ACTIONS = st.tuples(st.sampled_from(OWN), SIZES)
ACTIONS = st.tuples(st.sampled_from([*OWN, "peer_sends"]), SIZES)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("now"), st.lists(ACTIONS, min_size=1, max_size=1)),
        st.tuples(st.just("in a callback"), st.lists(ACTIONS, min_size=1, max_size=4)),
        st.tuples(st.just("fill"), st.just([])),
        st.tuples(st.just("peer ends"), st.just([])),
        st.tuples(st.just("peer closes"), st.just([])),
        st.tuples(st.sampled_from(["turn", "turn", "drain"]), st.just([])),
    ),
    max_size=25,
)
REACTIONS = st.dictionaries(
    st.sampled_from(
        [
            "connection_made",
            "data_received",
            "buffer_updated",
            "eof_received",
            "pause_writing",
            "resume_writing",
        ]
    ),
    st.lists(OWN_ACTIONS, max_size=3),
    max_size=3,
)


def new_event_loop(name):
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    import fastloop

    return fastloop.new_event_loop()


class Trace:
    """One connection of one implementation, and the notes on what happened to it."""

    def __init__(self, name, reactions, keep_open):
        self.loop = new_event_loop(name)
        self.notes = []
        self.reactions = reactions
        self.keep_open = keep_open
        self.ended = False
        self.loop.set_exception_handler(
            lambda _loop, context: self.notes.append(("reported", type(context["exception"])))
        )
        self.transport = None
        self.numbers = iter(range(10_000))
        left, self.peer = unix_pair()
        protocol = self.protocol(Recorder)
        self.transport, _ = run(self.loop, self.loop.create_connection(lambda: protocol, sock=left))
        self.connection = Connection(self.loop, self.transport, protocol, self.peer)
        self.turn()

    def protocol(self, protocol_type):
        number = next(self.numbers)

        def noted(name):
            def called(*args):
                self.ended |= name == "eof_received"
                if name == "connection_made":
                    self.transport = args[0]
                    args = []
                self.notes.append(
                    (number, name, *[OSError if isinstance(arg, OSError) else arg for arg in args])
                )
                for reaction in self.reactions.get(name, []):
                    self.act(*reaction)
                return self.keep_open if name == "eof_received" else None

            return called

        names = ["connection_made", "connection_lost", "data_received", "get_buffer", "buffer_updated"]
        names += ["eof_received", "pause_writing", "resume_writing"]
        return protocol_type(**{name: noted(name) for name in names})

    def act(self, action, size):
        try:
            getattr(self, "act_" + action, getattr(self.transport, action, None))(
                *[size] * hasattr(self, "act_" + action)
            )
        except (RuntimeError, OSError) as error:
            self.notes.append((action, type(error)))

    def act_pause_reading(self, _):
        if not self.ended:  # asyncio's transport, resumed, says once more that the peer has ended
            self.transport.pause_reading()

    def act_write(self, size):
        if not self.transport.is_closing():  # asyncio may still send it, while close() waits for other data
            self.transport.write(bytearray(b"w" * size))

    def act_switch(self, size):
        self.transport.set_protocol(self.protocol(BufferedRecorder if size > 1 else Recorder))

    def act_limit(self, size):
        self.transport.set_write_buffer_limits(size)

    def act_peer_sends(self, size):
        if self.peer.fileno() >= 0:
            self.peer.send(b"p" * size)

    def step(self, kind, actions):
        if kind == "in a callback":
            self.loop.call_soon(lambda: [self.act(*action) for action in actions])
            self.turn()
        elif kind == "now":
            self.act(*actions[0])
        elif kind == "fill" and self.transport._sock is not None:
            with contextlib.suppress(OSError):
                self.connection.fill_kernel()
        elif kind == "peer ends" and self.peer.fileno() >= 0:
            self.peer.shutdown(socket.SHUT_WR)
        elif kind == "peer closes":
            self.peer.close()
            self.turn()  # whether an end or an error is seen first depends on what is watched at that moment
        elif kind in ("turn", "drain"):
            self.turn()
        if kind == "drain" and self.peer.fileno() >= 0:
            self.note_received()
        transport = self.transport
        self.notes.append((transport.is_closing(), transport.is_reading(), transport.get_write_buffer_size()))

    def note_received(self):
        """How much of what was written; how much it takes to fill the kernel varies a little."""
        self.notes.append(("peer has", receive(self.peer).count(b"w")))

    def turn(self):
        """Several turns: what a call into the protocol schedules may be run in the same one or in the next."""
        for _ in range(4):
            self.loop.stop()
            self.loop.run_forever()

    def finish(self):
        self.turn()
        self.close()
        if self.peer.fileno() >= 0:
            self.note_received()

    def close(self):
        if self.transport._sock is not None:
            self.transport.abort()
        self.turn()


@contextlib.contextmanager
def trace_of(name, reactions, keep_open):
    trace = Trace(name, reactions, keep_open)
    try:
        yield trace
    finally:
        trace.reactions = {}
        trace.close()
        trace.peer.close()
        trace.loop.close()


def notes_of(name, steps, reactions, keep_open):
    with trace_of(name, reactions, keep_open) as trace:
        for step in steps:
            trace.step(*step)
        trace.finish()
        return trace.notes


@checked(300)
@given(steps=STEPS, reactions=REACTIONS, keep_open=st.booleans())
def test_same_trace(steps, reactions, keep_open):
    expected = notes_of("asyncio", steps, reactions, keep_open)
    assert notes_of("fastloop", steps, reactions, keep_open) == expected
