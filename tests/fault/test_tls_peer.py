"""TLS with peers that reset, vanish, lie or break the rules: the right exception each time, and nothing left behind."""

import contextlib
import socket
import ssl

import pytest
from hostile import (
    GONE,
    WAYS,
    CutPeer,
    Facts,
    each_role,
    each_version,
    each_way,
    failure_of,
    reaction,
    shared_context,
)
from support.net import Recorder, open_fds, receive_all, run, run_until
from support.tls import Cut, client_context, context_for, server_context

# -- cut off --------------------------------------------------------------------------------------------


def cut_off(meeting, end):
    """Have the peer go as far as it may and then end the connection; False if it is not kept from anything."""

    async def main():
        try:
            await meeting.answer()
        except Cut:
            getattr(meeting.peer, end)()
            return True
        return False

    return meeting.run(main())


def is_complete_without_the_rest(meeting):
    """Whether our end is through although the peer was cut off: all that is missing is a server's tickets."""
    ours_is_client = meeting.peer.ssl_object.server_side
    return ours_is_client and meeting.peer.ssl_object.version() == "TLSv1.3"


def check_cut_off(meeting, way):
    """What becomes of our end."""
    failure = meeting.failure()
    if is_complete_without_the_rest(meeting):
        assert failure is None
        meeting.run_until_lost()
        assert isinstance(meeting.protocol.reason, (*GONE, type(None)))
    else:
        assert isinstance(failure, GONE)
        assert way == "start_tls" or meeting.protocol.calls == []
    meeting.run_until_closed()


@pytest.mark.parametrize("more", [0, 3, "half"])
@pytest.mark.parametrize("end", ["reset", "close"])
@each_way
@each_role
@each_version
def test_handshake_cut_off_after_each_record(meet, reported, version, server_side, way, end, more):
    for whole in range(20):
        meeting = meet(server_side, way, version)
        meeting.peer.whole, meeting.peer.more = whole, more
        if not cut_off(meeting, end):
            break
        check_cut_off(meeting, way)
    assert 2 <= whole < 19
    assert reported == []


# -- lies -----------------------------------------------------------------------------------------------

GARBAGE = {
    "another protocol": b"GET / HTTP/1.0\r\n\r\n",
    "zeros": bytes(100),
    "noise": bytes(range(255, 0, -1)),
    "a record of no known type": b"\x63\x03\x03\x00\x01\x01",
    "a record too long": b"\x17\x03\x03\xff\xff" + bytes(100),
    "empty records": b"\x16\x03\x03\x00\x00" * 40,
    "data too early": b"\x17\x03\x03\x00\x20" + bytes(32),
    "a handshake message of no known type": b"\x16\x03\x03\x00\x20" + b"\x07" * 32,
    "a ClientHello too long": b"\x16\x03\x03\x00\x20\x01\xff\xff\xff\x03\x03" + bytes(26),
    "a ServerHello too long": b"\x16\x03\x03\x00\x20\x02\xff\xff\xff\x03\x03" + bytes(26),
    "a fatal alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "changes of cipher": b"\x14\x03\x03\x00\x01\x01" * 40,
}


def told(meeting):
    """What the peer makes of all that our end has sent before it closed the connection."""
    try:
        meeting.peer.incoming.write(meeting.run(receive_all(meeting.loop, meeting.peer.sock)))
    except ConnectionResetError:
        return None
    return Facts.of(failure_of(meeting.peer.ssl_object.read))


def check_reaction(impl, meeting, failure, expected):
    """asyncio closes the connection without the alert."""
    assert Facts.of(failure) == expected.ours
    assert told(meeting) == (expected.peers if impl.name == "fastloop" else None)


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@each_role
@each_version
@pytest.mark.parametrize("whole", [0, 1], ids=["first", "second"])
def test_garbage_for_a_handshake_record(impl, meet, reported, version, server_side, garbage, whole):
    expected = reaction(server_side, version, whole=whole, instead=garbage)
    for way in WAYS:
        meeting = meet(server_side, way, version)
        meeting.peer.whole = whole

        async def lie(meeting=meeting):
            with pytest.raises(Cut):
                await meeting.answer()
            await meeting.peer.send(garbage)

        meeting.run(lie())
        check_reaction(impl, meeting, meeting.failure(), expected)
    assert reported == []


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@each_role
@each_version
def test_garbage_for_data(impl, meet, reported, version, server_side, garbage):
    expected = reaction(server_side, version, instead=garbage)
    for way in WAYS:
        meeting = meet(server_side, way, version)
        meeting.shake_hands()
        meeting.send(b"data")
        meeting.run(meeting.peer.send(garbage))
        meeting.run_until_lost()
        assert meeting.protocol.received == b"data"
        assert meeting.protocol.names == ["connection_made", "data_received", "connection_lost"]
        check_reaction(impl, meeting, meeting.protocol.reason, expected)
    assert reported == []


@each_role
@each_version
def test_garbage_right_behind_data(impl, meet, version, server_side):
    """What was sent before it is delivered.  asyncio forgets it."""
    meeting = meet(server_side, version=version)
    meeting.shake_hands()
    meeting.run(meeting.peer.send(meeting.peer.encrypt(b"data") + bytes(100)))
    meeting.run_until_lost()
    assert isinstance(meeting.protocol.reason, ssl.SSLError)
    if impl.name == "fastloop":
        assert meeting.protocol.received == b"data"


# -- who they are ---------------------------------------------------------------------------------------


VERIFY_CODES = {"wrong name": 62, "expired": 10, "untrusted": 20, "self-signed": 18}


@pytest.mark.parametrize("kind", VERIFY_CODES)
@each_way
@each_version
def test_servers_certificate_is_refused(impl, meet, reported, version, way, kind):
    """And the server gets to know why.  asyncio does not tell it."""
    peer_context = server_context(version, kind)
    expected = reaction(False, version, peer_context=peer_context)
    meeting = meet(False, way, version, peer_context=peer_context)
    ours, peers = meeting.clash()
    assert isinstance(ours, ssl.SSLCertVerificationError) and ours.verify_code == VERIFY_CODES[kind]
    assert Facts.of(ours) == expected.ours and ours.reason == "CERTIFICATE_VERIFY_FAILED"
    assert impl.name == "asyncio" or Facts.of(peers) == expected.peers
    assert way == "start_tls" or meeting.protocol.calls == []
    meeting.run_until_closed()
    assert reported == []


CLIENT_CERTIFICATES = {
    None: ssl.SSLError,
    "untrusted": ssl.SSLCertVerificationError,
    "expired": ssl.SSLCertVerificationError,
}


@pytest.mark.parametrize("kind", CLIENT_CERTIFICATES)
@each_way
@each_version
def test_clients_certificate_is_refused(impl, meet, reported, version, way, kind):
    context, peer_context = server_context(version, client_certificate=True), client_context(version, kind)
    expected = reaction(True, context=context, peer_context=peer_context)
    meeting = meet(True, way, version, context=context, peer_context=peer_context)
    ours, peers = meeting.clash()
    assert type(ours) is CLIENT_CERTIFICATES[kind] and Facts.of(ours) == expected.ours
    assert impl.name == "asyncio" or Facts.of(peers) == expected.peers
    assert way == "start_tls" or meeting.protocol.calls == []
    meeting.run_until_closed()
    assert reported == []


@each_way
@each_version
def test_server_refuses_our_certificate(meet, reported, version, way):
    """With TLS 1.3 this arrives when the client takes itself for connected."""
    peer_context = server_context(version, client_certificate=True)
    expected = reaction(False, version, peer_context=peer_context)
    meeting = meet(False, way, version, peer_context=peer_context)
    ours, _ = meeting.clash()
    if version == "TLSv1.3":
        assert ours is None
        meeting.run_until_lost()
        assert meeting.protocol.names == ["connection_made", "connection_lost"]
        ours = meeting.protocol.reason
    assert Facts.of(ours) == expected.ours
    meeting.run_until_closed()
    assert reported == []


@pytest.mark.parametrize("kind", VERIFY_CODES)
@each_way
@each_version
def test_client_refuses_our_certificate(meet, reported, version, way, kind):
    context = server_context(version, kind)
    expected = reaction(True, version, context)
    meeting = meet(True, way, version, context=context)
    ours, peers = meeting.clash()
    assert isinstance(peers, ssl.SSLCertVerificationError)
    assert Facts.of(ours) == expected.ours
    meeting.run_until_closed()
    assert reported == []


@each_way
@each_role
def test_no_version_in_common(impl, meet, reported, server_side, way):
    context, peer_context = context_for(server_side, "TLSv1.3"), context_for(not server_side, "TLSv1.2")
    expected = reaction(server_side, context=context, peer_context=peer_context)
    meeting = meet(server_side, way, context=context, peer_context=peer_context)
    ours, peers = meeting.clash()
    assert Facts.of(ours) == expected.ours
    if server_side and impl.name == "fastloop":
        assert Facts.of(peers) == expected.peers
    meeting.run_until_closed()
    assert reported == []


# -- servers --------------------------------------------------------------------------------------------

MESSAGE = "Error on transport creation for incoming connection"


class Clients:
    """A server of the loop under test, the protocols it has made, and raw clients that are up to no good."""

    def __init__(self, loop, context, **options):
        self.loop = loop
        self.protocols = []
        self.context = client_context()
        self.server = run(
            loop, loop.create_server(self.make_protocol, "127.0.0.1", 0, ssl=context, **options)
        )
        self.peers = []

    def make_protocol(self):
        self.protocols.append(Recorder())
        return self.protocols[-1]

    def connect(self):
        """A `CutPeer` that is connected and has sent nothing."""
        sock = socket.create_connection(self.server.sockets[0].getsockname())
        sock.setblocking(False)
        self.peers.append(CutPeer(self.loop, sock, self.context, False))
        return self.peers[-1]

    def fail(self, peer, whole, how):
        """Have a client go astray after so many records."""

        async def main():
            peer.whole = whole
            with pytest.raises(Cut):
                await peer.handshake()
            if how == "garbage":
                await peer.send(bytes(100))
            else:
                getattr(peer, how)()

        run(self.loop, main())

    def serve_one(self):
        """Have a client be served, who leaves as one should."""

        async def main():
            peer = self.connect()
            await peer.handshake()
            await peer.write(b"data")
            await peer.shutdown()

        run(self.loop, main())

    def end(self):
        """Close the server, which has no connection left; nothing may be left of it."""
        self.server.close()
        run(self.loop, self.server.wait_closed())
        for peer in self.peers:
            peer.close()
        if hasattr(self.server, "_active_count"):
            run_until(self.loop, lambda: self.server._active_count == 0)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("whole", [0, 1, 2])
@pytest.mark.parametrize("how", ["reset", "close", "garbage"])
def test_server_goes_on(loop, reported, how, whole, debug):
    """A client that fails leaves nothing behind, and only debug mode tells."""
    loop.set_debug(debug)
    before = open_fds()
    clients = Clients(loop, shared_context(True, None))
    for _ in range(3):
        clients.fail(clients.connect(), whole, how)
        clients.serve_one()
    served = [protocol for protocol in clients.protocols if protocol.received]
    run_until(loop, lambda: len(reported) >= 3 * debug and all(protocol.lost for protocol in served))
    clients.end()
    assert [protocol.received for protocol in served] == [b"data"] * 3
    assert all(protocol.calls == [] for protocol in clients.protocols if protocol not in served)
    assert [context["message"] for context in reported] == [MESSAGE] * 3 * debug
    expected = ssl.SSLError if how == "garbage" else ConnectionResetError
    assert all(type(context["exception"]) is expected for context in reported)
    reported.clear()
    run_until(loop, lambda: open_fds() == before)


@pytest.mark.parametrize("debug", [False, True])
def test_server_wants_a_certificate(loop, reported, debug):
    loop.set_debug(debug)
    clients = Clients(loop, server_context(client_certificate=True))

    async def main():
        peer = clients.connect()
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await peer.handshake()
            await peer.read(1)

    run(loop, main())
    run_until(loop, lambda: len(reported) == debug)
    clients.end()
    assert [context["exception"].reason for context in reported] == [
        "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    ] * debug
    assert clients.protocols[0].calls == []
    reported.clear()


# -- slow ones ------------------------------------------------------------------------------------------


@each_way
@each_role
@each_version
def test_peer_says_nothing(meet, reported, version, server_side, way):
    meeting = meet(server_side, way, version, ssl_handshake_timeout=0.02)
    failure = meeting.failure()
    assert type(failure) is ConnectionAbortedError
    assert str(failure).startswith("SSL handshake is taking longer than 0.02 seconds")
    assert reported == []


@each_way
@each_role
@each_version
def test_peer_falls_silent(meet, reported, version, server_side, way):
    meeting = meet(server_side, way, version, ssl_handshake_timeout=0.05)
    meeting.peer.whole, meeting.peer.more = 1, 5

    async def main():
        with contextlib.suppress(Cut, OSError):  # the latter on a slow machine
            await meeting.answer()

    meeting.run(main())
    assert type(meeting.failure()) is ConnectionAbortedError
    assert reported == []


@pytest.mark.parametrize("debug", [False, True])
def test_client_of_a_server_says_nothing(loop, reported, debug):
    loop.set_debug(debug)
    clients = Clients(loop, shared_context(True, None), ssl_handshake_timeout=0.02)
    peer = clients.connect()
    assert run(loop, receive_all(loop, peer.sock)) == b""
    run_until(loop, lambda: len(reported) == debug)
    clients.end()
    assert [type(context["exception"]) for context in reported] == [ConnectionAbortedError] * debug
    assert clients.protocols[0].calls == []
    reported.clear()


@each_way
@each_role
@each_version
def test_byte_by_byte(meet, version, server_side, way):
    meeting = meet(server_side, way, version)
    meeting.peer.drip = True
    transport = meeting.shake_hands()
    data = bytes(range(256)) * 2
    meeting.run(meeting.peer.drop(meeting.peer.encrypt(data)))
    run_until(meeting.loop, lambda: meeting.protocol.received == data)
    transport.write(data)
    assert meeting.run(meeting.peer.read(len(data))) == data
    transport.close()
    meeting.run(meeting.peer.read_to_end())
    meeting.run(meeting.peer.drop(meeting.peer.close_notify()))
    meeting.run_until_lost()
    assert meeting.protocol.reason is None
