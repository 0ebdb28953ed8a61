"""Runs other packages' own tests on fastloop: see README.md beside this file.

python tests/peers/run.py [--loop asyncio|fastloop] [--excluded] [-k PATTERN] [-v] SUITE ...
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "foreign"))

import runs
from excluded import reason_to_exclude
from suites import SUITES

CACHE = pathlib.Path(os.environ.get("FASTLOOP_PEERS_CACHE") or REPOSITORY / ".peers").resolve()
CONSTRAINTS = REPOSITORY / "requirements-dev.txt"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


# -- what the suites need, kept in CACHE ------------------------------------------------------------


def fetched_source(suite):
    """The unpacked sdist of that suite, whose hash pip has checked."""
    pinned = next(line for line in (HERE / "sdists.txt").read_text().splitlines() if line.startswith(suite))
    requirement = pinned.split()[0]
    source = CACHE / "sources" / requirement.replace("==", "-")
    if not source.exists():
        with tempfile.TemporaryDirectory() as folder:
            requirements = pathlib.Path(folder, "sdist.txt")
            requirements.write_text(pinned)
            download = ["download", "-qq", "--no-deps", "--require-hashes", "--no-binary", suite]
            subprocess.run([*PIP, *download, "--dest", folder, "-r", requirements], check=True)
            (archive,) = pathlib.Path(folder).glob("*.tar.gz")
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            source.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(pathlib.Path(folder, archive.name.removesuffix(".tar.gz")), source)
    return source


def prepared_environment():
    """The interpreter of an environment that has what the suites import; one for each Python and list of that."""
    requirements = HERE / "requirements.txt"
    listed = requirements.read_bytes() + CONSTRAINTS.read_bytes() + sys.version.encode()
    folder = (
        CACHE / "environments" / f"{sys.implementation.cache_tag}-{hashlib.sha256(listed).hexdigest()[:12]}"
    )
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
        install = ["install", "-qq", "-c", CONSTRAINTS, "-r", requirements]
        subprocess.run([*PIP, "--python", python, *install], check=True)
        ready.touch()
    return python


# -- running ------------------------------------------------------------------------------------------


class TestFile(runs.Part):
    """One file of a suite's tests. `setting` is what all files of the run share."""

    def __init__(self, setting, path):
        super().__init__(path.removeprefix("tests/"), setting.options)
        self.setting = setting
        self.path = path

    def run(self):
        reason = reason_to_exclude(self.setting.suite, self.path)
        if reason is None:
            return super().run()
        self.results[self.path] = ("excluded", reason)
        return self

    def proves_nothing(self):
        return False  # A file may well have no test that makes a loop; the ledger tells of the whole suite.

    def prepare(self, folder):
        self.setting.fill(folder)

    def command(self, orders):
        options = ["--tb=short", "--override-ini=addopts=", "-p", "no:cacheprovider", "-p", "peers_plugin"]
        timeout = [f"--timeout={orders['timeout']}", "--timeout-method=thread"]
        arguments = SUITES[self.setting.suite].arguments
        return [str(self.setting.python), "-m", "pytest", *options, *timeout, *arguments, self.path]

    def environment(self, orders):
        setting = self.setting
        orders = dict(orders, name=self.name, suite=setting.suite, ledger=str(setting.ledger))
        path = [HERE / "inject", HERE, HERE.parent / "foreign", setting.under_test]
        return dict(
            super().environment(orders),
            PEERS_ORDERS=json.dumps(orders),
            PYTHONPATH=os.pathsep.join(map(str, path)),
            PYTHONDONTWRITEBYTECODE="1",
        )


class Setting:
    """What all files of a suite's run share. `ledger` has a line for each loop made, `under_test` leads to fastloop."""

    def __init__(self, suite, options, folder):
        self.suite = suite
        self.options = options
        self.source = fetched_source(suite)
        self.python = prepared_environment()
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self.under_test = folder / "path"
        self.under_test.mkdir()
        if options.loop == "fastloop":
            import fastloop

            (self.under_test / "fastloop").symlink_to(pathlib.Path(fastloop.__file__).parent)

    def fill(self, folder):
        for target, source in SUITES[self.suite].copies(self.source):
            copy = shutil.copytree if source.is_dir() else shutil.copy
            (folder / target).parent.mkdir(exist_ok=True)
            copy(source, folder / target)

    def files(self):
        patterns = SUITES[self.suite].files
        paths = sorted(path for pattern in patterns for path in (self.source / "tests").rglob(pattern))
        return [TestFile(self, path.relative_to(self.source).as_posix()) for path in paths]

    def loops(self):
        """How many loops were made, by (package that it is a loop of, type)."""
        return collections.Counter(tuple(line.split()) for line in self.ledger.read_text().splitlines())


def run_suite(suite, options):
    """Returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(suite, options, pathlib.Path(folder))
        print(f"\n{setting.source.name}", flush=True)
        files = setting.files()
        totals = runs.run_parts(files)
        loops = setting.loops()
    for (package, loop_type), count in loops.items():
        print(
            f"{'' if package == options.loop else 'FAILED, not under test: '}{count} loops made: {loop_type}"
        )
    only_under_test = {package for package, _ in loops} == {options.loop}
    print(f"{setting.source.name} on {runs.summary(files, totals)}")
    return runs.exit_status(files, totals) if only_under_test else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    runs.add_common_arguments(parser, "tests/test_tcp.py::Class::test_name")
    parser.add_argument("suite", nargs="+", choices=sorted(SUITES), metavar="SUITE")
    return parser.parse_args()


def main():
    options = parse_arguments()
    sys.exit(max([run_suite(suite, options) for suite in options.suite]))


if __name__ == "__main__":
    main()
