"""The debug mode: where things were made, what took long, and the switches."""

import asyncio
import logging
import os
import sys
import time

import pytest


@pytest.fixture
def debug_loop(loop):
    loop.set_debug(True)
    return loop


def work_for_long():
    time.sleep(0.02)


def test_debug_is_off_and_on(loop):
    assert loop.get_debug() is False
    loop.set_debug(True)
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False


@pytest.mark.parametrize("value, expected", [("1", "True"), ("", "False")])
def test_debug_by_environment(run_script, value, expected):
    source = "loop = new_event_loop()\nprint(loop.get_debug())\nloop.close()"
    assert run_script(source, env={**os.environ, "PYTHONASYNCIODEBUG": value}).stdout == f"{expected}\n"


def test_slow_callback_is_logged(debug_loop, caplog):
    assert debug_loop.slow_callback_duration == 0.1
    debug_loop.slow_callback_duration = 0.01
    debug_loop.call_soon(time.sleep, 0.02)
    debug_loop.call_soon(debug_loop.stop)
    debug_loop.run_forever()
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.name == "asyncio"
    message = record.getMessage()
    assert message.startswith("Executing <Handle ") and "sleep(0.02)" in message
    assert " created at " in message and "test_loop_debug.py:" in message
    assert message.endswith(" seconds") and 0.02 <= float(message.split(" took ")[1].split()[0]) < 10


def test_slow_step_is_logged_as_its_task(debug_loop, caplog):
    async def main():
        work_for_long()

    debug_loop.slow_callback_duration = 0.01
    debug_loop.run_until_complete(debug_loop.create_task(main(), name="slow"))
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith("Executing <Task finished name='slow' coro=<")


def test_slow_wakeup_is_logged_as_its_task(debug_loop, caplog):
    async def main():
        await asyncio.sleep(0.001)
        work_for_long()

    debug_loop.slow_callback_duration = 0.01
    debug_loop.run_until_complete(debug_loop.create_task(main(), name="slow"))
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith("Executing <Task finished name='slow' coro=<")


def test_slow_callback_that_raises_is_logged(debug_loop, caplog):
    def callback():
        work_for_long()
        raise LookupError

    debug_loop.slow_callback_duration = 0.01
    debug_loop.call_soon(callback)
    debug_loop.call_soon(debug_loop.stop)
    debug_loop.run_forever()
    assert sum(record.getMessage().startswith("Executing <Handle ") for record in caplog.records) == 1


def test_nothing_slow_is_logged_without_debug(loop, caplog):
    loop.slow_callback_duration = 0.001
    loop.call_soon(time.sleep, 0.005)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_slow_callback_duration_is_a_plain_attribute(loop):
    loop.slow_callback_duration = 5
    assert loop.slow_callback_duration == 5


MAKE = {
    "call_soon": lambda loop: loop.call_soon(len, ()),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(len, ()),
    "call_later": lambda loop: loop.call_later(0, len, ()),
    "call_at": lambda loop: loop.call_at(0, len, ()),
    "create_task": lambda loop: loop.create_task(asyncio.sleep(0)),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_source_traceback_ends_at_the_caller(debug_loop, turn, make):
    made = make(debug_loop)
    frame = made._source_traceback[-1]
    assert frame.filename == __file__ and frame.name == "<lambda>"
    assert f"created at {__file__}:{frame.lineno}" in repr(made)
    turn()
    turn()


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_no_source_traceback_without_debug(loop, turn, make):
    made = make(loop)
    assert made._source_traceback is None and "created at" not in repr(made)
    turn()
    turn()


def test_source_traceback_of_futures(impl, debug_loop):
    direct, made = impl.Future(loop=debug_loop), debug_loop.create_future()
    assert direct._source_traceback[-1].name == "test_source_traceback_of_futures"
    assert "test_source_traceback_of_futures" in [frame.name for frame in made._source_traceback]


def test_source_traceback_is_reported(debug_loop, turn, reported):
    handle = debug_loop.call_soon(lambda: 1 / 0)
    source = handle._source_traceback
    turn()
    assert reported[0]["source_traceback"] is source


def test_default_handler_logs_where_the_handle_was_made(debug_loop, turn, caplog):
    debug_loop.call_soon(lambda: 1 / 0)
    turn()
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "source_traceback: Object created at (most recent call last):\n" in record.getMessage()
    assert "test_default_handler_logs_where_the_handle_was_made" in record.getMessage()


def test_default_handler_logs_the_running_handle(debug_loop, turn, caplog):
    """A report without a traceback of its own, made in a callback, gets that of the callback's handle."""
    debug_loop.call_soon(lambda: debug_loop.call_exception_handler({"message": "m"}))
    turn()
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "handle_traceback: Handle created at (most recent call last):\n" in record.getMessage()


def test_coroutine_origins_are_tracked_while_running(debug_loop):
    async def main():
        return sys.get_coroutine_origin_tracking_depth()

    before = sys.get_coroutine_origin_tracking_depth()
    assert debug_loop.run_until_complete(main()) > 0
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_origin_of_a_coroutine_never_awaited(debug_loop):
    async def never_awaited():
        pass

    async def main():
        never_awaited()

    with pytest.warns(RuntimeWarning, match="(?s)'.*never_awaited' was never awaited.*Coroutine created at"):
        debug_loop.run_until_complete(main())


def test_debug_switched_while_running(loop):
    async def main():
        depths = [sys.get_coroutine_origin_tracking_depth()]
        for enabled in (True, False):
            loop.set_debug(enabled)
            assert loop.get_debug() is enabled
            await asyncio.sleep(0.001)
            depths.append(sys.get_coroutine_origin_tracking_depth())
        return depths

    off, on, off_again = loop.run_until_complete(main())
    assert off == off_again < on


def test_debug_switched_off_by_a_callback_of_the_turn(debug_loop, turn):
    order = []
    debug_loop.call_soon(debug_loop.set_debug, False)
    debug_loop.call_soon(order.append, "ran")
    turn()
    assert order == ["ran"]


def test_close_is_logged_in_debug_mode(debug_loop, caplog):
    caplog.set_level(logging.DEBUG, logger="asyncio")
    text = repr(debug_loop)
    debug_loop.close()
    assert f"Close {text}" in [record.message for record in caplog.records]


def test_exit_exception_in_debug_mode(debug_loop):
    def leave():
        raise SystemExit(2)

    debug_loop.call_soon(leave)
    with pytest.raises(SystemExit):
        debug_loop.run_forever()
    assert debug_loop.run_until_complete(asyncio.sleep(0, "alive")) == "alive"


def test_programs_run_alike_in_debug_mode(debug_loop):
    async def work(value):
        await asyncio.sleep(0.0001 * value)
        return value

    async def main():
        queue = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(value)) for value in range(5)]
            for task in tasks:
                task.add_done_callback(lambda task: queue.put_nowait(task.result()))
            values = [await queue.get() for _ in tasks]
        return sorted(values)

    assert debug_loop.run_until_complete(main()) == list(range(5))
