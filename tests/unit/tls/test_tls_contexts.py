"""Contexts of other classes than ssl.SSLContext, as libraries and programs make them."""

import asyncio
import ssl

import pytest
from support.net import Recorder, run, run_until, unix_pair
from support.tls import NAME, authority, client_context, server_context


def client_of(kind, version=None):
    """A client's context of that class that trusts the authority."""
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    if version is not None:
        context.maximum_version = version
    return context


def meet(tls, client, server=None, protocol=None):
    """Connect two transports of the loop; what came of each, the server's first: (transport, protocol) or an exception."""
    left, right = tls.sockets()

    async def main():
        return await asyncio.gather(
            tls.make(left, Recorder(), True, ssl=server or server_context()),
            tls.make(right, protocol or Recorder(), ssl=client),
            return_exceptions=True,
        )

    return run(tls.loop, main())


def test_private_name_of_the_context(impl, tls):
    """Tests of libraries look for it, as a way around the transport's wrappers."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's is an attribute of the transport's SSLProtocol")
    context = client_context()
    assert tls.connect(ssl=context).transport._sslcontext is context


# wrap_bio().


class WithoutSessions(ssl.SSLContext):
    def wrap_bio(self, incoming, outgoing, server_side=False, server_hostname=None):
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname)


def test_wrap_bio_that_knows_no_sessions(tls):
    (_, server), (_, client) = meet(tls, client_of(WithoutSessions))
    client.transport.write(b"hello")
    run_until(tls.loop, lambda: server.received == b"hello")


class Resuming(ssl.SSLContext):
    """Gives each connection the session of an earlier one."""

    known = None

    def wrap_bio(self, *args, **kwargs):
        return super().wrap_bio(*args, session=self.known, **kwargs)


def test_wrap_bio_that_resumes_a_session(tls):
    client, server = client_of(Resuming, ssl.TLSVersion.TLSv1_2), server_context()
    reused = []
    for _ in range(2):
        _, (transport, _) = meet(tls, client, server)
        ssl_object = transport.get_extra_info("ssl_object")
        client.known = ssl_object.session
        reused.append(ssl_object.session_reused)
    assert reused == [False, True]


# Objects that are no ssl.SSLObject.


class Foreign:
    """What asyncio calls of an ssl.SSLObject, and nothing else."""

    def __init__(self, ssl_object):
        for name in ("do_handshake", "read", "write", "unwrap", "getpeercert", "cipher", "compression"):
            setattr(self, name, getattr(ssl_object, name))


class MakingForeign(ssl.SSLContext):
    def wrap_bio(self, *args, **kwargs):
        return Foreign(super().wrap_bio(*args, **kwargs))


def test_ssl_object_of_another_kind(tls):
    (_, server), (transport, client) = meet(tls, client_of(MakingForeign))
    assert isinstance(transport.get_extra_info("ssl_object"), Foreign)
    assert transport.get_extra_info("peercert")["subjectAltName"] == (("DNS", NAME),)
    data = bytes(range(256)) * 500
    server.transport.write(data)
    client.transport.write(data)
    run_until(tls.loop, lambda: client.received == data and server.received == data)
    transport.close()
    run_until(tls.loop, lambda: client.lost and server.lost)
    assert client.calls[-1] == ("connection_lost", None)


# Refusing a peer that OpenSSL has accepted: this is how certificates are pinned, or verified by the system.


class Refusing(ssl.SSLObject):
    def do_handshake(self):
        super().do_handshake()
        raise ssl.SSLCertVerificationError("not the certificate that was expected")


class RefusingLater(ssl.SSLObject):
    def getpeercert(self, binary_form=False):
        raise ssl.SSLCertVerificationError("not the certificate that was expected")


@pytest.mark.parametrize("kind", [Refusing, RefusingLater])
def test_refused_server_learns_nothing(tls, kind):
    """In TLS 1.3 a client shows its certificate, and says that all is well, when the server's has come."""
    context = client_context("TLSv1.3", kind="client")
    context.sslobject_class = kind
    protocol = Recorder()
    server, client = meet(tls, context, server_context("TLSv1.3", client_certificate=True), protocol)
    assert type(client) is ssl.SSLCertVerificationError
    assert isinstance(server, ConnectionError)
    assert protocol.calls == []


@pytest.mark.parametrize("kind", [Refusing, RefusingLater])
def test_refused_server_gets_nothing(impl, tls, kind):
    """What was written during the handshake does not leave."""
    if impl.name == "asyncio":
        pytest.skip("asyncio gives the transport to write to when the handshake is done")
    transport, protocol, sock = tls.plain()
    context = client_context("TLSv1.3")
    context.sslobject_class = kind
    peer = tls.raw(sock, server_side=True)

    async def main():
        starting = tls.loop.create_task(tls.start(transport, protocol, context=context))
        await asyncio.sleep(0)
        transport.write(b"secret")
        return await asyncio.gather(starting, peer.handshake(), return_exceptions=True)

    client, server = run(tls.loop, main())
    assert type(client) is ssl.SSLCertVerificationError
    assert isinstance(server, ssl.SSLError)  # the end of the connection within the handshake


class InterruptedWhenAsked(ssl.SSLObject):
    """A user who presses Ctrl-C when the object is asked what there is."""

    def version(self):
        raise KeyboardInterrupt


def test_interrupted_while_a_handshake_fails(impl, loop, turn):
    if impl.name == "asyncio":
        pytest.skip("asyncio does not ask")
    context = server_context()
    context.sslobject_class = InterruptedWhenAsked
    left, right = unix_pair()
    right.sendall(b"GET / HTTP/1.0\r\n\r\n")
    task = loop.create_task(loop.connect_accepted_socket(Recorder, left, ssl=context))
    with pytest.raises(KeyboardInterrupt):
        while True:
            turn()
    with pytest.raises(ssl.SSLError):
        run(loop, task)
    right.close()
