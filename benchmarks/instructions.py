"""Counts the instructions of the hot paths under valgrind's callgrind: figures that are the same in each run.

    python benchmarks/instructions.py                       print a table
    python benchmarks/instructions.py echo accept           ... of these paths of hot_paths.py
    python benchmarks/instructions.py --compare FILE        ... beside the stored figures; status 1 if a path grew
    python benchmarks/instructions.py --save FILE           ... and store it as the figures of this Python

"own" is what runs inside of the extension module for one operation, and what is compared: it depends on our sources,
the compiler and Python's headers. "total" adds the interpreter, the libraries and the dynamic linker.

The tree that this file stands in is built as setup.py builds it, with the one exception that the loop polls by the number
of turns alone: the time after which it polls as well would pass at any moment. Each path runs in a process of its own, in
two lengths, and the difference is divided by the operations that the second has more, so that what a process and a run
cost by themselves drops out.

A file holds the figures of several versions of Python. Those of another build (a patch release, compiler or CFLAGS of the
interpreter that differ from what the file names) say nothing of our sources: the changes are shown, and the status is 3,
or 0 with --other-build-ok. The flags that setup.py adds belong to what is measured.
"""

import argparse
import dataclasses
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
HOT_PATHS = REPOSITORY / "benchmarks" / "hot_paths.py"
VALGRIND = shutil.which("valgrind")
MODULE = "/_fastloop."  # in the path of the extension module and of no other object
LIMIT = 3.0  # percent that a path may grow
OPERATIONS = 256  # a multiple of the turns between two polls, so that both lengths poll equally often for each operation
GREW, OTHER_BUILD = 1, 3  # exit statuses
BUILT = ["src", "python", "setup.py", "pyproject.toml"]


@dataclasses.dataclass(frozen=True)
class Count:
    """Instructions of one operation: inside of the extension module, and everywhere."""

    own: float
    total: float


# -- reading callgrind's files -----------------------------------------------------------------------


def instructions_by_object(profile: str) -> Counter:
    """The instructions that each object file ran itself, from the text of a profile.

    Names must be written out (--compress-strings=no) and Ir must be the only event.
    """
    counts = Counter()
    current = None
    of_a_call = (
        False  # the line after "calls=" says what the callees ran, which stands at their own place too
    )
    for line in profile.splitlines():
        if line.startswith("ob="):
            current = line[3:]
        elif line.startswith("calls="):
            of_a_call = True
        elif line[:1].isdigit():
            if not of_a_call:
                counts[current] += int(line.split()[1])
            of_a_call = False
    return counts


def count_of(profile: str) -> Count:
    by_object = instructions_by_object(profile)
    own = sum(count for name, count in by_object.items() if MODULE in name)
    return Count(own, by_object.total())


def per_operation(once: Count, twice: Count, operations: int) -> Count:
    """What one operation costs, from a run of so many operations and one of twice as many."""
    return Count((twice.own - once.own) / operations, (twice.total - once.total) / operations)


# -- measuring ---------------------------------------------------------------------------------------


def build(target: Path) -> None:
    """Install the project into the folder `target`."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
        + ["--target", target, REPOSITORY],
        env=os.environ | {"FASTLOOP_DEFINES": "FL_POLL_NS=1000000000000000"},
        check=True,
    )


def write_certificates(folder: Path) -> None:
    import hot_paths
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost").private_key_and_cert_chain_pem
    certificate.write_to_path(folder / hot_paths.CERTIFICATE)
    authority.cert_pem.write_to_path(folder / hot_paths.AUTHORITY)


def measure(name: str, target: Path, folder: Path) -> Count:
    """Run one path under valgrind, with the project installed in `target` and certificates in `folder`."""
    profile = folder / f"{name}.profile"
    run = subprocess.run(
        [VALGRIND, "--tool=callgrind", "--quiet", "--dump-before=getpgid"]
        + ["--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={profile}"]
        + [sys.executable, "-S", HOT_PATHS, name, str(OPERATIONS), folder],
        # Nothing but this, since even the length of the environment moves the stack.
        env={"PYTHONPATH": str(target), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"{name} ended with {run.returncode}:\n{run.stdout}")
    # The first part ends where the runs begin.
    once, twice = [count_of(Path(f"{profile}.{part}").read_text()) for part in (2, 3)]
    return per_operation(once, twice, OPERATIONS)


def measure_all(names: list[str]) -> dict[str, Count]:
    with tempfile.TemporaryDirectory(prefix="fastloop-instructions-") as name:
        folder = Path(name)
        build(folder / "installed")
        write_certificates(folder)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = pool.map(lambda path: measure(path, folder / "installed", folder), names)
            return dict(zip(names, counts, strict=True))


# -- figures in a file -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was counted, of which commit and with which build."""

    commit: str
    build: dict[str, str]
    paths: dict[str, Count]


def output_of(*command: str) -> str:
    return subprocess.run(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def this_commit() -> str:
    """The last commit that has changed what is built, with a "+" if it has been changed since."""
    commit = output_of("git", "log", "-1", "--format=%h", "--abbrev=12", "--", *BUILT)
    return commit + ("+" if output_of("git", "status", "--porcelain", "--", *BUILT) else "")


def this_build() -> dict[str, str]:
    """What the number of our instructions depends on besides our sources."""
    compiler = shlex.split(sysconfig.get_config_var("CC"))
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "compiler": output_of(*compiler, "--version").splitlines()[0],
        "flags": sysconfig.get_config_var("CFLAGS"),
    }


def this_version() -> str:
    """The key of this Python's figures in a file."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def load_all(file: Path) -> dict[str, Figures]:
    if not file.exists():
        return {}
    return {
        version: Figures(
            entry["commit"],
            entry["build"],
            {name: Count(**count) for name, count in entry["paths"].items()},
        )
        for version, entry in json.loads(file.read_text()).items()
    }


def save(file: Path, version: str, figures: Figures) -> None:
    """Store the figures of one version of Python; those of others stay."""
    entries = load_all(file) | {version: figures}
    plain = {version: dataclasses.asdict(entries[version]) for version in sorted(entries)}
    file.write_text(json.dumps(plain, indent=1) + "\n")


# -- comparing ---------------------------------------------------------------------------------------


def growth(before: Count, now: Count) -> float:
    """Percent by which our own instructions became more."""
    return 100 * (now.own - before.own) / before.own


def grown(before: dict[str, Count], now: dict[str, Count], limit: float) -> list[str]:
    """The paths that grew by more than `limit` percent."""
    return [name for name in now if name in before and growth(before[name], now[name]) > limit]


def table(now: dict[str, Count], before: dict[str, Count]) -> list[str]:
    """The lines of the table, which has two more columns when there are figures from before."""
    lines = [f"{'instructions for each':24}{'total':>10}{'own':>10}" + (f"{'before':>10}" if before else "")]
    for name, count in now.items():
        line = f"{name:24}{count.total:10.1f}{count.own:10.1f}"
        if name in before:
            line += f"{before[name].own:10.1f}{growth(before[name], count):+8.2f} %"
        lines.append(line)
    return lines


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What differs between two builds, in words."""
    return [
        f"{key} is {now.get(key)!r}, in the file {before.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def verdict(
    before: Figures | None, now: Figures, limit: float, other_build_ok: bool
) -> tuple[int, list[str]]:
    """The exit status of a comparison, and lines that say why."""
    if before is None:
        return (0 if other_build_ok else OTHER_BUILD), [
            "not compared: the file has no figures of this Python"
        ]
    other = differences(before.build, now.build)
    if other:
        return (0 if other_build_ok else OTHER_BUILD), [f"not compared: {'; '.join(other)}"]
    lines = [
        f"{name} grew by {growth(before.paths[name], now.paths[name]):.2f} %, more than {limit:g} %"
        for name in grown(before.paths, now.paths, limit)
    ]
    return (GREW if lines else 0), lines or [f"no path grew by more than {limit:g} % since {before.commit}"]


# -- the command line --------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description="Count the instructions of the hot paths.")
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a path of hot_paths.py; all when none is named"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="store the figures of this Python")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="compare with figures that were stored")
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="PERCENT", help="by which a path may grow"
    )
    parser.add_argument(
        "--other-build-ok", action="store_true", help="status 0 if figures cannot be compared"
    )
    return parser, parser.parse_args()


def chosen_paths(parser: argparse.ArgumentParser, wanted: list[str]) -> list[str]:
    from hot_paths import PATHS

    unknown = [name for name in wanted if name not in PATHS]
    if unknown:
        parser.error(f"no such path: {' '.join(unknown)}")
    return wanted or list(PATHS)


def main() -> int:
    parser, given = arguments()
    names = chosen_paths(parser, given.paths)
    if VALGRIND is None:
        parser.error("valgrind is not installed")
    if given.save and given.paths:
        parser.error("--save is for all paths")
    before = load_all(given.compare).get(this_version()) if given.compare else None
    now = Figures(this_commit(), this_build(), measure_all(names))
    print(*table(now.paths, before.paths if before else {}), sep="\n")
    status, lines = verdict(before, now, given.limit, given.other_build_ok) if given.compare else (0, [])
    print(*lines, sep="\n", end="\n" if lines else "")
    if given.save:
        save(given.save, this_version(), now)
    return status


if __name__ == "__main__":
    sys.exit(main())
