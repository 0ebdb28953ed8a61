"""cr_await, cr_frame, cr_running, cr_suspended and cr_origin of a coroutine, read from a callback of the loop."""

import asyncio
import os
import sys

from _loop import run


async def outer(gate):
    return await inner(gate)


async def inner(gate):
    return await gate


async def look_at_itself():
    coro = asyncio.current_task().get_coro()
    print("  running", coro.cr_running, "suspended", coro.cr_suspended)


def show(when, coro):
    print(when)
    print("  running", coro.cr_running, "suspended", coro.cr_suspended)
    print("  frame of:", coro.cr_frame and coro.cr_frame.f_code.co_name)
    print("  awaits:", " -> ".join(chain(coro)))


def chain(coro):
    """The names of the coroutines from this one down to what keeps the innermost waiting."""
    while hasattr(coro, "cr_await"):
        yield coro.__name__
        coro = coro.cr_await
    yield "nothing" if coro is None else "a future"


async def main():
    loop = asyncio.get_running_loop()

    # How many frames of the place of its making each coroutine shall remember in cr_origin.
    sys.set_coroutine_origin_tracking_depth(1)
    gate = loop.create_future()
    coro = outer(gate)
    sys.set_coroutine_origin_tracking_depth(0)

    [(file, line, function)] = coro.cr_origin
    print("made in", function, "of", os.path.basename(file), "at line", line)

    task = asyncio.create_task(coro)
    show("before the first step", coro)

    # These run one after the other in the loop, after the task's first step; no coroutine is running then.
    loop.call_soon(show, "seen from the loop while it waits", coro)
    loop.call_soon(gate.set_result, "opened")
    print("result:", await task)
    show("when it has returned", coro)

    print("seen from inside")
    await asyncio.create_task(look_at_itself())


run(main())
