"""Features: asyncio's own helpers on the loop."""

import asyncio
import contextlib

from ._tools import Oops, await_, cancelled, failing, feature, turns, value


@feature
async def sleep(env):
    await asyncio.sleep(0)
    await asyncio.sleep(0.0001, object())


@feature
async def gather(env):
    await asyncio.gather(value(1), value(2), env.loop.create_task(value(3)))
    await asyncio.gather(value(1), failing(), return_exceptions=True)
    with contextlib.suppress(Oops):
        await asyncio.gather(value(1), failing())
    await cancelled(await_(asyncio.gather(asyncio.sleep(3600), asyncio.sleep(3600))))


@feature
async def wait(env):
    await asyncio.wait([env.loop.create_task(value(i)) for i in range(3)])
    sleeper = env.loop.create_task(asyncio.sleep(3600))
    await asyncio.wait([sleeper, env.loop.create_task(value())], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait([sleeper], timeout=0.0001)
    await cancelled(sleeper)


@feature
async def as_completed(env):
    for one in asyncio.as_completed([value(i) for i in range(3)]):
        await one


@feature
async def shield(env):
    await asyncio.shield(value())
    inner = env.loop.create_task(asyncio.sleep(3600))
    await cancelled(await_(asyncio.shield(inner)))
    await cancelled(inner)


@feature
async def timeout(env):
    async with asyncio.timeout(3600):
        await value()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.0001):
            await asyncio.sleep(3600)


@feature
async def wait_for(env):
    await asyncio.wait_for(value(), 3600)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(3600), 0.0001)
    await cancelled(asyncio.wait_for(asyncio.sleep(3600), 3600))


@feature
async def task_group(env):
    async with asyncio.TaskGroup() as group:
        for i in range(3):
            group.create_task(value(i), name=f"task {i}")
    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(asyncio.sleep(3600))


@feature
async def queue(env):
    queue = asyncio.Queue(1)

    async def produce():
        for i in range(5):
            await queue.put(i)

    producer = env.loop.create_task(produce())
    for _ in range(5):
        await queue.get()
        queue.task_done()
    await producer
    await queue.join()
    await cancelled(queue.get())


@feature
async def event(env):
    event = asyncio.Event()
    waiters = [env.loop.create_task(event.wait()) for _ in range(3)]
    await turns()
    event.set()
    await asyncio.gather(*waiters)


@feature
async def lock(env):
    lock = asyncio.Lock()

    async def hold():
        async with lock:
            await asyncio.sleep(0)

    await asyncio.gather(hold(), hold(), hold())


@feature
async def condition_and_semaphore(env):
    condition, semaphore = asyncio.Condition(), asyncio.Semaphore(1)

    async def waiter():
        async with condition:
            await condition.wait()

    task = env.loop.create_task(waiter())
    await turns()
    async with semaphore, condition:
        condition.notify_all()
    await task
    async with semaphore:
        await cancelled(semaphore.acquire())
