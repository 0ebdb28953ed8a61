"""Connections whose protocols do whatever they like in whichever of their calls."""

import asyncio
import gc
import socket

from hypothesis import strategies as st
from support.net import TIMEOUT, BufferedRecorder, Recorder, receive, run_turns, unix_pair


class Failure(Exception):
    pass


def fail(_):
    raise Failure


def fail_with_an_oserror(_):
    raise OSError(5, "of the protocol's own")


def set_other_protocol(life):
    if life.protocols[-1] is life.protocol:
        life.protocols.append(life.other)
    life.transport.set_protocol(life.protocols[-1])


def write_after_close(life):
    life.transport.close()
    life.transport.write(b"late")


def collect(life):
    gc.collect()


def send_to_itself(life):
    """More to read, while it reads."""
    try:
        life.peer.send(b"more")
    except OSError:
        pass


def drop_peer(life):
    life.peer.close()


def write_eof(life):
    try:
        life.transport.write_eof()
    except OSError:
        pass  # not connected any more


def write(life, size=5):
    if getattr(life.transport, "_ssl_protocol", life) is None:
        return  # asyncio's, closed twice: it is not there any more
    try:
        life.transport.write(b"w" * size)
    except RuntimeError as error:
        assert "after write_eof" in str(error)


ACTIONS = {
    "fail": fail,
    "fail with an OSError": fail_with_an_oserror,
    "close": lambda life: life.transport.close(),
    "abort": lambda life: life.transport.abort(),
    "close, abort": lambda life: (life.transport.close(), life.transport.abort()),
    "write after close": write_after_close,
    "set_protocol": set_other_protocol,
    "pause_reading": lambda life: life.transport.pause_reading(),
    "resume_reading": lambda life: life.transport.resume_reading(),
    "write": write,
    "write much": lambda life: write(life, 300_000),
    "write_eof": write_eof,
    "set limits": lambda life: life.transport.set_write_buffer_limits(high=0),
    "stop": lambda life: life.loop.stop(),
    "collect": collect,
    "send to itself": send_to_itself,
    "drop the peer": drop_peer,
    "ask": lambda life: (repr(life.transport), life.transport.get_write_buffer_size()),
}
READING = {Recorder: "data_received", BufferedRecorder: "buffer_updated"}
CALLS = [
    "connection_made",
    "get_buffer",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
]


def acts_in_calls(actions):
    """A strategy for `Life.acts`: lists of the names of actions, by the calls in which they happen."""
    lists = st.lists(st.sampled_from(sorted(actions)), min_size=1, max_size=3)
    return st.dictionaries(st.sampled_from(CALLS), lists, min_size=1)


class Life:
    """A connection that goes through everything, and what its protocol does on the way."""

    much = 500_000  # bytes: more than the kernel takes and the transport should hold

    def __init__(self, loop, protocol_type):
        self.loop = loop
        self.protocol = self.bind(protocol_type)
        self.other = self.bind({Recorder: BufferedRecorder, BufferedRecorder: Recorder}[protocol_type])
        self.protocols = [self.protocol]
        self.acts = {}
        self.left, self.peer = unix_pair()
        self.transport = None

    def bind(self, protocol_type):
        protocol = protocol_type()
        for name in CALLS:
            called = READING[protocol_type] if name == "data_received" else name
            protocol.on[called] = lambda *args, name=name: self.called(name, *args)
        return protocol

    def called(self, name, *args):
        if name == "connection_made":
            [self.transport] = args
        result = None
        for act in self.acts.get(name, []):
            act(self)
            result = True if name == "eof_received" else None
        return result

    @property
    def lost(self):
        return [reason for p in self.protocols for name, *reason in p.calls if name == "connection_lost"]

    def turn(self):
        run_turns(self.loop)

    def receive(self):
        if self.peer.fileno() >= 0:
            receive(self.peer)

    def create(self):
        """The coroutine that makes the transport."""
        return self.loop.create_connection(lambda: self.protocol, sock=self.left)

    def connect(self):
        """Run until connected: the task that has."""
        connecting = self.loop.create_task(asyncio.wait_for(self.create(), TIMEOUT))
        while not connecting.done():
            self.turn()
        return connecting

    def run(self):
        """Connect; receive, write too much, drain, end; then, if the protocol has kept it alive, abort."""
        self.connect().result()
        self.live()

    def live(self):
        for _ in range(3):
            send_to_itself(self)
            self.turn()
        if not self.lost:
            write(self, self.much)
        for _ in range(8):
            self.receive()
            self.turn()
        self.end()

    def end(self):
        if self.peer.fileno() >= 0:
            self.peer.shutdown(socket.SHUT_WR)
        for _ in range(4):
            self.turn()
            self.receive()
        self.peer.close()
        for _ in range(4):
            self.turn()
        if not self.lost:
            self.transport.abort()
        for _ in range(3):
            self.turn()


def check(life, turn):
    """What must hold at the end of every life."""
    assert len(life.lost) == 1
    assert life.left.fileno() == -1 and life.transport.is_closing()
    turn(2)
    assert len(life.lost) == 1
