"""Runs the interpreter's own test.test_asyncio on fastloop: see README.md beside this file.

python tests/stdlib/run.py [--loop asyncio|fastloop] [--module test_tasks ...] [-k PATTERN] [-v]
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import importlib.util
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MODULES = (
    # The slow ones first, so that two at a time end together.
    "test_tasks", "test_taskgroups", "test_events", "test_unix_events", "test_sock_lowlevel", "test_futures",
    "test_futures2", "test_eager_task_factory", "test_locks", "test_queues", "test_timeouts", "test_waitfor",
    "test_runners", "test_context", "test_pep492", "test_threads", "test_staggered",
)  # fmt: skip
AT_ONCE = 2
TEST_TIMEOUT = 45  # seconds
MODULE_TIMEOUT = 400  # seconds
COLUMNS = ("passed", "failed", "skipped", "not applicable", "excluded")


@dataclasses.dataclass
class Module:
    """One module's run. `results` maps a test's id to (outcome, why); a flaky test passed when run again."""

    name: str
    options: argparse.Namespace
    results: dict = dataclasses.field(default_factory=dict)
    flaky: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    @property
    def absent(self):
        return importlib.util.find_spec(f"test.test_asyncio.{self.name}") is None

    def count(self, outcome):
        return sum(result[0] == outcome for result in self.results.values())

    def failed(self):
        return {name: why for name, (outcome, why) in self.results.items() if outcome == "failed"}

    def proves_nothing(self):
        """Whether a whole module ran and not one of its tests made a loop, Task or Future under test."""
        whole = self.options.match == "*" and not self.absent
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
            ended, running, stderr = self._run_child(only, results)
            if ended:
                return results
            what = f"{self.name} between tests" if running is None else running
            crashed_twice = what in results
            results[what] = ("failed", f"crashed or hung; its child process said:\n{stderr}")
            if running is None or crashed_twice:
                return results

    def _run_child(self, only, results):
        """Adds to results. Returns whether the child came to its end, the test it ended in, and its stderr."""
        with tempfile.TemporaryDirectory() as cwd:
            log, stderr = pathlib.Path(cwd, "log"), pathlib.Path(cwd, "stderr")
            orders = {
                "loop": self.options.loop,
                "log": str(log),
                "done": list(results),
                "only": only,
                "match": self.options.match,
                "timeout": TEST_TIMEOUT,
            }
            with open(stderr, "wb") as file:
                run_in_own_session(
                    [sys.executable, str(HERE / "child.py"), self.name, json.dumps(orders)], cwd, file
                )
            ended, running = read_log(log, results)
            return ended, running, stderr.read_text(errors="replace")[-4000:]


def run_in_own_session(command, cwd, output):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONASYNCIODEBUG"}
    child = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env, PYTHONFAULTHANDLER="1"),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        child.wait(MODULE_TIMEOUT)
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


def report_module(module, verbose):
    if module.absent:
        print(f"{module.name:24} absent on this Python", flush=True)
        return
    counts = "".join(f"{module.count(outcome):>{len(outcome) + 2}}" for outcome in COLUMNS)
    print(f"{module.name:24}{counts}{module.seconds:8.1f} s", flush=True)
    if verbose:
        for name, (outcome, why) in sorted(module.results.items()):
            if outcome != "passed":
                print(f"    {outcome}: {name}{': ' + why if outcome in ('skipped', 'excluded') else ''}")


def report_failures(modules):
    for module in modules:
        for name, why in module.failed().items():
            print(f"\nFAILED {name}\n{why}")
        for name, why in module.flaky.items():
            print(f"\nFLAKY, failed once and then passed: {name}\n{why}")
        if module.proves_nothing():
            print(f"\nFAILED {module.name}: not one of its tests made a loop, Task or Future under test")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loop", choices=("asyncio", "fastloop"), default="fastloop")
    parser.add_argument("--module", nargs="+", choices=MODULES, default=MODULES, metavar="MODULE")
    parser.add_argument(
        "-k",
        dest="match",
        default="*",
        metavar="PATTERN",
        help="run the tests whose id, for example test_tasks.Class.test_name, matches",
    )
    parser.add_argument(
        "-v", dest="verbose", action="store_true", help="name each test that did not pass, and why"
    )
    return parser.parse_args()


def main():
    options = parse_arguments()
    if importlib.util.find_spec("test.test_asyncio") is None:
        sys.exit("this Python comes without test.test_asyncio")
    print(f"{'':24}  {'  '.join(COLUMNS)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        modules = []
        for module in pool.map(Module.run, [Module(name, options) for name in options.module]):
            report_module(module, options.verbose)
            modules.append(module)
    report_failures(modules)
    totals = collections.Counter({outcome: sum(m.count(outcome) for m in modules) for outcome in COLUMNS})
    flaky = sum(len(module.flaky) for module in modules)
    print(
        f"{options.loop} on {platform.python_version()}: "
        + ", ".join(f"{totals[outcome]} {outcome}" for outcome in COLUMNS)
        + f", {flaky} flaky"
    )
    sys.exit(1 if totals["failed"] or any(module.proves_nothing() for module in modules) else 0)


if __name__ == "__main__":
    main()
