"""pytest plugin: runs the tests that PEERS_ORDERS asks for and logs each result at once, for foreign/runs.py."""

import fnmatch
import json
import os
import sys

import excluded
import pytest

ORDERS = json.loads(os.environ["PEERS_ORDERS"])


def write(**entry):
    with open(ORDERS["log"], "a") as log:
        log.write(json.dumps(entry) + "\n")


class Results:
    """Writes the outcome of each test; one that passed without making a loop is not applicable."""

    def pytest_runtest_logstart(self, nodeid):
        self.outcome, self.why = "passed", ""
        self.loops = loops_made()
        write(start=nodeid)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.outcome, self.why = "failed", self.why + str(report.longrepr)
        elif report.skipped and self.outcome == "passed":
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail"
            self.outcome, self.why = "skipped", reason

    def pytest_runtest_logfinish(self, nodeid):
        if self.outcome == "passed" and loops_made() == self.loops:
            self.outcome = "not applicable"
        write(test=nodeid, outcome=self.outcome, why=self.why)

    def pytest_collectreport(self, report):
        if report.failed:
            write(test=report.nodeid, outcome="failed", why=str(report.longrepr))

    def pytest_sessionfinish(self, exitstatus):
        """Without an end in the log, the child counts as crashed."""
        if exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            write(end=ORDERS["name"])


def loops_made():
    """The length of the ledger, which grows with each loop that any process of the suite makes."""
    return os.stat(ORDERS["ledger"]).st_size


def wanted(nodeid):
    return (
        nodeid not in ORDERS["done"]
        and (ORDERS["only"] is None or nodeid in ORDERS["only"])
        and fnmatch.fnmatch(nodeid, ORDERS["match"])
    )


def pytest_configure(config):
    config.pluginmanager.register(Results())


@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    """Threads that a failed test left behind must not hold the run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def pytest_collection_modifyitems(items):
    kept = []
    for item in filter(lambda item: wanted(item.nodeid), items):
        reason = excluded.reason_to_exclude(ORDERS["suite"], item.nodeid)
        if bool(reason) == ORDERS["excluded"]:
            kept.append(item)
        elif reason:
            write(test=item.nodeid, outcome="excluded", why=reason)
    items[:] = kept
