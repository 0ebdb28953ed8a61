"""Features: callbacks, timers, and the exceptions that meet the loop's exception handler."""

import contextlib
import contextvars
import threading

from ._tools import Oops, fail, feature, fresh_loop, nothing, run_one_turn

VARIABLE = contextvars.ContextVar("VARIABLE")


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


class Timer:
    """Keeps the handles that call it: a cycle until they have run."""

    def __init__(self, loop):
        self.handle = loop.call_later(0, self.fired)
        self.soon = loop.call_soon(self.fired, self)

    def fired(self, *args):
        self.again = self.handle


@feature
def handles_kept_by_what_they_call(env):
    Timer(env.loop)
    cancelled = Timer(env.loop)
    cancelled.handle.cancel()
    cancelled.soon.cancel()
    run_one_turn(env.loop)
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
