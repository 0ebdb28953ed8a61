"""loop.sendfile(): files over transports, by the kernel and by hand, among what is written before and after."""

import asyncio
import io
import socket
import ssl

import pytest
import trustme
from support.addresses import asyncio_since
from support.net import Recorder, receive, receive_exactly, run, run_until, tcp_pair

DATA = bytes(range(256)) * 4096  # more than the kernel takes at once
HEAD, TAIL = b"head" * 1000, b"tail" * 1000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("sendfile") / "data"
    path.write_bytes(DATA)
    return path


@pytest.fixture(params=["file", "object"])
def file(request, path):
    """A file that the kernel can send, and one that has to be read."""
    if request.param == "object":
        yield io.BytesIO(DATA)
    else:
        with open(path, "rb") as file:
            yield file


@pytest.fixture
def real_file(path):
    with open(path, "rb") as file:
        yield file


@pytest.fixture(params=["tcp", "unix"])
def stream(request, connect):
    """A connection with a small buffer in the kernel."""
    return connect(kind=request.param, sndbuf=32768)


@pytest.fixture(autouse=True)
def shut_down_executor(loop):
    yield
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())


def send(stream, file, *args, **kwargs):
    """Send a file: what sendfile() said, and what the peer received until then."""
    loop = stream.loop

    async def main():
        sending = loop.create_task(loop.sendfile(stream.transport, file, *args, **kwargs))
        data = bytearray()
        while not sending.done():
            data += receive(stream.peer)
            await asyncio.sleep(0)
        return await sending, data

    sent, data = run(loop, main())
    return sent, bytes(data) + stream.drain()


async def begin(stream, file, *args, **kwargs):
    """A task that sends a file and waits for the peer, which has received one byte, to receive more."""
    sending = stream.loop.create_task(stream.loop.sendfile(stream.transport, file, *args, **kwargs))
    await receive_exactly(stream.loop, stream.peer, 1)
    assert not sending.done()
    return sending


# What arrives.


def test_whole_file(stream, file):
    assert send(stream, file) == (len(DATA), DATA)
    assert file.tell() == len(DATA)


@pytest.mark.parametrize("offset, count", [(0, 10), (1000, None), (1000, 500), (5, len(DATA))])
def test_part_of_a_file(stream, file, offset, count):
    expected = DATA[offset:] if count is None else DATA[offset : offset + count]
    assert send(stream, file, offset, count) == (len(expected), expected)
    assert file.tell() == offset + len(expected)


def test_begins_at_the_offset_wherever_the_file_stands(impl, stream, file):
    if isinstance(file, io.BytesIO):
        asyncio_since(impl, 3, 14)
    file.seek(77)
    assert send(stream, file, 0, 10) == (10, DATA[:10])


def test_among_writes(stream, file):
    """What was written before goes first, however much it is."""
    stream.transport.write(HEAD)
    written = stream.fill()
    stream.transport.write(TAIL)
    sent, data = send(stream, file)
    stream.transport.write(HEAD)
    assert sent == len(DATA)
    assert data + stream.drain() == HEAD + b"x" * written + TAIL + DATA + HEAD
    assert stream.protocol.names.count("pause_writing") == stream.protocol.names.count("resume_writing")


def test_one_after_the_other(stream, file):
    assert send(stream, file, 0, 100) == (100, DATA[:100])
    assert send(stream, file, 50, 100) == (100, DATA[50:150])


def test_close_after_a_file(stream, file):
    data = send(stream, file)[1]
    stream.transport.write(TAIL)
    stream.transport.close()
    assert data + stream.read_to_end() == DATA + TAIL


def test_empty_file(stream, tmp_path):
    path = tmp_path / "empty"
    path.touch()
    with open(path, "rb") as file:
        assert send(stream, file) == (0, b"")


def test_file_without_seek(stream):
    class Source:
        def readinto(self, buffer):
            buffer[:3] = b"abc"
            self.readinto = lambda buffer: 0
            return 3

    assert send(stream, Source()) == (3, b"abc")


def test_what_is_read_may_change(stream):
    """A file that reads into the same memory again and again, and in odd pieces."""

    class Source:
        def __init__(self):
            self.left = 2000

        def readinto(self, buffer):
            if not self.left:
                return 0
            self.left -= 1
            size = min(len(buffer), 1 + self.left % 1000)
            buffer[:size] = bytes([self.left % 251]) * size
            return size

    expected = b"".join(bytes([n % 251]) * (1 + n % 1000) for n in reversed(range(2000)))
    assert send(stream, Source()) == (len(expected), expected)


# Meanwhile.


def test_no_writing_meanwhile(stream, real_file):
    async def main():
        sending = await begin(stream, real_file)
        with pytest.raises(RuntimeError, match=r"^unable to write; sendfile is in progress$"):
            stream.transport.write(b"more")
        with pytest.raises(RuntimeError, match=r"^unable to write(lines)?; sendfile is in progress$"):
            stream.transport.writelines([b"more"])
        await receive_exactly(stream.loop, stream.peer, len(DATA) - 1)
        assert await sending == len(DATA)

    run(stream.loop, main())


def test_only_one_at_a_time(impl, stream, real_file):
    if impl.name == "asyncio":
        pytest.skip("asyncio raises a KeyError and loses track of the transport")

    async def main():
        sending = await begin(stream, real_file)
        with pytest.raises(RuntimeError, match=r"^Empty waiter is already set$"):
            await stream.loop.sendfile(stream.transport, real_file)
        await receive_exactly(stream.loop, stream.peer, len(DATA) - 1)
        assert await sending == len(DATA)

    run(stream.loop, main())


@pytest.mark.parametrize("reading", [True, False])
def test_nothing_is_read_meanwhile(stream, file, reading):
    """Reading goes on afterwards unless it was paused before."""
    transport, protocol, loop = stream.transport, stream.protocol, stream.loop
    if not reading:
        transport.pause_reading()

    async def main():
        sending = await begin(stream, file)
        await loop.sock_sendall(stream.peer, b"data")
        for _ in range(5):
            await asyncio.sleep(0)
        assert not sending.done() and not transport.is_reading() and protocol.received == b""
        await receive_exactly(loop, stream.peer, len(DATA) - 1)
        await sending

    run(loop, main())
    assert transport.is_reading() is reading and transport.get_protocol() is protocol
    transport.resume_reading()
    run_until(loop, lambda: protocol.received == b"data")


def test_protocol_of_its_own_is_back_when_reading_the_file_fails(stream):
    class Broken(io.BytesIO):
        def readinto(self, buffer):
            if self.tell() >= 100_000:
                raise ZeroDivisionError
            return super().readinto(buffer)

    with pytest.raises(ZeroDivisionError):
        send(stream, Broken(DATA))
    assert stream.transport.get_protocol() is stream.protocol and stream.transport.is_reading()
    stream.transport.write(TAIL)
    assert stream.drain().endswith(TAIL)


def test_protocol_hears_of_back_pressure_that_outlasts_the_file(impl, stream):
    if impl.name == "asyncio":
        pytest.skip("asyncio does not tell the protocol")
    loop, protocol = stream.loop, stream.protocol

    async def main():
        sending = await begin(stream, io.BytesIO(DATA))
        while not stream.transport.get_write_buffer_size() > 65536:
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert protocol.names[-1] == "pause_writing"

    run(loop, main())
    stream.drain()
    assert protocol.names[-2:] == ["pause_writing", "resume_writing"]


def test_cancelled(impl, stream, real_file):
    """The position of the file tells how much was sent (not in asyncio); the transport goes on."""

    async def main():
        sending = await begin(stream, real_file)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    run(stream.loop, main())
    stream.transport.write(TAIL)
    rest = stream.drain()
    sent = b"\0" + rest.removesuffix(TAIL)
    assert rest.endswith(TAIL) and DATA.startswith(sent)
    assert impl.name == "asyncio" or real_file.tell() == len(sent)
    assert stream.transport.is_reading()


def test_cancelled_before_it_began(impl, stream, real_file):
    if impl.name == "asyncio":
        pytest.skip("asyncio's transport then refuses to write for ever")
    written = stream.fill()

    async def main():
        sending = stream.loop.create_task(stream.loop.sendfile(stream.transport, real_file))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    run(stream.loop, main())
    stream.transport.write(TAIL)
    assert stream.drain() == b"x" * written + TAIL and stream.transport.is_reading()


# Ends.


def test_peer_goes_away(stream, file):
    async def main():
        sending = await begin(stream, file)
        stream.peer.close()
        with pytest.raises(ConnectionError):
            await sending

    run(stream.loop, main())
    stream.transport.close()
    stream.run_until_lost()


@pytest.mark.parametrize("how", ["abort", "close"])
def test_transport_ends_meanwhile(impl, stream, file, how):
    if impl.name == "asyncio":
        pytest.skip("asyncio waits for ever")

    async def main():
        sending = await begin(stream, file)
        getattr(stream.transport, how)()
        with pytest.raises(ConnectionError):
            await sending

    run(stream.loop, main())
    receive(stream.peer)
    stream.run_until_lost()
    assert stream.protocol.reason is None


def test_transport_ends_before_it_began(impl, stream, real_file):
    asyncio_since(impl, 3, 13)
    stream.fill()

    async def main():
        sending = stream.loop.create_task(stream.loop.sendfile(stream.transport, real_file))
        await asyncio.sleep(0)
        stream.transport.abort()
        with pytest.raises(ConnectionError):
            await sending

    run(stream.loop, main())
    stream.run_until_lost()


# What it refuses.


def test_closing_transport(stream, file):
    stream.transport.close()
    with pytest.raises(RuntimeError, match=r"^Transport is closing$"):
        run(stream.loop, stream.loop.sendfile(stream.transport, file))
    stream.run_until_lost()


def test_another_transport(loop, real_file):
    class Silent(asyncio.Transport):
        def is_closing(self):
            return False

    with pytest.raises(RuntimeError, match=r"^sendfile is not supported for transport <"):
        run(loop, loop.sendfile(Silent(), real_file))


def test_no_fallback(stream):
    with pytest.raises(asyncio.SendfileNotAvailableError, match=r"^not a regular file$"):
        run(stream.loop, stream.loop.sendfile(stream.transport, io.BytesIO(DATA), fallback=False))
    assert stream.transport.is_reading()
    stream.transport.write(TAIL)
    assert stream.drain() == TAIL


def test_text_file(stream, path):
    message = "^file should be opened in binary mode$"
    with open(path, encoding="latin-1") as file, pytest.raises(ValueError, match=message):
        run(stream.loop, stream.loop.sendfile(stream.transport, file))


@pytest.mark.parametrize(
    "offset, count, error",
    [(0, -1, ValueError), (0, 1.5, TypeError), (-1, None, ValueError), (1.5, None, TypeError)],
)
def test_bad_numbers(stream, real_file, offset, count, error):
    with pytest.raises(error, match=r"must be a (positive|non-negative) integer \(got "):
        run(stream.loop, stream.loop.sendfile(stream.transport, real_file, offset, count))
    assert stream.transport.is_reading()


# TLS.


@pytest.fixture
def tls_stream(loop):
    """A transport with TLS, and the transport at the other end."""
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("host.example").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    left, right = tcp_pair()
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)

    async def main():
        return await asyncio.gather(
            loop.connect_accepted_socket(Recorder, left, ssl=server_context),
            loop.create_connection(Recorder, sock=right, ssl=client_context, server_hostname="host.example"),
        )

    (transport, protocol), (peer, peer_protocol) = run(loop, main())
    yield transport, peer
    transport.abort()
    peer.abort()
    run_until(loop, lambda: protocol.lost and peer_protocol.lost)


def test_tls(loop, tls_stream, file):
    transport, peer = tls_stream
    protocol, received = transport.get_protocol(), peer.get_protocol().received
    transport.write(HEAD)
    assert run(loop, loop.sendfile(transport, file, 10, len(DATA) - 20)) == len(DATA) - 20
    assert transport.get_protocol() is protocol and transport.is_reading()
    transport.write(TAIL)
    run_until(loop, lambda: received.endswith(TAIL))
    assert received == HEAD + DATA[10:-10] + TAIL
    assert file.tell() == len(DATA) - 10


def test_tls_without_fallback(loop, tls_stream, real_file):
    with pytest.raises(RuntimeError, match="fallback is disabled and native sendfile is not supported for"):
        run(loop, loop.sendfile(tls_stream[0], real_file, fallback=False))


def test_tls_peer_goes_away(loop, tls_stream):
    transport, peer = tls_stream
    peer.pause_reading()

    async def main():
        sending = loop.create_task(loop.sendfile(transport, io.BytesIO(DATA * 4)))
        while not transport.get_write_buffer_size():
            await asyncio.sleep(0)
        peer.abort()
        with pytest.raises(ConnectionError):
            await sending

    run(loop, main())
