"""Numbered semantics of the task's step: cancellation, what a coroutine yields, how it ends."""

import asyncio
import inspect
import re
import sys
import types

import pytest


@types.coroutine
def bare_yield(value=None):
    return (yield value)


class Stubborn:
    """Mixed into a Future: refuses to be cancelled, and remembers the messages."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.asked = []

    def cancel(self, msg=None):
        self.asked.append(msg)
        return False


def cancelled_error(loop, task):
    with pytest.raises(asyncio.CancelledError) as raised:
        loop.run_until_complete(task)
    return raised.value


def test_01_cancel_before_first_step(loop):
    ran = []

    async def body():
        ran.append(True)

    coro = body()
    task = loop.create_task(coro)
    assert task.cancel("early") is True
    assert not task.cancelled()
    assert cancelled_error(loop, task).args == ("early",)
    assert task.cancelled() and not ran
    assert inspect.getcoroutinestate(coro) == "CORO_CLOSED"


def test_01_cancel_before_first_step_without_message(loop):
    task = loop.create_task(asyncio.sleep(0))
    task.cancel()
    assert cancelled_error(loop, task).args == ()


def test_01_second_cancel_replaces_the_message(loop):
    task = loop.create_task(asyncio.sleep(0))
    assert task.cancel("first") and task.cancel("second")
    assert task.cancelling() == 2
    assert cancelled_error(loop, task).args == ("second",)


def test_01_cancel_of_a_done_task_returns_false(loop):
    task = loop.create_task(asyncio.sleep(0, "result"))
    loop.run_until_complete(task)
    assert task.cancel() is False
    assert task.cancelling() == 0 and task.result() == "result"


def test_02_must_cancel_and_the_coroutine_returns(loop):
    async def cancels_itself():
        asyncio.current_task().cancel("returned too late")
        return "ignored"

    task = loop.create_task(cancels_itself())
    assert cancelled_error(loop, task).args == ("returned too late",)
    assert task.cancelled() and not task._must_cancel


def test_02_must_cancel_and_the_coroutine_raises(loop):
    async def cancels_itself():
        asyncio.current_task().cancel()
        raise ValueError("wins")

    task = loop.create_task(cancels_itself())
    with pytest.raises(ValueError, match="wins"):
        loop.run_until_complete(task)
    assert not task.cancelled()


def test_03_must_cancel_replaces_another_pending_exception(loop, turn):
    future = loop.create_future()

    async def waits():
        await future

    task = loop.create_task(waits())
    turn()
    future.set_exception(ValueError("replaced"))
    task.cancel("stronger")
    assert cancelled_error(loop, task).args == ("stronger",)


def test_03_must_cancel_keeps_a_pending_cancelled_error(loop, turn):
    future = loop.create_future()

    async def waits():
        await future

    task = loop.create_task(waits())
    turn()
    future.cancel("from the future")
    task.cancel("from the task")
    assert cancelled_error(loop, task).args == ("from the future",)


def test_04_cancel_goes_to_the_waiter_with_its_message(loop, turn):
    future = loop.create_future()

    async def waits():
        await future

    task = loop.create_task(waits())
    turn()
    assert task._fut_waiter is future
    assert task.cancel("passed on") is True
    assert future.cancelled() and not task._must_cancel
    assert cancelled_error(loop, task).args == ("passed on",)


def test_04_cancel_goes_down_a_chain_of_tasks(loop, turn):
    async def nap():
        await loop.create_future()

    async def waits(inner):
        await inner

    innermost = loop.create_task(nap())
    outer = loop.create_task(waits(loop.create_task(waits(innermost))))
    turn()
    turn()
    outer.cancel("deep")
    assert innermost._fut_waiter.cancelled()
    assert cancelled_error(loop, outer).args == ("deep",)
    assert innermost.cancelled()


def test_04_waiter_refusing_leads_to_must_cancel(impl, loop, turn):
    future = type("Refusing", (Stubborn, impl.Future), {})(loop=loop)

    async def waits():
        await future

    task = loop.create_task(waits())
    turn()
    assert task.cancel("not now") is True
    assert future.asked == ["not now"] and task._must_cancel
    future.set_result(None)
    assert cancelled_error(loop, task).args == ("not now",)


def test_05_must_cancel_cancels_a_future_just_suspended_on(loop, turn):
    future = loop.create_future()

    async def cancels_itself():
        asyncio.current_task().cancel("at once")
        await future

    task = loop.create_task(cancels_itself())
    turn()
    assert future.cancelled() and not task._must_cancel
    assert cancelled_error(loop, task).args == ("at once",)


def test_05_must_cancel_stays_when_the_future_refuses(impl, loop, turn):
    future = type("Refusing", (Stubborn, impl.Future), {})(loop=loop)

    async def cancels_itself():
        asyncio.current_task().cancel("later")
        await future

    task = loop.create_task(cancels_itself())
    turn()
    assert future.asked == ["later"] and task._must_cancel
    future.set_result(None)
    assert cancelled_error(loop, task).args == ("later",)


def test_05_must_cancel_is_thrown_after_a_bare_yield(loop):
    async def cancels_itself():
        asyncio.current_task().cancel("after the yield")
        await bare_yield()

    assert cancelled_error(loop, loop.create_task(cancels_itself())).args == ("after the yield",)


def test_06_uncancel_to_zero_clears_must_cancel(loop):
    task = loop.create_task(asyncio.sleep(0, "survived"))
    task.cancel()
    assert task.uncancel() == 0
    if sys.version_info >= (3, 13):
        assert loop.run_until_complete(task) == "survived"
    else:
        cancelled_error(loop, task)


def test_06_uncancel_above_zero_keeps_must_cancel(loop):
    task = loop.create_task(asyncio.sleep(0))
    task.cancel()
    task.cancel()
    assert task.uncancel() == 1 and task._must_cancel
    cancelled_error(loop, task)


def test_06_uncancel_does_not_go_below_zero(loop):
    task = loop.create_task(asyncio.sleep(0))
    assert task.uncancel() == 0 and task.cancelling() == 0
    loop.run_until_complete(task)


def test_08_task_awaiting_itself(loop):
    async def body():
        with pytest.raises(RuntimeError) as raised:
            await asyncio.current_task()
        return str(raised.value)

    task = loop.create_task(body(), name="narcissus")
    message = loop.run_until_complete(task)
    assert message.startswith("Task cannot await on itself: <Task pending name='narcissus' coro=<")
    assert task._asyncio_future_blocking is True


def test_09_future_of_another_loop(impl, loop):
    other = impl.new_event_loop()
    future = other.create_future()

    async def body():
        with pytest.raises(RuntimeError) as raised:
            await future
        return str(raised.value)

    message = loop.run_until_complete(loop.create_task(body(), name="lost"))
    other.close()
    assert re.fullmatch(
        r"Task <Task pending name='lost' coro=<.*> cb=\[.*\]> got Future <Future pending> "
        r"attached to a different loop",
        message,
    )


def test_10_future_yielded_without_await(loop):
    future = loop.create_future()

    async def body():
        with pytest.raises(RuntimeError) as raised:
            await bare_yield(future)
        return str(raised.value)

    message = loop.run_until_complete(loop.create_task(body(), name="bare"))
    assert message.startswith("yield was used instead of yield from in task <Task pending name='bare' ")
    assert message.endswith("> with <Future pending>")


def test_10_generator_yielded_without_await(loop):
    async def body():
        with pytest.raises(RuntimeError) as raised:
            await bare_yield(bare_yield())
        return str(raised.value)

    message = loop.run_until_complete(loop.create_task(body(), name="bare"))
    assert message.startswith(
        "yield was used instead of yield from for generator in task <Task pending name='bare' "
    )
    assert re.search(r"> with <generator object bare_yield at 0x[0-9a-f]+>$", message)


@pytest.mark.parametrize("value", [1, "text", (), object], ids=repr)
def test_11_bad_yield(loop, value):
    async def body():
        with pytest.raises(RuntimeError) as raised:
            await bare_yield(value)
        return str(raised.value)

    assert loop.run_until_complete(body()) == f"Task got bad yield: {value!r}"


def test_11_bad_yield_that_is_not_caught_ends_the_task(loop):
    with pytest.raises(RuntimeError, match=r"^Task got bad yield: 42$"):
        loop.run_until_complete(loop.create_task(asyncio.wait_for(bare_yield_coroutine(42), None)))


async def bare_yield_coroutine(value):
    await bare_yield(value)


@pytest.mark.parametrize("exception", [StopIteration, StopIteration("value")], ids=repr)
def test_13_coroutine_raising_stop_iteration(loop, exception):
    async def body():
        raise exception

    with pytest.raises(RuntimeError, match=r"^coroutine raised StopIteration$") as raised:
        loop.run_until_complete(body())
    assert isinstance(raised.value.__cause__, StopIteration)


def test_13_generator_coroutine_raising_stop_iteration(loop):
    @types.coroutine
    def body():
        yield
        raise StopIteration

    async def main():
        await body()

    with pytest.raises(RuntimeError, match=r"^generator raised StopIteration$"):
        loop.run_until_complete(main())


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_14_exit_exceptions_are_stored_and_leave_the_loop(loop, exception):
    order = []

    async def interrupted():
        order.append("task")
        raise exception("out")

    task = loop.create_task(interrupted())
    loop.call_soon(order.append, "same turn")
    with pytest.raises(exception, match="out"):
        loop.run_forever()
    assert not loop.is_running()
    assert order == ["task"]
    assert type(task.exception()) is exception
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == ["task", "same turn"]


def test_14_exit_exception_thrown_into_the_waiting_task(loop, turn):
    future = loop.create_future()

    async def waits():
        await future

    task = loop.create_task(waits())
    turn()
    future.set_exception(SystemExit(3))
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert task.exception().code == 3


def test_14_other_base_exceptions_stay_in_the_task(loop, turn):
    class Odd(BaseException):
        pass

    async def body():
        raise Odd

    task = loop.create_task(body())
    turn()
    assert type(task.exception()) is Odd


class WakesTwice:
    """A future of the bare protocol that calls its callback twice."""

    _asyncio_future_blocking = True

    def __init__(self, loop):
        self._loop = loop

    def get_loop(self):
        return self._loop

    def add_done_callback(self, callback, *, context):
        self._loop.call_soon(callback, self, context=context)
        self._loop.call_soon(callback, self, context=context)

    def result(self):
        return None


def test_15_step_of_a_done_task(loop, reported):
    async def body():
        await bare_yield(WakesTwice(loop))
        return "done"

    task = loop.create_task(body())
    assert loop.run_until_complete(task) == "done"
    loop.call_soon(loop.stop)
    loop.run_forever()
    [context] = reported
    assert type(context["exception"]) is asyncio.InvalidStateError
    assert re.match(r"_?_step\(\): already done: <Task finished ", str(context["exception"]))
    assert context["message"].startswith("Exception in callback ")
    assert task.result() == "done"


def test_15_spurious_wakeup_waits_for_the_future_again(loop, turn, reported):
    future = loop.create_future()

    async def body():
        await bare_yield(WakesTwice(loop))
        return await future

    task = loop.create_task(body())
    turn()
    turn()
    assert not task.done() and task._fut_waiter is future and not future._asyncio_future_blocking
    assert len(future._callbacks) == 2
    future.set_result("once")
    assert loop.run_until_complete(task) == "once"
    assert [type(context["exception"]) for context in reported] == [asyncio.InvalidStateError]
