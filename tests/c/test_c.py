"""Compiles and runs the C tests of the code that knows nothing of Python, with the sanitizers watching."""

import os
import resource
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src" / "_fastloop"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
WRAPPED = ["-Wl,--wrap=malloc,--wrap=realloc,--wrap=syscall"]

# Program, the sources that it tests, and a size that these are built with.
PROGRAMS = {
    "ring": ("ring", ["base/ring.c"], []),
    "ring-of-1": ("ring", ["base/ring.c"], ["-DFL_RING_INITIAL=1"]),
    "ring-of-2": ("ring", ["base/ring.c"], ["-DFL_RING_INITIAL=2"]),
    "heap": ("heap", ["base/heap.c"], []),
    "heap-of-1": ("heap", ["base/heap.c"], ["-DFL_HEAP_INITIAL=1"]),
    "list": ("list", [], []),
    "epoll": ("epoll", ["backend/epoll.c"], []),
}


def compiler():
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]


def limit_open_files():
    """So that a program can meet EMFILE."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))


def check(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("program", "sources", "size"), PROGRAMS.values(), ids=PROGRAMS)
def test_program(program, sources, size, tmp_path):
    binary = tmp_path / program
    check(
        *compiler(),
        *["-std=c11", "-D_GNU_SOURCE", f"-I{SOURCES}"],
        *size,
        *WARNINGS,
        *SANITIZERS,
        *WRAPPED,
        HERE / f"{program}.c",
        *[SOURCES / source for source in sources],
        *["-o", binary],
    )
    check(binary, timeout=100, preexec_fn=limit_open_files)
