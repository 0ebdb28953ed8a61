"""TLS messages in the middle of data: tickets, new keys, certificates asked for late, and another handshake."""

import _ssl
import ctypes
import ssl

import pytest
from hostile import Facts, each_role, each_way, failure_of, shared_context
from support.net import run_until
from support.tls import Library, RawPeer, client_context, server_context

needs_library = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(_ssl.__file__), "SSL_renegotiate"),
    reason="OpenSSL's functions cannot be found by name",
)


def check_data(meeting, transport):
    """Data passes in both directions."""
    meeting.send(b"to us")
    transport.write(b"to the peer")
    assert meeting.run(meeting.peer.read(11)) == b"to the peer"


@pytest.mark.parametrize("count", [0, 1, 10])
@each_way
@each_role
def test_tickets(meet, reported, server_side, way, count):
    context = server_context("TLSv1.3")
    context.num_tickets = count
    contexts = {"context": context} if server_side else {"peer_context": context}
    meeting = meet(server_side, way, "TLSv1.3", **contexts)
    transport = meeting.shake_hands()
    check_data(meeting, transport)
    transport.close()
    meeting.run(meeting.peer.shutdown())
    meeting.run_until_lost()
    assert meeting.protocol.reason is None and reported == []


@needs_library
@pytest.mark.parametrize("answer", [0, 1], ids=["one-sided", "mutual"])
@each_role
def test_new_keys(meet, reported, server_side, answer):
    """Nothing but data is written by us: the answers leave by themselves."""
    meeting = meet(server_side, version="TLSv1.3")
    transport = meeting.shake_hands()
    library = Library(meeting.peer)
    for number in range(20):
        assert library.SSL_key_update(answer) == 1
        meeting.send(b"%d" % number)
    check_data(meeting, transport)
    assert reported == []


@needs_library
@each_role
def test_new_keys_for_ever(meet, reported, server_side):
    """Who asks for new keys and never reads the answers has them held for a while, but the connection lives."""
    meeting = meet(server_side, version="TLSv1.3")
    transport = meeting.shake_hands()
    library = Library(meeting.peer)
    for _ in range(300):
        assert library.SSL_key_update(1) == 1
        meeting.run(meeting.peer.write(b"x"))
    run_until(meeting.loop, lambda: len(meeting.protocol.received) == 300)
    check_data(meeting, transport)
    assert reported == []


# -- certificates asked for late ------------------------------------------------------------------------


def contexts_for_late_certificates(kind):
    """A server's context that does not ask for a certificate in time, and a client's that has one of that kind."""
    server, client = server_context("TLSv1.3", client_certificate=True), client_context("TLSv1.3", kind)
    server.verify_mode = ssl.CERT_OPTIONAL
    client.post_handshake_auth = True
    return server, client


def test_we_ask_for_a_certificate_later(meet, reported):
    server, client = contexts_for_late_certificates("client")
    server.post_handshake_auth = True
    meeting = meet(True, context=server, peer_context=client)
    transport = meeting.shake_hands()
    ssl_object = transport.get_extra_info("ssl_object")
    assert not ssl_object.getpeercert()
    ssl_object.verify_client_post_handshake()
    transport.write(b"who?")
    assert meeting.run(meeting.peer.read(4)) == b"who?"
    check_data(meeting, transport)
    assert ssl_object.getpeercert()["subject"] is not None
    assert reported == []


def test_we_get_no_certificate_later(meet, reported):
    """The client has none; the server, once it insists, ends the connection with the right exception."""
    server, client = contexts_for_late_certificates(None)
    server.verify_mode = ssl.CERT_REQUIRED
    server.post_handshake_auth = True
    meeting = meet(True, context=server, peer_context=client)
    transport = meeting.shake_hands()
    transport.get_extra_info("ssl_object").verify_client_post_handshake()
    transport.write(b"who?")
    assert meeting.run(meeting.peer.read(4)) == b"who?"
    meeting.run(meeting.peer.write(b"me"))
    meeting.run_until_lost()
    assert meeting.protocol.reason.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert reported == []


@each_way
def test_peer_asks_for_a_certificate_later(meet, reported, way):
    """The answer leaves by itself."""
    server, client = contexts_for_late_certificates("client")
    server.post_handshake_auth = True
    meeting = meet(False, way, context=client, peer_context=server)
    transport = meeting.shake_hands()
    meeting.peer.ssl_object.verify_client_post_handshake()
    meeting.send(b"who?")
    run_until(meeting.loop, lambda: peer_has_a_certificate(meeting))
    check_data(meeting, transport)
    assert reported == []


def peer_has_a_certificate(meeting):
    try:
        meeting.peer.incoming.write(meeting.peer.sock.recv(1 << 18))
    except BlockingIOError:
        return False
    assert failure_of(meeting.peer.ssl_object.read) is None
    return bool(meeting.peer.ssl_object.getpeercert())


# -- another handshake (TLS 1.2) ------------------------------------------------------------------------


def ask_for_another_handshake(peer):
    library = Library(peer)
    assert [library.SSL_renegotiate(), library.SSL_do_handshake()] == [
        1,
        1 if peer.ssl_object.server_side else -1,
    ]


@needs_library
@each_way
def test_server_asks_for_another_handshake(meet, reported, way):
    """The client goes through it; data that it writes meanwhile arrives afterwards."""
    meeting = meet(False, way, "TLSv1.2")
    transport = meeting.shake_hands()
    check_data(meeting, transport)
    ask_for_another_handshake(meeting.peer)
    meeting.run(meeting.peer.flush())
    data = bytes(range(256)) * 4000
    for i in range(0, len(data), 100_000):
        meeting.turn()
        transport.write(data[i : i + 100_000])
    assert meeting.run(meeting.peer.read(len(data))) == data
    check_data(meeting, transport)
    transport.close()
    meeting.run(meeting.peer.shutdown())
    meeting.run_until_lost()
    assert meeting.protocol.reason is None and reported == []


def answers_to_another_handshake(context, peer_context):
    """What SSLObjects say when a client asks for another handshake: the client, then the server to its last words."""
    ours, peer = RawPeer(None, None, context, True), RawPeer(None, None, peer_context, False)
    for _ in range(3):
        failure_of(peer.ssl_object.do_handshake)
        ours.incoming.write(peer.collect())
        failure_of(ours.ssl_object.do_handshake)
        peer.incoming.write(ours.collect())
    failure_of(peer.ssl_object.read)
    ask_for_another_handshake(peer)
    ours.incoming.write(peer.collect())
    assert failure_of(ours.ssl_object.read) is None
    peer.incoming.write(ours.collect())
    peers = failure_of(peer.ssl_object.read)
    ours.incoming.write(peer.collect())
    return Facts.of(peers), Facts.of(failure_of(ours.ssl_object.read))


@needs_library
@each_way
def test_client_asks_for_another_handshake(meet, reported, way):
    """It is refused without harm to the connection; what the client makes of that is its business."""
    contexts = shared_context(True, "TLSv1.2"), shared_context(False, "TLSv1.2")
    peers, ours = answers_to_another_handshake(*contexts)
    meeting = meet(True, way, "TLSv1.2")
    transport = meeting.shake_hands()
    check_data(meeting, transport)
    ask_for_another_handshake(meeting.peer)
    meeting.run(meeting.peer.flush())
    with pytest.raises(ssl.SSLError) as info:
        meeting.run(meeting.peer.read(1))
    assert Facts.of(info.value) == peers
    meeting.run_until_lost()
    assert Facts.of(meeting.protocol.reason) == ours
    assert reported == []
