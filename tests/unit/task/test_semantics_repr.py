"""Numbered semantics 22 and 23: tasks destroyed while pending, names, repr() and generic aliases."""

import asyncio
import gc
import re
import types

import pytest


async def nap(future=None):
    await (future or asyncio.sleep(0))


def abandon(loop, turn, *, log=True):
    """Start a task and lose every reference to it: it waits for a future that only it knows."""
    loop.create_task(waits_for_ever(loop, log), name="lost")
    turn()
    gc.collect()


async def waits_for_ever(loop, log):
    asyncio.current_task()._log_destroy_pending = log
    await loop.create_future()


def test_22_destroyed_while_pending(loop, turn, reported):
    abandon(loop, turn)
    [context] = reported
    assert context["message"] == "Task was destroyed but it is pending!"
    assert set(context) == {"message", "task"}
    assert repr(context["task"]).startswith("<Task pending name='lost' coro=<waits_for_ever() ")
    assert not context["task"].done()


def test_22_destroyed_in_debug_mode_tells_where_it_was_made(loop, turn, reported):
    loop.set_debug(True)
    abandon(loop, turn)
    [context] = reported
    assert context["source_traceback"] is context["task"]._source_traceback
    assert "abandon" in [frame.name for frame in context["source_traceback"]]


def test_22_destroyed_silently(loop, turn, reported):
    abandon(loop, turn, log=False)
    assert reported == []


def test_22_log_destroy_pending_is_a_plain_flag(loop):
    task = loop.create_task(nap())
    assert task._log_destroy_pending is True
    task._log_destroy_pending = False
    assert task._log_destroy_pending is False
    loop.run_until_complete(task)


def test_22_finished_tasks_are_silent(loop, turn, reported):
    loop.create_task(nap())
    turn()
    turn()
    gc.collect()
    assert reported == []


def test_22_exception_handler_that_raises_does_not_vanish(loop, turn, caplog):
    def handler(loop, context):
        raise ValueError("handler")

    loop.set_exception_handler(handler)
    abandon(loop, turn)
    assert "Unhandled error in exception handler" in caplog.text


def test_23_default_names_count_up(loop):
    tasks = [loop.create_task(nap()) for _ in range(3)]
    names = [task.get_name() for task in tasks]
    assert all(re.fullmatch(r"Task-\d+", name) for name in names)
    numbers = [int(name.removeprefix("Task-")) for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    loop.run_until_complete(asyncio.wait_for(tasks[-1], None))


def test_23_name_becomes_a_string(impl, loop):
    task = impl.Task(nap(), loop=loop, name=123)
    assert task.get_name() == "123"
    task.set_name(["list"])
    assert task.get_name() == "['list']"
    loop.run_until_complete(task)


def test_23_name_that_cannot_become_a_string(impl, loop):
    class Nameless:
        def __str__(self):
            raise LookupError("nameless")

    task = loop.create_task(nap(), name="before")
    with pytest.raises(LookupError, match="nameless"):
        task.set_name(Nameless())
    assert task.get_name() == "before"
    coro = nap()
    with pytest.raises(LookupError, match="nameless"):
        impl.Task(coro, loop=loop, name=Nameless())
    coro.close()
    loop.run_until_complete(task)


def test_23_repr_of_futures(loop):
    assert repr(loop.create_future()) == "<Future pending>"
    done = loop.create_future()
    done.set_result([1, 2])
    assert repr(done) == "<Future finished result=[1, 2]>"
    failed = loop.create_future()
    failed.set_exception(ValueError("x"))
    failed.exception()
    assert repr(failed) == "<Future finished exception=ValueError('x')>"
    cancelled = loop.create_future()
    cancelled.cancel()
    assert repr(cancelled) == "<Future cancelled>"


def test_23_repr_shortens_long_results(loop):
    future = loop.create_future()
    future.set_result("x" * 10_000)
    assert len(repr(future)) < 100


def test_23_repr_of_callbacks(loop):
    def first(future):
        pass

    future = loop.create_future()
    where = f"test_semantics_repr.py:{first.__code__.co_firstlineno}"
    named = rf"test_23_repr_of_callbacks\.<locals>\.first\(\) at .*{re.escape(where)}"
    future.add_done_callback(first)
    assert re.fullmatch(rf"<Future pending cb=\[{named}\]>", repr(future))
    future.add_done_callback(first)
    assert re.fullmatch(rf"<Future pending cb=\[{named}, {named}\]>", repr(future))
    future.add_done_callback(first)
    future.add_done_callback(first)
    assert re.fullmatch(rf"<Future pending cb=\[{named}, <2 more>, {named}\]>", repr(future))
    future.cancel()
    assert repr(future) == "<Future cancelled>"


def test_23_repr_in_debug_mode_tells_the_place(impl, loop):
    loop.set_debug(True)
    future = impl.Future(loop=loop)
    assert re.fullmatch(r"<Future pending created at .*test_semantics_repr\.py:\d+>", repr(future))


def test_23_repr_of_a_future_holding_itself(loop):
    future = loop.create_future()
    future.set_result(future)
    assert repr(future) == "<Future finished result=...>"
    pair = loop.create_future()
    pair.set_result([pair])
    assert repr(pair) == "<Future finished result=[...]>"


def test_23_repr_of_tasks_waiting_for_each_other(loop, turn):
    tasks = []

    async def body(index):
        await tasks[1 - index]

    tasks += [loop.create_task(body(index), name=f"t{index}") for index in (0, 1)]
    turn()
    text = repr(tasks[0])
    assert text.startswith("<Task pending name='t0' coro=<") and "wait_for=<Task pending name='t1'" in text
    assert " wait_for=...>" in text or "wait_for=..." in text
    tasks[0]._fut_waiter.remove_done_callback(len)
    for task in tasks:
        task.remove_done_callback(len)
    tasks[0]._log_destroy_pending = tasks[1]._log_destroy_pending = False


def test_23_repr_of_a_task_over_its_life(loop, turn):
    future = loop.create_future()
    task = loop.create_task(nap(future), name="life")
    coro = r"coro=<nap\(\) {state} at .*test_semantics_repr\.py:\d+>"
    running = coro.format(state="running")
    assert re.fullmatch(rf"<Task pending name='life' {running}>", repr(task))
    turn()
    waiting = r"wait_for=<Future pending cb=\[.*\]>"
    assert re.fullmatch(rf"<Task pending name='life' {running} {waiting}>", repr(task))
    task.cancel()
    waiting = r"wait_for=<Future cancelled>"
    assert re.fullmatch(rf"<Task cancelling name='life' {running} {waiting}>", repr(task))
    turn()
    done = coro.format(state="done, defined")
    assert re.fullmatch(rf"<Task cancelled name='life' {done}>", repr(task))


def test_23_repr_of_finished_tasks(loop, turn):
    async def returns():
        return 5

    async def raises():
        raise ValueError("x")

    done, failed = loop.create_task(returns(), name="done"), loop.create_task(raises(), name="failed")
    turn()
    failed.exception()
    assert re.fullmatch(r"<Task finished name='done' coro=<.*returns\(\) done.*> result=5>", repr(done))
    assert re.fullmatch(
        r"<Task finished name='failed' coro=<.*raises\(\) done.*> exception=ValueError\('x'\)>", repr(failed)
    )


def test_23_repr_names_the_subclass(impl, loop):
    class Promise(impl.Future):
        pass

    class Job(impl.Task):
        pass

    job = Job(nap(), loop=loop, name="n")
    assert repr(Promise(loop=loop)) == "<Promise pending>"
    assert repr(job).startswith("<Job pending name='n' coro=<nap() ")
    loop.run_until_complete(job)


def test_23_repr_uses_the_names_of_a_subclass(impl, loop):
    class Job(impl.Task):
        def get_name(self):
            return "overridden"

    job = Job(nap(), loop=loop)
    assert "name='overridden'" in repr(job)
    loop.run_until_complete(job)


def test_23_class_getitem(impl):
    for generic in (impl.Future, impl.Task):
        alias = generic[int]
        assert isinstance(alias, types.GenericAlias)
        assert alias.__origin__ is generic and alias.__args__ == (int,)
