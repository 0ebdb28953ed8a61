"""Running, stopping and closing a loop."""

import asyncio
import gc
import os
import sys
import threading
import time
import warnings
import weakref

import pytest

CLOSED = r"^Event loop is closed$"


def stop_soon(loop):
    loop.call_soon(loop.stop)


def test_new_loop(impl, loop):
    assert isinstance(loop, impl.Loop) and isinstance(loop, asyncio.AbstractEventLoop)
    assert issubclass(impl.Loop, asyncio.AbstractEventLoop)
    assert not loop.is_running() and not loop.is_closed() and not loop.get_debug()


def test_run_forever_until_stop(loop):
    seen = []
    loop.call_soon(lambda: seen.append((loop.is_running(), asyncio.get_running_loop() is loop)))
    stop_soon(loop)
    assert loop.run_forever() is None
    assert seen == [(True, True)]
    assert not loop.is_running()
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        asyncio.get_running_loop()


def test_run_until_complete_returns_the_result(loop):
    async def main():
        return "result"

    future = loop.create_future()
    loop.call_soon(future.set_result, 5)
    assert loop.run_until_complete(main()) == "result"
    assert loop.run_until_complete(future) == 5
    assert loop.run_until_complete(future) == 5


def test_run_until_complete_raises_the_exception(loop):
    async def main():
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        loop.run_until_complete(main())


def test_run_until_complete_takes_any_awaitable(loop):
    class Awaitable:
        def __await__(self):
            yield
            return "awaited"

    assert loop.run_until_complete(Awaitable()) == "awaited"


@pytest.mark.parametrize("value", [None, 5, "text", print])
def test_run_until_complete_of_what_cannot_be_awaited(loop, value):
    message = r"^An asyncio.Future, a coroutine or an awaitable is required$"
    with pytest.raises(TypeError, match=message):
        loop.run_until_complete(value)


def test_run_until_complete_leaves_no_callback(loop):
    future = loop.create_future()
    stop_soon(loop)
    with pytest.raises(RuntimeError):
        loop.run_until_complete(future)
    assert not future._callbacks


def test_run_until_complete_marks_its_callback(loop):
    """anyio finds the task that runs the loop by this callback on it."""

    async def main():
        return asyncio.current_task()._callbacks[0][0]

    callback = loop.run_until_complete(main())
    name = f"{callback.__module__}.{getattr(callback, '__name__', '')}"
    assert callback is asyncio.base_events._run_until_complete_cb or name.startswith("uvloop.loop.")


def test_future_of_another_loop(impl, loop):
    other = impl.new_event_loop()
    future = other.create_future()
    with pytest.raises(ValueError, match="^The future belongs to a different loop than the one specified"):
        loop.run_until_complete(future)
    other.close()


def test_future_that_does_not_complete(loop):
    stop_soon(loop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(loop.create_future())


def test_task_that_does_not_complete_is_dropped_silently(loop, reported):
    stop_soon(loop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(asyncio.sleep(3600))
    loop.close()
    gc.collect()
    assert reported == []


def test_base_exception_of_the_main_task_is_not_logged(loop, reported):
    async def main():
        raise SystemExit(4)

    with pytest.raises(SystemExit):
        loop.run_until_complete(main())
    gc.collect()
    assert reported == []


def test_exception_does_not_keep_the_task_alive(loop):
    class Local:
        pass

    references = []

    async def main():
        local = Local()
        references.append(weakref.ref(local))
        raise LookupError

    with pytest.raises(LookupError):
        loop.run_until_complete(main())
    gc.collect()
    assert references[0]() is None


def test_stop_before_run_runs_one_turn(loop):
    order = []
    loop.stop()
    loop.call_soon(order.append, "ready")
    loop.call_later(0, order.append, "due")
    loop.call_soon(lambda: loop.call_soon(order.append, "next turn"))
    loop.run_forever()
    assert order == ["ready", "due"]
    loop.stop()
    loop.run_forever()
    assert order == ["ready", "due", "next turn"]


def test_stop_before_run_polls(loop):
    reader, writer = os.pipe()
    os.write(writer, b"x")
    seen = []
    loop.add_reader(reader, seen.append, "readable")
    loop.call_soon(seen.append, "ready")
    loop.stop()
    loop.run_forever()
    assert sorted(seen) == ["readable", "ready"]
    loop.remove_reader(reader)
    os.close(reader)
    os.close(writer)


def test_stop_is_forgotten_after_the_run(loop):
    loop.stop()
    loop.run_forever()
    assert loop.run_until_complete(asyncio.sleep(0.001, "full run")) == "full run"


def test_stop_twice(loop):
    loop.call_soon(loop.stop)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert loop.run_until_complete(asyncio.sleep(0, "again")) == "again"


def test_stop_does_not_wait_for_timers(loop):
    loop.call_later(3600, print)
    stop_soon(loop)
    loop.run_forever()


def test_run_again_while_running(loop):
    async def main():
        message = r"^This event loop is already running$"
        with pytest.raises(RuntimeError, match=message):
            loop.run_until_complete(loop.create_future())
        coro = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match=message):
            loop.run_until_complete(coro)
        coro.close()
        return loop.is_running()

    assert loop.run_until_complete(main())


def test_run_from_another_thread_while_running(loop):
    errors = []

    def run():
        try:
            loop.run_until_complete(loop.create_future())
        except RuntimeError as error:
            errors.append(str(error))

    loop.run_until_complete(asyncio.to_thread(run))
    assert errors == ["This event loop is already running"]


@pytest.mark.parametrize("inner", ["stock", "own"])
def test_run_while_another_loop_runs(impl, loop, inner):
    """Nesting is refused between the implementations too: there is one running loop in a thread."""
    inner = impl.new_event_loop() if inner == "own" else asyncio.SelectorEventLoop()
    message = r"^Cannot run the event loop while another loop is running$"

    async def main():
        with pytest.raises(RuntimeError, match=message):
            inner.run_forever()
        with pytest.raises(RuntimeError, match=message):
            inner.run_until_complete(inner.create_future())
        return asyncio.get_running_loop() is loop

    try:
        if isinstance(inner, asyncio.SelectorEventLoop) and sys.version_info[:3] == (3, 13, 0):
            pytest.skip("asyncio of Python 3.13.0 forgets the outer loop here")
        assert loop.run_until_complete(main())
    finally:
        inner.close()


def test_run_in_a_thread(impl):
    results = []

    def run():
        loop = impl.new_event_loop()
        results.append(loop.run_until_complete(asyncio.sleep(0.001, "from a thread")))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == ["from a thread"]


def test_run_on_one_thread_after_the_other(loop):
    assert loop.run_until_complete(asyncio.sleep(0, 1)) == 1
    results = []
    thread = threading.Thread(target=lambda: results.append(loop.run_until_complete(asyncio.sleep(0.001, 2))))
    thread.start()
    thread.join()
    assert results == [2]
    assert loop.run_until_complete(asyncio.sleep(0, 3)) == 3


def test_loops_in_many_threads(impl):
    results = []

    def run(index):
        loop = impl.new_event_loop()

        async def main():
            values = await asyncio.gather(*(asyncio.sleep(0.001, index) for _ in range(20)))
            return sum(values)

        results.append(loop.run_until_complete(main()))
        loop.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [20 * index for index in range(8)]


def test_close(loop):
    loop.close()
    assert loop.is_closed() and not loop.is_running()
    loop.close()
    assert "closed=True" in repr(loop)


def test_close_drops_what_is_scheduled(loop):
    class Argument:
        pass

    arguments = [Argument() for _ in range(3)]
    references = [weakref.ref(argument) for argument in arguments]
    loop.call_soon(print, arguments.pop())
    loop.call_later(3600, print, arguments.pop())
    loop.call_soon_threadsafe(print, arguments.pop())
    loop.close()
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


CLOSED_CALLS = {
    "run_forever": lambda loop: loop.run_forever(),
    "run_until_complete": lambda loop: loop.run_until_complete(loop.create_future()),
    "call_soon": lambda loop: loop.call_soon(print),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(print),
    "call_later": lambda loop: loop.call_later(0, print),
    "call_at": lambda loop: loop.call_at(0, print),
    "run_in_executor": lambda loop: loop.run_in_executor(None, print),
    "add_reader": lambda loop: loop.add_reader(0, print),
    "add_writer": lambda loop: loop.add_writer(0, print),
    "add_signal_handler": lambda loop: loop.add_signal_handler(10, print),
}


@pytest.mark.parametrize("call", CLOSED_CALLS.values(), ids=CLOSED_CALLS)
def test_method_of_a_closed_loop(loop, call):
    loop.close()
    with pytest.raises(RuntimeError, match=CLOSED):
        call(loop)


def test_create_task_on_a_closed_loop(loop):
    loop.close()
    coro = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match=CLOSED):
        loop.create_task(coro)
    with pytest.raises(RuntimeError, match=CLOSED):
        loop.run_until_complete(coro)
    coro.close()


def test_harmless_methods_of_a_closed_loop(loop):
    loop.close()
    assert loop.remove_reader(0) is False and loop.remove_writer(0) is False
    assert loop.remove_signal_handler(10) is False
    assert loop.create_future().get_loop() is loop
    assert loop.stop() is None
    assert loop.time() > 0


def test_future_completed_after_close(loop):
    future = loop.create_future()
    future.add_done_callback(print)
    loop.close()
    with pytest.raises(RuntimeError, match=CLOSED):
        future.set_result(None)


def test_repr(impl, loop):
    text = repr(loop)
    assert "running=False" in text and "closed=False" in text and "debug=False" in text
    loop.set_debug(True)
    assert "debug=True" in repr(loop)

    async def main():
        return repr(loop)

    assert "running=True" in loop.run_until_complete(main())
    named = type("NamedLoop", (impl.Loop,), {})()
    assert repr(named).startswith("<NamedLoop ")
    named.close()


def drop(holder):
    holder.clear()
    gc.collect()


def test_dropped_open(impl):
    holder = [impl.new_event_loop()]
    text = repr(holder[0])
    with pytest.warns(ResourceWarning) as caught:
        drop(holder)
    assert [str(warning.message) for warning in caught] == [f"unclosed event loop {text}"]


def test_dropped_closed(impl):
    loop = impl.new_event_loop()
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del loop
        gc.collect()


def test_dropped_open_closes_its_descriptors(impl):
    before = set(os.listdir("/proc/self/fd"))
    holder = [impl.new_event_loop()]
    assert len(os.listdir("/proc/self/fd")) > len(before)
    with pytest.warns(ResourceWarning):
        drop(holder)
    assert set(os.listdir("/proc/self/fd")) == before


KEYWORDS = {
    "set_debug": lambda loop: loop.set_debug(enabled=True),
    "set_exception_handler": lambda loop: loop.set_exception_handler(handler=print),
    "set_task_factory": lambda loop: loop.set_task_factory(factory=None),
    "create_task": lambda loop: loop.run_until_complete(loop.create_task(coro=asyncio.sleep(0))),
    "run_until_complete": lambda loop: loop.run_until_complete(future=asyncio.sleep(0)),
    "call_exception_handler": lambda loop: loop.call_exception_handler(context={"message": "m"}),
    "default_exception_handler": lambda loop: loop.default_exception_handler(context={"message": "m"}),
    "getaddrinfo": lambda loop: loop.getaddrinfo(host="127.0.0.1", port=80).close(),
    "getnameinfo": lambda loop: loop.getnameinfo(sockaddr=("127.0.0.1", 80), flags=0).close(),
    "sock_recv": lambda loop: loop.sock_recv(sock=None, n=1).close(),
    "sock_sendall": lambda loop: loop.sock_sendall(sock=None, data=b"").close(),
    "sock_sendto": lambda loop: loop.sock_sendto(sock=None, data=b"", address=None).close(),
    "sock_connect": lambda loop: loop.sock_connect(sock=None, address=None).close(),
    "sock_accept": lambda loop: loop.sock_accept(sock=None).close(),
}


@pytest.mark.parametrize("call", KEYWORDS.values(), ids=KEYWORDS)
def test_arguments_by_keyword(loop, call):
    call(loop)


def test_time_is_the_monotonic_clock(loop):
    before = time.monotonic()
    now = loop.time()
    assert type(now) is float and before <= now <= time.monotonic()


def test_asyncgen_hooks_are_set_while_running(loop):
    outside = sys.get_asyncgen_hooks()

    async def main():
        return sys.get_asyncgen_hooks()

    inside = loop.run_until_complete(main())
    assert inside.firstiter is not None and inside.finalizer is not None
    assert sys.get_asyncgen_hooks() == outside


def test_loop_uses_no_policy(run_script):
    """Making and running a loop makes it nobody's current loop, and makes no policy."""
    result = run_script("""
loop = new_event_loop()
loop.run_until_complete(asyncio.sleep(0))
loop.close()
print(asyncio.events._event_loop_policy)
""")
    assert (result.stdout, result.stderr) == ("None\n", "")
