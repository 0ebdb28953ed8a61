"""Callbacks and timers: from call_soon, call_soon_threadsafe and call_later to the call, no task involved."""

import threading


def bench_call_soon_chain(measure, loop):
    """Each callback schedules the next: one callback per turn of the loop."""
    count = 100_000

    def chain():
        left = count

        def step():
            nonlocal left
            left -= 1
            if left:
                loop.call_soon(step)
            else:
                loop.stop()

        loop.call_soon(step)
        loop.run_forever()
        assert left == 0

    measure(count, chain)


def bench_call_soon_burst(measure, loop):
    """All callbacks, with an argument, are scheduled first and run in one turn."""
    count = 100_000

    def burst():
        total = 0

        def add(number):
            nonlocal total
            total += number

        for _ in range(count):
            loop.call_soon(add, 1)
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert total == count

    measure(count, burst)


def bench_call_soon_threadsafe(measure, loop):
    """A thread posts callbacks as fast as it can, while the loop runs them."""
    count = 50_000

    def flood():
        received = 0

        def receive():
            nonlocal received
            received += 1
            if received == count:
                loop.stop()

        def post():
            for _ in range(count):
                loop.call_soon_threadsafe(receive)

        thread = threading.Thread(target=post)
        loop.call_soon(thread.start)
        loop.run_forever()
        thread.join()
        assert received == count

    measure(count, flood)


def bench_call_later_zero(measure, loop):
    """Each timer, due at once, sets the next."""
    count = 50_000

    def chain():
        left = count

        def step():
            nonlocal left
            left -= 1
            if left:
                loop.call_later(0, step)
            else:
                loop.stop()

        loop.call_later(0, step)
        loop.run_forever()
        assert left == 0

    measure(count, chain)


def bench_timer_set_cancel(measure, loop):
    """The life of most time-outs: set far ahead, cancelled soon; a hundred at a time."""
    batches, size = 1000, 100

    def never():
        raise AssertionError("a cancelled timer fired")

    def set_and_cancel():
        left = batches

        def batch():
            nonlocal left
            for handle in [loop.call_later(30, never) for _ in range(size)]:
                handle.cancel()
            left -= 1
            if left:
                loop.call_soon(batch)
            else:
                loop.stop()

        loop.call_soon(batch)
        loop.run_forever()
        assert left == 0

    measure(batches * size, set_and_cancel)
