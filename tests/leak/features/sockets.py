"""Features: readers, writers and the sock_* calls."""

import asyncio
import contextlib
import socket
import tempfile

from ._tools import (
    Oops,
    cancelled,
    datagram_pair,
    feature,
    fresh_loop,
    listener,
    nothing,
    run_one_turn,
    socket_pair,
    turns,
)


@feature
async def add_reader(env):
    with socket_pair() as (left, right):
        fired = env.loop.create_future()
        env.loop.add_reader(left, lambda: fired.done() or fired.set_result(None))
        right.send(b"x")
        await fired
        env.loop.add_reader(left.fileno(), nothing, object())
        assert env.loop.remove_reader(left)
        assert not env.loop.remove_reader(left)


@feature
async def add_writer(env):
    with socket_pair() as (left, _right):
        fired = env.loop.create_future()
        env.loop.add_writer(left, lambda: fired.done() or fired.set_result(None))
        env.loop.add_reader(left, nothing)
        await fired
        env.loop.remove_writer(left)
        env.loop.remove_reader(left)


@feature
async def reader_raises(env):
    with socket_pair() as (left, right):
        right.send(b"x")

        def read():
            env.loop.remove_reader(left)
            raise Oops

        env.loop.add_reader(left, read)
        await asyncio.sleep(0.001)


@feature
async def add_reader_fails(env):
    with tempfile.TemporaryFile() as file, contextlib.suppress(PermissionError):
        env.loop.add_reader(file, nothing, object())
    with contextlib.suppress(ValueError, OSError):
        env.loop.add_reader(file, nothing, object())
    with contextlib.suppress(ValueError, OSError):
        env.loop.add_writer(-1, nothing, object())


@feature
def loop_closed_with_readers(env):
    with socket_pair() as (left, right), fresh_loop(env) as loop:
        loop.add_reader(left, nothing, object())
        loop.add_writer(right, nothing, object())


@feature
async def sock_recv_and_sendall(env):
    with socket_pair() as (left, right):
        reading = env.loop.create_task(env.loop.sock_recv(left, 100))
        await turns()
        await env.loop.sock_sendall(right, b"hello")
        assert await reading == b"hello"
        await env.loop.sock_sendall(right, bytearray(b"world"))
        assert await env.loop.sock_recv(left, 3) == b"wor"


@feature
async def sock_sendall_in_parts(env):
    with socket_pair() as (left, right):
        data = bytes(1_000_000)
        writing = env.loop.create_task(env.loop.sock_sendall(right, data))
        received = 0
        while received < len(data):
            received += len(await env.loop.sock_recv(left, 100_000))
        await writing


@feature
async def sock_recv_into(env):
    with socket_pair() as (left, right):
        buffer = bytearray(100)
        reading = env.loop.create_task(env.loop.sock_recv_into(left, buffer))
        await turns()
        right.send(b"hello")
        assert await reading == 5
        right.send(b"hello")
        await env.loop.sock_recv_into(left, memoryview(buffer)[2:])


@feature
async def sock_datagrams(env):
    with datagram_pair() as (left, right):
        buffer = bytearray(100)
        reading = env.loop.create_task(env.loop.sock_recvfrom(left, 100))
        await turns()
        await env.loop.sock_sendto(right, b"hello", left.getsockname())
        await reading
        reading = env.loop.create_task(env.loop.sock_recvfrom_into(left, buffer))
        await turns()
        await env.loop.sock_sendto(right, b"hello", left.getsockname())
        assert (await reading)[0] == 5


@feature
async def sock_connect_and_accept(env):
    with listener() as server, socket.socket() as client:
        client.setblocking(False)
        accepting = env.loop.create_task(env.loop.sock_accept(server))
        await turns()
        await env.loop.sock_connect(client, server.getsockname())
        connection, _ = await accepting
        connection.close()


@feature
async def sock_connect_by_name(env):
    with listener() as server, socket.socket() as client:
        client.setblocking(False)
        await env.loop.sock_connect(client, ("localhost", server.getsockname()[1]))


@feature
async def sock_connect_refused(env):
    with listener() as server:
        address = server.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        with contextlib.suppress(ConnectionRefusedError):
            await env.loop.sock_connect(client, address)


@feature
async def sock_sendfile(env):
    with socket_pair() as (left, _right), tempfile.TemporaryFile() as file:
        file.write(bytes(10_000))
        file.flush()
        assert await env.loop.sock_sendfile(left, file, 5_000) == 5_000
        with contextlib.suppress(asyncio.SendfileNotAvailableError):
            await env.loop.sock_sendfile(left, FileWithoutDescriptor(), fallback=False)


class FileWithoutDescriptor:
    mode = "rb"

    def read(self, size):
        return b""


@feature
async def sock_calls_cancelled(env):
    with socket_pair() as (left, _):
        await cancelled(env.loop.sock_recv(left, 100))
        await cancelled(env.loop.sock_recv_into(left, bytearray(100)))
        await cancelled(env.loop.sock_sendall(left, bytes(1_000_000)))
    with datagram_pair() as (left, _right):
        await cancelled(env.loop.sock_recvfrom(left, 100))
        await cancelled(env.loop.sock_recvfrom_into(left, bytearray(100)))
    with listener() as server:
        await cancelled(env.loop.sock_accept(server))


@feature
async def sock_calls_fail(env):
    with socket_pair() as (left, right):
        right.close()
        with contextlib.suppress(OSError):
            await env.loop.sock_sendall(left, bytes(100))
        with contextlib.suppress(TypeError):
            await env.loop.sock_sendall(left, "text")
        with contextlib.suppress(TypeError):
            await env.loop.sock_recv_into(left, b"constant")
        left.close()
        for call in (
            lambda: env.loop.sock_recv(left, 100),
            lambda: env.loop.sock_recv_into(left, bytearray(100)),
            lambda: env.loop.sock_recvfrom(left, 100),
            lambda: env.loop.sock_recvfrom_into(left, bytearray(100)),
            lambda: env.loop.sock_sendall(left, bytes(100)),
            lambda: env.loop.sock_sendto(left, bytes(100), ("127.0.0.1", 1)),
            lambda: env.loop.sock_accept(left),
            lambda: env.loop.sock_connect(left, ("127.0.0.1", 1)),
        ):
            with contextlib.suppress(OSError, TypeError, ValueError):
                await call()


@feature
async def sock_call_never_awaited(env):
    with socket_pair() as (left, _right):
        call = env.loop.sock_recv(left, 100)
        if isinstance(call, asyncio.Future):
            call.cancel()
            await turns()
        else:
            call.close()


@feature
def loop_closed_in_a_sock_call(env):
    with socket_pair() as (left, _right), fresh_loop(env) as loop:
        task = loop.create_task(loop.sock_recv(left, 100))
        run_one_turn(loop)
        run_one_turn(loop)
        assert not task.done()
