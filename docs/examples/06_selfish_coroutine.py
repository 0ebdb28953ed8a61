"""A selfish coroutine does not yield, and nothing else runs until it has finished."""

import asyncio

from _loop import run


async def tick():
    for i in range(3):
        print("  tick", i)
        await asyncio.sleep(0)


async def selfish():
    # Being `async` makes nothing concurrent: without an await that waits, the loop gets no turn.
    for i in range(3):
        print("selfish step", i)


async def selfish_with_awaits():
    # Awaiting a coroutine that itself never waits does not give way either.
    for i in range(3):
        await step(i)


async def step(i):
    print("selfish step", i)


async def polite():
    for i in range(3):
        print("polite step", i)
        await asyncio.sleep(0)


async def main():
    for worker in selfish, selfish_with_awaits, polite:
        print(worker.__name__)
        await asyncio.gather(worker(), tick())


run(main())
