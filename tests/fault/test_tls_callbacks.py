"""Whatever a protocol or a context's callback does in the middle of TLS: the end comes once, and nobody else is harmed."""

import contextlib
import socket
import ssl
import sys

import pytest
from hostile import Facts, each_role, each_version, each_way, failure_of, reaction, shared_context
from hypothesis import given
from hypothesis import strategies as st
from lives import ACTIONS, CALLS, Failure, Life, acts_in_calls, check
from support.net import BufferedRecorder, Recorder, run, run_turns, run_until
from support.properties import checked
from support.tls import NAME, VERSIONS, RawPeer, client_context, context_for, make_transport, server_context

pytestmark = pytest.mark.usefixtures("older_objects_rest")


class TlsSocket:
    """A TLS peer with the methods of a non-blocking socket."""

    def __init__(self, sock, context, server_side):
        self.sock = sock
        self.tls = RawPeer(None, sock, context, server_side)
        self.close, self.fileno = sock.close, sock.fileno

    def handshake(self):
        """Go on with it as far as possible."""
        try:
            self.tls.feed(self.sock.recv(1 << 18))
        except OSError:
            pass
        failure_of(self.tls.ssl_object.do_handshake)
        self.sock.send(self.tls.collect())

    def send(self, data):
        self.sock.send(self.tls.encrypt(data))

    def recv(self, size):
        while True:
            try:
                return self.tls.ssl_object.read(size)
            except ssl.SSLWantReadError:
                self.tls.feed(self.sock.recv(1 << 18))
            except ssl.SSLError:
                return b""

    def shutdown(self, how):
        with contextlib.suppress(OSError):  # there may be nobody there any more
            self.sock.send(self.tls.close_notify())
            self.sock.shutdown(how)


class TlsLife(Life):
    """A TLS connection that goes through everything.  What it writes at once is more than asyncio's limit."""

    much = 2_000_000

    def __init__(self, loop, protocol_type, server_side, version=None):
        super().__init__(loop, protocol_type)
        self.server_side, self.version = server_side, version
        self.peer = TlsSocket(self.peer, shared_context(not server_side, version), not server_side)

    def turn(self):
        super().turn()
        if self.transport is None and self.peer.fileno() >= 0:
            self.peer.handshake()

    def create(self):
        context = shared_context(self.server_side, self.version)
        return make_transport(self.loop, lambda: self.protocol, self.left, self.server_side, ssl=context)

    def run(self):
        if self.connect().exception() is None:
            self.live()
        self.peer.close()
        run_turns(self.loop, 20)


TLS_ACTIONS = {name: action for name, action in ACTIONS.items() if name != "write_eof"}
# What the exception handler may be given: failures of the protocol's own, and asyncio's when it calls what is gone.
FAILURES = {"fastloop": {Failure, OSError}, "asyncio": {Failure, OSError, AttributeError, TypeError}}


@pytest.mark.parametrize(("server_side", "protocol_type"), [(True, BufferedRecorder), (False, Recorder)])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("action", TLS_ACTIONS)
def test_action_in_a_call(impl, loop, turn, reported, bystander, server_side, protocol_type, name, action):
    life = TlsLife(loop, protocol_type, server_side)
    life.acts[name] = [TLS_ACTIONS[action]]
    life.run()
    check(life, turn)
    assert {type(context["exception"]) for context in reported} <= FAILURES[impl.name]


@checked(60)
@given(
    protocol_type=st.sampled_from([Recorder, BufferedRecorder]),
    server_side=st.booleans(),
    version=st.sampled_from(list(VERSIONS)),
    acts=acts_in_calls(TLS_ACTIONS),
)
def test_any_actions(impl, loop, turn, reported, protocol_type, server_side, version, acts):
    if impl.name == "asyncio":
        pytest.skip("asyncio calls pause_writing() from itself for ever where a limit is set in there")
    life = TlsLife(loop, protocol_type, server_side, version)
    life.acts = {name: [TLS_ACTIONS[action] for action in actions] for name, actions in acts.items()}
    life.run()
    check(life, turn)


# -- callbacks of the context ---------------------------------------------------------------------------


@pytest.fixture
def unraisable(monkeypatch):
    """What exceptions Python could not hand to anybody."""
    types = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: types.append(unraisable.exc_type))
    return types


def raise_failure(*args):
    raise Failure


def interrupt(*args):
    raise KeyboardInterrupt


SNI_FAILURES = {
    "raises": raise_failure,
    "raises KeyboardInterrupt": interrupt,
    "returns an alert": lambda *args: ssl.ALERT_DESCRIPTION_ACCESS_DENIED,
    "returns nonsense": lambda *args: "nonsense",
}


@each_way
@each_version
@pytest.mark.parametrize("callback", SNI_FAILURES.values(), ids=SNI_FAILURES)
def test_sni_callback_fails(impl, meet, reported, unraisable, version, way, callback):
    context = server_context(version)
    context.sni_callback = callback
    expected = reaction(True, version, context)
    assert expected.ours.type is ssl.SSLError
    seen = list(unraisable)
    meeting = meet(True, way, version, context=context)
    ours, peers = meeting.clash()
    assert Facts.of(ours) == expected.ours
    assert impl.name == "asyncio" or Facts.of(peers) == expected.peers
    meeting.run_until_closed()
    assert unraisable == seen * 2 and reported == []


@each_way
@each_version
def test_sni_callback_swaps_the_context(meet, reported, version, way):
    """The other context's settings hold: it knows the right name, and asks for a certificate."""
    context = server_context(version, "wrong name")
    other = server_context(version, client_certificate=True)

    def choose(ssl_object, name, original):
        assert isinstance(ssl_object, ssl.SSLObject) and name == NAME and original is context
        ssl_object.context = other

    context.sni_callback = choose
    meeting = meet(True, way, version, context=context, peer_context=client_context(version, "client"))
    meeting.shake_hands()
    meeting.send(b"data")
    assert meeting.protocol.received == b"data" and reported == []


def end_the_peer(life):
    """Without closing a descriptor that the loop waits for."""
    life.peer.sock.shutdown(socket.SHUT_RDWR)


SNI_ACTIONS = {
    "close": TLS_ACTIONS["close"],
    "abort": TLS_ACTIONS["abort"],
    "close, abort": TLS_ACTIONS["close, abort"],
    "write after close": TLS_ACTIONS["write after close"],
    "set_protocol": lambda life: life.transport.set_protocol(life.protocol),
    "pause_reading": TLS_ACTIONS["pause_reading"],
    "resume_reading": TLS_ACTIONS["resume_reading"],
    "write": TLS_ACTIONS["write"],
    "write much": TLS_ACTIONS["write much"],
    "set limits": TLS_ACTIONS["set limits"],
    "collect": TLS_ACTIONS["collect"],
    "ask": TLS_ACTIONS["ask"],
    "end the peer": end_the_peer,
}


@pytest.mark.parametrize("action", SNI_ACTIONS)
@each_version
def test_action_in_an_sni_callback(impl, meet, reported, version, action):
    """With a transport that start_tls() works on, the callback can do anything to the connection."""
    if impl.name == "asyncio":
        pytest.skip("under asyncio's TLS lies a transport that knows nothing of it")
    context = server_context(version)
    meeting = meet(True, "start_tls", version, context=context)

    def act(*args):
        SNI_ACTIONS[action](meeting)

    context.sni_callback = act

    async def main():
        answering = meeting.loop.create_task(meeting.wait_for_failure())
        try:
            return await meeting.making
        finally:
            meeting.protocol.transport.abort()
            await answering

    if action == "end the peer":
        with pytest.raises(ConnectionResetError):
            meeting.run(main())
    else:
        closed = "close" in action or "abort" in action
        assert (meeting.run(main()) is None) == closed
    meeting.run_until_lost()
    context.sni_callback = None  # Python's collector does not find the way from a connection to its context
    assert meeting.protocol.names.count("connection_lost") == 1
    assert reported == []


@each_role
@each_version
def test_keylog_file(meet, reported, tmp_path, version, server_side):
    """The keys of each connection are noted, and data passes."""
    path = tmp_path / "keys"
    context = context_for(server_side, version)
    context.keylog_filename = str(path)
    for number in range(1, 4):
        meeting = meet(server_side, version=version, context=context)
        transport = meeting.shake_hands()
        meeting.send(b"to us")
        transport.write(bytes(300_000))
        assert len(meeting.run(meeting.peer.read(300_000))) == 300_000
        transport.close()
        meeting.run(meeting.peer.shutdown())
        meeting.run_until_lost()
        assert meeting.protocol.reason is None
        names = {line.split()[0] for line in path.read_text().splitlines() if not line.startswith("#")}
        per_connection = {"TLSv1.2": 1, "TLSv1.3": len(names)}[version]
        assert path.read_text().count("\n") >= number * per_connection
    assert names >= {{"TLSv1.2": "CLIENT_RANDOM", "TLSv1.3": "CLIENT_TRAFFIC_SECRET_0"}[version]}
    context.keylog_filename = None
    assert reported == []


STAGES = ["handshake", "read", "write", "close"]


def do_nothing(*args):
    pass


class MessageCallback:
    """A context's _msg_callback that acts from one stage of a meeting on, at every call or `once`."""

    def __init__(self, meet, stage, act, server_side, version, way, once=False):
        self.stage, self.act, self.once = stage, act, once
        self.calls = 0
        self.context = context_for(server_side, version)
        self.context._msg_callback = do_nothing
        self.meeting = meet(server_side, way, version, context=self.context, ssl_shutdown_timeout=0.05)

    def called(self, *args):
        self.context._msg_callback = do_nothing
        self.calls += 1
        self.act(self.meeting)

    def begin(self, stage):
        if stage == self.stage:
            self.context._msg_callback = self.called if self.once else self.act

    def run(self):
        """The meeting's life; what it failed with before it was connected, or None."""
        meeting = self.meeting
        self.begin("handshake")
        answering = meeting.loop.create_task(meeting.wait_for_failure())
        try:
            transport = meeting.run(meeting.making)
        except (Failure, OSError) as error:
            meeting.run(answering)
            return error
        if transport is None:  # start_tls() while the transport is closed
            meeting.run(answering)
            return None
        meeting.turn(3)  # tickets
        self.live(transport)
        transport.abort()
        meeting.run(answering)
        return None

    def live(self, transport):
        """It may end at any of the steps."""
        self.begin("read")
        self.meeting.run(self.meeting.peer.write(b"to us"))
        self.meeting.turn(3)
        self.begin("write")
        transport.write(b"to the peer")
        self.meeting.turn()
        self.begin("close")
        transport.close()
        self.meeting.turn()


@pytest.mark.parametrize("stage", ["handshake", "read", "write"])
@each_way
@each_role
@each_version
def test_message_callback_fails(meet, reported, version, server_side, way, stage):
    """The exception is nobody's but the user's: it ends the connection and is reported."""
    meet.leaks = True  # _ssl keeps an exception where the collector does not see it
    callback = MessageCallback(meet, stage, raise_failure, server_side, version, way)
    failure = callback.run()
    callback.context._msg_callback = None
    protocol = callback.meeting.protocol
    if stage == "handshake":
        assert isinstance(failure, Failure)
    else:
        callback.meeting.run_until_lost()
        assert isinstance(protocol.reason, Failure)
    assert protocol.names.count("connection_lost") <= 1
    assert [type(context["exception"]) for context in reported] == [Failure]
    reported.clear()


@pytest.mark.parametrize("action", SNI_ACTIONS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("server_side", "version"), [(True, "TLSv1.3"), (False, "TLSv1.2")])
def test_action_in_a_message_callback(impl, meet, reported, version, server_side, stage, action):
    if impl.name == "asyncio":
        pytest.skip("asyncio does not expect to be called in the middle of a call into OpenSSL")
    callback = MessageCallback(meet, stage, SNI_ACTIONS[action], server_side, version, "start_tls", once=True)
    callback.run()
    callback.context._msg_callback = None
    assert callback.calls == 1
    callback.meeting.run_until_lost()
    assert callback.meeting.protocol.names.count("connection_lost") == 1
    assert reported == []


@each_version
def test_sni_callback_closes_the_server(loop, reported, version):
    """The connection that it was called for goes on, and the server waits for it."""
    context = server_context(version)
    protocols = []

    def factory():
        protocols.append(Recorder())
        return protocols[-1]

    server = run(loop, loop.create_server(factory, "127.0.0.1", 0, ssl=context))
    context.sni_callback = lambda *args: server.close()
    sock = socket.create_connection(server.sockets[0].getsockname())
    sock.setblocking(False)
    peer = RawPeer(loop, sock, shared_context(False, version), False)

    async def main():
        await peer.handshake()
        await peer.write(b"data")
        await peer.shutdown()
        await server.wait_closed()

    run(loop, main())
    run_until(loop, lambda: protocols[0].lost)
    peer.close()
    context.sni_callback = None
    assert protocols[0].received == b"data" and reported == []
