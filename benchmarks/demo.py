"""Runs demo_program.py, unchanged, on asyncio and on fastloop, and shows the times side by side.

    python benchmarks/demo.py

Each run has a process of its own, and the loops take turns. The exit status is 1 if any result differs.
"""

import asyncio
import json
import platform
import statistics
import subprocess
import sys
import time

import demo_program
import fastloop

FACTORIES = {"asyncio": asyncio.new_event_loop, "fastloop": fastloop.new_event_loop}
MAX_ROUNDS = 5
TIME_BUDGET = 28.0  # Seconds; no round begins that would probably end later.
CHILD_TIMEOUT = 120.0  # Seconds, after which a run counts as hung.


def run_program(loop_name):
    """In the child process: run the program on the loop of that name and print its report."""
    with asyncio.Runner(loop_factory=FACTORIES[loop_name]) as runner:
        report = runner.run(demo_program.main())
    json.dump(report, sys.stdout)


def run_in_fresh_process(loop_name):
    command = [sys.executable, __file__, loop_name]
    child = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=CHILD_TIMEOUT)
    return json.loads(child.stdout)


def measure():
    """{loop name: one report per round}, the loops taking turns and changing places."""
    reports = {name: [] for name in FACTORIES}
    order = list(FACTORIES)
    begin = time.monotonic()
    for done in range(1, MAX_ROUNDS + 1):
        print(f"round {done} of up to {MAX_ROUNDS} ...", file=sys.stderr, flush=True)
        for name in order:
            reports[name].append(run_in_fresh_process(name))
        order.reverse()
        elapsed = time.monotonic() - begin
        if elapsed + elapsed / done > TIME_BUDGET:
            break
    return reports


def differences(reports):
    """One line for each section and run whose result is not that of the first run."""
    first = next(iter(reports.values()))[0]
    return [
        f"{section['name']}: {loop_name} gives {section['result']}, expected {expected['result']}"
        for loop_name, runs in reports.items()
        for report in runs
        for expected, section in zip(first, report, strict=True)
        if section["result"] != expected["result"]
    ]


def timings(reports, loop_name):
    """The seconds of each section, one list per section, with the total as the last."""
    sections = zip(
        *[[section["seconds"] for section in report] for report in reports[loop_name]], strict=True
    )
    per_section = [list(seconds) for seconds in sections]
    return [*per_section, [sum(seconds) for seconds in zip(*per_section, strict=True)]]


def print_table(reports):
    rounds = len(reports["asyncio"])
    print(f"Python {platform.python_version()}, asyncio of the same, fastloop {fastloop.__version__}")
    print(f"Seconds, the best of {rounds} rounds; ratios of the best and of the medians\n")
    print(f"{'':30} {'operations':>10} {'asyncio':>9} {'fastloop':>9} {'x best':>8} {'x median':>9}")

    sections = reports["asyncio"][0]
    names = [section["name"] for section in sections] + ["total"]
    operations = [section["operations"] for section in sections]
    for name, count, theirs, ours in zip(
        names,
        [*operations, sum(operations)],
        timings(reports, "asyncio"),
        timings(reports, "fastloop"),
        strict=True,
    ):
        best = min(theirs) / min(ours)
        median = statistics.median(theirs) / statistics.median(ours)
        print(f"{name:30} {count:10,} {min(theirs):9.3f} {min(ours):9.3f} {best:7.2f}x {median:8.2f}x")


def main():
    reports = measure()
    print_table(reports)
    wrong = differences(reports)
    if wrong:
        print("\nResults DIFFER:", *wrong, sep="\n  ")
        return 1
    runs = sum(len(runs) for runs in reports.values())
    print(f"\nResults are equal in all {len(reports['asyncio'][0])} sections of all {runs} runs.")
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_program(sys.argv[1])
    else:
        sys.exit(main())
