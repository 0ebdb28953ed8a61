"""@types.coroutine turns a generator into something to await; it alone may `yield` to the loop."""

import asyncio
import types

from _loop import run


@types.coroutine
def give_way(times):
    # A bare `yield` gives the loop one turn. An `async def` has no way to write this.
    for _ in range(times):
        yield
    return times


@types.coroutine
def wait_on(future):
    # `yield from` a future suspends the task until the future is done.
    result = yield from future
    return result + "!"


@types.coroutine
def bad():
    yield "neither None nor a future"


@types.coroutine
def worse(future):
    yield future  # `yield` where `yield from` is meant.


async def other():
    for i in range(2):
        print("  other", i)
        await asyncio.sleep(0)


async def main():
    task = asyncio.create_task(other())
    print("gave way", await give_way(2), "times")
    await task

    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, "answer")
    print("got", await wait_on(future))

    # What the loop cannot wait for comes back as an exception at the `yield`.
    try:
        await bad()
    except RuntimeError as error:
        print("RuntimeError:", error)
    try:
        await worse(loop.create_future())
    except RuntimeError as error:
        print("RuntimeError:", str(error).partition(" in task ")[0])


run(main())
