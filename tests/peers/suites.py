"""The suites: what is taken from each source, and how pytest runs it."""

import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Suite:
    """`taken` maps a path of the work folder to the path it is copied from, in the source or in this folder."""

    taken: dict[str, str]
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
}
