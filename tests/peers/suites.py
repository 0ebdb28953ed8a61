"""The suites: what is taken from each source, and how pytest runs it."""

import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Suite:
    """`taken` maps a path of the work folder to the path it is copied from, in the source or in this folder.

    `files` are patterns of the files that are run, below the source's folder of tests.
    """

    taken: dict[str, str]
    files: tuple[str, ...] = ("test_*.py",)
    arguments: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()

    def copies(self, source):
        """(where to, below the work folder; where from) of each file or folder that a run needs."""
        for target, path in self.taken.items():
            yield target, (HERE if target in self.ours else source) / path


SUITES = {
    "uvloop": Suite(
        taken={
            "tests": "tests",
            "uvloop/__init__.py": "shim/uvloop.py",
            "uvloop/_testbase.py": "uvloop/_testbase.py",
        },
        ours=("uvloop/__init__.py",),
        # The tests give their own standard streams to processes they start.
        arguments=("--capture=no",),
    ),
    "uvicorn": Suite(
        taken={"tests": "tests", "uvicorn": "uvicorn", "pyproject.toml": "pyproject.toml"},
    ),
    "aiohttp": Suite(
        # One test sees to it that a client does not get at the README.
        taken={"tests": "tests", "pytest.ini": "pytest.ini", "README.rst": "README.rst"},
        # Those that start servers or clients.
        files=(
            "test_*functional.py",
            "test_client_middleware*.py",
            "test_client_session.py",
            "test_connector.py",
            "test_formdata.py",
            "test_leaks.py",
            "test_loop.py",
            "test_pytest_plugin.py",
            "test_run_app.py",
            "test_test_utils.py",
            "test_web_app.py",
            "test_web_exceptions.py",
            "test_web_log.py",
            "test_web_middleware.py",
            "test_web_runner.py",
            "test_web_server.py",
            "test_web_urldispatcher.py",
            "test_worker.py",
        ),
        arguments=("-m", "not dev_mode and not autobahn and not internal"),
    ),
    "anyio": Suite(
        taken={"tests": "tests", "pyproject.toml": "pyproject.toml"},
        files=("test_sockets.py", "test_subprocesses.py"),
    ),
}
