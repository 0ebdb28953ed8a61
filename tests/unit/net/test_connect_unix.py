"""create_unix_connection(): paths of every kind, sockets handed over, and what can go wrong."""

import asyncio
import contextlib
import os
import pathlib
import re
import socket
import ssl

import pytest
from support.addresses import asyncio_since
from support.net import Recorder, open_fds, receive_exactly, run, run_until


@pytest.fixture
def path(tmp_path):
    return os.fspath(tmp_path / "socket")


@contextlib.contextmanager
def listening(path):
    """A listening Unix socket at `path`."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        sock.bind(path)
        sock.listen()
        yield sock


def exchange(loop, listener, *args, **kwargs):
    """Connect to the listener, send something there and back, and close."""

    async def main():
        transport, protocol = await loop.create_unix_connection(Recorder, *args, **kwargs)
        assert protocol.calls == [("connection_made", transport)] and transport.get_protocol() is protocol
        peer, _ = await loop.sock_accept(listener)
        with peer:
            transport.write(b"question")
            assert await receive_exactly(loop, peer, 8) == b"question"
            await loop.sock_sendall(peer, b"answer")
            while protocol.received != b"answer":
                await asyncio.sleep(0)
        assert transport.get_extra_info("peername") == listener.getsockname()
        transport.close()
        while not protocol.lost:
            await asyncio.sleep(0)

    before = open_fds()
    run(loop, main())
    assert open_fds() <= before


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path], ids=["str", "bytes", "PathLike"])
def test_path(loop, path, kind):
    with listening(path) as listener:
        exchange(loop, listener, kind(path))


def test_sock_connect_of_a_subclass_is_used(impl, path):
    class OwnLoop(impl.Loop):
        async def sock_connect(self, sock, address):
            asked.append(address)
            await super().sock_connect(sock, address)

    asked = []
    with contextlib.closing(OwnLoop()) as loop, listening(path) as listener:
        exchange(loop, listener, path)
    assert asked == [path]


@pytest.mark.parametrize("kind", [str, os.fsencode], ids=["str", "bytes"])
def test_abstract_path(loop, kind):
    path = f"\0fastloop-test-{os.getpid()}"
    with listening(path) as listener:
        exchange(loop, listener, path=kind(path))


def test_path_longer_than_usual(loop, tmp_path):
    path = os.fspath(tmp_path / "socket")
    path += "x" * (107 - len(path))
    with listening(path) as listener:
        exchange(loop, listener, path)


def test_socket(loop, path):
    with listening(path) as listener:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        exchange(loop, listener, sock=sock)
        assert sock.fileno() == -1


def test_socket_becomes_non_blocking(loop, pair):
    left, _ = pair
    left.setblocking(True)
    transport, protocol = run(loop, loop.create_unix_connection(Recorder, sock=left))
    assert left.gettimeout() == 0
    transport.close()
    run_until(loop, lambda: protocol.lost)


def test_streams(loop, path):
    async def main():
        with listening(path) as listener:
            reader, writer = await asyncio.open_unix_connection(path)
            peer, _ = await loop.sock_accept(listener)
            writer.write(b"line\n")
            await writer.drain()
            assert await receive_exactly(loop, peer, 5) == b"line\n"
            await loop.sock_sendall(peer, b"answer")
            peer.close()
            assert await reader.read() == b"answer"
            writer.close()
            await writer.wait_closed()

    run(loop, main())


# Connections that fail.


def fails(loop, exception, *args, **kwargs):
    """Try to connect: the exception, after checking that no descriptor is left open."""
    before = open_fds()
    with pytest.raises(exception) as raised:
        run(loop, loop.create_unix_connection(Recorder, *args, **kwargs))
    assert open_fds() == before
    return raised.value


def test_nothing_there(loop, path):
    assert fails(loop, FileNotFoundError, path).args == (2, "No such file or directory")


def test_nobody_listens(loop, path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert fails(loop, ConnectionRefusedError, path).args == (111, "Connection refused")


def test_no_socket(loop, path):
    pathlib.Path(path).touch()
    fails(loop, ConnectionRefusedError, path)


def test_another_kind_of_socket(loop, path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        assert fails(loop, OSError, path).args == (91, "Protocol wrong type for socket")


@pytest.mark.parametrize("path", ["x" * 200, "a\0b" * 50], ids=["path", "abstract"])
def test_path_too_long(loop, path):
    fails(loop, OSError, path)


@pytest.mark.parametrize("path", [5, 1.5, ["path"], object()], ids=repr)
def test_no_path(loop, path):
    fails(loop, TypeError, path)


def test_protocol_factory_raises(impl, loop, path):
    asyncio_since(impl, 3, 14)
    before = open_fds()

    def factory():
        raise ZeroDivisionError

    with listening(path), pytest.raises(ZeroDivisionError):
        run(loop, loop.create_unix_connection(factory, path))
    assert open_fds() == before


# Arguments.


BAD_ARGUMENTS = {
    "path and sock can not be specified at the same time": {"path": "x", "sock": "sock"},
    "no path and sock were specified": {},
    "server_hostname is only meaningful with ssl": {"path": "x", "server_hostname": "x"},
    "ssl_handshake_timeout is only meaningful with ssl": {"path": "x", "ssl_handshake_timeout": 1},
    "ssl_shutdown_timeout is only meaningful with ssl": {"path": "x", "ssl_shutdown_timeout": 1},
    "you have to pass server_hostname when using ssl": {"path": "x", "ssl": True},
}


@pytest.mark.parametrize("message", BAD_ARGUMENTS)
def test_bad_arguments(loop, pair, message):
    arguments = dict(BAD_ARGUMENTS[message])
    if "sock" in arguments:
        arguments["sock"] = pair[0]
    with pytest.raises(ValueError, match=f"^{message}$"):
        run(loop, loop.create_unix_connection(Recorder, **arguments))


@pytest.mark.parametrize(
    "family, kind", [(socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_STREAM)]
)
def test_socket_of_another_kind(loop, family, kind):
    with socket.socket(family, kind) as sock:
        message = re.escape(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
        with pytest.raises(ValueError, match=f"^{message}$"):
            run(loop, loop.create_unix_connection(Recorder, sock=sock))


def test_server_hostname_that_is_no_text(loop):
    with pytest.raises(AssertionError):
        run(
            loop,
            loop.create_unix_connection(
                Recorder, "x", ssl=ssl.create_default_context(), server_hostname=b"x"
            ),
        )
