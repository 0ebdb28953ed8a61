"""One `await` after another: the second coroutine starts only when the first has returned."""

import asyncio
import time

from _loop import run


async def fetch(name, seconds):
    print("start ", name)
    await asyncio.sleep(seconds)
    print("finish", name)
    return name.upper()


async def main():
    begin = time.monotonic()
    results = [await fetch("first", 0.1), await fetch("second", 0.05), await fetch("third", 0.01)]
    elapsed = time.monotonic() - begin

    print("results:", results)
    # The times add up, and a sleep never ends early.
    print("took the sum of the sleeps or more:", elapsed >= 0.1 + 0.05 + 0.01)


run(main())
