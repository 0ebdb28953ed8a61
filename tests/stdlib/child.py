"""Runs one module of test.test_asyncio on the loop under test: child.py MODULE ORDERS

ORDERS is a JSON object: loop, log (file to append results to), done (ids not to run again), only (ids, or null),
match (pattern on the id), excluded (whether to run what is excluded, and nothing else), timeout (seconds a test
may take). Each line of the log is a JSON object: {"start": id}
or {"test": id, "outcome": ..., "why": ...}.
"""

import faulthandler
import fnmatch
import importlib
import json
import os
import pathlib
import sys
import traceback
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "foreign"))

import force
from adapt import Adapter
from excluded import reason_to_exclude
from test import support

PACKAGE = "test.test_asyncio."


class ResultLog(unittest.TestResult):
    def __init__(self, file, under_test, timeout):
        super().__init__()
        self.file = file
        self.under_test = under_test
        self.timeout = timeout
        self.expect_next()

    def expect_next(self):
        """Python 3.12.1 calls no startTest() for a test that is marked as skipped."""
        self.outcome, self.why, self.used = "passed", "", self.under_test.used

    def write(self, **entry):
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()

    def startTest(self, test):
        super().startTest(test)
        self.expect_next()
        self.write(start=short_id(test))
        faulthandler.dump_traceback_later(self.timeout, exit=True)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        if self.outcome == "passed" and self.under_test.used == self.used:
            self.outcome = "not applicable"
        self.write(test=short_id(test), outcome=self.outcome, why=self.why)
        self.expect_next()

    def fail(self, test, error):
        text = "".join(traceback.format_exception(*error))
        if isinstance(test, unittest.TestCase):
            self.outcome, self.why = "failed", self.why + text
        else:
            self.write(test=short_id(test), outcome="failed", why=text)

    def addError(self, test, error):
        self.fail(test, error)

    def addFailure(self, test, error):
        self.fail(test, error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.fail(test, error)

    def addSkip(self, test, reason):
        if not isinstance(test, unittest.TestCase):
            self.write(test=short_id(test), outcome="skipped", why=reason)
        elif self.outcome == "passed":
            self.outcome, self.why = "skipped", reason

    def addExpectedFailure(self, test, error):
        self.outcome = "skipped"

    def addUnexpectedSuccess(self, test):
        self.outcome, self.why = "failed", "unexpected success"


def short_id(test):
    """Its id below test.test_asyncio; for setUpClass and its like, unittest's description of it."""
    return test.id().removeprefix(PACKAGE)


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def select(tests, orders, log):
    done, only = set(orders["done"]), orders["only"]
    for test in tests:
        name = short_id(test)
        if (
            name in done
            or (only is not None and name not in only)
            or not fnmatch.fnmatch(name, orders["match"])
        ):
            continue
        reason = reason_to_exclude(name)
        if bool(reason) == orders["excluded"]:
            yield test
        elif reason:
            log.write(test=name, outcome="excluded", why=reason)


def main():
    name, orders = sys.argv[1], json.loads(sys.argv[2])
    support.use_resources = ["network", "cpu", "walltime"]
    support.set_memlimit("4G")  # two tests of TLS ask for half of that, and take 0.2 GB
    under_test = force.install(orders["loop"])
    module = importlib.import_module(PACKAGE + name)
    Adapter(module, under_test).run()
    tests = flatten(unittest.defaultTestLoader.loadTestsFromModule(module))
    with open(orders["log"], "a") as file:
        log = ResultLog(file, under_test, orders["timeout"])
        unittest.TestSuite(select(list(tests), orders, log)).run(log)
        log.write(end=name)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that a failed test left behind must not hold the run


if __name__ == "__main__":
    main()
