"""Executors, name resolution, and the shutdown of executors and asynchronous generators."""

import asyncio
import concurrent.futures
import gc
import logging
import socket
import sys
import threading
import time
import warnings

import pytest


def shut_down(loop):
    loop.run_until_complete(loop.shutdown_default_executor())


def test_run_in_default_executor(loop):
    async def main():
        return await loop.run_in_executor(None, threading.current_thread)

    thread = loop.run_until_complete(main())
    assert thread.name.startswith("asyncio_") and thread is not threading.current_thread()
    shut_down(loop)
    assert not thread.is_alive()


def test_run_in_executor_passes_arguments_and_exceptions(loop):
    async def main():
        assert await loop.run_in_executor(None, max, 1, 3, 2) == 3
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, divmod, 1, 0)

    loop.run_until_complete(main())
    shut_down(loop)


def test_run_in_a_given_executor(impl, loop):
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        future = loop.run_in_executor(executor, lambda: threading.current_thread().name)
        assert isinstance(future, asyncio.Future) and type(future) is impl.Future
        assert loop.run_until_complete(future).startswith("mine")


def test_set_default_executor(loop):
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        loop.set_default_executor(executor)
        name = loop.run_until_complete(loop.run_in_executor(None, lambda: threading.current_thread().name))
    assert name.startswith("mine")


@pytest.mark.parametrize("executor", [5, None, object()], ids=repr)
def test_default_executor_of_the_wrong_type(loop, executor):
    with pytest.raises(TypeError, match="^executor must be ThreadPoolExecutor instance$"):
        loop.set_default_executor(executor)


def test_non_callable_in_debug_mode(loop):
    loop.set_debug(True)
    with pytest.raises(TypeError, match=r"^a callable object was expected by run_in_executor\(\), got 5$"):
        loop.run_in_executor(None, 5)
    with pytest.raises(TypeError, match=r"^coroutines cannot be used with run_in_executor\(\)$"):
        loop.run_in_executor(None, asyncio.sleep)


def test_cancelled_call_does_not_run(loop):
    started, release = threading.Event(), threading.Event()
    ran = []

    async def main():
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            blocker = loop.run_in_executor(executor, lambda: started.set() or release.wait(10))
            queued = loop.run_in_executor(executor, ran.append, "ran")
            await asyncio.sleep(0)
            queued.cancel()
            await asyncio.sleep(0)
            release.set()
            assert await blocker

    loop.run_until_complete(main())
    assert ran == []


def test_to_thread(loop):
    assert loop.run_until_complete(asyncio.to_thread(sum, (1, 2, 3))) == 6
    shut_down(loop)


def test_call_after_the_shutdown(loop):
    shut_down(loop)
    with pytest.raises(RuntimeError, match="^Executor shutdown has been called$"):
        loop.run_in_executor(None, print)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert loop.run_until_complete(loop.run_in_executor(executor, int)) == 0


def test_shutdown_waits_for_the_threads(loop):
    finished = []

    async def main():
        loop.run_in_executor(None, lambda: time.sleep(0.02) or finished.append(True))
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())
    assert finished == [True]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the timeout is new in Python 3.12")
def test_shutdown_with_a_timeout(impl, loop):
    if impl.name == "asyncio" and sys.version_info < (3, 13):
        pytest.skip("asyncio of Python 3.12.1 waits for the threads all the same")
    release = threading.Event()
    loop.run_in_executor(None, release.wait, 10)
    with pytest.warns(
        RuntimeWarning, match="^The executor did not finishing joining its threads within 0.01"
    ):
        loop.run_until_complete(loop.shutdown_default_executor(0.01))
    release.set()


def test_shutdown_twice(loop):
    loop.run_until_complete(loop.run_in_executor(None, int))
    shut_down(loop)
    shut_down(loop)


def test_close_does_not_wait_for_the_threads(loop):
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait, 10)
    loop.close()
    assert not future.done()
    release.set()


def test_getaddrinfo(loop):
    infos = loop.run_until_complete(
        loop.getaddrinfo("127.0.0.1", 80, family=socket.AF_INET, type=socket.SOCK_STREAM)
    )
    assert infos == socket.getaddrinfo("127.0.0.1", 80, socket.AF_INET, socket.SOCK_STREAM)
    shut_down(loop)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", None, b"127.0.0.1"])
@pytest.mark.parametrize("port", [80, "80", None])
@pytest.mark.parametrize("type_", [0, socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_getaddrinfo_answers_as_the_socket_module(loop, host, port, type_):
    def resolve():
        try:
            return socket.getaddrinfo(host, port, type=type_)
        except OSError as error:
            return error.args

    async def main():
        try:
            return await loop.getaddrinfo(host, port, type=type_)
        except OSError as error:
            return error.args

    assert loop.run_until_complete(main()) == resolve()
    shut_down(loop)


def test_getaddrinfo_flags_are_honoured(loop):
    async def main():
        with pytest.raises(socket.gaierror) as raised:
            await loop.getaddrinfo("localhost", 80, flags=socket.AI_NUMERICHOST)
        assert raised.value.errno == socket.EAI_NONAME
        passive = await loop.getaddrinfo(None, 80, family=socket.AF_INET, flags=socket.AI_PASSIVE)
        assert passive[0][4] == ("0.0.0.0", 80)

    loop.run_until_complete(main())
    shut_down(loop)


def test_getaddrinfo_replaced_by_a_test(loop, monkeypatch):
    calls = []

    def resolve(host, port, family=0, type=0, proto=0, flags=0):
        calls.append((host, port))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    infos = loop.run_until_complete(loop.getaddrinfo("example.invalid", 80))
    assert calls == [("example.invalid", 80)] and infos[0][4] == ("192.0.2.1", 80)
    shut_down(loop)


def test_getaddrinfo_in_debug_mode_is_logged(loop, caplog):
    caplog.set_level(logging.DEBUG, logger="asyncio")
    loop.set_debug(True)
    loop.slow_callback_duration = 10
    loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM))
    messages = [record.message for record in caplog.records]
    assert f"Get address info 127.0.0.1:80, type={socket.SOCK_STREAM!r}" in messages
    assert any(message.startswith("Getting address info 127.0.0.1:80") for message in messages)
    shut_down(loop)


def test_getnameinfo(loop):
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80), flags)) == ("127.0.0.1", "80")
    shut_down(loop)


async def numbers(log):
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        log.append("closed")


def test_shutdown_asyncgens_closes_them(loop):
    log = []
    kept = []

    async def main():
        generator = numbers(log)
        kept.append(generator)
        async for _ in generator:
            break

    loop.run_until_complete(main())
    assert log == []
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert log == ["closed"]


def test_shutdown_asyncgens_reports_errors(loop, reported):
    async def bad():
        try:
            yield 1
        finally:
            raise LookupError("closing")

    async def main():
        kept.append(bad())
        await kept[0].__anext__()

    kept = []
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    [context] = reported
    assert context["message"].startswith("an error occurred during closing of asynchronous generator <async_")
    assert type(context["exception"]) is LookupError and context["asyncgen"] is kept[0]


def test_dropped_asyncgen_is_closed_by_the_loop(loop):
    log = []

    async def main():
        async for _ in numbers(log):
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        return list(log)

    assert loop.run_until_complete(main()) == ["closed"]


def test_asyncgen_started_after_the_shutdown(loop):
    loop.run_until_complete(loop.shutdown_asyncgens())

    async def main():
        generator = numbers([])
        with pytest.warns(ResourceWarning, match="was scheduled after loop.shutdown_asyncgens"):
            await generator.__anext__()
        await generator.aclose()

    loop.run_until_complete(main())


def test_shutdown_asyncgens_without_any(loop):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loop.run_until_complete(loop.shutdown_asyncgens()) is None
        assert loop.run_until_complete(loop.shutdown_asyncgens()) is None


def test_asyncgen_dropped_after_the_loop_is_closed(impl, recwarn):
    loop = impl.new_event_loop()
    kept = []

    async def main():
        kept.append(numbers([]))
        await kept[0].__anext__()

    loop.run_until_complete(main())
    loop.close()
    kept.clear()
    gc.collect()
    assert not recwarn.list
