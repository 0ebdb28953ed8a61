"""sock_sendfile(): by the kernel, by hand where the kernel cannot, and what it refuses."""

import asyncio
import errno
import io
import os
import socket
import sys

import pytest
from support.net import receive_all, run

DATA = bytes(range(256)) * 4096


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with open(path, "rb") as file:
        yield file


def send(loop, tcp_pair, file, *args, **kwargs):
    """Send `file` and return what sock_sendfile() said and what the peer received."""
    left, right = tcp_pair

    async def receive():
        received = bytearray()
        while chunk := await loop.sock_recv(right, 100_000):
            received += chunk
        return bytes(received)

    async def main():
        receiving = loop.create_task(receive())
        sent = await loop.sock_sendfile(left, file, *args, **kwargs)
        left.shutdown(socket.SHUT_WR)
        return sent, await receiving

    return run(loop, main())


def test_whole_file(loop, tcp_pair, file):
    assert send(loop, tcp_pair, file) == (len(DATA), DATA)
    assert file.tell() == len(DATA)


@pytest.mark.parametrize(
    "offset, count", [(0, 10), (1000, None), (1000, 500), (1000, len(DATA)), (0, len(DATA))]
)
def test_part_of_a_file(loop, tcp_pair, file, offset, count):
    expected = DATA[offset:] if count is None else DATA[offset : offset + count]
    assert send(loop, tcp_pair, file, offset, count) == (len(expected), expected)
    assert file.tell() == offset + len(expected)


def test_no_fallback_is_needed_for_a_file(loop, tcp_pair, file):
    assert send(loop, tcp_pair, file, fallback=False) == (len(DATA), DATA)


@pytest.mark.parametrize("offset", [len(DATA), len(DATA) + 1000])
def test_offset_behind_the_end(impl, loop, tcp_pair, file, offset):
    file.seek(77)
    assert send(loop, tcp_pair, file, offset) == (0, b"")
    if impl.name == "fastloop" or sys.version_info >= (3, 14):
        assert file.tell() == offset


def test_empty_file(loop, tcp_pair, tmp_path):
    path = tmp_path / "empty"
    path.touch()
    with open(path, "rb") as file:
        assert send(loop, tcp_pair, file) == (0, b"")


def test_raw_file(loop, tcp_pair, file):
    with open(file.name, "rb", buffering=0) as raw:
        assert send(loop, tcp_pair, raw) == (len(DATA), DATA)


@pytest.mark.parametrize("offset, count", [(0, None), (1000, 500), (1000, None)])
def test_fallback_for_objects_without_a_descriptor(loop, tcp_pair, offset, count):
    expected = DATA[offset:] if count is None else DATA[offset : offset + count]
    file = io.BytesIO(DATA)
    assert send(loop, tcp_pair, file, offset, count) == (len(expected), expected)
    assert file.tell() == offset + len(expected)


class OnlyReads:
    """A file-like object that can do nothing but read."""

    def __init__(self, data):
        self.readinto = io.BytesIO(data).readinto


def test_fallback_for_an_object_that_only_reads(loop, tcp_pair):
    assert send(loop, tcp_pair, OnlyReads(DATA)) == (len(DATA), DATA)


def test_fallback_refused(loop, tcp_pair):
    with pytest.raises(asyncio.SendfileNotAvailableError, match="^not a regular file$"):
        run(loop, loop.sock_sendfile(tcp_pair[0], io.BytesIO(DATA), fallback=False))


def test_kernel_refuses_the_file(impl, loop, tcp_pair):
    """A socket has a descriptor and is no file: the kernel says so, and nothing has been sent."""
    if impl.name == "asyncio" and sys.version_info >= (3, 14):
        pytest.skip("asyncio since Python 3.14 fails in a seek of the socket")
    one, other = socket.socketpair()
    with one, other, one.makefile("rb") as file, pytest.raises(asyncio.SendfileNotAvailableError):
        run(loop, loop.sock_sendfile(tcp_pair[0], file, 0, 10, fallback=False))


def test_text_file(loop, tcp_pair, file):
    with open(file.name) as text, pytest.raises(ValueError, match="^file should be opened in binary mode$"):
        run(loop, loop.sock_sendfile(tcp_pair[0], text))


def test_socket_that_is_no_stream(loop, file):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with pytest.raises(ValueError, match="^only SOCK_STREAM type sockets are supported$"):
            run(loop, loop.sock_sendfile(sock, file))


@pytest.mark.parametrize("count", ["text", 1.5])
def test_count_of_the_wrong_type(loop, tcp_pair, file, count):
    with pytest.raises(TypeError) as raised:
        run(loop, loop.sock_sendfile(tcp_pair[0], file, 0, count))
    assert str(raised.value) == f"count must be a positive integer (got {count!r})"


@pytest.mark.parametrize("count", [0, -1])
def test_count_that_is_not_positive(loop, tcp_pair, file, count):
    with pytest.raises(ValueError) as raised:
        run(loop, loop.sock_sendfile(tcp_pair[0], file, 0, count))
    assert str(raised.value) == f"count must be a positive integer (got {count!r})"


@pytest.mark.parametrize("offset", ["text", None, 1.5])
def test_offset_of_the_wrong_type(loop, tcp_pair, file, offset):
    with pytest.raises(TypeError) as raised:
        run(loop, loop.sock_sendfile(tcp_pair[0], file, offset))
    assert str(raised.value) == f"offset must be a non-negative integer (got {offset!r})"


def test_negative_offset(loop, tcp_pair, file):
    with pytest.raises(ValueError, match=r"^offset must be a non-negative integer \(got -1\)$"):
        run(loop, loop.sock_sendfile(tcp_pair[0], file, -1))


@pytest.fixture
def large_file(tmp_path):
    """A file that no socket's buffers hold."""
    path = tmp_path / "large"
    path.write_bytes(bytes(20_000_000))
    with open(path, "rb") as file:
        yield file


def test_peer_goes_away(loop, tcp_pair, large_file):
    left, right = tcp_pair

    async def main():
        sending = loop.create_task(loop.sock_sendfile(left, large_file))
        await asyncio.sleep(0.002)
        assert not sending.done()
        await loop.sock_recv(right, 1000)
        right.close()
        with pytest.raises(ConnectionError):
            await sending

    run(loop, main())
    assert loop.remove_writer(left) is False


def test_cancelled(loop, tcp_pair, large_file):
    left, _ = tcp_pair

    async def main():
        sending = loop.create_task(loop.sock_sendfile(left, large_file))
        await asyncio.sleep(0.002)
        assert not sending.done()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.sleep(0)
        assert loop.remove_writer(left) is False

    run(loop, main())


def test_file_that_somebody_closes(impl, loop, tcp_pair, large_file):
    """By number, in the middle: the error is the kernel's, since reading the file would send it twice."""
    if impl.name == "asyncio":
        pytest.skip("asyncio fails in a seek, and its coroutine waits for ever")
    left, right = tcp_pair
    number = os.dup(large_file.fileno())

    async def main(file):
        sending = loop.create_task(loop.sock_sendfile(left, file))
        await asyncio.sleep(0.002)
        assert not sending.done()
        os.close(number)
        receiving = loop.create_task(receive_all(loop, right))
        with pytest.raises(OSError) as raised:
            await sending
        assert raised.value.errno == errno.EBADF
        left.close()
        await receiving

    with open(number, "rb", closefd=False) as file:
        run(loop, main(file))


def test_socket_that_is_not_connected(loop, file):
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(asyncio.SendfileNotAvailableError, match=r"^os\.sendfile call failed$"):
            run(loop, loop.sock_sendfile(sock, file, fallback=False))


def test_file_that_cannot_be_read(impl, loop, tcp_pair, tmp_path):
    """The kernel says so before anything is sent: not by sendfile(2), then."""
    with open(tmp_path / "data", "wb") as file:
        file.write(DATA)
        file.flush()
        with pytest.raises(asyncio.SendfileNotAvailableError) as raised:
            run(loop, loop.sock_sendfile(tcp_pair[0], file, fallback=False))
    if impl.name == "fastloop":
        assert raised.value.__cause__.errno == errno.EBADF


@pytest.mark.parametrize("count", [2**31, 2**63 - 1])
def test_more_than_there_is(loop, tcp_pair, file, count):
    assert send(loop, tcp_pair, file, 1000, count) == (len(DATA) - 1000, DATA[1000:])


@pytest.mark.parametrize(
    "offset, error",
    [
        (2**63 - 1, asyncio.SendfileNotAvailableError),  # from the kernel, with a count
        (2**63, OverflowError),
        (2**80, OverflowError),
    ],
)
def test_offset_of_no_file(impl, loop, tcp_pair, file, offset, error):
    if impl.name == "asyncio" and error is not OverflowError and sys.version_info >= (3, 14):
        pytest.skip("asyncio since Python 3.14 fails in a seek of the file")
    with pytest.raises(error):
        run(loop, loop.sock_sendfile(tcp_pair[0], file, offset, 10, fallback=False))


def test_large_file_to_a_slow_reader(loop, tcp_pair, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(DATA * 8)
    with open(path, "rb") as file:
        sent, received = send(loop, tcp_pair, file)
    assert sent == 8 * len(DATA) and received == DATA * 8
