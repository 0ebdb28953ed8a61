"""A TLS connection as its protocol sees it: calls in their order, data whole, and what the transport tells of it."""

import asyncio
import socket
import ssl

import pytest
from support.net import BufferedRecorder, Recorder, open_fds, run, run_until, write_soon
from support.tls import (
    NAME,
    RECORD,
    certificate,
    client_context,
    each_side,
    each_version,
    pattern,
    server_context,
)

SIZES = (1, RECORD - 1, RECORD, RECORD + 1, 1 << 20)


# The order of calls.


@each_version
@each_side
def test_life(tls, server_side):
    connection = tls.connect(server_side=server_side)
    protocol, transport, peer = connection.protocol, connection.transport, connection.peer
    assert protocol.calls == [("connection_made", transport)]
    connection.send(b"question")
    transport.write(b"answer")
    assert connection.run(peer.read(6)) == b"answer"
    assert not transport.is_closing() and transport.is_reading()
    connection.run(peer.shutdown())
    connection.run_until_lost()
    assert protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.reason is None and protocol.received == b"question"
    assert transport.is_closing()


@each_side
def test_the_socket_is_closed_when_the_connection_is_lost(tls, server_side):
    before = open_fds()
    connection = tls.connect(server_side=server_side)
    connection.transport.close()
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    connection.peer.close()
    assert open_fds() == before


def test_connection_made_once_both_ends_are_sure(tls):
    """Not with the first record, nor before the peer's last one was verified."""
    left, right = tls.sockets()
    peer, protocol = tls.raw(right, server_side=True), Recorder()

    async def main():
        connecting = asyncio.ensure_future(tls.make(left, protocol))
        await peer.receive()
        assert protocol.calls == []
        await peer.handshake()
        return await connecting

    transport, made = run(tls.loop, main())
    assert made is protocol and protocol.calls == [("connection_made", transport)]


def names_with(tls, server_side, also, protocol=None):
    """The names of the protocol's calls, "returned" among them for the turn of the task that waits for the connection.

    `also` is what the peer sends along with the last records of its handshake.
    """
    left, right = tls.sockets()
    peer = tls.raw(right, not server_side)
    protocol = protocol or Recorder()

    async def make():
        await tls.make(left, protocol, server_side)
        protocol.called("returned")

    async def main():
        await asyncio.gather(make(), peer.handshake(also))
        while len(protocol.received) < len(also):
            await asyncio.sleep(0)

    run(tls.loop, main())
    assert protocol.received == also
    return protocol.names


# The client is the last to send in TLS 1.3, the server in TLS 1.2.
LAST_WORD = pytest.mark.parametrize(
    ("tls", "server_side"),
    [("TLSv1.2", False), ("TLSv1.3", True)],
    ids=["TLSv1.2 client", "TLSv1.3 server"],
    indirect=["tls"],
)


@LAST_WORD
@pytest.mark.parametrize("size", [1, 3 * RECORD])
def test_data_with_the_last_record_of_the_handshake(impl, tls, server_side, size):
    """Who waits for the connection has its turn first: it can still replace the protocol.  asyncio's comes too late."""
    names = names_with(tls, server_side, pattern(size))
    if impl.name == "asyncio":
        assert names == ["connection_made", "data_received", "returned"]
    else:
        assert names[:3] == ["connection_made", "returned", "data_received"]


@LAST_WORD
def test_data_with_the_last_record_fills_buffers(impl, tls, server_side):
    protocol = BufferedRecorder(1000)
    names = names_with(tls, server_side, pattern(2500), protocol)
    if impl.name == "fastloop":
        assert names[:2] == ["connection_made", "returned"]
    assert protocol.received == pattern(2500)


@LAST_WORD
def test_pausing_in_connection_made_holds_back_the_data_with_the_last_record(tls, turn, server_side):
    protocol = Recorder(connection_made=lambda transport: transport.pause_reading())
    connection = tls.connect(protocol, server_side, also=b"early")
    turn(2)
    assert protocol.names == ["connection_made"] and not connection.transport.is_reading()
    connection.transport.resume_reading()
    connection.run_until(lambda: protocol.received == b"early")


@LAST_WORD
def test_closing_in_connection_made(tls, server_side):
    """The peer sees the end, and the protocol hears of it after the connection was returned."""
    protocol = Recorder(connection_made=lambda transport: transport.close())
    connection = tls.connect(protocol, server_side)
    assert connection.transport.is_closing()
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    assert protocol.names[0] == "connection_made" and protocol.reason is None


@each_side
def test_aborting_in_connection_made(tls, server_side):
    left, right = tls.sockets()
    peer = tls.raw(right, not server_side)
    protocol = Recorder(connection_made=lambda transport: transport.abort())

    async def main():
        (transport, _), _ = await asyncio.gather(
            tls.make(left, protocol, server_side), peer.handshake(), return_exceptions=True
        )
        return transport

    assert run(tls.loop, main()).is_closing()
    run_until(tls.loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "connection_lost"] and protocol.reason is None


@each_side
def test_writing_in_connection_made(tls, server_side):
    connection = tls.connect(
        Recorder(connection_made=lambda transport: transport.write(b"hello")), server_side
    )
    assert connection.run(connection.peer.read(5)) == b"hello"


# Data.


@each_version
@each_side
@pytest.mark.parametrize("size", SIZES)
def test_sizes(tls, server_side, size):
    connection = tls.connect(server_side=server_side)
    data = pattern(size)
    connection.transport.write(data)
    assert connection.run(connection.peer.read(size)) == data
    connection.send(data)
    assert connection.protocol.received == data


@each_version
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_blocking_peer_echoes(tls, kind):
    def echo(sock):
        while data := sock.recv(10_000):
            sock.sendall(data)
        sock.unwrap()

    left, right = tls.sockets(kind)
    peer, protocol, data = tls.thread(right, echo, server_side=True), Recorder(), pattern(300_000)
    transport, _ = run(tls.loop, tls.make(left, protocol))
    for start in range(0, len(data), 7000):
        transport.write(data[start : start + 7000])
    run_until(tls.loop, lambda: len(protocol.received) == len(data))
    assert protocol.received == data
    transport.close()
    run(tls.loop, peer.wait())
    run_until(tls.loop, lambda: protocol.lost)
    assert protocol.reason is None


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_both_ends_at_once(loop, tls, kind):
    server, client = tls.pair(kind=kind)
    data = pattern(1 << 20)
    client.write(data)
    server.writelines([data, data])
    run_until(loop, lambda: len(client.get_protocol().received) == 2 * len(data))
    run_until(loop, lambda: len(server.get_protocol().received) == len(data))
    assert client.get_protocol().received == 2 * data and server.get_protocol().received == data


@each_version
def test_many_writes_in_one_callback(loop, tls):
    connection = tls.connect()
    pieces = [b"%d," % number for number in range(2000)]

    expected = write_soon(loop, connection.transport, pieces)
    assert connection.run(connection.peer.read(len(expected))) == expected


def test_writes_and_reads_by_turns(tls):
    connection = tls.connect()
    for number in range(50):
        word = b"%d" % number * 100
        connection.transport.write(word)
        assert connection.run(connection.peer.read(len(word))) == word
        connection.send(word)


@each_side
def test_an_answer_written_in_data_received(tls, server_side):
    protocol = Recorder()
    inverse = bytes(range(255, -1, -1))
    protocol.on["data_received"] = lambda data: protocol.transport.write(data.translate(inverse))
    connection = tls.connect(protocol, server_side)
    for word in (b"word", pattern(10_000)):
        connection.run(connection.peer.write(word))
        assert connection.run(connection.peer.read(len(word))) == word.translate(inverse)


def test_small_and_large_writes_keep_their_order(loop, tls):
    connection = tls.connect()
    pieces = [pattern(size) for size in (1, 100_000, 3, RECORD, 200_000, 5)]

    expected = write_soon(loop, connection.transport, pieces)
    assert connection.run(connection.peer.read(len(expected))) == expected


WRAPPERS = pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview], ids=lambda wrap: wrap.__name__)


@WRAPPERS
@pytest.mark.parametrize("size", [10, 100_000])
def test_what_can_be_written(tls, wrap, size):
    connection = tls.connect()
    data = pattern(size)
    connection.transport.write(wrap(data))
    connection.transport.writelines([wrap(data), wrap(data)])
    assert connection.run(connection.peer.read(3 * size)) == 3 * data


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("full", [False, True], ids=["at once", "kernel full"])
def test_a_buffer_may_change_once_it_was_written(loop, tls, size, full):
    connection = tls.connect(kind="unix", sndbuf=4096)
    before = pattern(1 << 19) if full else b""
    data = bytearray(pattern(size))

    def write():
        connection.transport.write(before)
        connection.transport.write(data)
        connection.transport.write(memoryview(data))
        data[:] = bytes(size)

    loop.call_soon(write)
    assert connection.run(connection.peer.read(len(before) + 2 * size)) == before + 2 * pattern(size)


def test_writelines(tls):
    connection = tls.connect()
    write = connection.transport.writelines
    assert write([]) is None
    write(iter([b"1", b"22"]))
    write(b"%d" % number for number in range(3))
    write([b"x" * 20_000, b"y", b"z" * 70_000])
    expected = b"122012" + b"x" * 20_000 + b"y" + b"z" * 70_000
    assert connection.run(connection.peer.read(len(expected))) == expected


def test_nothing_is_no_record(tls, turn):
    connection = tls.connect()
    before = connection.peer.received
    connection.transport.write(b"")
    connection.transport.writelines([])
    turn()
    connection.transport.write(b"x")
    assert connection.run(connection.peer.read(1)) == b"x"
    record = connection.peer.received - before
    connection.transport.write(b"x")
    assert connection.run(connection.peer.read(1)) == b"x"
    assert connection.peer.received == before + 2 * record


@pytest.mark.parametrize("data", ["text", 5, None, [b"list"]], ids=repr)
def test_what_cannot_be_written(tls, data):
    connection = tls.connect()
    with pytest.raises(TypeError):
        connection.transport.write(data)
    connection.transport.write(b"x")
    assert connection.run(connection.peer.read(1)) == b"x"


def test_writelines_of_no_iterable(tls):
    with pytest.raises(TypeError):
        tls.connect().transport.writelines(5)


def test_records_arrive_byte_by_byte(loop, tls):
    connection = tls.connect()
    for byte in connection.peer.encrypt(b"slow"):
        connection.run(connection.peer.send(bytes([byte])))
    run_until(loop, lambda: connection.protocol.received == b"slow")


def test_several_records_in_one_read(tls):
    connection = tls.connect()
    words = [b"one", b"two", b"", pattern(50_000), b"three"]
    connection.run(connection.peer.send(b"".join(connection.peer.encrypt(word) for word in words if word)))
    connection.run_until(lambda: len(connection.protocol.received) == len(b"".join(words)))
    assert connection.protocol.received == b"".join(words)


def test_data_received_gets_bytes_of_its_own(tls):
    connection = tls.connect()
    connection.send(b"first")
    connection.send(b"second")
    received = [args[0] for name, *args in connection.protocol.calls if name == "data_received"]
    assert received == [b"first", b"second"] and all(type(data) is bytes for data in received)


# What the transport tells.


@each_version
@each_side
def test_extra_info(tls, server_side):
    context = server_context(tls.version) if server_side else client_context(tls.version)
    connection = tls.connect(server_side=server_side, ssl=context)
    info, peer = connection.transport.get_extra_info, connection.peer.sock
    assert info("sslcontext") is context
    assert isinstance(info("ssl_object"), ssl.SSLObject)
    assert info("ssl_object").server_side is server_side
    assert info("ssl_object").version() == tls.version
    assert info("ssl_object").context is context
    assert info("cipher") == connection.peer.ssl_object.cipher()
    assert info("compression") is None
    assert info("compression", "default") is None, "it is known that there is none"
    assert info("peername") == peer.getsockname() and info("sockname") == peer.getpeername()
    assert info("socket").fileno() >= 0 and info("socket").type == socket.SOCK_STREAM
    assert info("nothing") is None and info("nothing", "default") == "default"


def test_certificate_of_the_peer(tls):
    connection = tls.connect()
    assert connection.transport.get_extra_info("peercert")["subjectAltName"] == (("DNS", NAME),)
    connection = tls.connect(server_side=True)
    assert connection.transport.get_extra_info("peercert", "default") is None


@each_version
def test_certificate_of_the_client(tls):
    options = {
        "ssl": server_context(tls.version, client_certificate=True),
        "peer_context": client_context(tls.version, kind="client"),
    }
    connection = tls.connect(server_side=True, **options)
    names = connection.transport.get_extra_info("peercert")["subjectAltName"]
    assert names == (("email", "client@client.example"),)


@each_side
def test_extra_info_stays(tls, server_side):
    keys = ("sslcontext", "ssl_object", "peercert", "cipher", "compression")
    connection = tls.connect(server_side=server_side)
    before = [connection.transport.get_extra_info(key) for key in keys]
    connection.transport.close()
    assert [connection.transport.get_extra_info(key) for key in keys] == before
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    assert [connection.transport.get_extra_info(key) for key in keys] == before
    assert before[1].version() == "TLSv1.3"


def test_the_ssl_object_answers(tls):
    """It is the very one that the connection uses."""
    connection = tls.connect()
    ssl_object = connection.transport.get_extra_info("ssl_object")
    peer = connection.peer.ssl_object
    assert ssl_object.server_hostname == NAME
    shown = certificate("right").cert_chain_pems[0].bytes().decode()
    assert ssl_object.getpeercert(True) == ssl.PEM_cert_to_DER_cert(shown)
    assert ssl_object.get_channel_binding("tls-unique") == peer.get_channel_binding("tls-unique")
    assert ssl_object.shared_ciphers() is None and peer.shared_ciphers()
    connection.send(b"data")
    assert ssl_object.pending() == 0


def test_kinds_of_transport(tls):
    transport = tls.connect().transport
    assert isinstance(transport, asyncio.Transport)
    assert transport.get_extra_info("sslcontext") is not None
    assert transport._start_tls_compatible


def test_no_half_close(tls):
    connection = tls.connect()
    assert connection.transport.can_write_eof() is False
    with pytest.raises(NotImplementedError):
        connection.transport.write_eof()
    connection.send(b"still open")


# TLS beyond the handshake.


@each_side
def test_alpn(tls, server_side):
    contexts = server_context(), client_context()
    contexts[0].set_alpn_protocols(["h2", "http/1.1"])
    contexts[1].set_alpn_protocols(["spdy", "http/1.1"])
    ours, theirs = contexts if server_side else contexts[::-1]
    connection = tls.connect(server_side=server_side, ssl=ours, peer_context=theirs)
    assert connection.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    assert connection.peer.ssl_object.selected_alpn_protocol() == "http/1.1"


@each_version
def test_a_session_is_resumed(tls):
    options = {"ssl": server_context(tls.version), "peer_context": client_context(tls.version)}
    first = tls.connect(server_side=True, **options)
    first.transport.write(b"x")  # the ticket of TLS 1.3 comes before it
    assert first.run(first.peer.read(1)) == b"x"
    session = first.peer.ssl_object.session
    assert session is not None and not first.transport.get_extra_info("ssl_object").session_reused
    second = tls.connect(server_side=True, session=session, **options)
    assert second.peer.ssl_object.session_reused
    assert second.transport.get_extra_info("ssl_object").session_reused
    second.send(b"resumed")


@each_version
def test_a_client_gets_a_session(tls):
    connection = tls.connect()
    connection.send(b"x")
    session = connection.transport.get_extra_info("ssl_object").session
    assert session is not None and session.timeout > 0


def test_tickets_are_no_data(tls):
    """What TLS 1.3 sends after the handshake for itself calls nobody."""
    connection = tls.connect(ssl=client_context("TLSv1.3"))
    run_until(tls.loop, lambda: connection.transport.get_extra_info("ssl_object").session.has_ticket)
    assert connection.protocol.names == ["connection_made"]


def post_handshake_contexts():
    """The contexts of a server that may ask for a certificate late, and of a client that would give one."""
    server = server_context("TLSv1.3", client_certificate=True)
    client = client_context("TLSv1.3", kind="client")
    server.post_handshake_auth = client.post_handshake_auth = True
    return server, client


def test_a_client_is_asked_for_its_certificate_after_the_handshake(tls):
    server, client = post_handshake_contexts()
    connection = tls.connect(ssl=client, peer_context=server)
    peer = connection.peer.ssl_object
    assert peer.getpeercert() is None
    peer.verify_client_post_handshake()
    connection.run(connection.peer.flush())
    connection.send(b"who are you?")
    connection.transport.write(b"see there")
    assert connection.run(connection.peer.read(9)) == b"see there"
    assert peer.getpeercert()["subjectAltName"] == (("email", "client@client.example"),)


def test_a_server_asks_for_a_certificate_after_the_handshake(tls):
    server, client = post_handshake_contexts()
    connection = tls.connect(server_side=True, ssl=server, peer_context=client)
    ssl_object = connection.transport.get_extra_info("ssl_object")
    assert ssl_object.getpeercert() is None
    ssl_object.verify_client_post_handshake()
    connection.transport.write(b"who are you?")
    assert connection.run(connection.peer.read(12)) == b"who are you?"
    connection.send(b"see there")
    assert ssl_object.getpeercert()["subjectAltName"] == (("email", "client@client.example"),)
