"""asyncio's own Queue, Event and Lock on top of the loop's futures."""

import asyncio


def measure_queue(measure_coroutine, size):
    count = 50_000

    async def main():
        queue = asyncio.Queue(size)
        total = 0

        async def produce():
            for number in range(count):
                await queue.put(number)

        producing = asyncio.create_task(produce())
        for _ in range(count):
            total += await queue.get()
        await producing
        assert total == count * (count - 1) // 2

    measure_coroutine(count, main)


def bench_queue_1(measure_coroutine):
    """A producer and a consumer that must take turns."""
    measure_queue(measure_coroutine, 1)


def bench_queue_100(measure_coroutine):
    """A producer and a consumer that rarely wait."""
    measure_queue(measure_coroutine, 100)


def bench_event_handoff(measure_coroutine):
    """Two tasks hand the turn to each other through two events."""
    rounds = 25_000

    async def main():
        ping, pong = asyncio.Event(), asyncio.Event()
        answered = 0

        async def answer():
            nonlocal answered
            for _ in range(rounds):
                await ping.wait()
                ping.clear()
                answered += 1
                pong.set()

        answering = asyncio.create_task(answer())
        for _ in range(rounds):
            ping.set()
            await pong.wait()
            pong.clear()
        await answering
        assert answered == rounds

    measure_coroutine(2 * rounds, main)


def bench_lock_handoff(measure_coroutine):
    """Ten tasks contend for a lock that its owner keeps for one turn."""
    tasks, rounds = 10, 2500

    async def main():
        lock = asyncio.Lock()
        entered = 0

        async def work():
            nonlocal entered
            for _ in range(rounds):
                async with lock:
                    entered += 1
                    await asyncio.sleep(0)

        await asyncio.gather(*[work() for _ in range(tasks)])
        assert entered == tasks * rounds

    measure_coroutine(tasks * rounds, main)
