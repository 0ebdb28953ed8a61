"""What is left out of test.test_asyncio, and why: one list of (pattern on the test's id, reason)."""

import fnmatch

_TRANSPORTS = "needs transports or servers, which fastloop does not have yet"
_SUBPROCESSES = "needs subprocesses, which fastloop does not have yet"
_PIPES = "needs pipe transports, which fastloop does not have yet"
_MOCKS = "mocks the private parts of asyncio's own loop"
_LOGGER = "mocks asyncio.base_events.logger, which only asyncio's own loops log with"
_WATCHERS = "tests asyncio's child watchers"

EXCLUDED = [
    ("test_events.EPollEventLoopTests.test_*create_connection*", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_create_*unix_connection*", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_create_ssl_*", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_*connect_accepted_socket*", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_create_*server*", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_server_close*", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_*datagram*", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_writelines_*", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_prompt_cancellation", _TRANSPORTS),
    ("test_events.EPollEventLoopTests.test_*pipe*", _PIPES),
    ("test_events.EPollEventLoopTests.test_*pty*", _PIPES),
    ("test_events.EPollEventLoopTests.test_write_named_fifo_*", _PIPES),
    ("test_events.EPollEventLoopTests.test_subprocess_*", _SUBPROCESSES),
    ("test_events.EPollEventLoopTests.test_timeout_rounding", _MOCKS),
    ("test_events.TestServer.*", _TRANSPORTS),
    ("test_events.UnixPipeObjectSupportTests.*", _PIPES),
    (
        "test_events.TestPyGetEventLoop.*",
        "swaps asyncio's C functions of the running loop for its Python ones",
    ),
    ("test_unix_events.SelectorEventLoopSignalTests.*", _MOCKS),
    ("test_unix_events.SelectorEventLoopUnixSocketTests.*", _TRANSPORTS),
    ("test_unix_events.SelectorEventLoopUnixSockSendfileTests.*", _MOCKS),
    ("test_unix_events.TestFunctional.test_add_reader_or_writer_transport_fd", _TRANSPORTS),
    ("test_unix_events.TestFork.test_fork_asyncio_subprocess", _SUBPROCESSES),
    ("test_unix_events.*ChildWatcher*", _WATCHERS),
    ("test_unix_events.PolicyTests.*", _WATCHERS),
    ("test_tasks.*_OnLoop.test_log_destroyed_pending_task", "reads loop._ready, a private queue"),
    ("test_sock_lowlevel.EPollEventLoopTests.test_create_connection_sock*", _TRANSPORTS),
    ("test_tasks.*_OnLoop.test_error_in_call_soon", _LOGGER),
    ("test_tasks.*_OnLoop.test_log_destroyed_pending_task", "looks into asyncio's own queue, loop._ready"),
    ("test_futures.*_OnLoop.test_future_exception_never_retrieved*", _LOGGER),
    ("test_futures.*_OnLoop.test_tb_logger_exception_unretrieved", _LOGGER),
]


def reason_to_exclude(name):
    """The reason why this test is left out, or None."""
    return next((reason for pattern, reason in EXCLUDED if fnmatch.fnmatch(name, pattern)), None)
