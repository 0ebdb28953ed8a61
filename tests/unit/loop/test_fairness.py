"""A loop that is busy with callbacks still sees its descriptors, timers and signals within a millisecond."""

import asyncio
import os
import signal
import statistics
import time

import pytest

TRIALS = 300
LIMIT = 0.001


@pytest.fixture
def loop():
    import fastloop

    loop = fastloop.new_event_loop()
    yield loop
    loop.close()


def spin(loop, work):
    """A chain of callbacks without end, each of which takes `work` seconds."""

    def link():
        until = time.monotonic() + work
        while time.monotonic() < until:
            pass
        loop.call_soon(link)

    loop.call_soon(link)


async def yield_for_ever():
    while True:
        await asyncio.sleep(0)


BUSY = {
    "chain of callbacks": lambda loop: spin(loop, 0),
    "chain of slow callbacks": lambda loop: spin(loop, 50e-6),
    "one task": lambda loop: loop.create_task(yield_for_ever()),
    "many tasks": lambda loop: [loop.create_task(yield_for_ever()) for _ in range(100)],
}


def median_delay(loop, trigger):
    """Call `trigger(arrived)` again and again; the median of the times until `arrived` was called."""
    delays = []
    started = 0.0

    def start():
        nonlocal started
        started = loop.time()
        trigger(arrived)

    def arrived():
        delays.append(loop.time() - started)
        if len(delays) < TRIALS:
            loop.call_soon(start)
        else:
            loop.stop()

    loop.call_soon(start)
    loop.run_forever()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    return statistics.median(delays)


@pytest.fixture(params=BUSY)
def busy_loop(request, loop):
    BUSY[request.param](loop)
    return loop


def test_ready_descriptor(busy_loop):
    reader, writer = os.pipe()

    def trigger(arrived):
        def readable():
            os.read(reader, 1)
            arrived()

        busy_loop.add_reader(reader, readable)
        os.write(writer, b"x")

    assert median_delay(busy_loop, trigger) < LIMIT
    busy_loop.remove_reader(reader)
    os.close(reader)
    os.close(writer)


def test_writable_descriptor(busy_loop):
    reader, writer = os.pipe()

    def trigger(arrived):
        def writable():
            busy_loop.remove_writer(writer)
            arrived()

        busy_loop.add_writer(writer, writable)

    assert median_delay(busy_loop, trigger) < LIMIT
    os.close(reader)
    os.close(writer)


def test_due_timer(busy_loop):
    delay = 0.0003
    assert median_delay(busy_loop, lambda arrived: busy_loop.call_later(delay, arrived)) < delay + LIMIT


def test_signal(busy_loop):
    def trigger(arrived):
        busy_loop.add_signal_handler(signal.SIGUSR1, arrived)
        signal.raise_signal(signal.SIGUSR1)

    assert median_delay(busy_loop, trigger) < LIMIT
    busy_loop.remove_signal_handler(signal.SIGUSR1)


def test_call_soon_threadsafe(busy_loop):
    assert median_delay(busy_loop, busy_loop.call_soon_threadsafe) < LIMIT
