"""Prints how many bytes of memory an idle task takes on each loop: the task, its coroutine and its timer.

    python benchmarks/mem_idle_task.py

Each loop is measured in a process of its own, by the growth of its resident memory.
"""

import asyncio
import gc
import os
import subprocess
import sys

import event_loops

TASKS = 100_000


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


async def idle():
    await asyncio.sleep(3600)


async def bytes_per_task():
    gc.collect()
    before = resident_bytes()
    tasks = []
    for _ in range(TASKS):
        tasks.append(asyncio.create_task(idle()))
    # The first turn runs every task to its sleep.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    growth = resident_bytes() - before
    assert not any(task.done() for task in tasks)
    return growth / TASKS


def measure(loop_name):
    """In the child process: run the tasks on the loop of that name and print the bytes of one."""
    with asyncio.Runner(loop_factory=event_loops.factory(loop_name)) as runner:
        print(round(runner.run(bytes_per_task())))


def main():
    for name in event_loops.NAMES:
        command = [sys.executable, __file__, name]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        print(f"{name:10} {int(output):6,} bytes")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        main()
