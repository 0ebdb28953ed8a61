"""call_soon_threadsafe(), waking a loop that waits, and the checks of the debug mode."""

import asyncio
import concurrent.futures
import sys
import threading
import time

import pytest


def in_thread(function, *args):
    """Run `function` in another thread and return what it returned or raised."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(function, *args)
        return future.exception() or future.result()


def test_call_from_another_thread_wakes_the_loop(loop):
    """The loop has no timer: without a wake-up it would wait for ever."""
    caller = threading.Timer(0.02, loop.call_soon_threadsafe, (loop.stop,))
    caller.start()
    loop.run_forever()
    caller.join()


def test_call_from_the_loops_own_thread(loop, turn):
    order = []
    loop.call_soon(order.append, 1)
    loop.call_soon_threadsafe(order.append, 2)
    loop.call_soon(order.append, 3)
    turn()
    assert order == [1, 2, 3]


def test_call_before_the_loop_runs(loop):
    in_thread(loop.call_soon_threadsafe, loop.stop)
    loop.run_forever()


def test_call_while_the_loop_is_stopped_is_kept(loop, turn):
    turn()
    order = []
    in_thread(loop.call_soon_threadsafe, order.append, "kept")
    turn()
    assert order == ["kept"]


def test_call_from_a_callback_of_a_running_turn_waits_for_the_next(loop, turn):
    order = []
    loop.call_soon(in_thread, loop.call_soon_threadsafe, order.append, "from the thread")
    loop.call_soon(order.append, "same turn")
    turn()
    assert order == ["same turn"]
    turn()
    assert order == ["same turn", "from the thread"]


@pytest.mark.parametrize("threads, calls", [(8, 2000)])
def test_many_threads(loop, threads, calls):
    """Nothing is lost, and the calls of each thread come in their order."""
    seen = {index: [] for index in range(threads)}
    remaining = threads

    def finished():
        nonlocal remaining
        remaining -= 1
        if not remaining:
            loop.stop()

    def work(index):
        for call in range(calls):
            loop.call_soon_threadsafe(seen[index].append, call)
        loop.call_soon_threadsafe(finished)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for worker in workers:
            worker.start()
        loop.run_forever()
    finally:
        sys.setswitchinterval(interval)
        for worker in workers:
            worker.join()
    assert all(calls_seen == list(range(calls)) for calls_seen in seen.values())


def test_ping_pong_with_a_thread(loop):
    """The loop goes to sleep before every answer: one lost wake-up hangs the test."""
    questions = concurrent.futures.ThreadPoolExecutor(1)
    count = 0

    def answer(future):
        loop.call_soon_threadsafe(future.set_result, None)

    async def main():
        nonlocal count
        for _ in range(1000):
            future = loop.create_future()
            questions.submit(answer, future)
            await future
            count += 1

    loop.run_until_complete(main())
    questions.shutdown()
    assert count == 1000


def test_wakeup_while_the_loop_spins(loop):
    """A loop that never waits for long still takes the calls of other threads."""
    done = threading.Event()

    async def spin():
        while not done.is_set():
            await asyncio.sleep(0)

    caller = threading.Timer(0.01, loop.call_soon_threadsafe, (done.set,))
    caller.start()
    loop.run_until_complete(asyncio.wait_for(spin(), 10))
    caller.join()


def test_wakeup_with_a_far_timer(loop):
    loop.call_later(3600, print)
    caller = threading.Timer(0.01, loop.call_soon_threadsafe, (loop.stop,))
    caller.start()
    started = time.monotonic()
    loop.run_forever()
    caller.join()
    assert time.monotonic() - started < 60


def test_cancel_of_a_handle_from_another_thread(loop, turn):
    order = []
    handle = loop.call_soon_threadsafe(order.append, "cancelled")
    in_thread(handle.cancel)
    turn()
    assert order == [] and handle.cancelled()


def test_close_races_with_callers(impl):
    """A caller gets "Event loop is closed", never a crash or another error."""
    for _ in range(20):
        loop = impl.new_event_loop()
        errors = []

        def call(loop=loop, errors=errors):
            try:
                while True:
                    loop.call_soon_threadsafe(len, ())
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        thread.join()
        assert errors == ["Event loop is closed"]


def test_run_coroutine_threadsafe(loop):
    async def double(value):
        await asyncio.sleep(0)
        return 2 * value

    def ask():
        return asyncio.run_coroutine_threadsafe(double(21), loop).result(10)

    assert loop.run_until_complete(loop.run_in_executor(None, ask)) == 42
    loop.run_until_complete(loop.shutdown_default_executor())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
@pytest.mark.parametrize("kind", ["Task", "asyncio.Task"])
def test_all_tasks_from_another_thread(impl, loop, kind):
    """Those that were started eagerly, and one in the middle of its eager step, are among them."""
    make = impl.Task if kind == "Task" else asyncio.Task

    async def begin_and_wait(begun):
        begun()
        await asyncio.Event().wait()

    def see():
        seen.append({task.get_name() for task in in_thread(asyncio.all_tasks, loop)})

    async def main():
        normal = make(begin_and_wait(int), loop=loop, name="normal")
        eager = make(begin_and_wait(int), loop=loop, name="eager", eager_start=True)
        middle = make(begin_and_wait(see), loop=loop, name="middle", eager_start=True)
        see()
        for task in (normal, eager, middle):
            task.cancel()

    seen = []
    loop.run_until_complete(make(main(), loop=loop, name="main"))
    assert seen == [{"main", "normal", "eager", "middle"}] * 2


def test_stop_from_another_thread_takes_effect_at_the_next_turn(loop):
    async def tick():
        while True:
            await asyncio.sleep(0.001)

    task = loop.create_task(tick())
    stopper = threading.Timer(0.01, loop.stop)
    stopper.start()
    loop.run_forever()
    stopper.join()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


WRONG_THREAD = "Non-thread-safe operation invoked on an event loop other than the current one"


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.call_soon(print),
        lambda loop: loop.call_later(0, print),
        lambda loop: loop.call_at(0, print),
        lambda loop: loop.create_task(asyncio.sleep(0)),
    ],
    ids=["call_soon", "call_later", "call_at", "create_task"],
)
@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited:RuntimeWarning")
def test_wrong_thread_in_debug_mode(loop, call):
    loop.set_debug(True)

    async def main():
        return in_thread(call, loop)

    error = loop.run_until_complete(main())
    assert type(error) is RuntimeError and str(error) == WRONG_THREAD


def test_other_thread_is_right_while_the_loop_does_not_run(loop, turn):
    loop.set_debug(True)
    order = []
    in_thread(loop.call_soon, order.append, "scheduled")
    turn()
    assert order == ["scheduled"]


def test_wrong_thread_is_not_checked_without_debug(loop):
    order = []

    async def main():
        assert not isinstance(in_thread(loop.call_soon, order.append, "scheduled"), Exception)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert order == ["scheduled"]


def test_future_completed_from_another_thread_in_debug_mode(loop):
    loop.set_debug(True)

    async def main():
        future = loop.create_future()
        future.add_done_callback(print)
        error = in_thread(future.set_result, None)
        return str(error)

    assert loop.run_until_complete(main()) == WRONG_THREAD
