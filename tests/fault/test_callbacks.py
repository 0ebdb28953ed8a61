"""Whatever a protocol does in whichever of its calls: the end comes once, and nobody else is harmed."""

import asyncio
import gc
import socket
import sys
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from net import TIMEOUT, BufferedRecorder, Recorder, open_fds, receive, unix_pair


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


class Life:
    """A connection that goes through everything, and what its protocol does on the way."""

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
        self.loop.stop()
        self.loop.run_forever()

    def receive(self):
        if self.peer.fileno() >= 0:
            receive(self.peer)

    def run(self):
        """Connect; receive, write too much, drain, end; then, if the protocol has kept it alive, abort."""
        connecting = self.loop.create_task(
            asyncio.wait_for(self.loop.create_connection(lambda: self.protocol, sock=self.left), TIMEOUT)
        )
        while not connecting.done():
            self.turn()
        connecting.result()
        for _ in range(3):
            send_to_itself(self)
            self.turn()
        if not self.lost:
            write(self, 500_000)
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
    for _ in range(2):
        turn()
    assert len(life.lost) == 1


@pytest.fixture
def bystander(connect, turn):
    """Another connection of the loop, which lives on."""
    connection = connect()
    yield connection
    connection.peer.send(b"still")
    turn()
    connection.transport.write(b"there")
    turn()
    assert connection.protocol.received == b"still" and receive(connection.peer) == b"there"


@pytest.mark.parametrize("protocol_type", [Recorder, BufferedRecorder])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("action", ACTIONS)
def test_action_in_a_call(impl, loop, turn, reported, bystander, protocol_type, name, action):
    life = Life(loop, protocol_type)
    life.acts[name] = [ACTIONS[action]]
    life.run()
    check(life, turn)
    if impl.name == "fastloop" or sys.version_info >= (3, 14):  # asyncio used to call None at times
        assert {type(context["exception"]) for context in reported} <= {Failure, OSError, AttributeError}


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    protocol_type=st.sampled_from([Recorder, BufferedRecorder]),
    acts=st.dictionaries(
        st.sampled_from(CALLS), st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=3), min_size=1
    ),
)
def test_any_actions(loop, turn, reported, protocol_type, acts):
    life = Life(loop, protocol_type)
    life.acts = {name: [ACTIONS[action] for action in actions] for name, actions in acts.items()}
    life.run()
    check(life, turn)


# Factories.


def test_factory_that_fails_in_create_connection(loop, turn):
    left, right = unix_pair()

    def factory():
        raise Failure

    connecting = loop.create_task(loop.create_connection(factory, sock=left))
    while not connecting.done():
        turn()
    assert isinstance(connecting.exception(), Failure)
    left.close()
    right.close()


class FailsEveryOtherTime:
    """A protocol factory: the first, third, … connection is refused with an exception."""

    def __init__(self):
        self.calls = 0
        self.protocols = []

    def __call__(self):
        self.calls += 1
        if self.calls % 2:
            raise Failure
        self.protocols.append(Recorder())
        return self.protocols[-1]


@pytest.mark.parametrize("debug", [False, True])
def test_factory_that_fails_in_a_server(impl, loop, turn, reported, debug):
    """That connection ends; the server goes on."""
    if impl.name == "asyncio":
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
    loop.set_debug(debug)
    factory = FailsEveryOtherTime()
    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    peers = []
    while len(peers) < 6:
        peers.append(socket.create_connection(server.sockets[0].getsockname()))
        while factory.calls < len(peers):
            turn()
    turn()
    turn()
    failures = [(type(context["exception"]), context["message"]) for context in reported]
    reported.clear()
    gc.collect()  # asyncio forgets the socket of the failed connection
    assert [peer.recv(1) for peer in peers[::2]] == [b""] * 3
    assert len(factory.protocols) == 3
    for peer in peers:
        peer.close()
    while not all(protocol.lost for protocol in factory.protocols):
        turn()
    server.close()
    loop.run_until_complete(server.wait_closed())
    if debug:
        assert failures == [(Failure, "Error on transport creation for incoming connection")] * 3


@pytest.mark.parametrize("error", [Failure, OSError, asyncio.CancelledError])
def test_connection_made_that_fails_in_a_server(loop, turn, reported, error):
    def fail(_):
        raise error

    protocols = []

    def factory():
        protocols.append(Recorder(connection_made=fail))
        return protocols[-1]

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    with socket.create_connection(server.sockets[0].getsockname()) as peer:
        peer.sendall(b"x")
        while not protocols or not protocols[0].received:
            turn()
    while not protocols[0].lost:
        turn()
    assert [type(context["exception"]) for context in reported] == [error]
    server.close()
    loop.run_until_complete(server.wait_closed())


def test_factory_that_closes_the_server(impl, loop, turn):
    """Who was accepted in the same turn is served or turned away; nothing stays open."""
    if impl.name == "asyncio":
        pytest.skip("asyncio asserts that the server is open, and forgets the connection")
    protocols = []

    def factory():
        server.close()
        protocols.append(Recorder())
        return protocols[-1]

    before = open_fds()
    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    peers = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(3)]
    while not protocols:
        turn()
    for peer in peers:
        peer.close()
    loop.run_until_complete(server.wait_closed())
    for _ in range(10):
        turn()
    for protocol in protocols:
        assert protocol.names.count("connection_lost") == 1
    assert open_fds() == before
