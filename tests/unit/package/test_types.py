"""The types as others see them: protocols, private names, states, and objects that were never initialised."""

import asyncio
import contextlib
import copy
import gc
import inspect
import pickle
import sys

import pytest


async def value(result=None):
    return result


@pytest.fixture
def future(loop):
    return loop.create_future()


@pytest.fixture
def task(loop):
    task = loop.create_task(value("result"), name="t")
    yield task
    if not task.done():
        loop.run_until_complete(task)


def test_future_is_a_future(future):
    assert isinstance(future, asyncio.Future) and asyncio.isfuture(future)
    assert not isinstance(future, asyncio.Task)
    assert inspect.isawaitable(future) and not asyncio.iscoroutine(future)
    assert asyncio.ensure_future(future) is future


def test_task_is_a_task_and_a_future(impl, task):
    assert isinstance(task, asyncio.Task) and isinstance(task, asyncio.Future)
    assert isinstance(task, impl.Task) and isinstance(task, impl.Future)
    assert issubclass(impl.Task, impl.Future)
    assert asyncio.isfuture(task) and inspect.isawaitable(task) and not asyncio.iscoroutine(task)


def test_private_names_of_a_pending_future(loop, future):
    assert future._state == "PENDING" and future._loop is loop
    assert future._result is None and future._exception is None and future._cancel_message is None
    assert future._callbacks is None and future._source_traceback is None
    assert future._log_traceback is False and future._asyncio_future_blocking is False


def test_private_names_follow_the_state(loop):
    done, failed, cancelled = (loop.create_future() for _ in range(3))
    error = ValueError()
    done.set_result("value")
    failed.set_exception(error)
    cancelled.cancel("message")
    assert (done._state, done._result) == ("FINISHED", "value")
    assert (failed._state, failed._exception, failed._log_traceback) == ("FINISHED", error, True)
    assert type(failed.exception()) is ValueError
    assert (cancelled._state, cancelled._cancel_message) == ("CANCELLED", "message")


def test_exception_attribute_does_not_count_as_retrieving(loop, reported):
    future = loop.create_future()
    future.set_exception(ValueError())
    assert type(future._exception) is ValueError and future._log_traceback is True
    del future
    gc.collect()
    assert len(reported) == 1


def test_callbacks_are_pairs(future):
    future.add_done_callback(print)
    future.add_done_callback(len)
    assert [callback for callback, _ in future._callbacks] == [print, len]
    assert all(hasattr(context, "run") for _, context in future._callbacks)
    future.remove_done_callback(print)
    future.remove_done_callback(len)


def test_blocking_flag_can_be_set(future):
    future._asyncio_future_blocking = True
    assert future._asyncio_future_blocking is True
    with pytest.raises(AttributeError, match="cannot (delete|be deleted)"):
        del future._asyncio_future_blocking
    future._asyncio_future_blocking = False


@pytest.mark.parametrize("name", ["_state", "_result", "_exception", "_loop", "_callbacks"])
def test_private_names_are_read_only(future, name):
    with pytest.raises(AttributeError):
        setattr(future, name, 1)


def test_private_names_of_a_task(loop, turn):
    future = loop.create_future()
    coro = waits(future)
    task = loop.create_task(coro)
    assert task._coro is coro is task.get_coro() and task._fut_waiter is None
    assert task._must_cancel is False and task._log_destroy_pending is True
    turn()
    assert task._fut_waiter is future
    task.cancel()
    assert task._must_cancel is False and task.cancelling() == 1
    turn()
    assert task._fut_waiter is None


async def waits(future):
    return await future


def test_number_of_cancel_requests(impl, loop, task):
    if impl.name == "asyncio":
        pytest.skip("only the Python version of asyncio's task has this name")
    assert task._num_cancels_requested == 0
    task.cancel()
    assert task._num_cancels_requested == 1
    task.uncancel()
    assert task._num_cancels_requested == 0
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="who awaits whom is recorded since Python 3.14")
def test_awaited_by(loop, turn):
    future = loop.create_future()
    assert future._asyncio_awaited_by is None
    tasks = [loop.create_task(waits(future)) for _ in range(2)]
    turn()
    assert future._asyncio_awaited_by == frozenset(tasks)
    future.set_result(None)
    turn()
    assert not future._asyncio_awaited_by


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are new in Python 3.14")
def test_call_graph(loop):
    async def inner():
        return asyncio.capture_call_graph()

    async def outer():
        return await loop.create_task(inner(), name="inner")

    graph = loop.run_until_complete(loop.create_task(outer(), name="outer"))
    assert graph.future.get_name() == "inner"
    [awaiting] = graph.awaited_by
    assert awaiting.future.get_name() == "outer"


def test_get_coro_and_stack(loop, turn):
    task = loop.create_task(waits(loop.create_future()))
    turn()
    [frame] = task.get_stack()
    assert frame.f_code.co_name == "waits"
    assert task.get_stack(limit=0) == []
    task.cancel()
    turn()
    assert task.cancelled()


def test_print_stack(loop, turn, capsys):
    async def raises():
        raise LookupError("shown")

    task = loop.create_task(raises())
    turn()
    task.print_stack()
    assert "LookupError: shown" in "".join(capsys.readouterr())
    task.print_stack(file=sys.stdout)
    assert "Traceback for <Task finished " in capsys.readouterr().out
    task.exception()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Task.get_context() is new in Python 3.12")
def test_get_context(loop, task):
    import contextvars

    context = contextvars.copy_context()
    other = loop.create_task(value(), context=context)
    assert other.get_context() is context
    assert isinstance(task.get_context(), contextvars.Context)
    loop.run_until_complete(other)


def test_task_refuses_to_be_set(task):
    with pytest.raises(RuntimeError, match="^Task does not support set_result operation$"):
        task.set_result(None)
    with pytest.raises(RuntimeError, match="^Task does not support set_exception operation$"):
        task.set_exception(ValueError())


@pytest.mark.parametrize("complete", ["set_result", "set_exception", "cancel"])
def test_invalid_state(future, complete):
    with pytest.raises(asyncio.InvalidStateError, match=r"^Result is not (set|ready)\.$"):
        future.result()
    with pytest.raises(asyncio.InvalidStateError, match=r"^Exception is not set\.$"):
        future.exception()
    getattr(future, complete)(*{"set_result": [1], "set_exception": [ValueError()]}.get(complete, []))
    for again in (lambda: future.set_result(1), lambda: future.set_exception(ValueError())):
        with pytest.raises(asyncio.InvalidStateError):
            again()
    assert future.cancel() is False
    assert future.done() and future.cancelled() is (complete == "cancel")


def test_wrong_arguments(impl, loop, future):
    for call in (
        lambda: impl.Future(loop),
        lambda: impl.Future(nonsense=1),
        lambda: impl.Task(),
        lambda: future.set_result(),
        lambda: future.set_result(1, 2),
        lambda: future.cancel(1, 2),
        lambda: future.add_done_callback(),
        lambda: future.add_done_callback(print, None),
        lambda: future.remove_done_callback(),
        lambda: future.result(1),
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("bad", [4, "text", object()], ids=repr)
def test_loop_that_is_no_loop(impl, bad):
    with pytest.raises(AttributeError, match="get_debug"):
        impl.Future(loop=bad)


RAW_CALLS = {
    "get_loop": lambda future: future.get_loop(),
    "result": lambda future: future.result(),
    "exception": lambda future: future.exception(),
    "set_result": lambda future: future.set_result(None),
    "set_exception": lambda future: future.set_exception(ValueError()),
    "add_done_callback": lambda future: future.add_done_callback(print),
    "remove_done_callback": lambda future: future.remove_done_callback(print),
    "await": lambda future: future.__await__(),
    "repr": repr,
}


@pytest.mark.parametrize("call", RAW_CALLS.values(), ids=RAW_CALLS)
def test_future_without_init(impl, call):
    future = impl.Future.__new__(impl.Future)
    with pytest.raises((RuntimeError, asyncio.InvalidStateError), match="initialized"):
        call(future)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_task_without_init(impl, loop):
    """Nothing that can be read or called on such a task crashes, whatever it says."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's tasks crash here on some Pythons")
    task = impl.Task.__new__(impl.Task)
    for name in dir(impl.Task):
        try:
            attribute = getattr(task, name)
            if not name.startswith("__") and callable(attribute):
                attribute()
        except (TypeError, AttributeError, RuntimeError, asyncio.InvalidStateError):
            pass
    del task, attribute
    gc.collect()
    assert loop.run_until_complete(value("alive")) == "alive"


def test_future_initialised_twice(impl, loop, future):
    future.cancel("message")
    if sys.version_info >= (3, 15):
        with pytest.raises(RuntimeError, match="Future object is already initialized$"):
            future.__init__(loop=loop)
        assert future.cancelled()
    else:
        future.__init__(loop=loop)
        assert not future.done() and future._cancel_message is None


def test_task_initialised_twice(loop, turn, reported):
    """The second coroutine runs, or is refused; the first one's step finds a task that is not its own."""
    first, second = value(1), value(2)
    task = loop.create_task(first)
    if sys.version_info >= (3, 15):
        with pytest.raises(RuntimeError, match="Task object is already initialized$"):
            task.__init__(second, loop=loop)
        assert loop.run_until_complete(task) == 1
        second.close()
        return
    task.__init__(second, loop=loop)
    assert loop.run_until_complete(task) == 2
    assert [type(context["exception"]) for context in reported] == [asyncio.InvalidStateError]
    first.close()


@pytest.mark.parametrize("kind", ["future", "task"])
def test_no_copies(impl, loop, kind):
    thing = loop.create_future() if kind == "future" else loop.create_task(value())
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            duplicate(thing)
    if kind == "task":
        loop.run_until_complete(thing)


def test_plain_objects_take_attributes(future, task):
    for thing in (future, task):
        thing.anything = 5
        assert thing.anything == 5
        del thing.anything
        assert not hasattr(thing, "anything")
