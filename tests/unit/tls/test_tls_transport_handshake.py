"""Connections with ssl=: arguments, server names, contexts, timeouts, and handshakes that fail or are given up."""

import asyncio
import contextlib
import contextvars
import logging
import socket
import ssl
import sys

import pytest
from support.addresses import asyncio_since
from support.net import Recorder, at_end, cancel_after, fail, open_fds, receive_all, run, run_until
from support.serving import Service
from support.tls import NAME, authority, certificate, client_context, each_side, each_version, server_context

SHORT = 0.02  # seconds until a timeout that is waited for
TIMEOUTS = pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])


def fails(tls, exception, server_side=False, peer_context=None, **options):
    """Have a handshake fail: what the transport's side and the peer have raised, with nothing left open or called."""
    before = open_fds()
    left, right = tls.sockets()
    peer, protocol = tls.raw(right, not server_side, peer_context), Recorder()

    async def main():
        return await asyncio.gather(
            tls.make(left, protocol, server_side, **options), peer.handshake(), return_exceptions=True
        )

    error, peer_error = run(tls.loop, main())
    assert isinstance(error, exception)
    assert isinstance(peer_error, ssl.SSLError | None)
    assert protocol.calls == []
    peer.close()
    run_until(tls.loop, lambda: open_fds() == before)
    return error, peer_error


# Arguments.


@TIMEOUTS
@pytest.mark.parametrize("method", ["create_connection", "connect_accepted_socket"])
def test_timeouts_without_tls(loop, tls, name, method):
    left, _ = tls.sockets()
    with pytest.raises(ValueError, match=f"^{name} is only meaningful with ssl$"):
        run(loop, getattr(loop, method)(Recorder, sock=left, **{name: 1}))


@TIMEOUTS
def test_timeouts_of_servers_without_tls(loop, name):
    with pytest.raises(ValueError, match=f"^{name} is only meaningful with ssl$"):
        run(loop, loop.create_server(Recorder, "127.0.0.1", 0, **{name: 1}))


@TIMEOUTS
@pytest.mark.parametrize("method", ["create_unix_connection", "create_unix_server"])
def test_timeouts_of_unix_sockets_without_tls(loop, tls, name, method):
    left, _ = tls.sockets("unix")
    with pytest.raises(ValueError, match=f"^{name} is only meaningful with ssl$"):
        run(loop, getattr(loop, method)(Recorder, sock=left, **{name: 1}))


@TIMEOUTS
@each_side
@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_unusable_timeouts(impl, loop, tls, server_side, name, timeout):
    asyncio_since(impl, 3, 14)
    left, _ = tls.sockets()
    with pytest.raises(ValueError, match=f"^{name} should be a positive number, got {timeout}$"):
        run(loop, tls.make(left, Recorder(), server_side, **{name: timeout}))
    assert left.fileno() == -1


def test_a_name_is_needed(loop, tls):
    left, _ = tls.sockets()
    message = "^You must set server_hostname when using ssl without a host$"
    with pytest.raises(ValueError, match=message):
        run(loop, loop.create_connection(Recorder, sock=left, ssl=client_context()))
    with pytest.raises(ValueError, match=message):
        run(loop, loop.create_connection(Recorder, None, 443, ssl=client_context()))


def test_a_name_is_needed_for_a_unix_socket(loop, tls):
    left, _ = tls.sockets("unix")
    with pytest.raises(ValueError, match=r"^you have to pass server_hostname when using ssl$"):
        run(loop, loop.create_unix_connection(Recorder, sock=left, ssl=client_context()))


@pytest.mark.parametrize("method", ["create_connection", "create_unix_connection"])
@pytest.mark.parametrize("ssl", [None, False])
def test_a_name_without_tls(loop, tls, method, ssl):
    left, _ = tls.sockets("unix")
    with pytest.raises(ValueError, match=r"^server_hostname is only meaningful with ssl$"):
        run(loop, getattr(loop, method)(Recorder, sock=left, server_hostname=NAME, ssl=ssl))


def test_a_name_that_cannot_be_one(impl, loop, tls):
    asyncio_since(impl, 3, 14)  # it closes the socket
    left, _ = tls.sockets()
    with pytest.raises(ValueError):
        run(loop, tls.make(left, Recorder(), server_hostname="."))
    assert left.fileno() == -1


@pytest.mark.parametrize("method", ["create_server", "create_unix_server"])
def test_servers_need_a_context(loop, tls, method):
    left, _ = tls.sockets("unix")
    with pytest.raises(TypeError, match=r"^ssl argument must be an SSLContext or None$"):
        run(loop, getattr(loop, method)(Recorder, sock=left, ssl=True))


def test_an_accepted_socket_needs_a_context(loop, tls):
    left, _ = tls.sockets()
    with pytest.raises(ValueError, match=r"^Server side SSL needs a valid SSLContext$"):
        run(loop, loop.connect_accepted_socket(Recorder, left, ssl=True))


@each_side
def test_sockets_that_speak_tls_themselves(loop, tls, server_side):
    left, _ = tls.sockets()
    sock = client_context().wrap_socket(left, do_handshake_on_connect=False, server_hostname=NAME)
    with sock, pytest.raises(TypeError, match=r"^Socket cannot be of type SSLSocket$"):
        run(loop, tls.make(sock, Recorder(), server_side))


@each_side
def test_no_context(impl, loop, tls, server_side):
    asyncio_since(impl, 3, 14)  # it closes the socket
    left, _ = tls.sockets()
    with pytest.raises((TypeError, AttributeError)):
        run(loop, tls.make(left, Recorder(), server_side, ssl="context"))
    assert left.fileno() == -1


# Names.


def heard_name(tls, **options):
    """The server's name that a client sends."""
    names, context = [], server_context()
    context.sni_callback = lambda ssl_object, name, ctx: names.append(name)
    connection = tls.connect(peer_context=context, **options)
    [name] = names
    assert connection.transport.get_extra_info("ssl_object").server_hostname == name
    return name


def test_name(tls):
    assert heard_name(tls) == NAME


@pytest.mark.parametrize("verify", [ssl.CERT_NONE, ssl.CERT_REQUIRED])
def test_no_name(tls, verify):
    """An empty one is for contexts that do not check it; the certificate may still be verified."""
    context = client_context()
    context.check_hostname = False
    context.verify_mode = verify
    assert heard_name(tls, server_hostname="", ssl=context) is None


@pytest.mark.parametrize("name", [NAME, ""])
def test_default_context(tls, name):
    """It trusts the authorities of the system, so not ours."""
    error, _ = fails(tls, ssl.SSLCertVerificationError, ssl=True, server_hostname=name)
    assert error.verify_code in (19, 20)  # a self-signed one in the chain, or no issuer to be found


def test_host_is_the_name(loop, listener):
    """The certificate is for another name than the address in use."""

    async def main():
        connecting = loop.create_task(
            loop.create_connection(Recorder, *listener.getsockname(), ssl=client_context())
        )
        sock, _ = await loop.sock_accept(listener)
        with pytest.raises(OSError):
            await loop.connect_accepted_socket(Recorder, sock, ssl=server_context())
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await connecting

    run(loop, main())


def test_a_name_in_place_of_the_host(loop, tls, listener):
    async def main():
        connecting = loop.create_task(
            loop.create_connection(
                lambda: tls.note(Recorder(), listener),
                *listener.getsockname(),
                ssl=client_context(),
                server_hostname=NAME,
            )
        )
        sock, _ = await loop.sock_accept(listener)
        peer = tls.raw(sock, server_side=True)
        await peer.handshake()
        transport, _ = await connecting
        transport.close()
        await peer.shutdown()
        sock.close()
        listener.close()

    run(loop, main())


# Unix sockets.


@each_version
def test_unix_server_and_connection(loop, tls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    service = Service(loop)
    service.start_unix("socket", ssl=server_context(tls.version))
    options = {"ssl": client_context(tls.version), "server_hostname": NAME}
    transport, protocol = run(loop, loop.create_unix_connection(Recorder, "socket", **options))
    transport.write(b"hello")
    run_until(loop, lambda: service.protocols[0].received == b"hello")
    service.protocols[0].transport.write(b"world")
    run_until(loop, lambda: protocol.received == b"world")
    assert transport.get_extra_info("peername") == "socket"
    transport.close()
    run_until(loop, lambda: protocol.lost and service.protocols[0].lost)
    service.end()


@each_side
def test_connected_unix_sockets(tls, server_side):
    connection = tls.connect(server_side=server_side, kind="unix")
    connection.send(b"hello")
    assert connection.transport.get_extra_info("sockname") == ""


# Handshakes that fail.


BAD_CERTIFICATES = {
    "wrong name": (62, "Hostname mismatch, certificate is not valid for 'server.example'."),
    "expired": (10, "certificate has expired"),
    "untrusted": (20, "unable to get local issuer certificate"),
    "self-signed": (18, "self-signed certificate"),
}


@each_version
@pytest.mark.parametrize("kind", BAD_CERTIFICATES)
def test_certificates_that_are_refused(impl, tls, kind):
    """The server is told why.  asyncio says nothing to it."""
    context = server_context(tls.version, kind)
    error, peer_error = fails(tls, ssl.SSLCertVerificationError, peer_context=context)
    code, message = BAD_CERTIFICATES[kind]
    assert error.reason == "CERTIFICATE_VERIFY_FAILED"
    assert error.verify_code == code and error.verify_message == message.replace("server.example", NAME)
    if impl.name == "fastloop":
        assert "ALERT" in peer_error.reason


def test_a_certificate_that_nobody_asks_to_verify(tls):
    context = client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = tls.connect(ssl=context, peer_context=server_context(kind="self-signed"))
    assert connection.transport.get_extra_info("peercert") == {}
    connection.send(b"hello")


@each_version
def test_a_client_without_certificate(impl, tls):
    context = server_context(tls.version, client_certificate=True)
    if tls.version == "TLSv1.2":
        error, peer_error = fails(tls, ssl.SSLError, server_side=True, ssl=context)
        if impl.name == "fastloop":
            assert "ALERT" in peer_error.reason
    else:  # the client believes that it is connected
        left, right = tls.sockets()
        peer = tls.raw(right, server_side=False)

        async def main():
            connecting = tls.loop.create_task(tls.make(left, Recorder(), True, ssl=context))
            await peer.handshake()
            with pytest.raises(ssl.SSLError) as info:
                await connecting
            with pytest.raises(ssl.SSLError) as peer_info:
                await peer.read(1)
            return info.value, peer_info.value

        error, peer_error = run(tls.loop, main())
        if impl.name == "fastloop":
            assert peer_error.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


def test_a_refusal_after_the_handshake(tls, reported):
    """In TLS 1.3, a client learns after its handshake that the server does not want it."""
    left, right = tls.sockets()
    peer = tls.raw(right, True, server_context("TLSv1.3", client_certificate=True))
    protocol = Recorder()

    async def main():
        handshake = tls.loop.create_task(peer.handshake())
        await tls.make(left, protocol)
        with pytest.raises(ssl.SSLError):
            await handshake

    run(tls.loop, main())
    run_until(tls.loop, lambda: protocol.lost)
    assert isinstance(protocol.reason, ssl.SSLError)
    assert protocol.reason.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert "data_received" not in protocol.names and reported == []


@each_side
def test_no_version_in_common(impl, tls, server_side):
    ours, theirs = server_context("TLSv1.3"), client_context("TLSv1.2")
    if not server_side:
        ours, theirs = client_context("TLSv1.2"), server_context("TLSv1.3")
    error, peer_error = fails(tls, ssl.SSLError, server_side, ssl=ours, peer_context=theirs)
    if server_side:
        assert error.reason == "UNSUPPORTED_PROTOCOL"
        if impl.name == "fastloop":
            assert peer_error.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    else:
        assert error.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@each_side
def test_not_tls_at_all(tls, server_side):
    before = open_fds()
    left, right = tls.sockets()
    protocol = Recorder()

    async def main():
        connecting = tls.loop.create_task(tls.make(left, protocol, server_side))
        await tls.loop.sock_sendall(right, b"220 mail.example ready\r\n" * 10)
        with pytest.raises(ssl.SSLError) as info:
            await connecting
        return info.value

    error = run(tls.loop, main())
    assert error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNSUPPORTED_PROTOCOL")
    right.close()
    run_until(tls.loop, lambda: open_fds() == before - {left.fileno()} - {right.fileno()})
    assert protocol.calls == []


@each_side
def test_the_peer_leaves_during_the_handshake(tls, server_side):
    left, right = tls.sockets()
    right.close()
    with pytest.raises(ConnectionResetError):
        run(tls.loop, tls.make(left, Recorder(), server_side))
    run_until(tls.loop, lambda: left.fileno() == -1)


@each_side
def test_handshake_timeout(tls, server_side):
    left, _ = tls.sockets()
    protocol = Recorder()
    message = rf"^SSL handshake is taking longer than {SHORT} seconds: aborting the connection$"
    with pytest.raises(ConnectionAbortedError, match=message):
        run(tls.loop, tls.make(left, protocol, server_side, ssl_handshake_timeout=SHORT))
    assert protocol.calls == []
    run_until(tls.loop, lambda: left.fileno() == -1)


def test_handshake_timeout_of_a_peer_that_says_something_now_and_then(tls):
    """The timeout is for the whole handshake."""
    left, right = tls.sockets()
    peer = tls.raw(right, server_side=False)

    async def trickle():
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.ssl_object.do_handshake()
        for byte in peer.collect():
            await peer.send(bytes([byte]))
            await asyncio.sleep(SHORT / 10)

    async def main():
        trickling = tls.loop.create_task(trickle())
        with pytest.raises(ConnectionAbortedError):
            await tls.make(left, Recorder(), server_side=True, ssl_handshake_timeout=SHORT)
        trickling.cancel()

    run(tls.loop, main())


def test_handshake_timeout_is_over_with_the_handshake(tls):
    connection = tls.connect(ssl_handshake_timeout=1)
    handles = [handle for handle in getattr(tls.loop, "_scheduled", []) if not handle.cancelled()]
    assert not any(0 < handle.when() - tls.loop.time() < 2 for handle in handles)
    connection.send(b"hello")


@each_side
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_cancelled_at_once(tls, server_side, turns):
    """Before or after the first records were sent.  The peer sees the end, and no callback is called."""
    left, right = tls.sockets()
    protocol = Recorder()

    async def main():
        await cancel_after(turns, tls.make(left, protocol, server_side))
        if not turns:
            left.close()
        await receive_all(tls.loop, right)

    run(tls.loop, main())
    run_until(tls.loop, lambda: left.fileno() == -1)
    assert protocol.calls == []


def test_cancelled_in_the_middle_of_the_handshake(tls):
    left, right = tls.sockets()
    protocol = Recorder()

    async def main():
        connecting = tls.loop.create_task(tls.make(left, protocol))
        await tls.loop.sock_recv(right, 1)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await receive_all(tls.loop, right)

    run(tls.loop, main())
    run_until(tls.loop, lambda: left.fileno() == -1)
    assert protocol.calls == []


@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_server_ends_its_clients_during_the_handshake(impl, loop, method):
    """Their protocols never hear of it."""
    asyncio_since(impl, 3, 13)
    service = Service(loop)
    server = service.start(ssl=server_context())
    client = service.call()
    run_until(loop, lambda: service.protocols)
    server.close()
    getattr(server, method)()
    run_until(loop, lambda: at_end(client))
    run(loop, server.wait_closed())
    assert service.protocols[0].calls == []
    service.end()


# Contexts.


def test_sni_callback(tls):
    """It may swap the context, which is then the connection's; it gets the connection's SSLObject."""
    seen, contexts = [], [server_context(), server_context()]
    contexts[1].set_alpn_protocols(["second"])

    def choose(ssl_object, name, context):
        seen.append((ssl_object, name, context))
        ssl_object.context = contexts[1]

    contexts[0].sni_callback = choose
    client = client_context()
    client.set_alpn_protocols(["second"])
    connection = tls.connect(server_side=True, ssl=contexts[0], peer_context=client)
    ssl_object = connection.transport.get_extra_info("ssl_object")
    assert seen == [(ssl_object, NAME, contexts[0])]
    assert ssl_object.context is contexts[1] and ssl_object.selected_alpn_protocol() == "second"
    assert connection.transport.get_extra_info("sslcontext") is contexts[0]
    connection.send(b"hello")


def test_sni_callback_that_fails(impl, tls, monkeypatch):
    """Nobody can raise what it raises: it is reported as such, and the handshake fails."""
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append(args.exc_type))
    context = server_context()
    context.sni_callback = fail
    error, peer_error = fails(tls, ssl.SSLError, server_side=True, ssl=context)
    assert error.reason == "CALLBACK_FAILED" and unraisable == [ZeroDivisionError]
    if impl.name == "fastloop":
        assert "ALERT" in peer_error.reason


def test_sni_callback_that_refuses(impl, tls):
    context = server_context()
    context.sni_callback = lambda *args: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    _, peer_error = fails(tls, ssl.SSLError, server_side=True, ssl=context)
    if impl.name == "fastloop":
        assert peer_error.reason == "TLSV1_UNRECOGNIZED_NAME"


@each_version
@each_side
def test_keylog(tls, tmp_path, server_side):
    path = tmp_path / "keys"
    context = server_context(tls.version) if server_side else client_context(tls.version)
    context.keylog_filename = str(path)
    connection = tls.connect(server_side=server_side, ssl=context)
    connection.send(b"hello")
    labels = {line.split()[0] for line in path.read_text().splitlines() if not line.startswith("#")}
    assert labels >= ({"CLIENT_RANDOM"} if tls.version == "TLSv1.2" else {"CLIENT_TRAFFIC_SECRET_0"})


class ResumingContext(ssl.SSLContext):
    """Gives its connections a session."""

    session = None

    def wrap_bio(self, *args, **options):
        return super().wrap_bio(*args, **{**options, "session": self.session})


@each_version
def test_a_context_that_wraps_in_its_own_way(tls):
    """wrap_bio() is called as asyncio calls it, so that a client can resume a session."""
    server, client = server_context(tls.version), ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(client)
    for resumed in (False, True):
        connection = tls.connect(ssl=client, peer_context=server)
        connection.send(b"the ticket of TLS 1.3 comes before this")
        ssl_object = connection.transport.get_extra_info("ssl_object")
        assert ssl_object.session_reused is resumed
        client.session = ssl_object.session


class Object(ssl.SSLObject):
    """An SSLObject of another class."""


@each_side
def test_a_context_with_its_own_class_of_objects(tls, server_side):
    context = server_context() if server_side else client_context()
    context.sslobject_class = Object
    connection = tls.connect(server_side=server_side, ssl=context)
    assert type(connection.transport.get_extra_info("ssl_object")) is Object
    connection.send(b"hello")
    connection.transport.write(b"world")
    assert connection.run(connection.peer.read(5)) == b"world"


def test_a_context_may_change_after_the_handshake(tls):
    """It is no part of the connection any more."""
    context = server_context()
    connection = tls.connect(server_side=True, ssl=context)
    certificate("wrong name").configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    connection.send(b"hello")


def test_many_connections_of_one_context(tls):
    server, client = server_context(), client_context()
    connections = [tls.connect(ssl=client, peer_context=server) for _ in range(10)]
    for number, connection in enumerate(connections):
        connection.send(b"%d" % number)


NUMBER = contextvars.ContextVar("number", default=0)


@each_side
def test_callbacks_run_in_the_context_of_who_connected(tls, server_side):
    left, right = tls.sockets()
    peer, seen = tls.raw(right, not server_side), []
    names = ("connection_made", "data_received", "eof_received", "connection_lost")
    protocol = Recorder(**{name: lambda *args: seen.append(NUMBER.get()) for name in names})

    async def main():
        NUMBER.set(7)
        await asyncio.gather(tls.make(left, protocol, server_side), peer.handshake())
        NUMBER.set(8)
        await peer.send(peer.encrypt(b"hello") + peer.close_notify())

    run(tls.loop, main())
    run_until(tls.loop, lambda: protocol.lost)
    assert seen == [7, 7, 7, 7]


# Debug mode.


@each_side
def test_debug_mode(loop, tls, caplog, server_side):
    """The log tells when a handshake begins and how long it took."""
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    tls.connect(server_side=server_side).send(b"hello")
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if message.endswith(" starts SSL handshake")]
    assert [message for message in messages if "SSL handshake took" in message and message.endswith(" ms")]


def test_failures_in_debug_mode(loop, tls, reported, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    fails(tls, ssl.SSLCertVerificationError, peer_context=server_context(kind="wrong name"))
    messages = [record.getMessage() for record in caplog.records]
    assert [
        message
        for message in messages
        if message.endswith(": SSL handshake failed on verifying the certificate")
    ]
    assert reported == []


def test_failures_are_not_logged_otherwise(tls, reported, caplog):
    """Who waits for the connection has the exception."""
    caplog.set_level(logging.DEBUG, "asyncio")
    fails(tls, ssl.SSLCertVerificationError, peer_context=server_context(kind="wrong name"))
    assert reported == []
    assert not [record for record in caplog.records if "SSL" in record.getMessage()]


@each_side
def test_end_of_the_stream_in_debug_mode(loop, tls, caplog, server_side):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    connection = tls.connect(server_side=server_side)
    connection.peer.sock.shutdown(socket.SHUT_WR)
    connection.run_until_lost()
    assert [record for record in caplog.records if record.getMessage().endswith(" received EOF")]
