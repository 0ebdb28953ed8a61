"""Numbered semantics 16 to 18: the current task, and tasks that start inside create_task()."""

import asyncio
import contextvars
import sys

import pytest

needs_eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")


@pytest.fixture(params=["stock", "own type"])
def eager_loop(request, impl, loop):
    """`loop` with asyncio's own eager factory, which makes asyncio.Task, or with one for the Task of `impl`."""
    if request.param == "stock":
        loop.set_task_factory(asyncio.eager_task_factory)
    else:
        loop.set_task_factory(asyncio.create_eager_task_factory(impl.Task))
    return loop


def running(loop, function):
    """Call `function` in a callback of the running loop and return its result."""
    future = loop.create_future()

    def call():
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)

    loop.call_soon(call)
    return loop.run_until_complete(future)


def test_16_current_task_in_a_task(loop):
    async def main():
        return asyncio.current_task(), asyncio.current_task(loop)

    task = loop.create_task(main())
    assert loop.run_until_complete(task) == (task, task)


def test_16_no_current_task_in_callbacks(loop):
    seen = []

    async def main():
        loop.call_soon(lambda: seen.append(asyncio.current_task()))
        loop.call_later(0, lambda: seen.append(asyncio.current_task()))
        asyncio.current_task().add_done_callback(lambda _: seen.append(asyncio.current_task()))
        await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    assert seen == [None, None, None]


def test_16_no_current_task_outside(loop):
    loop.run_until_complete(asyncio.sleep(0))
    assert asyncio.current_task(loop) is None
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        asyncio.current_task()


def test_16_no_current_task_after_a_step_that_leaves_the_loop(loop):
    async def leaves():
        raise SystemExit

    task = loop.create_task(leaves())
    with pytest.raises(SystemExit):
        loop.run_until_complete(task)
    assert asyncio.current_task(loop) is None
    assert running(loop, asyncio.current_task) is None


def test_16_tasks_of_two_kinds_alternate(impl, loop):
    """A task of asyncio and one of the implementation publish themselves to the same current_task()."""
    seen = []

    async def body(self_of):
        for _ in range(3):
            seen.append(asyncio.current_task() is self_of[0])
            await asyncio.sleep(0)

    async def main():
        for make in (asyncio.Task, impl.Task) * 2:
            holder = []
            holder.append(make(body(holder), loop=loop))
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())
    assert seen == [True] * 12


@needs_eager
def test_16_current_task_is_restored_around_an_eager_start(eager_loop):
    async def inner():
        return asyncio.current_task()

    async def main():
        outer = asyncio.current_task()
        task = eager_loop.create_task(inner())
        assert task.done() and task.result() is task
        assert asyncio.current_task() is outer
        suspended = eager_loop.create_task(asyncio.sleep(0))
        assert asyncio.current_task() is outer
        await suspended

    eager_loop.run_until_complete(main())


@needs_eager
def test_16_eager_start_from_a_callback(eager_loop):
    async def inner():
        return asyncio.current_task()

    def callback():
        task = eager_loop.create_task(inner())
        return task.result() is task, asyncio.current_task()

    assert running(eager_loop, callback) == (True, None)


@needs_eager
def test_17_eager_task_finishes(eager_loop):
    async def inner():
        return 5

    def callback():
        task = eager_loop.create_task(inner(), name="quick")
        called = []
        task.add_done_callback(called.append)
        assert task.done() and task.result() == 5 and called == []
        assert task not in asyncio.all_tasks()
        assert "coro=" not in repr(task)
        return task._coro, task.get_name()

    assert running(eager_loop, callback) == (None, "quick")


@needs_eager
def test_17_eager_task_raises(eager_loop):
    async def inner():
        raise ValueError("eager")

    async def main():
        task = eager_loop.create_task(inner())
        assert task.done()
        with pytest.raises(ValueError, match="eager"):
            await task

    eager_loop.run_until_complete(main())


@needs_eager
def test_17_eager_task_raises_cancelled_error(eager_loop):
    async def inner():
        raise asyncio.CancelledError("eager")

    async def main():
        task = eager_loop.create_task(inner())
        assert task.cancelled()
        with pytest.raises(asyncio.CancelledError, match="eager"):
            await task

    eager_loop.run_until_complete(main())


@needs_eager
@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_17_exit_exceptions_come_out_of_create_task(eager_loop, exception):
    async def inner():
        raise exception("eager")

    def callback():
        with pytest.raises(exception, match="eager"):
            eager_loop.create_task(inner())
        return asyncio.current_task()

    assert running(eager_loop, callback) is None


@needs_eager
def test_17_eager_task_suspends_and_is_cancelled(eager_loop):
    reached = []

    async def inner():
        reached.append("before")
        await eager_loop.create_future()

    async def main():
        task = eager_loop.create_task(inner())
        assert reached == ["before"] and task in asyncio.all_tasks()
        waiter = task._fut_waiter
        task.cancel("suspended")
        assert waiter.cancelled()
        with pytest.raises(asyncio.CancelledError, match="suspended"):
            await task

    eager_loop.run_until_complete(main())


@needs_eager
def test_17_eager_task_cancels_itself_and_suspends(eager_loop):
    async def inner():
        asyncio.current_task().cancel("itself")
        await asyncio.sleep(0)

    async def main():
        task = eager_loop.create_task(inner())
        assert not task.done()
        with pytest.raises(asyncio.CancelledError, match="itself"):
            await task

    eager_loop.run_until_complete(main())


@needs_eager
def test_17_nested_eager_tasks(eager_loop):
    order = []

    async def nested(depth):
        me = asyncio.current_task()
        order.append(depth)
        if depth:
            child = eager_loop.create_task(nested(depth - 1))
            assert asyncio.current_task() is me
            await child
        order.append(-depth)

    async def main():
        await eager_loop.create_task(nested(3))

    eager_loop.run_until_complete(main())
    assert order == [3, 2, 1, 0, 0, -1, -2, -3]


@needs_eager
def test_17_eager_task_is_listed_while_it_runs(eager_loop):
    async def inner():
        return asyncio.current_task() in asyncio.all_tasks()

    assert running(eager_loop, lambda: eager_loop.create_task(inner()).result())


@needs_eager
def test_17_eager_result_reaches_helpers(eager_loop):
    async def value(x):
        return x

    async def main():
        assert await asyncio.gather(value(1), value(2)) == [1, 2]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(value(3))
        assert task.result() == 3
        assert await asyncio.wait_for(value(4), 1) == 4

    eager_loop.run_until_complete(main())


@needs_eager
def test_17_not_eager_while_the_loop_does_not_run(impl, loop):
    ran = []

    async def inner():
        ran.append(True)

    task = impl.Task(inner(), loop=loop, eager_start=True)
    assert not ran and not task.done()
    loop.run_until_complete(task)
    assert ran


@needs_eager
def test_17_creation_fails_for_what_is_no_coroutine(impl, loop):
    def callback():
        with pytest.raises(TypeError, match=r"^a coroutine was expected, got 5$"):
            impl.Task(5, loop=loop, eager_start=True)
        return asyncio.current_task()

    assert running(loop, callback) is None


def test_17_creation_fails_in_the_factory(loop):
    def factory(loop, coro, **kwargs):
        coro.close()
        raise LookupError("factory")

    async def main():
        me = asyncio.current_task()
        loop.set_task_factory(factory)
        with pytest.raises(LookupError, match="factory"):
            loop.create_task(asyncio.sleep(0))
        loop.set_task_factory(None)
        return asyncio.current_task() is me

    assert loop.run_until_complete(main())


@needs_eager
def test_18_eager_start_runs_in_a_copy_of_the_context(eager_loop):
    variable = contextvars.ContextVar("variable", default="unset")

    async def inner():
        before = variable.get()
        variable.set("inner")
        await asyncio.sleep(0)
        return before, variable.get()

    async def main():
        variable.set("outer")
        task = eager_loop.create_task(inner())
        assert variable.get() == "outer"
        assert task.get_context()[variable] == "inner"
        return await task

    assert eager_loop.run_until_complete(main()) == ("outer", "inner")


@needs_eager
def test_18_eager_start_runs_in_the_given_context(eager_loop):
    variable = contextvars.ContextVar("variable", default="unset")
    context = contextvars.copy_context()

    async def inner():
        variable.set("inner")
        await asyncio.sleep(0)
        return variable.get()

    async def main():
        task = eager_loop.create_task(inner(), context=context)
        assert context[variable] == "inner" and variable.get() == "unset"
        return await task

    assert eager_loop.run_until_complete(main()) == "inner"


@needs_eager
def test_18_context_that_is_already_entered(impl, loop):
    if impl.name == "asyncio" and sys.version_info < (3, 15):
        pytest.skip("asyncio before Python 3.15 leaves the failed task behind as the current one")
    context = contextvars.copy_context()
    coro = asyncio.sleep(0)

    async def main():
        me = asyncio.current_task()
        with pytest.raises(RuntimeError, match="^cannot enter context: .* is already entered$"):
            impl.Task(coro, loop=loop, context=context, eager_start=True)
        coro.close()
        return asyncio.current_task() is me

    assert loop.run_until_complete(loop.create_task(main(), context=context))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="create_task() takes eager_start since Python 3.14")
def test_17_eager_start_of_create_task(loop):
    async def main():
        eager = loop.create_task(asyncio.sleep(0, 1), eager_start=True)
        lazy = loop.create_task(asyncio.sleep(0, 2), eager_start=False)
        assert eager.get_coro().cr_suspended and not lazy.get_coro().cr_suspended
        return await eager, await lazy

    assert loop.run_until_complete(main()) == (1, 2)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="create_task() takes eager_start since Python 3.14")
def test_17_eager_factory_can_be_overruled(eager_loop):
    async def main():
        task = eager_loop.create_task(asyncio.sleep(0, "lazy"), eager_start=False)
        assert not task.get_coro().cr_suspended
        return await task

    assert eager_loop.run_until_complete(main()) == "lazy"
