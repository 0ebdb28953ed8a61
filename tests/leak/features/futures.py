"""Features: futures, whoever waits for them."""

import asyncio
import contextlib
import contextvars
import weakref

from ._tools import Oops, await_, cancelled, fail, feature, nothing, run_one_turn, turns


@feature
async def future_result(env):
    future = env.loop.create_future()
    env.loop.call_soon(future.set_result, object())
    await future
    await future
    future.result()


@feature
async def future_exception(env):
    future = env.Future(loop=env.loop)
    env.loop.call_soon(future.set_exception, Oops())
    for _ in range(2):
        with contextlib.suppress(Oops):
            await future
    assert future.exception()


@feature
async def future_exception_never_retrieved(env):
    env.loop.create_future().set_exception(Oops())
    await turns()


@feature
async def future_cancelled(env):
    future = env.loop.create_future()
    future.add_done_callback(nothing)
    future.cancel("a message")
    with contextlib.suppress(asyncio.CancelledError):
        await future
    with contextlib.suppress(asyncio.CancelledError):
        future.exception()


@feature
async def future_callbacks(env):
    future = env.loop.create_future()
    callbacks = [lambda future, i=i: i for i in range(5)]
    for callback in callbacks:
        future.add_done_callback(callback)
        future.add_done_callback(callback, context=contextvars.copy_context())
    assert future.remove_done_callback(callbacks[0]) == 2
    assert future.remove_done_callback(callbacks[3]) == 2
    assert future.remove_done_callback(nothing) == 0
    future.set_result(None)
    future.add_done_callback(callbacks[0])
    await turns()


@feature
async def future_callback_raises(env):
    future = env.loop.create_future()
    future.add_done_callback(fail)
    future.set_result(None)
    await turns()


@feature
async def future_callbacks_all_removed(env):
    future = env.loop.create_future()
    future.add_done_callback(nothing)
    future.remove_done_callback(nothing)


@feature
def future_dropped(env):
    future = env.loop.create_future()
    future.add_done_callback(nothing)
    del future
    box = [env.loop.create_future()]
    box[0].add_done_callback(lambda future, box=box: None)


@feature
def future_misused(env):
    future = env.loop.create_future()
    with contextlib.suppress(asyncio.InvalidStateError):
        future.result()
    for bad in (42, int):
        with contextlib.suppress(TypeError):
            future.set_exception(bad)
    future.set_result(object())
    for call in (lambda: future.set_result(1), lambda: future.set_exception(Oops())):
        with contextlib.suppress(asyncio.InvalidStateError):
            call()
    assert not future.cancel()
    future.exception()


@feature
def future_attributes_and_repr(env):
    future = env.loop.create_future()
    repr(future)
    future.add_done_callback(nothing)
    assert future.get_loop() is future._loop
    for name in ["_state", "_callbacks", "_result", "_exception", "_log_traceback", "_cancel_message"]:
        getattr(future, name)
    repr(future)
    weakref.ref(future)
    future.set_result([object()])
    repr(future)
    env.Future[int]
    run_one_turn(env.loop)


@feature
def future_initialised_twice(env):
    future = env.loop.create_future()
    future.add_done_callback(nothing)
    with contextlib.suppress(RuntimeError):  # 3.15 refuses
        future.__init__(loop=env.loop)


@feature
def future_iterator_by_hand(env):
    future = env.loop.create_future()
    iterator = future.__await__()
    assert next(iterator) is future
    with contextlib.suppress(Oops):
        iterator.throw(Oops())
    iterator = iter(env.loop.create_future())
    iterator.send(None)
    iterator.close()
    future.set_result(object())
    iterator = future.__await__()
    with contextlib.suppress(StopIteration):
        iterator.send(None)


@feature
async def asyncio_future_awaited(env):
    future = asyncio.Future(loop=env.loop)
    env.loop.call_soon(future.set_result, object())
    await future
    await cancelled(asyncio.shield(asyncio.Future(loop=env.loop)))


@feature
async def future_of_a_subclass(env):
    future = env.FutureSubclass(loop=env.loop)
    future.me = future
    env.loop.call_soon(future.set_result, object())
    await future


@feature
async def foreign_future_awaited(env):
    """Any object of asyncio's future protocol can be awaited."""
    duck = DuckFuture(env.loop)
    env.loop.call_soon(duck.inner.set_result, object())
    await env.Task(await_(duck), loop=env.loop)


class DuckFuture:
    _asyncio_future_blocking = False

    def __init__(self, loop):
        self.inner = loop.create_future()

    def __await__(self):
        self._asyncio_future_blocking = True
        yield self
        return self.inner.result()

    def get_loop(self):
        return self.inner.get_loop()

    def add_done_callback(self, callback, *, context=None):
        self.inner.add_done_callback(callback, context=context)
