"""System calls that fail or do less than asked, by way of the library made from shim.c."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SHIM = Path(__file__).with_name("shim.c")
FAULTS = {
    "short": {"FAULT_SHORT": "3000"},
    "again": {"FAULT_AGAIN": "3"},
    "interrupted": {"FAULT_EINTR": "3"},
    "all": {"FAULT_SHORT": "2000", "FAULT_AGAIN": "5", "FAULT_EINTR": "7"},
    "bytes": {"FAULT_SHORT": "2", "FAULT_AGAIN": "11", "FAULT_EINTR": "13"},
}


def make_shim(folder):
    """Compile shim.c into a folder: the path of the library."""
    compiler = os.environ.get("CC", "").split() or [shutil.which("cc") or shutil.which("gcc")]
    if compiler[0] is None:
        pytest.skip("there is no C compiler")
    library = folder / "shim.so"
    command = [*compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SHIM, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def faulty_environment(shim, fault, log):
    """The environment of a process with one of the `FAULTS`; `log` is where it writes their number."""
    preload = ":".join(filter(None, [os.environ.get("LD_PRELOAD"), str(shim)]))
    return {**os.environ, **FAULTS[fault], "LD_PRELOAD": preload, "FAULT_LOG": str(log)}
