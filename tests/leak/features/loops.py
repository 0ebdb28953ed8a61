"""Features: threads, names, signals, and a loop's life from its making to its end."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket

from ._tools import Oops, await_, fail, failing, feature, fresh_loop, nothing, run_one_turn, value


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


class Keeper:
    """Keeps the handles that call it, as a protocol with a timer does."""

    def __init__(self, loop):
        self.handles = [loop.call_soon(self.called), loop.call_later(3600, self.called)]

    def called(self):
        pass


@feature
def loop_closed_with_handles_kept(env):
    with fresh_loop(env) as loop:
        Keeper(loop)


@feature
def loop_dropped_with_handles_kept(env):
    keeper = Keeper(env.new_event_loop())
    keeper.handles[0].cancel()


@feature
def loop_dropped_with_a_queued_handle_kept(env):
    Keeper(env.new_event_loop())


@feature
def loop_dropped_that_keeps_handles(env):
    loop = env.new_event_loop()
    loop.keeper = Keeper(loop)
    loop.keeper.handles[0].cancel()
    loop.keeper.handles[1].cancel()


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
