"""What is left out of other people's suites, and why: for each suite a list of (pattern on the test's id, reason)."""

import fnmatch

_LIBUV = "looks into libuv, which fastloop does not have"
_UVLOOP_SOURCE = "about uvloop's own sources"

EXCLUDED = {
    "uvloop": [
        ("tests/test_libuv_api.py", _LIBUV),
        ("tests/test_fs_event.py", _LIBUV),
        ("tests/test_cython.py", "calls a hook inside uvloop's compiled code"),
        ("tests/test_sourcecode.py", _UVLOOP_SOURCE),
        ("tests/test_testbase.py", _UVLOOP_SOURCE),
    ],
    "uvicorn": [],
}


def reason_to_exclude(suite, name):
    """The reason why this test, or the whole file of that name, is left out, or None."""
    return next((reason for pattern, reason in EXCLUDED[suite] if fnmatch.fnmatch(name, pattern)), None)
