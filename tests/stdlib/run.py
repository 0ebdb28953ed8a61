"""Runs the interpreter's own test.test_asyncio on fastloop: see README.md beside this file.

python tests/stdlib/run.py [--loop asyncio|fastloop] [--module test_tasks ...] [--excluded] [-k PATTERN] [-v]
"""

import argparse
import importlib.util
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "foreign"))

import runs

MODULES = (
    # The slow ones first, so that two at a time end together.
    "test_tasks", "test_ssl", "test_taskgroups", "test_subprocess", "test_events", "test_sslproto",
    "test_sendfile", "test_unix_events", "test_sock_lowlevel", "test_server", "test_streams", "test_futures",
    "test_futures2", "test_eager_task_factory", "test_locks", "test_queues", "test_timeouts", "test_waitfor",
    "test_runners", "test_context", "test_pep492", "test_threads", "test_staggered", "test_buffered_proto",
    "test_server_context", "test_free_threading", "test_transports",
)  # fmt: skip
ABSTRACT = ("test_transports",)  # only the abstract classes that the transports under test derive from


class Module(runs.Part):
    @property
    def absent(self):
        return importlib.util.find_spec(f"test.test_asyncio.{self.name}") is None

    def command(self, orders):
        return [sys.executable, str(HERE / "child.py"), self.name, json.dumps(orders)]

    def proves_nothing(self):
        return super().proves_nothing() and self.name not in ABSTRACT


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    runs.add_common_arguments(parser, "test_tasks.Class.test_name")
    parser.add_argument("--module", nargs="+", choices=MODULES, default=MODULES, metavar="MODULE")
    return parser.parse_args()


def main():
    options = parse_arguments()
    if importlib.util.find_spec("test.test_asyncio") is None:
        sys.exit("this Python comes without test.test_asyncio")
    modules = [Module(name, options) for name in options.module]
    totals = runs.run_parts(modules)
    print(runs.summary(modules, totals))
    sys.exit(runs.exit_status(modules, totals))


if __name__ == "__main__":
    main()
