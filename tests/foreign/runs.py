"""Runs other people's tests in child processes, where a crash or a hang loses only its own test.

tests/stdlib and tests/peers both work this way. A child appends a line of JSON to its log for each event:
{"start": test}, {"test": test, "outcome": one of COLUMNS, "why": text}, and {"end": name} as its last.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import platform
import signal
import subprocess
import tempfile
import time

AT_ONCE = 2
TEST_TIMEOUT = 45  # seconds
PART_TIMEOUT = 400  # seconds
WIDTH = 33  # of a part's name
COLUMNS = ("passed", "failed", "skipped", "not applicable", "excluded")


@dataclasses.dataclass
class Part:
    """A part of a suite. `results` maps a test to (outcome, why); a flaky test passed when run again.

    Subclasses say how a child is started, by command() and environment().
    """

    name: str
    options: argparse.Namespace
    results: dict = dataclasses.field(default_factory=dict)
    flaky: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    absent = False

    def command(self, orders):
        """The child's command line. It has `orders` to follow: loop, log, done, only, match, excluded, timeout."""
        raise NotImplementedError

    def environment(self, orders):
        return {name: value for name, value in os.environ.items() if name != "PYTHONASYNCIODEBUG"}

    def prepare(self, folder):
        """Fill the folder that the child starts in."""

    def count(self, outcome):
        return sum(result[0] == outcome for result in self.results.values())

    def failed(self):
        return {name: why for name, (outcome, why) in self.results.items() if outcome == "failed"}

    def proves_nothing(self):
        """Whether the whole part ran and not one of its tests used what is under test."""
        whole = self.options.match == "*" and not self.options.excluded and not self.absent
        return whole and not (self.count("passed") or self.count("failed"))

    def run(self):
        started = time.monotonic()
        if not self.absent:
            self.results = self._run_all(only=None)
            self._retry_failed()
        self.seconds = time.monotonic() - started
        return self

    def _retry_failed(self):
        failed = self.failed()
        if not failed:
            return
        again = self._run_all(only=list(failed))
        for name, why in failed.items():
            if again.get(name, ("failed",))[0] == "passed":
                self.results[name] = again[name]
                self.flaky[name] = why

    def _run_all(self, only):
        """Runs children until every test has a result: a child ends early with the test that crashed or hung it."""
        results = {}
        while True:
            ended, running, output = self._run_child(only, results)
            if ended:
                return results
            what = f"{self.name} between tests" if running is None else running
            crashed_twice = what in results
            results[what] = ("failed", f"crashed or hung; its child process said:\n{output}")
            if running is None or crashed_twice:
                return results

    def _run_child(self, only, results):
        """Adds to results. Returns whether the child came to its end, the test it ended in, and its output."""
        with tempfile.TemporaryDirectory() as folder:
            log, output, cwd = (pathlib.Path(folder, name) for name in ("log", "output", "cwd"))
            cwd.mkdir()
            self.prepare(cwd)
            orders = {
                "loop": self.options.loop,
                "log": str(log),
                "done": list(results),
                "only": only,
                "match": self.options.match,
                "excluded": self.options.excluded,
                "timeout": TEST_TIMEOUT,
            }
            with open(output, "wb") as file:
                run_in_own_session(self.command(orders), cwd, self.environment(orders), file)
            ended, running = read_log(log, results)
            return ended, running, output.read_text(errors="replace")[-4000:]


# Children ignore what their parent ignores, and tests send these signals: a shell that starts a command in the background
# has it ignore the first, nohup the second.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def run_in_own_session(command, cwd, environment, output):
    child = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environment, PYTHONFAULTHANDLER="1"),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        child.wait(PART_TIMEOUT)
    except subprocess.TimeoutExpired:
        pass
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)  # the child, if it hangs, and what its tests left behind
        except ProcessLookupError:
            pass
        child.wait()


def read_log(log, results):
    """Returns whether the log is whole, and the test that was running when it stopped."""
    running = None
    for line in log.read_text().splitlines() if log.exists() else ():
        entry = json.loads(line)
        if "end" in entry:
            return True, None
        if "start" in entry:
            running = entry["start"]
        else:
            results[entry["test"]] = (entry["outcome"], entry["why"])
            running = None
    return False, running


def report_part(part):
    if part.absent:
        print(f"{part.name:{WIDTH}} absent on this Python", flush=True)
        return
    counts = "".join(f"{part.count(outcome):>{len(outcome) + 2}}" for outcome in COLUMNS)
    print(f"{part.name:{WIDTH}}{counts}{part.seconds:8.1f} s", flush=True)
    if part.options.verbose:
        expected = "failed" if part.options.excluded else "passed"
        for name, (outcome, why) in sorted(part.results.items()):
            if outcome != expected:
                print(f"    {outcome}: {name}{': ' + why if outcome in ('skipped', 'excluded') else ''}")


def report_failures(parts):
    for part in parts:
        for name, why in part.failed().items():
            print(f"\nFAILED {name}\n{why}")
        for name, why in part.flaky.items():
            print(f"\nFLAKY, failed once and then passed: {name}\n{why}")
        if part.proves_nothing():
            print(f"\nFAILED {part.name}: not one of its tests made a loop, Task or Future under test")


def run_parts(parts):
    """Run them all, AT_ONCE side by side, and report. Returns the total of each outcome."""
    # A parent in the background leaves it ignored, and what the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print(f"{'':{WIDTH}}  {'  '.join(COLUMNS)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for part in pool.map(type(parts[0]).run, parts):
            report_part(part)
    report_failures(parts)
    return collections.Counter({outcome: sum(part.count(outcome) for part in parts) for outcome in COLUMNS})


def summary(parts, totals):
    flaky = sum(len(part.flaky) for part in parts)
    counts = ", ".join(f"{totals[outcome]} {outcome}" for outcome in COLUMNS)
    return f"{parts[0].options.loop} on {platform.python_version()}: {counts}, {flaky} flaky"


def exit_status(parts, totals):
    return 1 if totals["failed"] or any(part.proves_nothing() for part in parts) else 0


def add_common_arguments(parser, example):
    parser.add_argument("--loop", choices=("asyncio", "fastloop"), default="fastloop")
    parser.add_argument(
        "-k",
        dest="match",
        default="*",
        metavar="PATTERN",
        help=f"run the tests whose id, for example {example}, matches",
    )
    parser.add_argument("--excluded", action="store_true", help="run what is excluded, and nothing else")
    parser.add_argument(
        "-v",
        dest="verbose",
        action="store_true",
        help="name each test that did not pass (or, if excluded, fail), and why",
    )
