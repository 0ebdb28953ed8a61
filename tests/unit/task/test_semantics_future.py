"""Numbered semantics of futures: results handed out, done-callbacks, what is logged when dropped."""

import asyncio
import contextvars
import gc
import sys
import traceback

import pytest

# The release whose set_exception() stores a RuntimeError in place of a StopIteration.
WRAPPED_SINCE = (3, 12, 6)


def cancelled_error(call):
    with pytest.raises(asyncio.CancelledError) as raised:
        call()
    return raised.value


def depth(error):
    return len(traceback.extract_tb(error.__traceback__))


def test_07_future_makes_a_new_error_each_time(loop):
    future = loop.create_future()
    future.cancel("message")
    first, second = cancelled_error(future.result), cancelled_error(future.exception)
    assert first is not second
    assert first.args == second.args == ("message",)
    assert first.__context__ is None and second.__context__ is None


def test_07_task_hands_out_the_raised_error_once(loop, turn):
    original = asyncio.CancelledError("raised inside")

    async def body():
        raise original

    task = loop.create_task(body())
    turn()
    first, second = cancelled_error(task.result), cancelled_error(task.result)
    assert first is original
    assert second is not original and second.args == ()


def test_07_identity_and_message_travel_to_the_awaiting_task(loop):
    original = asyncio.CancelledError("deep")
    seen = []

    async def inner():
        raise original

    async def outer():
        try:
            await loop.create_task(inner())
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    error = cancelled_error(lambda: loop.run_until_complete(outer()))
    assert seen == [original] and error is original


def test_07_make_cancelled_error(loop):
    future = loop.create_future()
    future.cancel("made")
    error = future._make_cancelled_error()
    assert type(error) is asyncio.CancelledError and error.args == ("made",)
    assert future._cancel_message == "made"


def test_07_message_may_be_any_object(loop):
    message = object()
    future = loop.create_future()
    future.cancel(message)
    assert cancelled_error(future.result).args == (message,)


@pytest.mark.parametrize("exception", [StopIteration, StopIteration(3)], ids=repr)
def test_12_stop_iteration_as_exception(loop, exception):
    text = "StopIteration interacts badly with generators and cannot be raised into a Future"
    future = loop.create_future()
    if sys.version_info < WRAPPED_SINCE:
        with pytest.raises(TypeError, match=f"^{text}$"):
            future.set_exception(exception)
        assert not future.done()
        return
    future.set_exception(exception)
    error = future.exception()
    assert type(error) is RuntimeError and str(error) == text
    assert isinstance(error.__cause__, StopIteration) and error.__context__ is error.__cause__


def test_12_subclass_of_stop_iteration(loop):
    class Special(StopIteration):
        pass

    future = loop.create_future()
    future.set_exception(Special())
    error = future.exception()
    assert type(error) is (RuntimeError if sys.version_info >= WRAPPED_SINCE else Special)


@pytest.mark.parametrize("value", [1, "text", int, None, object()], ids=str)
def test_12_what_is_not_an_exception(loop, value):
    future = loop.create_future()
    with pytest.raises(TypeError, match=r"^invalid exception object$"):
        future.set_exception(value)
    assert not future.done()


def test_12_exception_class_is_instantiated(loop):
    future = loop.create_future()
    future.set_exception(ZeroDivisionError)
    assert type(future.exception()) is ZeroDivisionError


def test_12_exception_class_that_raises(loop):
    class Broken(Exception):
        def __init__(self):
            raise LookupError("no instance")

    future = loop.create_future()
    with pytest.raises(LookupError, match="no instance"):
        future.set_exception(Broken)
    assert not future.done()


def test_19_callback_of_a_done_future_is_scheduled(loop, turn):
    future = loop.create_future()
    future.set_result(None)
    called = []
    future.add_done_callback(called.append)
    assert called == []
    turn()
    assert called == [future]


def test_19_completion_schedules_and_never_calls(loop, turn):
    future = loop.create_future()
    called = []
    future.add_done_callback(called.append)
    future.cancel()
    assert called == [] and future._callbacks is None
    turn()
    assert called == [future]


def test_19_callback_added_by_a_callback(loop, turn):
    future = loop.create_future()
    called = []
    future.add_done_callback(lambda f: f.add_done_callback(called.append))
    future.set_result(None)
    turn()
    assert called == []
    turn()
    assert called == [future]


def test_19_non_callable_is_reported_when_called(loop, turn, reported):
    future = loop.create_future()
    future.add_done_callback(None)
    future.set_result(None)
    turn()
    [context] = reported
    assert str(context["exception"]) == "'NoneType' object is not callable"


def test_20_remove_done_callback_counts_by_equality(loop):
    future = loop.create_future()
    called = []
    for callback in (called.append, print, called.append, called.append):
        future.add_done_callback(callback)
    assert future.remove_done_callback(called.append) == 3
    assert future.remove_done_callback(called.append) == 0
    assert [callback for callback, _ in future._callbacks] == [print]
    assert future.remove_done_callback(print) == 1
    assert not future._callbacks


def test_20_remove_done_callback_of_a_done_future(loop, turn):
    future = loop.create_future()
    called = []
    future.add_done_callback(called.append)
    future.set_result(None)
    assert future.remove_done_callback(called.append) == 0
    turn()
    assert called == [future]


class ActsWhenCompared:
    """A callback whose first comparison does something to the list being searched."""

    def __init__(self, act, equal):
        self.act = act
        self.equal = equal

    def __call__(self, future):
        pass

    def __eq__(self, other):
        act, self.act = self.act, lambda: None
        act()
        return self.equal

    __hash__ = None


@pytest.mark.parametrize("equal", [True, False], ids=["equal", "different"])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_20_comparison_that_empties_the_list(loop, turn, before, after, equal):
    """asyncio's count is not to be relied upon here; what counts is that the list stays sound."""
    future = loop.create_future()
    called = []

    def callback(f):
        called.append(f)

    hostile = ActsWhenCompared(lambda: future.remove_done_callback(callback), equal)
    for item in [callback] * before + [hostile] + [callback] * after:
        future.add_done_callback(item)
    future.remove_done_callback(len)
    future.cancel()
    turn()
    assert len(called) <= before + after and all(f is future for f in called)


@pytest.mark.parametrize("equal", [True, False], ids=["equal", "different"])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_20_comparison_that_completes_the_future(loop, turn, before, after, equal):
    future = loop.create_future()
    called = []
    for callback in [called.append] * before + [ActsWhenCompared(future.cancel, equal)] + [len] * after:
        future.add_done_callback(callback)
    future.remove_done_callback(len)
    assert future.cancelled() and not future._callbacks
    turn()
    assert len(called) == before


@pytest.mark.parametrize("before", [0, 1, 2])
def test_20_comparison_that_adds_a_callback(loop, turn, before):
    future = loop.create_future()
    called = []
    hostile = ActsWhenCompared(lambda: future.add_done_callback(called.append), False)
    for callback in [len] * before + [hostile, len]:
        future.add_done_callback(callback)
    assert future.remove_done_callback(len) == before + 1
    future.cancel()
    turn()
    assert called == [future]


def test_20_comparison_that_raises(loop):
    def fail():
        raise LookupError("compared")

    future = loop.create_future()
    for callback in (print, ActsWhenCompared(fail, None), print):
        future.add_done_callback(callback)
    with pytest.raises(LookupError, match="compared"):
        future.remove_done_callback(len)
    assert len(future._callbacks) == 3


def failed(loop):
    future = loop.create_future()
    future.set_exception(ValueError("lost"))
    return future


def assert_never_retrieved(reported, type_name):
    gc.collect()
    [context] = reported
    assert set(context) == {"message", "exception", "future"}
    assert context["message"] == f"{type_name} exception was never retrieved"
    assert type(context["exception"]) is ValueError


def test_21_never_retrieved(loop, reported):
    failed(loop)
    assert_never_retrieved(reported, "Future")


def test_21_never_retrieved_from_a_task(loop, turn, reported):
    async def body():
        raise ValueError("lost")

    loop.create_task(body())
    turn()
    assert_never_retrieved(reported, "Task")


def test_21_never_retrieved_names_the_subclass(impl, loop, reported):
    class Promise(impl.Future):
        pass

    Promise(loop=loop).set_exception(ValueError())
    assert_never_retrieved(reported, "Promise")


def test_21_done_callback_does_not_retrieve(loop, turn, reported):
    failed(loop).add_done_callback(lambda _: None)
    turn()
    assert_never_retrieved(reported, "Future")


def clear_by_result(future):
    with pytest.raises(ValueError):
        future.result()


def clear_by_await(future):
    async def main():
        with pytest.raises(ValueError):
            await future

    future.get_loop().run_until_complete(main())


CLEARING = {
    "result": clear_by_result,
    "exception": lambda future: future.exception(),
    "await": clear_by_await,
    "cancel": lambda future: future.cancel(),
    "_log_traceback": lambda future: setattr(future, "_log_traceback", False),
}


@pytest.mark.parametrize("clear", CLEARING.values(), ids=CLEARING)
def test_21_what_clears_it(loop, reported, clear):
    future = failed(loop)
    assert future._log_traceback is True
    clear(future)
    assert future._log_traceback is False
    del future
    gc.collect()
    assert reported == []


def test_21_log_traceback_cannot_be_set(loop):
    future = loop.create_future()
    with pytest.raises(ValueError, match=r"^_log_traceback can only be set to False$"):
        future._log_traceback = True
    with pytest.raises(AttributeError):
        del future._log_traceback


def test_21_debug_mode_adds_the_source_traceback(loop, reported):
    loop.set_debug(True)
    future = failed(loop)
    source = future._source_traceback
    del future
    gc.collect()
    [context] = reported
    assert context["source_traceback"] is source
    assert "failed" in [frame.name for frame in source]


def test_24_traceback_does_not_grow_over_awaits(loop):
    future = failed(loop)

    async def main():
        depths = []
        for _ in range(5):
            try:
                await future
            except ValueError as error:
                depths.append(depth(error))
        return depths

    assert len(set(loop.run_until_complete(main()))) == 1


def test_24_traceback_does_not_grow_over_results(loop, turn):
    async def body():
        raise ValueError("kept")

    task = loop.create_task(body())
    turn()
    depths = []
    for _ in range(5):
        with pytest.raises(ValueError) as raised:
            task.result()
        depths.append(depth(raised.value))
    assert max(depths) == depths[0]


def test_25_context_shared_between_tasks(loop):
    variable = contextvars.ContextVar("variable", default="unset")
    context = contextvars.copy_context()

    async def writes():
        variable.set("written")

    async def reads():
        return variable.get()

    loop.run_until_complete(loop.create_task(writes(), context=context))
    assert context[variable] == "written"
    assert loop.run_until_complete(loop.create_task(reads(), context=context)) == "written"
    assert loop.run_until_complete(loop.create_task(reads())) == "unset"


def test_25_tasks_alternate_in_one_context(loop):
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()

    async def body(name, seen):
        variable.set(name)
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(variable.get())

    seen = []

    async def main():
        await asyncio.gather(*(loop.create_task(body(name, seen), context=context) for name in "ab"))

    loop.run_until_complete(main())
    assert seen == ["b"] * 6


def test_25_done_callback_runs_in_its_context(loop, turn):
    variable = contextvars.ContextVar("variable", default="unset")
    context = contextvars.copy_context()
    context.run(variable.set, "own")
    seen = []
    future = loop.create_future()
    future.add_done_callback(lambda _: seen.append(variable.get()), context=context)
    variable.set("at registration")
    future.add_done_callback(lambda _: seen.append(variable.get()))
    variable.set("at completion")
    future.set_result(None)
    turn()
    assert seen == ["own", "at registration"]


def test_25_done_callbacks_and_call_soon_keep_their_order(loop, turn):
    order = []
    future = loop.create_future()
    future.add_done_callback(lambda _: order.append("first callback"))
    future.add_done_callback(lambda _: order.append("second callback"))
    loop.call_soon(order.append, "soon, before")
    future.set_result(None)
    loop.call_soon(order.append, "soon, after")
    turn()
    assert order == ["soon, before", "first callback", "second callback", "soon, after"]


def test_25_wakeup_takes_its_turn_among_the_callbacks(loop, turn):
    order = []
    future = loop.create_future()

    async def waits():
        await future
        order.append("task")

    future.add_done_callback(lambda _: order.append("before"))
    task = loop.create_task(waits())
    turn()
    future.add_done_callback(lambda _: order.append("after"))
    task.add_done_callback(lambda _: order.append("task done"))
    future.set_result(None)
    turn()
    assert order == ["before", "task", "after"]
    turn()
    assert order[3:] == ["task done"]
