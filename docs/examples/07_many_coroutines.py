"""200,000 coroutines and one thread: all of them wait at the same time, none has a thread of its own."""

import asyncio
import threading

from _loop import run

COUNT = 200_000

waiting = 0
threads_used = set()


async def worker(number, gate):
    global waiting
    threads_used.add(threading.get_ident())
    waiting += 1
    await gate
    waiting -= 1
    return number


async def main():
    gate = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(worker(number, gate)) for number in range(COUNT)]

    # One turn of the loop: every task runs to its first await.
    await asyncio.sleep(0)
    print("waiting:", waiting)
    print("tasks alive:", len(asyncio.all_tasks()))

    # The one future that they all await sets them free.
    gate.set_result(None)
    total = sum(await asyncio.gather(*tasks))

    print("waiting:", waiting)
    print("sum is right:", total == COUNT * (COUNT - 1) // 2)
    print("threads used by the coroutines:", len(threads_used))
    print("threads in the process:", threading.active_count())


run(main())
