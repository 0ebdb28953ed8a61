"""What is left out of test.test_asyncio, and why: one list of (pattern on the test's id, reason)."""

import fnmatch

_MOCKS = "mocks the private parts of asyncio's own loop"
_LOGGER = "mocks asyncio.base_events.logger, which only asyncio's own loops log with"
_WATCHERS = "tests asyncio's child watchers"
_POPEN = "mocks subprocess.Popen inside asyncio"

EXCLUDED = [
    ("test_events.EPollEventLoopTests.test_create_server_multiple_hosts_*", _MOCKS),
    ("test_events.EPollEventLoopTests.test_timeout_rounding", _MOCKS),
    (
        "test_events.TestPyGetEventLoop.*",
        "swaps asyncio's C functions of the running loop for its Python ones",
    ),
    ("test_unix_events.SelectorEventLoopSignalTests.*", _MOCKS),
    ("test_unix_events.SelectorEventLoopUnixSocketTests.test_create_unix_server_bind_error", _MOCKS),
    ("test_unix_events.SelectorEventLoopUnixSockSendfileTests.*", _MOCKS),
    ("test_unix_events.*ChildWatcher*", _WATCHERS),
    ("test_unix_events.PolicyTests.*", _WATCHERS),
    ("test_subprocess.*.test_popen_error*", _POPEN),
    ("test_subprocess.*.test_watcher_implementation", _WATCHERS),
    ("test_tasks.*_OnLoop.test_log_destroyed_pending_task", "looks into asyncio's own queue, loop._ready"),
    ("test_tasks.*_OnLoop.test_error_in_call_soon", _LOGGER),
    ("test_futures.*_OnLoop.test_future_exception_never_retrieved*", _LOGGER),
    ("test_futures.*_OnLoop.test_tb_logger_exception_unretrieved", _LOGGER),
]


def reason_to_exclude(name):
    """The reason why this test is left out, or None."""
    return next((reason for pattern, reason in EXCLUDED if fnmatch.fnmatch(name, pattern)), None)
