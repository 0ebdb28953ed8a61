"""Tasks and futures: the step of a task, starting and finishing one, waiting, cancelling."""

import asyncio
import contextvars


class BareYield:
    """Awaiting this gives the loop one turn, with nothing between the task and its coroutine."""

    def __await__(self):
        yield


def bench_sleep0(measure_coroutine):
    """One task that gives way again and again by asyncio.sleep(0)."""
    count = 100_000

    async def main():
        for _ in range(count):
            await asyncio.sleep(0)

    measure_coroutine(count, main)


def bench_bare_yield(measure_coroutine):
    """The same without sleep(): the bare cost of one step."""
    count = 200_000
    bare_yield = BareYield()

    async def main():
        for _ in range(count):
            await bare_yield

    measure_coroutine(count, main)


def bench_tasks1000_sleep0(measure_coroutine):
    """A thousand tasks take turns, so that none is found in the processor's cache."""
    tasks, turns = 1000, 100

    async def main():
        finished = 0

        async def work():
            nonlocal finished
            for _ in range(turns):
                await asyncio.sleep(0)
            finished += 1

        for task in [asyncio.create_task(work()) for _ in range(tasks)]:
            await task
        assert finished == tasks

    measure_coroutine(tasks * turns, main)


def bench_spawn_await(measure_coroutine):
    """One task after another: made, run, awaited."""
    count = 50_000

    async def work(number):
        return number

    async def main():
        total = 0
        for number in range(count):
            total += await asyncio.create_task(work(number))
        assert total == count * (count - 1) // 2

    measure_coroutine(count, main)


def bench_spawn_gather(measure_coroutine):
    """Many tasks made at once and gathered."""
    count = 50_000

    async def work(number):
        return number

    async def main():
        results = await asyncio.gather(*[asyncio.create_task(work(number)) for number in range(count)])
        assert sum(results) == count * (count - 1) // 2

    measure_coroutine(count, main)


def bench_taskgroup_spawn(measure_coroutine):
    """Groups of 500 tasks."""
    groups, size = 50, 500

    async def main():
        finished = 0

        async def work():
            nonlocal finished
            finished += 1

        for _ in range(groups):
            async with asyncio.TaskGroup() as group:
                for _ in range(size):
                    group.create_task(work())
        assert finished == groups * size

    measure_coroutine(groups * size, main)


def bench_future_pingpong(measure_coroutine, loop):
    """Two tasks wake each other through a fresh future each time."""
    rounds = 30_000

    async def main():
        ping, pong = loop.create_future(), loop.create_future()
        total = 0

        async def answer():
            nonlocal ping
            for _ in range(rounds):
                number = await ping
                ping = loop.create_future()
                pong.set_result(number)

        answering = asyncio.create_task(answer())
        for number in range(rounds):
            ping.set_result(number)
            total += await pong
            pong = loop.create_future()
        await answering
        assert total == rounds * (rounds - 1) // 2

    measure_coroutine(2 * rounds, main)


def bench_cancel_storm(measure_coroutine, loop):
    """Tasks that wait are all cancelled at once; making them is not measured."""
    count = 30_000

    async def wait_forever():
        await loop.create_future()

    async def make_tasks():
        tasks = [asyncio.create_task(wait_forever()) for _ in range(count)]
        await asyncio.sleep(0)
        return tasks

    async def cancel(tasks):
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)

    measure_coroutine(count, cancel, prepare=make_tasks)


def bench_context_tasks(measure_coroutine):
    """Tasks that set and read context variables between their steps."""
    tasks = 1000
    variables = [contextvars.ContextVar(f"variable {i}", default=0) for i in range(10)]

    async def main():
        total = 0

        async def work(number):
            nonlocal total
            for variable in variables:
                variable.set(number)
                await asyncio.sleep(0)
                total += variable.get()

        await asyncio.gather(*[work(number) for number in range(tasks)])
        assert total == len(variables) * tasks * (tasks - 1) // 2
        assert variables[0].get() == 0

    measure_coroutine(tasks * len(variables), main)
