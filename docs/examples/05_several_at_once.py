"""Several coroutines at once: while one waits, the others go on."""

import asyncio

from _loop import run

waiting = 0
most_waiting = 0


async def fetch(name, seconds):
    global waiting, most_waiting
    print("start ", name)
    waiting += 1
    most_waiting = max(most_waiting, waiting)
    await asyncio.sleep(seconds)
    waiting -= 1
    print("finish", name)
    return name.upper()


async def main():
    # gather() runs each in a task of its own. The shortest finishes first;
    # the results keep the order of the arguments.
    results = await asyncio.gather(fetch("slow", 0.6), fetch("medium", 0.4), fetch("quick", 0.2))
    print("gather:", results, "with", most_waiting, "waiting at once")

    # A task begins to run without being awaited, as soon as its maker gives way.
    task = asyncio.create_task(fetch("background", 0.01))
    print("made a task")
    await asyncio.sleep(0)
    print("main goes on while it waits")
    print("await:", await task)

    # A task group waits for all its tasks at the end of the block.
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetch(f"member {i}", 0.2 * i)) for i in range(3)]
    print("group:", [task.result() for task in tasks])


run(main())
