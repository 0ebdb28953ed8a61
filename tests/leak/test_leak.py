"""Each feature, used again and again in a process of its own, leaves nothing behind: see README.md."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from features import FEATURES, LEAKS

MEASURE = Path(__file__).with_name("measure.py")
# Chunks that glibc keeps in its caches count as used; without the caches, its count is exact.
TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.arena_max=1"


def growth(implementation, feature, **environment):
    result = subprocess.run(
        [sys.executable, MEASURE, implementation, feature],
        env=dict(os.environ, GLIBC_TUNABLES=TUNABLES, **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# A handle of call_soon() is no object of the collector's, so it hides the way from who keeps it to its loop.
HIDDEN = pytest.param(
    "fastloop",
    "loop_dropped_with_a_queued_handle_kept",
    marks=pytest.mark.xfail(strict=True, reason="known limit: see docs/internals.md"),
)
# What grows on asyncio itself (seen on 3.15.2: bytes of the heap, two dicts for the last), and says nothing of the method.
ASYNCIO_GROWS = (
    {"transport_echoes", "datagrams", "tls_loop_closed_with_a_connection_open"}
    if sys.version_info >= (3, 15)
    else set()
)
CASES = [
    (implementation, feature)
    for implementation in ("asyncio", "fastloop")
    for feature in FEATURES
    if (implementation, feature) != HIDDEN.values
    and not (implementation == "asyncio" and feature in ASYNCIO_GROWS)
]


@pytest.mark.parametrize(("implementation", "feature"), [*CASES, HIDDEN])
def test_nothing_grows(implementation, feature):
    assert growth(implementation, feature) == {}


@pytest.mark.parametrize("feature", [f for f in FEATURES if FEATURES[f].__module__ == "features.tls"])
def test_nothing_grows_where_python_passes_the_data(feature):
    assert growth("fastloop", feature, FASTLOOP_TLS="python") == {}


FOUND_AS = {
    "leak_of_objects": "objects of _asyncio.Future",
    "leak_of_blocks": "blocks of Python's allocator",
    "leak_of_heap": "bytes of the C heap",
    "leak_of_descriptors": "file descriptors",
    "leak_of_references": "references",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found(leak):
    if leak == "leak_of_references" and not hasattr(sys, "gettotalrefcount"):
        pytest.skip("only a debug build counts references")
    assert FOUND_AS[leak] in growth("asyncio", leak)
