"""What is tried for leaks: each function below uses one feature once, and leaves nothing behind.

A feature is `def feature(env)` or `async def feature(env)`, which runs on env.loop. `env` is that of measure.py: the
loop that serves all of a feature's runs, and the classes of the implementation under test.
"""

import asyncio
import collections.abc
import contextlib
import contextvars
import gc
import itertools
import os
import signal
import socket
import sys
import tempfile
import threading
import types
import weakref

FEATURES = {}
VARIABLE = contextvars.ContextVar("VARIABLE")


def feature(function=None, *, since=(3, 11)):
    """Decorator: registers the function as a feature, on Pythons of this version and later."""

    def register(function):
        if sys.version_info >= since:
            FEATURES[function.__name__] = function
        return function

    return register(function) if function else register


class Oops(Exception):
    """What failing callbacks, coroutines and futures raise here."""


def nothing(*args):
    pass


def fail(*args):
    raise Oops(args)


async def value(result=None):
    await asyncio.sleep(0)
    return result


async def failing():
    await asyncio.sleep(0)
    raise Oops


async def await_(awaitable):
    return await awaitable


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def cancelled(awaitable):
    """Cancel it once it waits, and see it end so."""
    task = asyncio.ensure_future(awaitable)
    await turns()
    task.cancel("enough")
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


def run_one_turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


@contextlib.contextmanager
def socket_pair():
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


@contextlib.contextmanager
def datagram_pair():
    with socket.socket(type=socket.SOCK_DGRAM) as left, socket.socket(type=socket.SOCK_DGRAM) as right:
        for sock in (left, right):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        yield left, right


@contextlib.contextmanager
def listener():
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


@contextlib.contextmanager
def fresh_loop(env, new=None):
    loop = (new or env.new_event_loop)()
    try:
        yield loop
    finally:
        loop.close()


# Callbacks and timers.


@feature
def call_soon(env):
    env.loop.call_soon(nothing)
    env.loop.call_soon(nothing, 1000, "two", [3], (4,))
    env.loop.call_soon(nothing, object(), context=contextvars.copy_context())
    run_one_turn(env.loop)


@feature
def call_soon_cancelled(env):
    handle = env.loop.call_soon(nothing, object())
    handle.cancel()
    handle.cancel()
    run_one_turn(env.loop)


@feature
def call_soon_in_a_context_of_its_own(env):
    context = contextvars.Context()
    env.loop.call_soon(VARIABLE.set, object(), context=context)
    run_one_turn(env.loop)
    assert VARIABLE in context


@feature
def call_soon_that_schedules_itself(env):
    def step(left):
        if left:
            env.loop.call_soon(step, left - 1)
        else:
            env.loop.stop()

    env.loop.call_soon(step, 20)
    env.loop.run_forever()


@feature
def call_soon_threadsafe(env):
    env.loop.call_soon_threadsafe(nothing, object())
    run_one_turn(env.loop)


@feature
def call_soon_threadsafe_from_a_thread(env):
    thread = threading.Thread(target=lambda: env.loop.call_soon_threadsafe(env.loop.stop))
    env.loop.call_soon(thread.start)
    env.loop.run_forever()
    thread.join()


@feature
def call_soon_threadsafe_cancelled(env):
    env.loop.call_soon_threadsafe(nothing, object()).cancel()
    run_one_turn(env.loop)


@feature
def call_later(env):
    env.loop.call_later(0, nothing, object())
    env.loop.call_later(-1, nothing, object(), context=contextvars.copy_context())
    env.loop.call_at(env.loop.time(), env.loop.stop)
    env.loop.run_forever()


@feature
def call_later_cancelled(env):
    handle = env.loop.call_later(3600, nothing, object())
    assert handle.when() > env.loop.time()
    handle.cancel()
    run_one_turn(env.loop)


@feature
def many_timers_cancelled(env):
    for handle in [env.loop.call_later(3600 + i, nothing, i) for i in range(150)]:
        handle.cancel()
    run_one_turn(env.loop)


@feature
def handle_attributes_and_repr(env):
    for handle in (env.loop.call_soon(nothing, object()), env.loop.call_later(60, nothing, object())):
        repr(handle)
        assert not handle.cancelled()
        handle.cancel()
        repr(handle)
    run_one_turn(env.loop)


@feature
def handle_kept_by_a_cycle(env):
    box = []
    box.append(env.loop.call_soon(nothing, box))
    run_one_turn(env.loop)


@feature
def call_with_bad_arguments(env):
    loop = env.loop
    for call in (
        lambda: loop.call_soon(),
        lambda: loop.call_soon(nothing, wrong=1),
        lambda: loop.call_later(object(), nothing),
        lambda: loop.call_later("soon", nothing, object()),
        lambda: loop.call_at(None, nothing),
        lambda: loop.call_soon_threadsafe(nothing, context=object(), other=2),
        lambda: loop.run_until_complete(object()),
        lambda: loop.create_task(object()),
        lambda: loop.add_reader(object(), nothing),
        lambda: loop.add_signal_handler(10_000, nothing),
        lambda: env.Task(object(), loop=loop),
        lambda: env.Future(object()),
        lambda: env.Future(loop=loop, wrong=1),
    ):
        with contextlib.suppress(TypeError, ValueError):
            call()


# Exceptions that meet the loop's exception handler.


@feature
def callback_raises(env):
    env.loop.call_soon(fail, object())
    env.loop.call_later(0, fail, object())
    run_one_turn(env.loop)
    run_one_turn(env.loop)


@feature
def callback_raises_into_a_handler(env):
    with fresh_loop(env) as loop:
        contexts = []
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        loop.call_soon(fail)
        run_one_turn(loop)
        assert loop.get_exception_handler() and len(contexts) == 1


@feature
def exception_handler_raises(env):
    with fresh_loop(env) as loop:
        loop.set_exception_handler(fail)
        loop.call_soon(fail)
        run_one_turn(loop)


@feature
def call_exception_handler(env):
    env.loop.call_exception_handler({"message": "hello", "exception": Oops(), "future": object()})


@feature
def callback_raises_out_of_the_loop(env):
    def interrupt():
        raise KeyboardInterrupt

    env.loop.call_soon(interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        env.loop.run_forever()


@feature
def task_raises_out_of_the_loop(env):
    async def leave():
        raise SystemExit

    with contextlib.suppress(SystemExit):
        env.loop.run_until_complete(leave())


# Futures.


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
    for name in ("_state", "_callbacks", "_result", "_exception", "_log_traceback", "_source_traceback",
                 "_cancel_message", "_asyncio_future_blocking"):  # fmt: skip
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


# Tasks.


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
    with fresh_loop(env) as other:
        with contextlib.suppress(RuntimeError):
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

    __next__ = lambda self: self.send(None)  # noqa: E731


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
    for name in ("_coro", "_fut_waiter", "_must_cancel", "_callbacks", "_state", "_loop", "_log_destroy_pending"):
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


# asyncio's own helpers on the loop.


@feature
async def sleep(env):
    await asyncio.sleep(0)
    await asyncio.sleep(0.0001, object())


@feature
async def gather(env):
    await asyncio.gather(value(1), value(2), env.loop.create_task(value(3)))
    await asyncio.gather(value(1), failing(), return_exceptions=True)
    with contextlib.suppress(Oops):
        await asyncio.gather(value(1), failing())
    await cancelled(await_(asyncio.gather(asyncio.sleep(3600), asyncio.sleep(3600))))


@feature
async def wait(env):
    await asyncio.wait([env.loop.create_task(value(i)) for i in range(3)])
    sleeper = env.loop.create_task(asyncio.sleep(3600))
    await asyncio.wait([sleeper, env.loop.create_task(value())], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait([sleeper], timeout=0.0001)
    await cancelled(sleeper)


@feature
async def as_completed(env):
    for one in asyncio.as_completed([value(i) for i in range(3)]):
        await one


@feature
async def shield(env):
    await asyncio.shield(value())
    inner = env.loop.create_task(asyncio.sleep(3600))
    await cancelled(await_(asyncio.shield(inner)))
    await cancelled(inner)


@feature
async def timeout(env):
    async with asyncio.timeout(3600):
        await value()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.0001):
            await asyncio.sleep(3600)


@feature
async def wait_for(env):
    await asyncio.wait_for(value(), 3600)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(3600), 0.0001)
    await cancelled(asyncio.wait_for(asyncio.sleep(3600), 3600))


@feature
async def task_group(env):
    async with asyncio.TaskGroup() as group:
        for i in range(3):
            group.create_task(value(i), name=f"task {i}")
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(asyncio.sleep(3600))


@feature
async def queue(env):
    queue = asyncio.Queue(1)

    async def produce():
        for i in range(5):
            await queue.put(i)

    producer = env.loop.create_task(produce())
    for _ in range(5):
        await queue.get()
        queue.task_done()
    await producer
    await queue.join()
    await cancelled(queue.get())


@feature
async def event(env):
    event = asyncio.Event()
    waiters = [env.loop.create_task(event.wait()) for _ in range(3)]
    await turns()
    event.set()
    await asyncio.gather(*waiters)


@feature
async def lock(env):
    lock = asyncio.Lock()

    async def hold():
        async with lock:
            await asyncio.sleep(0)

    await asyncio.gather(hold(), hold(), hold())


@feature
async def condition_and_semaphore(env):
    condition, semaphore = asyncio.Condition(), asyncio.Semaphore(1)

    async def waiter():
        async with condition:
            await condition.wait()

    task = env.loop.create_task(waiter())
    await turns()
    async with semaphore, condition:
        condition.notify_all()
    await task
    async with semaphore:
        await cancelled(semaphore.acquire())


# Descriptors and sockets.


@feature
async def add_reader(env):
    with socket_pair() as (left, right):
        fired = env.loop.create_future()
        env.loop.add_reader(left, lambda: fired.done() or fired.set_result(None))
        right.send(b"x")
        await fired
        env.loop.add_reader(left.fileno(), nothing, object())
        assert env.loop.remove_reader(left)
        assert not env.loop.remove_reader(left)


@feature
async def add_writer(env):
    with socket_pair() as (left, right):
        fired = env.loop.create_future()
        env.loop.add_writer(left, lambda: fired.done() or fired.set_result(None))
        env.loop.add_reader(left, nothing)
        await fired
        env.loop.remove_writer(left)
        env.loop.remove_reader(left)


@feature
async def reader_raises(env):
    with socket_pair() as (left, right):
        right.send(b"x")

        def read():
            env.loop.remove_reader(left)
            raise Oops

        env.loop.add_reader(left, read)
        await asyncio.sleep(0.001)


@feature
async def add_reader_fails(env):
    with tempfile.TemporaryFile() as file:
        with contextlib.suppress(PermissionError):
            env.loop.add_reader(file, nothing, object())
    with contextlib.suppress(ValueError, OSError):
        env.loop.add_reader(file, nothing, object())
    with contextlib.suppress(ValueError, OSError):
        env.loop.add_writer(-1, nothing, object())


@feature
def loop_closed_with_readers(env):
    with socket_pair() as (left, right), fresh_loop(env) as loop:
        loop.add_reader(left, nothing, object())
        loop.add_writer(right, nothing, object())


@feature
async def sock_recv_and_sendall(env):
    with socket_pair() as (left, right):
        reading = env.loop.create_task(env.loop.sock_recv(left, 100))
        await turns()
        await env.loop.sock_sendall(right, b"hello")
        assert await reading == b"hello"
        await env.loop.sock_sendall(right, bytearray(b"world"))
        assert await env.loop.sock_recv(left, 3) == b"wor"


@feature
async def sock_sendall_in_parts(env):
    with socket_pair() as (left, right):
        data = bytes(1_000_000)
        writing = env.loop.create_task(env.loop.sock_sendall(right, data))
        received = 0
        while received < len(data):
            received += len(await env.loop.sock_recv(left, 100_000))
        await writing


@feature
async def sock_recv_into(env):
    with socket_pair() as (left, right):
        buffer = bytearray(100)
        reading = env.loop.create_task(env.loop.sock_recv_into(left, buffer))
        await turns()
        right.send(b"hello")
        assert await reading == 5
        right.send(b"hello")
        await env.loop.sock_recv_into(left, memoryview(buffer)[2:])


@feature
async def sock_datagrams(env):
    with datagram_pair() as (left, right):
        buffer = bytearray(100)
        reading = env.loop.create_task(env.loop.sock_recvfrom(left, 100))
        await turns()
        await env.loop.sock_sendto(right, b"hello", left.getsockname())
        await reading
        reading = env.loop.create_task(env.loop.sock_recvfrom_into(left, buffer))
        await turns()
        await env.loop.sock_sendto(right, b"hello", left.getsockname())
        assert (await reading)[0] == 5


@feature
async def sock_connect_and_accept(env):
    with listener() as server, socket.socket() as client:
        client.setblocking(False)
        accepting = env.loop.create_task(env.loop.sock_accept(server))
        await turns()
        await env.loop.sock_connect(client, server.getsockname())
        connection, address = await accepting
        connection.close()


@feature
async def sock_connect_by_name(env):
    with listener() as server, socket.socket() as client:
        client.setblocking(False)
        await env.loop.sock_connect(client, ("localhost", server.getsockname()[1]))


@feature
async def sock_connect_refused(env):
    with listener() as server:
        address = server.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        with contextlib.suppress(ConnectionRefusedError):
            await env.loop.sock_connect(client, address)


@feature
async def sock_sendfile(env):
    with socket_pair() as (left, right), tempfile.TemporaryFile() as file:
        file.write(bytes(10_000))
        file.flush()
        assert await env.loop.sock_sendfile(left, file, 5_000) == 5_000
        with contextlib.suppress(asyncio.SendfileNotAvailableError):
            await env.loop.sock_sendfile(left, FileWithoutDescriptor(), fallback=False)


class FileWithoutDescriptor:
    mode = "rb"

    def read(self, size):
        return b""


@feature
async def sock_calls_cancelled(env):
    with socket_pair() as (left, right):
        await cancelled(env.loop.sock_recv(left, 100))
        await cancelled(env.loop.sock_recv_into(left, bytearray(100)))
        await cancelled(env.loop.sock_sendall(left, bytes(1_000_000)))
    with datagram_pair() as (left, right):
        await cancelled(env.loop.sock_recvfrom(left, 100))
        await cancelled(env.loop.sock_recvfrom_into(left, bytearray(100)))
    with listener() as server:
        await cancelled(env.loop.sock_accept(server))


@feature
async def sock_calls_fail(env):
    with socket_pair() as (left, right):
        right.close()
        with contextlib.suppress(OSError):
            await env.loop.sock_sendall(left, bytes(100))
        with contextlib.suppress(TypeError):
            await env.loop.sock_sendall(left, "text")
        with contextlib.suppress(TypeError):
            await env.loop.sock_recv_into(left, b"constant")
        left.close()
        for call in (
            lambda: env.loop.sock_recv(left, 100),
            lambda: env.loop.sock_recv_into(left, bytearray(100)),
            lambda: env.loop.sock_recvfrom(left, 100),
            lambda: env.loop.sock_recvfrom_into(left, bytearray(100)),
            lambda: env.loop.sock_sendall(left, bytes(100)),
            lambda: env.loop.sock_sendto(left, bytes(100), ("127.0.0.1", 1)),
            lambda: env.loop.sock_accept(left),
            lambda: env.loop.sock_connect(left, ("127.0.0.1", 1)),
        ):
            with contextlib.suppress(OSError, TypeError, ValueError):
                await call()


@feature
async def sock_call_never_awaited(env):
    with socket_pair() as (left, right):
        call = env.loop.sock_recv(left, 100)
        if isinstance(call, asyncio.Future):
            call.cancel()
            await turns()
        else:
            call.close()


@feature
def loop_closed_in_a_sock_call(env):
    with socket_pair() as (left, right), fresh_loop(env) as loop:
        task = loop.create_task(loop.sock_recv(left, 100))
        run_one_turn(loop)
        run_one_turn(loop)
        assert not task.done()


# Threads, names and signals.


@feature
async def run_in_executor(env):
    await env.loop.run_in_executor(None, value.__repr__)
    with contextlib.suppress(Oops):
        await env.loop.run_in_executor(None, fail, object())
    await asyncio.to_thread(nothing, object())


@feature
def executor_of_a_loop(env):
    with fresh_loop(env) as loop:
        loop.run_until_complete(loop.run_in_executor(None, nothing))
        loop.run_until_complete(loop.shutdown_default_executor())


@feature
async def names(env):
    await env.loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    await env.loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)


@feature
async def run_coroutine_threadsafe(env):
    def call():
        return asyncio.run_coroutine_threadsafe(value(object()), env.loop).result()

    await env.loop.run_in_executor(None, call)


@feature
async def signals(env):
    fired = asyncio.Event()
    env.loop.add_signal_handler(signal.SIGUSR1, fired.set)
    env.loop.add_signal_handler(signal.SIGUSR2, nothing, object())
    env.loop.add_signal_handler(signal.SIGUSR2, nothing, object())
    os.kill(os.getpid(), signal.SIGUSR1)
    await fired.wait()
    assert env.loop.remove_signal_handler(signal.SIGUSR1)
    assert env.loop.remove_signal_handler(signal.SIGUSR2)
    assert not env.loop.remove_signal_handler(signal.SIGUSR2)


@feature
def loop_closed_with_signal_handlers(env):
    with fresh_loop(env) as loop:
        loop.add_signal_handler(signal.SIGUSR1, nothing, object())


# A loop's life.


@feature
def loop(env):
    env.new_event_loop().close()
    with fresh_loop(env) as loop:
        repr(loop)
        loop.run_until_complete(value())
        loop.close()
        repr(loop)


@feature
def loop_closed_with_work_left(env):
    with fresh_loop(env) as loop:
        loop.call_soon(nothing, object())
        loop.call_later(3600, nothing, object())
        loop.call_soon_threadsafe(nothing, object())
        loop.call_soon(nothing).cancel()


@feature
def loop_dropped_open(env):
    loop = env.new_event_loop()
    loop.call_soon(nothing, loop)
    loop.call_later(3600, nothing, loop)
    loop.create_future().add_done_callback(lambda future, loop=loop: None)
    loop.run_until_complete(value())


@feature
def loop_dropped_with_a_pending_task(env):
    loop = env.new_event_loop()
    loop.create_task(await_(loop.create_future()))
    run_one_turn(loop)


@feature
def loop_of_a_subclass(env):
    with fresh_loop(env, env.LoopSubclass) as loop:
        loop.me = loop
        loop.run_until_complete(value())


@feature
def loop_misused(env):
    with fresh_loop(env) as loop:
        loop.stop()
        loop.run_forever()

        async def run_again():
            coroutine = value()
            # run_forever comes last since on 3.13.0 asyncio takes its loop for stopped after that call.
            for call in (lambda: loop.run_until_complete(coroutine), loop.close, loop.run_forever):
                with contextlib.suppress(RuntimeError):
                    call()
            coroutine.close()

        loop.run_until_complete(run_again())
        with contextlib.suppress(RuntimeError):
            loop.call_soon(loop.stop)
            loop.run_until_complete(loop.create_future())
    coroutine = value()
    for call in (loop.run_forever, lambda: loop.call_soon(nothing), lambda: loop.create_task(coroutine),
                 lambda: loop.call_later(1, nothing), lambda: loop.call_soon_threadsafe(nothing)):  # fmt: skip
        with contextlib.suppress(RuntimeError):
            call()
    coroutine.close()


@feature
def run(env):
    env.run(value(object()))
    with contextlib.suppress(Oops):
        env.run(failing())


@feature
def run_leaves_tasks(env):
    async def main():
        asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)

    env.run(main(), debug=True)


@feature
def runner(env):
    with asyncio.Runner(loop_factory=env.new_event_loop) as runner:
        runner.run(value())
        runner.run(value())


@feature
def asyncgens(env):
    async def numbers():
        try:
            for i in itertools.count():
                yield i
        finally:
            await asyncio.sleep(0)

    async def main():
        async for i in numbers():
            if i == 3:
                break
        unfinished = numbers()
        await anext(unfinished)
        return unfinished

    with fresh_loop(env) as loop:
        kept = loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
        del kept


# Leaks on purpose, which must be found.

LEAKS = {}
_kept = []


def leak(function):
    LEAKS[function.__name__] = function


@leak
def leak_of_objects(env):
    _kept.append(env.loop.create_future())


@leak
def leak_of_blocks(env):
    _kept.append(env.loop.time())  # a float: the garbage collector does not know it


@leak
def leak_of_heap(env):
    _kept.append(bytes(1000))  # too large for Python's allocator


@leak
def leak_of_descriptors(env):
    os.dup(0)


@leak
def leak_of_references(env):
    _kept.append(env)
