"""What a program pays once: a loop made, run and closed, and the import."""

import asyncio
import subprocess
import sys

import pytest


def bench_run_noop(measure, new_event_loop):
    """A new loop, a coroutine that does nothing, and the loop closed."""
    runs = 200

    async def nothing():
        return 1

    def run_all():
        total = 0
        for _ in range(runs):
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                total += runner.run(nothing())
        assert total == runs

    measure(runs, run_all)


class ImportClock:
    """A clock that only the imports measured in other processes move forward."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


import_clock = ImportClock()

IMPORT = """
import time, {before}
begin = time.perf_counter()
import {name}
print(time.perf_counter() - begin)
"""


@pytest.mark.benchmark(timer=import_clock)
def bench_import(measure, loop_name):
    """The import in a fresh interpreter, and for all but asyncio what it adds to that of asyncio."""
    before = "sys" if loop_name == "asyncio" else "asyncio"
    code = IMPORT.format(before=before, name=loop_name)

    def import_elsewhere():
        output = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
        import_clock.now += float(output)

    measure(1, import_elsewhere)
