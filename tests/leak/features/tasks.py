"""Features: tasks, and the coroutines that they drive."""

import asyncio
import collections.abc
import contextlib
import contextvars
import gc
import itertools
import types

from ._tools import (
    Oops,
    await_,
    cancelled,
    fail,
    failing,
    feature,
    fresh_loop,
    nothing,
    run_one_turn,
    turns,
    value,
)


@feature
async def task(env):
    await env.loop.create_task(value(object()))
    await env.Task(value(), loop=env.loop)


@feature
async def task_with_name_and_context(env):
    context = contextvars.copy_context()
    task = env.loop.create_task(value(), name="a name", context=context)
    task.set_name(f"another {id(context)}")
    assert task.get_name() and task.get_coro()
    await task


@feature
async def task_fails(env):
    task = env.loop.create_task(failing())
    for _ in range(2):
        with contextlib.suppress(Oops):
            await task


@feature
async def task_fails_unseen(env):
    env.loop.create_task(failing())
    await turns(5)


@feature
async def task_cancelled_before_it_starts(env):
    task = env.loop.create_task(value())
    task.cancel("a message")
    with contextlib.suppress(asyncio.CancelledError):
        await task


@feature
async def task_cancelled_as_it_sleeps(env):
    await cancelled(asyncio.sleep(3600))


@feature
async def task_cancelled_as_it_waits_for_a_task(env):
    await cancelled(await_(env.loop.create_task(asyncio.sleep(3600))))


@feature
async def task_cancels_itself(env):
    async def cancel_self():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    with contextlib.suppress(asyncio.CancelledError):
        await env.loop.create_task(cancel_self())


@feature
async def task_refuses_to_be_cancelled(env):
    async def stubborn():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        asyncio.current_task().uncancel()
        await asyncio.sleep(0)
        return object()

    task = env.loop.create_task(stubborn())
    await turns()
    task.cancel()
    await task


@feature
async def task_awaits_itself(env):
    async def await_self():
        await asyncio.current_task()

    with contextlib.suppress(RuntimeError):
        await env.loop.create_task(await_self())


@feature
async def task_awaits_a_future_of_another_loop(env):
    with fresh_loop(env) as other, contextlib.suppress(RuntimeError):
        await env.loop.create_task(await_(other.create_future()))


@feature
async def task_yields_what_it_must_not(env):
    @types.coroutine
    def bad():
        yield object()

    @types.coroutine
    def missing_from():
        yield env.loop.create_future()

    for generator in (bad, missing_from):
        with contextlib.suppress(RuntimeError):
            await env.loop.create_task(await_(generator()))


@feature
async def task_yields_nothing(env):
    @types.coroutine
    def bare():
        for _ in range(5):
            yield
        return object()

    await env.loop.create_task(await_(bare()))


class HandMadeCoroutine(collections.abc.Coroutine):
    """Yields each of the values given to it and returns."""

    def __init__(self, values):
        self.values = iter(values)

    def send(self, value):
        return next(self.values)

    def throw(self, kind, value=None, traceback=None):
        raise kind

    def close(self):
        pass

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)


@feature
async def task_of_a_class(env):
    await env.loop.create_task(HandMadeCoroutine([None, None]))
    await HandMadeCoroutine([None])
    await cancelled(HandMadeCoroutine(itertools.repeat(None)))
    with contextlib.suppress(Oops):
        await env.loop.create_task(HandMadeCoroutine(map(fail, [1])))


@feature
async def task_of_a_subclass(env):
    task = env.TaskSubclass(value(object()), loop=env.loop, name="mine")
    task.me = task
    await task


@feature
async def asyncio_task(env):
    """asyncio's own Task runs on the loop, and awaits its futures."""
    future = env.loop.create_future()
    task = asyncio.Task(await_(future), loop=env.loop)
    env.loop.call_soon(future.set_result, object())
    await task
    await cancelled(asyncio.Task(await_(env.loop.create_future()), loop=env.loop))


@feature
def task_factory(env):
    def factory(loop, coro, **kwargs):
        return env.Task(coro, loop=loop, **kwargs)

    with fresh_loop(env) as loop:
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        loop.run_until_complete(value())


@feature
def task_factory_raises(env):
    with fresh_loop(env) as loop:
        loop.set_task_factory(fail)
        coroutine = value()
        with contextlib.suppress(Oops):
            loop.create_task(coroutine)
        coroutine.close()


@feature(since=(3, 12))
def eager_task(env):
    async def done_at_once():
        return object()

    async def main():
        await asyncio.create_task(done_at_once())
        await asyncio.create_task(value())
        for coroutine in (failing(), raises_at_once()):
            with contextlib.suppress(Oops):
                await asyncio.create_task(coroutine)
        await cancelled(asyncio.sleep(3600))

    async def raises_at_once():
        raise Oops

    with fresh_loop(env) as loop:
        loop.set_task_factory(asyncio.eager_task_factory)
        loop.run_until_complete(main())


@feature(since=(3, 12))
async def eager_task_of_the_class(env):
    async def done_at_once():
        return object()

    await env.Task(done_at_once(), loop=env.loop, eager_start=True)
    await env.Task(value(), loop=env.loop, eager_start=True, context=contextvars.copy_context())


@feature(since=(3, 14))
async def eager_start(env):
    await env.loop.create_task(value(), eager_start=True, name="eager")
    with contextlib.suppress(Oops):
        await env.loop.create_task(failing(), eager_start=True)


@feature
def task_destroyed_pending(env):
    with fresh_loop(env) as loop:
        loop.create_task(await_(loop.create_future()))
        run_one_turn(loop)
        gc.collect()


@feature
def loop_closed_with_tasks_not_started(env):
    with fresh_loop(env) as loop:
        tasks = [loop.create_task(value()) for _ in range(3)]
        tasks[0].cancel()


@feature
async def task_attributes_and_repr(env):
    task = env.loop.create_task(await_(env.loop.create_future()))
    repr(task)
    await turns()
    repr(task)
    for name in [
        "_coro",
        "_fut_waiter",
        "_must_cancel",
        "_callbacks",
        "_state",
        "_loop",
        "_log_destroy_pending",
    ]:
        getattr(task, name)
    task.get_stack()
    task.cancelling()
    assert task in asyncio.all_tasks() and asyncio.current_task() is not task
    task.cancel()
    await turns()
    repr(task)
    env.Task[int]


@feature
async def task_misused(env):
    task = env.loop.create_task(value())
    for call in (lambda: task.set_result(1), lambda: task.set_exception(Oops())):
        with contextlib.suppress(RuntimeError):
            call()
    await task


@feature
def tasks_in_debug_mode(env):
    with fresh_loop(env) as loop:
        loop.set_debug(True)
        loop.slow_callback_duration = 0
        assert loop.get_debug()
        loop.run_until_complete(cancelled(asyncio.sleep(3600)))
        loop.call_later(0, nothing)
        loop.run_until_complete(value())
