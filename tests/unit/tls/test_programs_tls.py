"""Programs over TLS: streams, connections that are upgraded, web servers and clients, and those of other packages."""

import asyncio
import contextlib
import http.client
import importlib.util
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import urllib.request

import pytest
from support.addresses import refusing, resolve_to
from support.net import TIMEOUT, Recorder, open_fds, run, run_until
from support.tls import NAME, VERSIONS, RawPeer, certificate, client_context, each_version, server_context


def needs(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def run_program(loop, coro):
    """run(), and then run the loop until no connection is left."""
    before = open_fds()
    result = run(loop, coro)
    run_until(loop, lambda: open_fds() <= before)
    return result


@contextlib.asynccontextmanager
async def serving(serve, **options):
    """The address of a server whose clients serve(reader, writer) is for; every one has left at the end."""
    tasks = []

    async def connected(reader, writer):
        tasks.append(asyncio.current_task())
        try:
            await serve(reader, writer)
        finally:
            with contextlib.suppress(ConnectionError):  # some clients leave without a farewell
                await leave(writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()
        server.close()
        await asyncio.gather(*tasks)


async def leave(writer):
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(address, context=None, **options):
    """A client's reader and writer, closed at the end. A context means TLS from the beginning."""
    if context is not None:
        options = {"ssl": context, "server_hostname": NAME, **options}
    reader, writer = await asyncio.open_connection(*address, **options)
    try:
        yield reader, writer
    finally:
        await leave(writer)


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()


async def ask(streams, line):
    reader, writer = streams
    writer.write(line)
    return await reader.readline()


# Lines over streams.


@pytest.mark.parametrize("version", VERSIONS)
def test_lines(loop, version):
    async def main():
        async with (
            serving(echo, ssl=server_context(version), limit=1 << 20) as address,
            connected(address, client_context(), limit=1 << 20) as streams,
        ):
            for line in (b"a\n", b"b" * 300_000 + b"\n", b"c\n"):
                assert await ask(streams, line) == line.upper()
            return streams[1].get_extra_info("ssl_object").version()

    assert run_program(loop, main()) == version


def test_a_hundred_clients_at_once(loop):
    together = client_context()

    async def client(address, number):
        async with connected(address, together) as streams:
            for count in range(3):
                assert await ask(streams, b"%d:%d\n" % (number, count)) == b"%d:%d\n" % (number, count)

    async def main():
        async with serving(echo, ssl=server_context(), backlog=200) as address:
            await asyncio.gather(*(client(address, number) for number in range(100)))

    run_program(loop, main())


def test_each_side_knows_the_other(loop):
    """Mutual TLS: the server greets by the name in the client's certificate."""

    async def greet(reader, writer):
        [(_, address)] = writer.get_extra_info("peercert")["subjectAltName"]
        writer.write(address.encode() + b"\n")

    async def main():
        async with (
            serving(greet, ssl=server_context(client_certificate=True)) as address,
            connected(address, client_context(kind="client")) as (reader, writer),
        ):
            assert ("DNS", NAME) in writer.get_extra_info("peercert")["subjectAltName"]
            return await reader.readline()

    assert run_program(loop, main()) == b"client@client.example\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_a_certificate_is_turned_away(impl, loop, version):
    """With TLS 1.2 in the handshake; with 1.3 it hears of it when it reads. asyncio's server does not say why."""
    words = {"TLSv1.2": "HANDSHAKE_FAILURE", "TLSv1.3": "CERTIFICATE_REQUIRED"}[version]

    async def client(address):
        async with connected(address, client_context(version)) as (reader, _):
            return await reader.readline()

    async def main():
        async with serving(echo, ssl=server_context(client_certificate=True)) as address:
            if impl.name == "fastloop":
                with pytest.raises(ssl.SSLError, match=words):
                    await client(address)
            else:
                with contextlib.suppress(ConnectionError):
                    assert await client(address) == b""

    run_program(loop, main())


def test_unix_sockets(loop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    served = loop.create_future()

    async def serve(reader, writer):
        await echo(reader, writer)
        await leave(writer)
        served.set_result(None)

    async def main():
        async with await asyncio.start_unix_server(serve, "socket", ssl=server_context()):
            options = {"ssl": client_context(), "server_hostname": NAME}
            streams = await asyncio.open_unix_connection("socket", **options)
            assert await ask(streams, b"line\n") == b"LINE\n"
            await leave(streams[1])
            await served

    run_program(loop, main())


def test_happy_eyeballs(loop):
    """Two addresses refuse; the certificate has to be for the name that was looked up."""

    async def main(refused):
        async with serving(echo, ssl=server_context()) as address:
            resolve_to(loop, *refused, address)
            options = {"happy_eyeballs_delay": 60, "ssl": client_context()}
            streams = await asyncio.open_connection(NAME, 1, **options)
            assert await ask(streams, b"line\n") == b"LINE\n"
            await leave(streams[1])
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("other.example", 1, **options)

    with refusing(2) as refused:
        run_program(loop, main(refused))


def test_file_is_sent(loop, tmp_path):
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)

    async def send(reader, writer):
        assert await loop.sendfile(writer.transport, file) == len(content)

    async def main():
        async with (
            serving(send, ssl=server_context()) as address,
            connected(address, client_context()) as (reader, _),
        ):
            return await reader.read()

    with open(tmp_path / "file", "rb") as file:
        assert run_program(loop, main()) == content


# Connections that begin as plain text.


async def serve_mail(reader, writer):
    """As much of SMTP as smtplib needs to send a message after STARTTLS."""
    writer.write(b"220 ready\r\n")
    while command := (await reader.readline()).split():
        secure = writer.get_extra_info("ssl_object") is not None
        match command[0].upper():
            case b"EHLO":
                writer.write(b"250-hello\r\n250 SMTPUTF8\r\n" if secure else b"250-hello\r\n250 STARTTLS\r\n")
            case b"STARTTLS":
                writer.write(b"220 go ahead\r\n")
                await writer.drain()
                await writer.start_tls(server_context())
            case b"RSET":
                writer.write(b"250 fine\r\n")
            case b"MAIL" | b"RCPT":
                writer.write(b"250 fine\r\n" if secure else b"530 STARTTLS first\r\n")
            case b"DATA":
                writer.write(b"354 go ahead\r\n")
                lines = 0
                while await reader.readline() != b".\r\n":
                    lines += 1
                writer.write(b"250 %d lines\r\n" % lines)
            case b"QUIT":
                writer.write(b"221 bye\r\n")
                return


def test_smtplib_sends_mail(loop):
    """A blocking client of another implementation."""
    message = "Subject: a\r\n\r\n" + 5000 * "line of the message\r\n"

    def send(host, port):
        with smtplib.SMTP(host, port, timeout=TIMEOUT) as client:
            with pytest.raises(smtplib.SMTPSenderRefused):
                client.sendmail("a@b.example", ["c@d.example"], message)
            client._host = NAME  # which the certificate is for
            assert client.starttls(context=client_context())[0] == 220
            assert client.sendmail("a@b.example", ["c@d.example"], message) == {}
            return client.sock.version()

    async def main():
        async with serving(serve_mail) as address:
            return await asyncio.to_thread(send, *address)

    assert run_program(loop, main()) == "TLSv1.3"


def test_streams_that_are_upgraded(loop):
    async def main():
        async with serving(serve_mail) as address, connected(address) as (reader, writer):
            assert await reader.readline() == b"220 ready\r\n"
            assert await ask((reader, writer), b"RCPT a\r\n") == b"530 STARTTLS first\r\n"
            assert await ask((reader, writer), b"STARTTLS\r\n") == b"220 go ahead\r\n"
            await writer.start_tls(client_context(), server_hostname=NAME)
            assert await ask((reader, writer), b"RCPT a\r\n") == b"250 fine\r\n"
            assert writer.get_extra_info("peername") == address
            assert await ask((reader, writer), b"QUIT\r\n") == b"221 bye\r\n"
            assert await reader.read() == b""

    run_program(loop, main())


REQUEST_TLS, MAY_BEGIN = b"\0\0\0\x08\x04\xd2\x16\x2f", b"S"


class Upgrade(Recorder):
    """Asks a database for TLS, as a first protocol of the connection."""

    def __init__(self, loop):
        super().__init__()
        self.answer = loop.create_future()

    def data_received(self, data):
        super().data_received(data)
        if not self.answer.done():
            self.answer.set_result(data)


async def connect_to_database(loop, sock, protocol):
    """As PostgreSQL's clients do: the protocol proper takes over when TLS is there."""
    upgrade = Upgrade(loop)
    plain, _ = await loop.create_connection(lambda: upgrade, sock=sock)
    plain.write(REQUEST_TLS)
    assert await upgrade.answer == MAY_BEGIN
    transport = await loop.start_tls(plain, upgrade, client_context(), server_hostname=NAME)
    protocol.connection_made(transport)
    transport.set_protocol(protocol)
    assert upgrade.received == MAY_BEGIN
    return transport


@each_version
@pytest.mark.parametrize("greeting", [b"", b"welcome"], ids=["silent", "greeting"])
def test_another_protocol_takes_over(impl, loop, tls, greeting):
    """It gets even what the server sends in one segment with the last record of the handshake."""
    if greeting and impl.name == "asyncio":
        pytest.skip("asyncio may hand it to the protocol before")
    ours, theirs = tls.sockets()
    protocol = Recorder(connection_lost=lambda _: lost.set_result(None))
    lost = loop.create_future()

    async def serve():
        assert await loop.sock_recv(theirs, 100) == REQUEST_TLS
        await loop.sock_sendall(theirs, MAY_BEGIN)
        peer = Hasty(loop, theirs, server_context(tls.version), True)
        await peer.handshake()
        if greeting:
            peer.ssl_object.write(greeting)
        await RawPeer.flush(peer)
        assert await peer.read(8) == b"question"
        await peer.write(b"answer")
        await peer.read_to_end()
        await peer.send_close_notify()

    async def main():
        serving = asyncio.create_task(serve())
        transport = await connect_to_database(loop, ours, protocol)
        transport.write(b"question")
        while protocol.received != greeting + b"answer":
            await asyncio.sleep(0)
        transport.close()
        await asyncio.gather(lost, serving)

    run_program(loop, main())
    assert protocol.names[0] == "connection_made" and protocol.names[-1] == "connection_lost"


class Hasty(RawPeer):
    """Sends nothing until it has to wait."""

    async def flush(self):
        pass

    async def receive(self):
        await super().flush()
        return await super().receive()


async def serve_tunnel(reader, writer):
    """A proxy that connects to where it is told, and hands on what both sides say."""
    _, target, _ = (await reader.readline()).split()
    while await reader.readline() != b"\r\n":
        pass
    host, port = target.decode().rsplit(":", 1)
    async with connected((host, int(port))) as (far_reader, far_writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(hand_on(reader, far_writer), hand_on(far_reader, writer))


async def hand_on(reader, writer):
    with contextlib.suppress(OSError):  # whoever it is for may have left
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.write_eof() if writer.can_write_eof() else writer.close()


def test_through_a_tunnel(loop):
    """TLS that begins on a connection that a proxy has made."""

    async def main():
        async with (
            serving(echo, ssl=server_context()) as (host, port),
            serving(serve_tunnel) as proxy,
            connected(proxy) as streams,
        ):
            answer = await ask(streams, b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (host.encode(), port))
            assert (answer, await streams[0].readline()) == (b"HTTP/1.1 200 OK\r\n", b"\r\n")
            await streams[1].start_tls(client_context(), server_hostname=NAME)
            assert await ask(streams, b"line\n") == b"LINE\n"

    run_program(loop, main())


def test_a_tunnel_within_tls(loop):
    """TLS to the proxy, and through it TLS to the server."""

    async def main():
        async with (
            serving(echo, ssl=server_context()) as (host, port),
            serving(serve_tunnel, ssl=server_context()) as proxy,
            connected(proxy, client_context()) as streams,
        ):
            answer = await ask(streams, b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (host.encode(), port))
            assert (answer, await streams[0].readline()) == (b"HTTP/1.1 200 OK\r\n", b"\r\n")
            await streams[1].start_tls(client_context(), server_hostname=NAME)
            assert await ask(streams, b"line\n") == b"LINE\n"

    run_program(loop, main())


# Web servers and clients.


async def serve_http(reader, writer):
    """Connections are kept: the answer is the number of the request on this one, and the body in reverse."""
    number = 0
    while await reader.readline():
        number += 1
        length = 0
        while (header := await reader.readline()) != b"\r\n":
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        body = await reader.readexactly(length)
        answer = b"%d:%s" % (number, body[::-1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
        writer.write(answer)
        await writer.drain()


def test_http_client_keeps_its_connection(loop):
    """Python's blocking client."""

    def fetch(host, port):
        client = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=client_context())
        client._context.check_hostname = False
        with contextlib.closing(client):
            for number, body in enumerate([b"", b"abc", bytes(500_000)], 1):
                client.request("POST", "/", body)
                assert client.getresponse().read() == b"%d:%s" % (number, body[::-1])

    async def main():
        async with serving(serve_http, ssl=server_context()) as address:
            await asyncio.to_thread(fetch, *address)

    run_program(loop, main())


@contextlib.asynccontextmanager
async def aiohttp_site(routes):
    """The URL of an aiohttp application over https."""
    from aiohttp import web

    app = web.Application(client_max_size=1 << 22)
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context()).start()
        host, port = runner.addresses[0]
        yield f"https://{host}:{port}"
    finally:
        await runner.cleanup()


@needs("aiohttp")
def test_aiohttp_on_both_sides(loop, tmp_path):
    import aiohttp
    from aiohttp import web

    content = os.urandom(400_000)
    (tmp_path / "file").write_bytes(content)
    peers = set()

    async def reverse(request):
        peers.add(request.transport.get_extra_info("peername"))
        assert request.secure and request.transport.get_extra_info("ssl_object") is not None
        return web.Response(body=(await request.read())[::-1])

    async def count(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(3):
            await response.write(b"%d\n" % number)
            await asyncio.sleep(0)
        return response

    async def echo_messages(request):
        messages = web.WebSocketResponse()
        await messages.prepare(request)
        async for message in messages:
            await messages.send_bytes(message.data[::-1])
        return messages

    async def main():
        routes = [
            web.post("/reverse", reverse),
            web.get("/count", count),
            web.get("/messages", echo_messages),
            web.static("/files", tmp_path),
        ]
        connector = aiohttp.TCPConnector(ssl=client_context())
        options = {"server_hostname": NAME}
        async with aiohttp_site(routes) as url, aiohttp.ClientSession(url, connector=connector) as session:
            for body in (b"", b"abc", content):
                async with session.post("/reverse", data=body, **options) as response:
                    assert await response.read() == body[::-1]
            async with session.get("/count", **options) as response:
                assert await response.text() == "0\n1\n2\n"
            async with session.get("/files/file", **options) as response:
                assert await response.read() == content
            async with session.ws_connect("/messages", **options) as messages:
                await messages.send_bytes(content)
                assert await messages.receive_bytes() == content[::-1]

    run_program(loop, main())
    assert len(peers) == 1


@needs("aiohttp")
def test_aiohttp_refuses_a_certificate_for_another_name(loop):
    import aiohttp

    async def main():
        connector = aiohttp.TCPConnector(ssl=client_context())
        async with aiohttp_site([]) as url, aiohttp.ClientSession(url, connector=connector) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get("/")

    run_program(loop, main())


@needs("aiohttp")
def test_aiohttp_through_a_proxy(loop):
    """aiohttp calls start_tls() itself."""
    import aiohttp
    from aiohttp import web

    async def greet(request):
        return web.Response(text="hello")

    async def main():
        connector = aiohttp.TCPConnector(ssl=client_context())
        async with (
            serving(serve_tunnel) as (host, port),
            aiohttp_site([web.get("/", greet)]) as url,
            aiohttp.ClientSession(connector=connector) as session,
        ):
            options = {"proxy": f"http://{host}:{port}", "server_hostname": NAME}
            async with session.get(url, **options) as response:
                assert await response.text() == "hello"

    run_program(loop, main())


APPLICATION = """
async def app(scope, receive, send):
    assert scope["scheme"] == "https"
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"][::-1]})
"""


@needs("uvicorn")
def test_uvicorn(tmp_path):
    """As `uvicorn --loop fastloop:new_event_loop --ssl-keyfile … --ssl-certfile …`."""
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "key.pem").write_bytes(certificate("right").private_key_pem.bytes())
    (tmp_path / "chain.pem").write_bytes(
        b"".join(pem.bytes() for pem in certificate("right").cert_chain_pems)
    )
    options = ["--loop", "fastloop:new_event_loop", "--lifespan", "off", "--log-level", "warning"]
    options += ["--ssl-keyfile", "key.pem", "--ssl-certfile", "chain.pem", "--fd"]
    context = client_context()
    context.check_hostname = False
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "application:app", *options, str(descriptor)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            pass_fds=[descriptor],
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        for body in (b"abc", b"xyz"):
            url = f"https://127.0.0.1:{port}/"
            with urllib.request.urlopen(url, body, timeout=30, context=context) as response:
                assert response.read() == body[::-1]
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=30)
        assert (server.returncode in (0, -signal.SIGINT), complaints) == (True, "")
    finally:
        server.kill()
        server.communicate()
