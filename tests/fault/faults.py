"""System calls that fail or do less than asked, by way of the library made from shim.c."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from traffic import random_data

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


def check_traffic(run_script, shim, fault, log, program, clients, *args, environment=os.environ):
    """Run a program of traffic.py with one of the `FAULTS`: what each of its clients gets back is whole.

    `log` is where the process writes the number of its faults.
    """
    size = 2_000 if fault == "bytes" else 1_000_000
    preload = ":".join(filter(None, [environment.get("LD_PRELOAD"), str(shim)]))
    environment = {**environment, **FAULTS[fault], "LD_PRELOAD": preload, "FAULT_LOG": str(log)}
    arguments = ", ".join(map(repr, (size, *args)))
    result = run_script(
        f"import traffic\ntraffic.run(new_event_loop(), traffic.{program}, {arguments})", env=environment
    )
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.split() == [hashlib.sha256(random_data(size)).hexdigest()] * clients
    assert int(log.read_text()) > 50
