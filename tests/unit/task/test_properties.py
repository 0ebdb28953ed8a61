"""Random programs of callbacks, futures and tasks leave the same trace on asyncio and on fastloop."""

import asyncio
import functools
import itertools
import sys

from hypothesis import given
from hypothesis import strategies as st
from support.properties import checked

COUNT = 4
TURNS = 8

ACTIONS = st.tuples(
    st.sampled_from(
        [
            "call_soon",
            "call_at",
            "cancel_handle",
            "set_result",
            "set_exception",
            "cancel_future",
            "add_done_callback",
            "add_acting_callback",
            "remove_done_callback",
            "cancel_task",
            "uncancel_task",
            "add_task_callback",
            "spawn",
            "spawn_stock",
            "spawn_eagerly",
            "stop",
        ]
    ),
    st.integers(0, COUNT - 1),
    st.integers(0, COUNT - 1),
)

STEPS = st.tuples(
    st.one_of(
        st.tuples(
            st.sampled_from(["yield", "await_future", "await_task", "gather", "wait", "shield", "raise"]),
            st.integers(0, COUNT - 1),
        ),
        st.tuples(st.just("act"), ACTIONS),
    ),
    st.booleans(),
)

PROGRAMS = st.tuples(
    st.lists(st.lists(STEPS, min_size=1, max_size=6), min_size=COUNT, max_size=COUNT),
    st.lists(st.tuples(st.integers(0, TURNS - 1), ACTIONS), min_size=5, max_size=40),
)


class World:
    """Carries out a program on one loop and writes down what happens."""

    def __init__(self, loop, scripts):
        self.loop = loop
        self.scripts = scripts
        self.trace = []
        self.futures = [loop.create_future() for _ in range(COUNT)]
        self.tasks = {}
        self.handles = []
        self.numbers = itertools.count()
        self.callbacks = [self.callback(label) for label in range(COUNT)]
        loop.set_exception_handler(self.report)
        self.spawn(0, loop.create_task)
        self.task_type = type(self.tasks[0])

    def report(self, loop, context):
        # When a future is collected, and so reported, is nobody's business.
        if "future" not in context:
            self.trace.append(("reported", type(context["exception"]).__name__, sorted(context)))

    def callback(self, label):
        def done(future):
            self.trace.append((label, "done", future.cancelled()))

        return done

    def acting_callback(self, index, label):
        def done(future):
            self.act("add_done_callback", index, label)
            self.act("cancel_task", label, index)

        return done

    def spawn(self, index, make):
        number = next(self.numbers)
        if number < 3 * COUNT:
            self.tasks[number] = make(self.body(number, self.scripts[index]))

    def task(self, index):
        return self.tasks[sorted(self.tasks)[index % len(self.tasks)]]

    def older_task(self, number, index):
        """A task to wait for: older ones only, since those that wait in a circle have a test of their own."""
        older = [self.tasks[other] for other in sorted(self.tasks) if other < number]
        return older[index % len(older)] if older else self.futures[index]

    def act(self, name, index, label):
        """Do one thing to the loop, and note what it answers or raises."""
        try:
            answer = getattr(self, f"act_{name}")(index, label)
        except (asyncio.InvalidStateError, ZeroDivisionError) as error:
            answer = type(error).__name__
        self.trace.append((name, index, label, answer))

    def act_call_soon(self, index, label):
        self.handles.append(self.loop.call_soon(self.trace.append, ("soon", index, label)))

    def act_call_at(self, index, label):
        # Deadlines in the past that differ, since asyncio leaves the order of equal ones open.
        deadline = -index + 1e-6 * len(self.handles)
        self.handles.append(self.loop.call_at(deadline, self.trace.append, ("timer", index, label)))

    def act_cancel_handle(self, index, label):
        if self.handles:
            self.handles[-1 - index % len(self.handles)].cancel()

    def act_set_result(self, index, label):
        self.futures[index].set_result(label)

    def act_set_exception(self, index, label):
        self.futures[index].set_exception(LookupError(label))

    def act_cancel_future(self, index, label):
        return self.futures[index].cancel(label)

    def act_add_done_callback(self, index, label):
        self.futures[index].add_done_callback(self.callbacks[label])

    def act_add_acting_callback(self, index, label):
        self.futures[index].add_done_callback(self.acting_callback(index, label))

    def act_remove_done_callback(self, index, label):
        return self.futures[index].remove_done_callback(self.callbacks[label])

    def act_cancel_task(self, index, label):
        return self.task(index).cancel(label)

    def act_uncancel_task(self, index, label):
        return self.task(index).uncancel()

    def act_add_task_callback(self, index, label):
        self.task(index).add_done_callback(self.callbacks[label])

    def act_spawn(self, index, label):
        self.spawn(index, self.loop.create_task)

    def act_spawn_stock(self, index, label):
        self.spawn(index, functools.partial(asyncio.Task, loop=self.loop))

    def act_spawn_eagerly(self, index, label):
        eagerly = {"eager_start": True} if sys.version_info >= (3, 12) else {}
        self.spawn(index, functools.partial(self.task_type, loop=self.loop, **eagerly))

    def act_stop(self, index, label):
        self.loop.stop()

    async def body(self, number, script):
        for (name, argument), swallow in script:
            try:
                self.trace.append((number, name, await self.step(number, name, argument)))
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                self.trace.append((number, name, "cancelled", error.args, task.cancelling()))
                if not swallow:
                    raise
            except (LookupError, RuntimeError) as error:
                self.trace.append((number, name, type(error).__name__))
                if not swallow:
                    raise
        return number

    async def step(self, number, name, argument):
        if name == "yield":
            return await asyncio.sleep(0)
        if name == "await_future":
            return await self.futures[argument]
        if name == "await_task":
            return await self.older_task(number, argument)
        if name == "gather":
            return await asyncio.gather(self.futures[argument], self.older_task(number, argument))
        if name == "wait":
            awaited = {self.futures[argument], self.older_task(number, argument)}
            done, _ = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            return len(done)
        if name == "shield":
            return await asyncio.shield(self.futures[argument])
        if name == "raise":
            raise LookupError(argument)
        if name == "act":
            return self.act(*argument)

    def turn(self):
        self.loop.stop()
        self.loop.run_forever()
        self.trace.append("end of turn")

    def finish(self):
        """Cancel until every task is done: a script may swallow one cancellation at each of its steps."""
        while not all(task.done() for task in self.tasks.values()):
            for task in self.tasks.values():
                task.cancel("finish")
            self.turn()
        self.turn()
        self.trace += [outcome(thing) for thing in (*self.futures, *self.tasks.values())]
        self.loop.close()


def outcome(future):
    if not future.done():
        return "pending"
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    return type(error).__name__ if error else future.result()


def trace_of(loop, program):
    scripts, actions = program
    world = World(loop, scripts)
    for number in range(TURNS):
        for turn, action in actions:
            if turn == number:
                world.act(*action)
        world.turn()
    world.finish()
    return world.trace


@checked(400)
@given(PROGRAMS)
def test_programs_leave_the_same_trace(program):
    import fastloop

    assert trace_of(fastloop.new_event_loop(), program) == trace_of(asyncio.SelectorEventLoop(), program)


@checked(400)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.booleans()), max_size=60),
    st.lists(st.integers(0, 59), max_size=20),
)
def test_timers_fire_in_order(timers, cancelled_later):
    """By deadline, then as scheduled; none that was cancelled, before or in the turn."""
    import fastloop

    loop = fastloop.new_event_loop()
    fired = []
    handles = [loop.call_at(when, fired.append, (when, number)) for number, (when, _) in enumerate(timers)]
    for handle, (_, cancelled) in zip(handles, timers, strict=True):
        if cancelled:
            handle.cancel()
    chosen = {number for number in cancelled_later if number < len(handles)}
    loop.call_soon(lambda: [handles[number].cancel() for number in chosen])
    loop.stop()
    loop.run_forever()
    loop.close()
    expected = [
        (when, number)
        for number, (when, cancelled) in enumerate(timers)
        if not cancelled and number not in chosen
    ]
    assert fired == sorted(expected)
