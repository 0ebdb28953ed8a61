"""An ordinary asyncio program in sections. Each does some work and returns (operations, result).

The result is a figure that any correct event loop must reach: counters, sums and checksums of what came
through and in which order. The program does not know which loop runs it.
"""

import asyncio
import gc
import random
import socket
import time
import zlib


class Checksum:
    """A checksum of a sequence of integers that also depends on their order."""

    def __init__(self):
        self.value = 0

    def add(self, number):
        self.value = (self.value * 31 + number + 1) % 2_147_483_647


def swarm(count, coroutine_function):
    """Run `count` coroutines at once, each given its number; their results in order."""
    return asyncio.gather(*[coroutine_function(number) for number in range(count)])


async def tasks_awaited():
    count = 100_000

    async def work(number):
        return number

    checksum = Checksum()
    for number in range(count):
        checksum.add(await asyncio.create_task(work(number)))
    return count, checksum.value


async def tasks_gathered():
    count = 50_000
    order = Checksum()

    async def work(number):
        await asyncio.sleep(0)
        order.add(number)
        return number

    results = await swarm(count, work)
    return count, (sum(results), order.value)


async def tasks_taking_turns():
    count, turns = 1000, 100
    order = Checksum()

    async def work(number):
        for _ in range(turns):
            await asyncio.sleep(0)
            order.add(number)

    await swarm(count, work)
    return count * turns, order.value


async def callbacks():
    count = 100_000
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    order = Checksum()

    def step(number):
        order.add(number)
        if number:
            loop.call_soon(step, number - 1)
        else:
            finished.set_result(order.value)

    loop.call_soon(step, count - 1)
    return count, await finished


async def timers():
    """Timers set in random order must fire in the order of their times."""
    count = 30_000
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    numbers = list(range(count))
    random.Random(1).shuffle(numbers)
    order = Checksum()
    early = 0

    def fire(number, when):
        nonlocal early
        early += loop.time() < when
        order.add(number)
        if number == count - 1:
            finished.set_result(None)

    start = loop.time()
    for number in numbers:
        when = start + number * 1e-6
        loop.call_at(when, fire, number, when)
    await finished
    return count, (order.value, early)


async def sleeps():
    count = 20_000

    async def work(number):
        return await asyncio.sleep(number % 10 * 0.001, number)

    return count, sum(await swarm(count, work))


async def timeouts_cancelled():
    """The usual life of a time-out: set, and cancelled long before it is due."""
    batches, size = 1000, 100
    loop = asyncio.get_running_loop()
    fired = []
    cancelled = 0
    for _ in range(batches):
        for handle in [loop.call_later(30, fired.append, 1) for _ in range(size)]:
            handle.cancel()
            cancelled += handle.cancelled()
        await asyncio.sleep(0)

    kept = 0
    for _ in range(10_000):
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
            kept += 1
    return batches * size + 10_000, (cancelled, kept, len(fired))


async def queues():
    count, sizes = 20_000, (1, 10, 0)
    checksum = Checksum()

    async def produce(queue):
        for number in range(count):
            await queue.put(number)

    async def consume(queue):
        for _ in range(count):
            checksum.add(await queue.get())

    for size in sizes:
        queue = asyncio.Queue(size)
        await asyncio.gather(produce(queue), consume(queue))
    return count * len(sizes), checksum.value


async def receive_exactly(sock, size):
    loop = asyncio.get_running_loop()
    parts = []
    while size:
        part = await loop.sock_recv(sock, size)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


async def exchange(message_size, messages):
    """Send messages over a socket pair and receive the echo; a checksum of all that came back."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    async def echo():
        for _ in range(messages):
            await loop.sock_sendall(theirs, await receive_exactly(theirs, message_size))

    with ours, theirs:
        echoing = asyncio.create_task(echo())
        checksum = 0
        for number in range(messages):
            message = bytes([number % 256]) * message_size
            await loop.sock_sendall(ours, message)
            checksum = zlib.crc32(await receive_exactly(ours, message_size), checksum)
        await echoing
    return checksum


async def socket_small():
    messages = 10_000
    return messages, await exchange(64, messages)


async def socket_large():
    # Larger than a socket's buffer: both ends must wait for room now and then.
    messages = 100
    return messages, await exchange(1_000_000, messages)


async def socket_many():
    pairs, messages = 100, 50
    return pairs * messages, await swarm(pairs, lambda number: exchange(100 + number, messages))


async def locks():
    workers, rounds = 20, 1500
    lock = asyncio.Lock()
    order = Checksum()
    inside = most_inside = 0

    async def work(number):
        nonlocal inside, most_inside
        for _ in range(rounds):
            async with lock:
                inside += 1
                most_inside = max(most_inside, inside)
                await asyncio.sleep(0)
                order.add(number)
                inside -= 1

    await swarm(workers, work)
    return workers * rounds, (order.value, most_inside)


async def semaphores():
    workers, rounds = 20, 1500
    semaphore = asyncio.Semaphore(5)
    order = Checksum()
    inside = most_inside = 0

    async def work(number):
        nonlocal inside, most_inside
        for _ in range(rounds):
            async with semaphore:
                inside += 1
                most_inside = max(most_inside, inside)
                await asyncio.sleep(0)
                order.add(number)
                inside -= 1

    await swarm(workers, work)
    return workers * rounds, (order.value, most_inside)


async def events():
    """Two tasks hand the turn to each other."""
    rounds = 20_000
    ping, pong = asyncio.Event(), asyncio.Event()
    order = Checksum()

    async def answer():
        for number in range(rounds):
            await ping.wait()
            ping.clear()
            order.add(2 * number + 1)
            pong.set()

    answering = asyncio.create_task(answer())
    for number in range(rounds):
        order.add(2 * number)
        ping.set()
        await pong.wait()
        pong.clear()
    await answering
    return 2 * rounds, order.value


async def cancellation():
    """Half of the tasks let the cancellation through, the other half answer it."""
    count = 20_000
    loop = asyncio.get_running_loop()
    cleaned_up = 0

    async def work(number):
        nonlocal cleaned_up
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            if number % 2:
                return number
            raise
        finally:
            cleaned_up += 1

    tasks = [asyncio.create_task(work(number)) for number in range(count)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    returned = sum(result for result in results if isinstance(result, int))
    return count, (cleaned_up, sum(task.cancelled() for task in tasks), returned)


async def exceptions():
    """A failing task of a group cancels the others, and its exception comes out of the group."""
    groups, size = 500, 20
    cancelled = 0
    messages = Checksum()

    async def wait_forever():
        nonlocal cancelled
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    async def fail(number):
        await asyncio.sleep(0)
        raise ValueError(number)

    for number in range(groups):
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(size):
                    group.create_task(wait_forever())
                group.create_task(fail(number))
        except* ValueError as error:
            messages.add(error.exceptions[0].args[0])
    return groups * (size + 1), (cancelled, messages.value)


async def threads():
    """Work handed to a thread and back; results come through call_soon_threadsafe()."""
    count = 2000
    loop = asyncio.get_running_loop()
    checksum = Checksum()
    for number in range(count):
        checksum.add(await loop.run_in_executor(None, abs, -number))
    return count, checksum.value


SECTIONS = {
    "tasks, spawned and awaited": tasks_awaited,
    "tasks, gathered": tasks_gathered,
    "tasks, taking turns": tasks_taking_turns,
    "callbacks, one after another": callbacks,
    "timers, fired in order": timers,
    "sleeping tasks": sleeps,
    "time-outs, cancelled": timeouts_cancelled,
    "queues of 1, 10 and any size": queues,
    "socket pair, 64 bytes": socket_small,
    "socket pair, 1 MB": socket_large,
    "100 socket pairs at once": socket_many,
    "lock": locks,
    "semaphore": semaphores,
    "events, hand to hand": events,
    "cancellation": cancellation,
    "task groups that fail": exceptions,
    "thread pool, there and back": threads,
}


async def main():
    """Run every section; a list of {name, operations, result, seconds}."""
    report = []
    for name, section in SECTIONS.items():
        gc.collect()
        begin = time.perf_counter()
        operations, result = await section()
        seconds = time.perf_counter() - begin
        report.append({"name": name, "operations": operations, "result": result, "seconds": seconds})
    return report
