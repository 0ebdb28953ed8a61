"""create_unix_server(): paths of every kind, stale files, and who removes the socket's file."""

import asyncio
import errno
import gc
import itertools
import os
import pathlib
import re
import socket
import stat
import sys

import pytest
from support.net import at_end, open_fds, receive_exactly, run, run_until, unix_pair
from support.serving import Service

SINCE_313 = sys.version_info >= (3, 13)

_numbers = itertools.count()


@pytest.fixture
def service(loop):
    service = Service(loop)
    yield service
    service.end()


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The path of a socket that is not there yet, short enough for the kernel."""
    monkeypatch.chdir(tmp_path)
    return "socket"


@pytest.fixture
def has_cleanup_argument(impl):
    """Skips the test where asyncio has no cleanup_socket yet."""
    if impl.name == "asyncio" and not SINCE_313:
        pytest.skip("asyncio has it from Python 3.13 on")


def abstract_name():
    return f"\0fastloop-test-{os.getpid()}-{next(_numbers)}"


def create(loop, *args, **options):
    return run(loop, loop.create_unix_server(asyncio.Protocol, *args, **options))


def bound_socket(path):
    """A stream socket bound to a path."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    return sock


def leave_stale_socket(path):
    bound_socket(path).close()


# Paths.


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path])
def test_kinds_of_paths(loop, service, path, kind):
    server = service.start_unix(kind(path))
    [sock] = server.sockets
    assert sock.family == socket.AF_UNIX
    assert sock.getsockname() == path
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert server.is_serving()
    protocol, client = service.connect()
    client.send(b"hello")
    run_until(loop, lambda: protocol.received == b"hello")


@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_abstract_names(loop, service, kind):
    """No file is made, looked at or removed."""
    name = abstract_name()
    server = service.start_unix(kind(name))
    assert server.sockets[0].getsockname() == os.fsencode(name)
    service.connect()
    server.close()
    service.connect(service.start_unix(kind(name)))


def test_path_that_is_no_utf8(service, path):
    name = b"\xff\xfe"
    service.start_unix(name)
    assert os.path.exists(name)
    service.connect()


def test_connection(loop, service, path):
    service.on["data_received"] = lambda data: service.protocols[0].transport.write(data.upper())
    protocol, client = service.connect(service.start_unix(path))
    transport = protocol.transport
    assert transport.get_extra_info("sockname") == path
    assert transport.get_extra_info("peername") == ""
    assert transport.get_extra_info("socket").family == socket.AF_UNIX
    client.send(b"hello")
    assert run(loop, receive_exactly(loop, client, 5)) == b"HELLO"
    client.close()
    run_until(loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "data_received", "eof_received", "connection_lost"]


def test_peername_of_a_bound_client(loop, service, path):
    service.start_unix(path)
    with bound_socket("client") as client:
        client.connect(path)
        run_until(loop, lambda: service.protocols and service.protocols[0].transport)
        assert service.protocols[0].transport.get_extra_info("peername") == "client"


def test_start_serving_later(loop, service, path):
    server = service.start_unix(path, start_serving=False)
    assert not server.is_serving()
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(path)
    run(loop, server.start_serving())
    service.connect()


def test_wait_closed(loop, service, path):
    server = service.start_unix(path)
    protocol, client = service.connect()
    server.close()
    waiting = loop.create_task(server.wait_closed())
    client.close()
    run(loop, waiting)
    run_until(loop, lambda: protocol.lost)


def test_many_clients_at_once(loop, service, path):
    service.start_unix(path)
    clients = [service.call() for _ in range(20)]
    for client in clients:
        client.send(b"x")
    run_until(loop, lambda: len(service.protocols) == 20 and all(p.received for p in service.protocols))


def test_server_closed_while_clients_wait(loop, service, path):
    server = service.start_unix(path)
    clients = [service.call() for _ in range(3)]
    server.close()
    run_until(loop, lambda: all(is_disconnected(client) for client in clients))
    assert service.protocols == []


def is_disconnected(sock):
    try:
        return at_end(sock)
    except ConnectionResetError:
        return True


# Files that are there already.


def test_stale_socket_is_replaced(service, path):
    leave_stale_socket(path)
    inode = os.stat(path).st_ino
    held = os.open(path, os.O_PATH)  # so that the inode's number is not used again
    service.start_unix(path)
    os.close(held)
    assert os.stat(path).st_ino != inode
    service.connect()


def test_socket_in_use_is_replaced_as_well(service, path):
    """The kernel cannot tell, so the first server is left without a name."""
    first = service.start_unix(path)
    second = service.start_unix(path)
    service.connect(second)
    first.close()
    service.connect(second)


@pytest.mark.parametrize("make", [pathlib.Path.touch, pathlib.Path.mkdir], ids=["file", "folder"])
def test_other_files_stay(loop, path, make):
    make(pathlib.Path(path))
    before = open_fds()
    with pytest.raises(OSError) as caught:
        create(loop, path)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == "Address 'socket' is already in use"
    assert caught.value.__suppress_context__
    assert os.path.exists(path)
    assert open_fds() == before


def test_abstract_name_in_use(loop, service):
    name = abstract_name()
    service.start_unix(name)
    message = re.escape(f"[Errno {errno.EADDRINUSE}] Address {name!r} is already in use")
    with pytest.raises(OSError, match=f"^{message}$"):
        create(loop, name)


def test_link_to_a_stale_socket(loop, path):
    """The link is removed, what it leads to stays."""
    leave_stale_socket("target")
    os.symlink("target", path)
    create(loop, path, start_serving=False).close()
    assert os.path.exists("target")


def test_dangling_link(loop, path):
    """To bind one is an error, and stat() does not see it."""
    os.symlink("nowhere", path)
    with pytest.raises(OSError, match="is already in use"):
        create(loop, path)


def test_folder_that_does_not_exist(loop, path):
    with pytest.raises(FileNotFoundError):
        create(loop, "nowhere/socket")


def test_stale_socket_that_cannot_be_looked_at(loop, path, caplog):
    """It is logged, then the kernel has its say."""
    pathlib.Path("file").touch()
    with pytest.raises(NotADirectoryError):
        create(loop, "file/socket")
    [record] = caplog.records
    assert record.getMessage().startswith(
        "Unable to check or remove stale UNIX socket 'file/socket': NotADir"
    )
    assert record.levelname == "ERROR"


# Wrong arguments.


@pytest.mark.parametrize("ssl_argument", [True, False])
def test_ssl_must_be_a_context(loop, path, ssl_argument):
    with pytest.raises(TypeError, match="^ssl argument must be an SSLContext or None$"):
        create(loop, path, ssl=ssl_argument)


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_timeouts_need_ssl(loop, path, name):
    with pytest.raises(ValueError, match=f"^{name} is only meaningful with ssl$"):
        create(loop, path, **{name: 1.0})


def test_path_and_socket(loop, path):
    message = "^path and sock can not be specified at the same time$"
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ValueError, match=message):
        create(loop, path, sock=sock)


def test_neither_path_nor_socket(loop):
    with pytest.raises(ValueError, match="^path was not specified, and no sock specified$"):
        create(loop)


@pytest.mark.parametrize(
    "family, kind",
    [
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET),
    ],
)
def test_socket_of_another_kind(loop, family, kind):
    with socket.socket(family, kind) as sock:
        message = re.escape(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
        with pytest.raises(ValueError, match=f"^{message}$"):
            create(loop, sock=sock)


@pytest.mark.parametrize("wrong", [1, object(), ["socket"]])
def test_path_of_another_type(loop, wrong):
    with pytest.raises(TypeError, match="^expected str, bytes or os.PathLike object"):
        create(loop, wrong)


@pytest.mark.filterwarnings("ignore")  # asyncio leaves that socket to the collector
def test_path_with_a_zero_in_it(loop, path):
    with pytest.raises(ValueError, match="embedded null"):
        create(loop, "socket\0more")
    gc.collect()


def test_path_too_long(loop, path):
    before = open_fds()
    with pytest.raises(OSError, match="^AF_UNIX path too long$"):
        create(loop, "x" * 200)
    assert open_fds() == before


# A socket made by the caller.


def test_given_socket(loop, service, path):
    sock = bound_socket(path)
    server = service.start_unix(sock=sock)
    assert sock.gettimeout() == 0
    assert server.sockets[0].fileno() == sock.fileno()
    service.connect()
    server.close()
    assert sock.fileno() == -1


def test_given_socket_that_cannot_listen(loop):
    one, other = unix_pair()
    with one, other:
        with pytest.raises(OSError) as caught:
            create(loop, sock=one, **({"cleanup_socket": False} if SINCE_313 else {}))
        assert caught.value.errno == errno.EINVAL
        assert one.fileno() != -1


# Who removes the file.


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path])
def test_file_is_removed_at_close(service, path, kind):
    """From Python 3.13 on."""
    service.start_unix(kind(path)).close()
    assert os.path.exists(path) is not SINCE_313


def test_file_of_a_given_socket_is_removed_too(service, path):
    service.start_unix(sock=bound_socket(path)).close()
    assert os.path.exists(path) is not SINCE_313


@pytest.mark.parametrize("wished", [False, True])
def test_cleanup_socket(service, path, has_cleanup_argument, wished):
    server = service.start_unix(path, cleanup_socket=wished)
    service.connect()
    server.close()
    assert os.path.exists(path) is not wished
    server.close()


def test_file_is_removed_from_where_it_was_made(service, tmp_path, has_cleanup_argument):
    path = tmp_path / "s"
    server = service.start_unix(str(path), start_serving=False, cleanup_socket=True)
    assert path.exists()
    server.close()
    assert not path.exists()


def test_file_that_was_removed_already(service, path, caplog):
    server = service.start_unix(path)
    os.unlink(path)
    server.close()
    assert caplog.records == []


def test_file_of_another_server_stays(service, path, has_cleanup_argument):
    """It is told by its inode."""
    first = service.start_unix(path, cleanup_socket=True)
    second = service.start_unix(path, cleanup_socket=True)
    first.close()
    service.connect(second)
    second.close()
    assert not os.path.exists(path)


def test_file_moved_away_before_the_server_starts(service, path, has_cleanup_argument):
    """A given socket whose file is gone is served all the same."""
    sock = bound_socket(path)
    os.unlink(path)
    server = service.start_unix(sock=sock, cleanup_socket=True)
    pathlib.Path(path).touch()
    server.close()
    assert os.path.exists(path)


def test_file_that_cannot_be_removed(service, path, caplog, has_cleanup_argument):
    os.mkdir("folder")
    server = service.start_unix("folder/socket", cleanup_socket=True)
    os.rename("folder", "moved")
    pathlib.Path("folder").touch()
    server.close()
    assert not server.sockets
    [record] = caplog.records
    assert record.getMessage().startswith("Unable to clean up listening UNIX socket 'folder/socket': NotADir")
