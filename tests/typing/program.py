"""What mypy --strict must accept, reveal and refuse in a program that uses fastloop.

Checked by `make lint`, never imported.  assert_type() pins the types; each "type: ignore" marks a mistake that mypy
must find, since strict mode complains of those that it does not need.
"""

import asyncio
import contextvars
import socket
import sys
from collections.abc import Generator
from typing import Any, assert_type

import fastloop

if sys.version_info < (3, 16):
    import warnings

    def use_policy() -> None:
        fastloop.install()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_event_loop_policy(fastloop.EventLoopPolicy())


async def answer() -> int:
    return 42


# -- running


def run_like_asyncio() -> None:
    assert_type(fastloop.run(answer()), int)
    assert_type(fastloop.run(answer(), debug=True, loop_factory=fastloop.Loop), int)
    assert_type(fastloop.run(answer(), loop_factory=asyncio.new_event_loop), int)
    with asyncio.Runner(loop_factory=fastloop.new_event_loop) as runner:
        assert_type(runner.run(answer()), int)


def mistakes_in_running() -> None:
    fastloop.run(answer)  # type: ignore[arg-type]
    fastloop.run(answer(), True)  # type: ignore[call-arg]
    fastloop.run_forever()  # type: ignore[attr-defined]


# -- the loop


def takes_any_loop(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    return loop


def callback(text: str, number: int) -> None: ...


def schedule(loop: fastloop.Loop) -> None:
    takes_any_loop(loop)
    assert_type(fastloop.new_event_loop(), fastloop.Loop)
    assert_type(loop.run_until_complete(answer()), int)
    assert_type(loop.time(), float)
    assert_type(loop.call_soon(callback, "a", 1), fastloop.Handle)
    assert_type(loop.call_soon_threadsafe(callback, "a", 1), fastloop.Handle)
    timer = loop.call_later(1, callback, "a", 1, context=contextvars.copy_context())
    assert_type(timer, fastloop.TimerHandle)
    assert_type(timer.when(), float)
    assert_type(timer.get_context(), contextvars.Context)
    any_timer: asyncio.TimerHandle = timer
    any_handle: asyncio.Handle = any_timer
    any_handle.cancel()
    loop.add_reader(0, callback, "a", 1)
    loop.add_signal_handler(2, callback, "a", 1)
    loop.slow_callback_duration = 0.5


def mistakes_in_scheduling(loop: fastloop.Loop) -> None:
    loop.call_soon(callback, "a")  # type: ignore[arg-type]
    loop.call_later("1", callback, "a", 1)  # type: ignore[arg-type]
    loop.add_signal_handler(2, callback, 1, "a")  # type: ignore[arg-type]


async def executors_and_sockets(loop: fastloop.Loop, sock: socket.socket) -> None:
    assert_type(await loop.run_in_executor(None, len, "abc"), int)
    assert_type(await loop.sock_recv(sock, 10), bytes)
    assert_type(await loop.sock_recv_into(sock, bytearray(10)), int)
    assert_type(await loop.sock_recvfrom(sock, 10), tuple[bytes, Any])
    assert_type(await loop.sock_accept(sock), tuple[socket.socket, Any])
    assert_type(await loop.sock_sendto(sock, b"", ("::1", 80)), int)
    await loop.sock_sendall(sock, memoryview(b""))
    await loop.sock_connect(sock, ("::1", 80))
    task = asyncio.create_task(loop.sock_recv(sock, 10))
    assert_type(await task, bytes)


# -- futures and tasks


async def takes_any_future(future: asyncio.Future[int], task: asyncio.Task[int]) -> int:
    return await future + await task


class Named(fastloop.Future[str]):
    name = "a future of one's own"


async def futures(loop: fastloop.Loop) -> None:
    future: fastloop.Future[int] = fastloop.Future(loop=loop)
    task = fastloop.Task(answer(), loop=loop, name="answer")
    assert_type(task, fastloop.Task[int])
    assert_type(await takes_any_future(future, task), int)
    assert_type(await asyncio.gather(future, task), tuple[int, int])
    assert_type(await asyncio.wait_for(task, timeout=1), int)
    assert_type(future.result(), int)
    assert_type(await future, int)
    assert_type(await Named(), str)
    future.add_done_callback(lambda done: assert_type(done.result(), int))
    future.set_result("x")  # type: ignore[arg-type]
    assert_type(await loop.create_task(answer()), int)
    assert_type(loop.create_future(), fastloop.Future[Any])


def by_version(loop: fastloop.Loop) -> None:
    if sys.version_info >= (3, 12):
        assert_type(fastloop.Task(answer(), loop=loop, eager_start=True), fastloop.Task[int])
        loop.set_task_factory(asyncio.eager_task_factory)
    else:
        fastloop.Task(answer(), loop=loop, eager_start=True)  # type: ignore[call-arg]
    if sys.version_info >= (3, 14):
        assert_type(fastloop.Future[int]()._asyncio_awaited_by, frozenset[asyncio.Future[Any]] | None)
    else:
        print(fastloop.Future[int]()._asyncio_awaited_by)  # type: ignore[attr-defined]


class Awaitable:
    def __await__(self) -> Generator[Any, None, int]:
        yield
        return 42


def run_awaitables() -> None:
    if sys.version_info >= (3, 14):
        assert_type(fastloop.run(Awaitable()), int)
    else:
        fastloop.run(Awaitable())  # type: ignore[arg-type]


class OwnLoop(fastloop.Loop):
    def time(self) -> float:
        return super().time() * 2

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        return await super().getaddrinfo(
            "localhost", port, family=family, type=type, proto=proto, flags=flags
        )

    def remove_signal_handler(self, sig: int) -> str:  # type: ignore[override]
        return str(super().remove_signal_handler(sig))


async def methods_in_python(loop: OwnLoop) -> None:
    transport, protocol = await loop.create_connection(asyncio.Protocol, "::1", 80)
    assert_type(transport, asyncio.Transport)
    assert_type(protocol, asyncio.Protocol)
    assert_type(await loop.run_in_executor(None, callback, "text", 1), None)
    await loop.create_connection(asyncio.Protocol, "::1", 80, tls=True)  # type: ignore[call-arg]
    loop.run_in_executor(None, callback, "text")  # type: ignore[arg-type]
