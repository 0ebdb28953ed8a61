"""Everything that is a coroutine, driven by a task: native, generators, asynchronous generators, classes."""

import asyncio
import collections.abc
import sys
import types

import pytest


@types.coroutine
def generator_coroutine(value):
    received = yield
    assert received is None
    return value


async def native(value):
    return await generator_coroutine(value)


class Scripted:
    """A coroutine by its methods alone; it does what it is told, step by step, and keeps a log."""

    def __init__(self, *script):
        self.script = list(script)
        self.log = []

    def step(self, *event):
        self.log.append(event)
        action = self.script.pop(0)
        if isinstance(action, BaseException):
            raise action
        return action

    def send(self, value):
        return self.step("send", value)

    def throw(self, *arguments):
        return self.step("throw", *arguments)

    def close(self):
        self.log.append(("close",))

    def __await__(self):
        return self


def test_native_coroutine(loop):
    assert loop.run_until_complete(loop.create_task(native("value"))) == "value"


def test_generator_coroutine_is_awaited(loop):
    """run_until_complete() takes any awaitable, and a coroutine may await a generator coroutine."""
    assert loop.run_until_complete(generator_coroutine("value")) == "value"


@pytest.mark.parametrize("generator", [True, False], ids=["coroutine", "plain"])
def test_generator_given_to_create_task(loop, generator):
    """Up to Python 3.11 a generator counts as a coroutine."""

    def plain():
        yield
        return "value"

    coro = generator_coroutine("value") if generator else plain()
    if sys.version_info < (3, 12):
        assert loop.run_until_complete(loop.create_task(coro)) == "value"
    else:
        with pytest.raises(TypeError, match="^a coroutine was expected, got <generator object "):
            loop.create_task(coro)


def test_asynchronous_generator_methods(loop):
    async def numbers():
        received = yield 1
        yield received

    generator = numbers()
    assert loop.run_until_complete(loop.create_task(generator.asend(None))) == 1
    assert loop.run_until_complete(loop.create_task(generator.asend("sent"))) == "sent"
    with pytest.raises(LookupError):
        loop.run_until_complete(loop.create_task(generator.athrow(LookupError())))
    assert loop.run_until_complete(loop.create_task(anext(numbers()))) == 1
    assert loop.run_until_complete(loop.create_task(anext(generator, "default"))) == "default"


def test_class_that_is_a_coroutine(loop):
    coro = Scripted(None, None, StopIteration("value"))
    assert isinstance(coro, collections.abc.Coroutine)
    task = loop.create_task(coro)
    assert task.get_coro() is coro
    assert loop.run_until_complete(task) == "value"
    assert coro.log == [("send", None)] * 3


@pytest.mark.parametrize("value", [None, (1, 2), (), StopIteration(3), ValueError("value")], ids=repr)
def test_class_that_returns(loop, value):
    """The result is what StopIteration carries, of whatever type."""
    task = loop.create_task(Scripted(StopIteration(value)))
    assert loop.run_until_complete(task) is value


def test_class_that_returns_nothing(loop):
    assert loop.run_until_complete(loop.create_task(Scripted(StopIteration()))) is None


def test_class_that_raises(loop):
    error = LookupError("raised")
    with pytest.raises(LookupError) as raised:
        loop.run_until_complete(loop.create_task(Scripted(None, error)))
    assert raised.value is error


def test_class_that_waits_for_a_future(loop):
    future = loop.create_future()
    future._asyncio_future_blocking = True
    coro = Scripted(future, StopIteration("woken"))
    loop.call_soon(loop.call_soon, future.set_result, "ignored")
    assert loop.run_until_complete(loop.create_task(coro)) == "woken"
    assert coro.log == [("send", None)] * 2


def test_exception_of_the_future_is_thrown(loop):
    """throw() gets one argument, the exception itself."""
    future, error = loop.create_future(), LookupError("set")
    future._asyncio_future_blocking = True
    coro = Scripted(future, StopIteration("caught"))
    loop.call_soon(loop.call_soon, future.set_exception, error)
    assert loop.run_until_complete(loop.create_task(coro)) == "caught"
    assert coro.log == [("send", None), ("throw", error)]


def test_class_that_is_cancelled(loop, turn):
    coro = Scripted(None, asyncio.CancelledError("answered"))
    task = loop.create_task(coro)
    turn()
    task.cancel("asked")
    with pytest.raises(asyncio.CancelledError, match="answered"):
        loop.run_until_complete(task)
    [_, (name, error)] = coro.log
    assert name == "throw" and type(error) is asyncio.CancelledError and error.args == ("asked",)
    assert task.cancelled()


def test_class_that_returns_when_cancelled(loop, turn):
    task = loop.create_task(Scripted(None, StopIteration("kept on")))
    turn()
    task.cancel()
    assert loop.run_until_complete(task) == "kept on" and not task.cancelled()


def test_class_that_yields_when_cancelled(loop, turn):
    coro = Scripted(None, None, StopIteration("later"))
    task = loop.create_task(coro)
    turn()
    task.cancel()
    assert loop.run_until_complete(task) == "later"
    assert [event[0] for event in coro.log] == ["send", "throw", "send"]


def test_class_that_yields_nonsense(loop):
    coro = Scripted("nonsense", StopIteration("recovered"))
    assert loop.run_until_complete(loop.create_task(coro)) == "recovered"
    assert str(coro.log[1][1]) == "Task got bad yield: 'nonsense'"


@pytest.mark.parametrize("error", [GeneratorExit, BaseException, asyncio.InvalidStateError])
def test_class_that_raises_the_unusual(loop, error):
    with pytest.raises(error):
        loop.run_until_complete(loop.create_task(Scripted(error())))


def test_class_that_raises_stop_async_iteration(loop):
    with pytest.raises(StopAsyncIteration):
        loop.run_until_complete(loop.create_task(Scripted(StopAsyncIteration())))


def test_class_that_keeps_its_task_waiting_is_not_closed(loop, turn, reported):
    """A task that is destroyed leaves the coroutine's end to the coroutine."""
    coro = Scripted(None)
    task = loop.create_task(coro)
    task._log_destroy_pending = False
    loop.close()
    del task
    assert ("close",) not in coro.log and reported == []


def test_class_is_run_and_awaited(impl):
    class Answer(collections.abc.Coroutine):
        def send(self, value):
            raise StopIteration("answer")

        def throw(self, error):
            raise error

        def close(self):
            pass

        def __await__(self):
            yield
            return "awaited"

    async def main():
        return await Answer()

    assert impl.run(Answer()) == "answer"
    assert impl.run(main()) == "awaited"


def test_class_that_lacks_a_method(loop):
    class NoThrow:
        def send(self, value):
            raise StopIteration

        def close(self):
            pass

        def __await__(self):
            return iter(())

    with pytest.raises(TypeError, match="^a coroutine was expected, got <"):
        loop.create_task(NoThrow())


def test_class_whose_method_vanishes(loop, turn, reported):
    """A coroutine that turns out to have no throw() fails its task with the error of that."""
    coro = Scripted(None)
    task = loop.create_task(coro)
    turn()
    coro.throw = None
    task.cancel()
    with pytest.raises(TypeError, match="^'NoneType' object is not callable$"):
        loop.run_until_complete(task)
    assert reported == []


def test_repr_of_a_task_of_a_class(loop):
    task = loop.create_task(Scripted(StopIteration()), name="n")
    assert repr(task).startswith("<Task pending name='n' coro=<")
    loop.run_until_complete(task)


def test_coroutine_seen_from_inside_and_outside(loop, turn):
    future = loop.create_future()

    async def inner():
        assert coro.cr_running and not coro.cr_suspended
        await future

    async def outer():
        await inner()

    coro = outer()
    task = loop.create_task(coro)
    assert coro.cr_frame is not None and coro.cr_await is None and not coro.cr_suspended
    turn()
    assert coro.cr_suspended and not coro.cr_running and coro.cr_await.__name__ == "inner"
    future.set_result(None)
    loop.run_until_complete(task)
    assert coro.cr_frame is None


def test_deep_await(loop):
    async def descend(depth):
        if depth:
            return await descend(depth - 1) + 1
        await asyncio.sleep(0)
        return 0

    assert loop.run_until_complete(descend(300)) == 300


def test_recursion_error_in_a_task(loop):
    async def descend():
        return await descend()

    task = loop.create_task(descend())
    with pytest.raises(RecursionError):
        loop.run_until_complete(task)
    assert loop.run_until_complete(native("alive")) == "alive"


def test_asynchronous_comprehension_and_context_manager(loop):
    async def numbers():
        for number in range(5):
            await asyncio.sleep(0)
            yield number

    async def main():
        async with asyncio.Lock(), asyncio.timeout(10):
            return [number async for number in numbers() if await native(number) % 2 == 0]

    assert loop.run_until_complete(main()) == [0, 2, 4]


def test_coroutine_never_awaited(loop, turn):
    loop.call_soon(native, "value")
    with pytest.warns(RuntimeWarning, match="^coroutine 'native' was never awaited$"):
        turn()


def test_task_closes_nothing_when_its_coroutine_is_done(loop):
    coro = Scripted(StopIteration("value"))
    loop.run_until_complete(loop.create_task(coro))
    assert coro.log == [("send", None)]
