"""sock_connect() and sock_accept()."""

import asyncio
import errno
import os
import socket

import pytest
from support.net import run, tcp_socket


def test_connect_and_accept(loop, listener):
    async def main():
        client = tcp_socket()
        accepting = loop.create_task(loop.sock_accept(listener))
        await asyncio.sleep(0.001)
        assert await loop.sock_connect(client, listener.getsockname()) is None
        connection, address = await accepting
        with client, connection:
            assert address == client.getsockname() and connection.gettimeout() == 0
            assert type(connection) is socket.socket and connection.family == socket.AF_INET
            await loop.sock_sendall(client, b"over tcp")
            return await loop.sock_recv(connection, 100)

    assert run(loop, main()) == b"over tcp"


def test_accept_of_who_waits_already(loop, listener):
    with socket.create_connection(listener.getsockname()) as client:
        connection, address = run(loop, loop.sock_accept(listener))
        assert address == client.getsockname()
        connection.close()


def test_accept_on_a_socket_that_does_not_listen(loop):
    with tcp_socket() as sock, pytest.raises(OSError, match=r"^\[Errno 22\] Invalid argument$"):
        run(loop, loop.sock_accept(sock))


def test_accept_cancelled(loop, listener):
    async def main():
        task = loop.create_task(loop.sock_accept(listener))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert loop.remove_reader(listener) is False
        with socket.create_connection(listener.getsockname()):
            connection, _ = await loop.sock_accept(listener)
            connection.close()

    run(loop, main())


def test_connect_refused(loop, listener):
    address = listener.getsockname()
    listener.close()
    with tcp_socket() as sock:
        with pytest.raises(ConnectionRefusedError) as raised:
            run(loop, loop.sock_connect(sock, address))
        assert raised.value.args == (errno.ECONNREFUSED, f"Connect call failed {address}")
        assert loop.remove_writer(sock) is False


def test_connect_of_a_connected_socket(loop, listener):
    with socket.create_connection(listener.getsockname()) as sock:
        sock.setblocking(False)
        with pytest.raises(OSError) as raised:
            run(loop, loop.sock_connect(sock, listener.getsockname()))
        assert raised.value.errno == errno.EISCONN


def test_connect_resolves_names(loop, listener, monkeypatch):
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, port, *args, **kwargs: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        ],
    )
    with tcp_socket() as sock:
        run(loop, loop.sock_connect(sock, ("name.invalid", listener.getsockname()[1])))
        assert sock.getpeername() == listener.getsockname()
    loop.run_until_complete(loop.shutdown_default_executor())


def test_connect_to_a_name_unknown(loop, monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with tcp_socket() as sock, pytest.raises(socket.gaierror, match="Name or service not known"):
        run(loop, loop.sock_connect(sock, ("name.invalid", 80)))
    loop.run_until_complete(loop.shutdown_default_executor())


def test_connect_over_ipv6(loop):
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with server, socket.socket(socket.AF_INET6) as sock:
        sock.setblocking(False)
        run(loop, loop.sock_connect(sock, server.getsockname()[:2]))
        assert sock.getpeername() == server.getsockname()


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_connect_over_unix_sockets(loop, abstract, tmp_path):
    address = f"\0fastloop-test-{os.getpid()}" if abstract else os.fspath(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        for sock in (server, client):
            sock.setblocking(False)
        server.bind(address)
        server.listen()
        run(loop, loop.sock_connect(client, address))
        connection, _ = run(loop, loop.sock_accept(server))
        with connection:
            run(loop, loop.sock_sendall(client, b"unix"))
            assert run(loop, loop.sock_recv(connection, 10)) == b"unix"


def test_connect_to_a_path_that_is_not_there(loop, tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        with pytest.raises(FileNotFoundError):
            run(loop, loop.sock_connect(sock, os.fspath(tmp_path / "missing")))


@pytest.mark.parametrize(
    "address", [("127.0.0.1",), "127.0.0.1", 5, None, ("127.0.0.1", 80, 1, 2, 3)], ids=repr
)
def test_connect_to_a_bad_address(loop, address):
    with tcp_socket() as sock, pytest.raises((TypeError, ValueError, OSError, IndexError)):
        run(loop, loop.sock_connect(sock, address))


def test_connect_cancelled(loop):
    """A queue of waiting connections that is full keeps the next connect() waiting."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [tcp_socket() for _ in range(4)]
        for sock in waiting:
            sock.connect_ex(server.getsockname())

        async def main(sock):
            task = loop.create_task(loop.sock_connect(sock, server.getsockname()))
            await asyncio.sleep(0.01)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            assert loop.remove_writer(sock) is False

        with tcp_socket() as sock:
            run(loop, main(sock))
        for sock in waiting:
            sock.close()
