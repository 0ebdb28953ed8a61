"""What is left out of test.test_asyncio, and why: one list of (pattern on the test's id, reason)."""

import fnmatch

_MOCKS = "mocks the private parts of asyncio's own loop"
_SWAPPED = "swaps asyncio's C functions of the running loop for its Python ones"
_WATCHERS = "tests asyncio's child watchers"
_SELECTOR_TRANSPORT = "looks into asyncio's own socket transport"
_SSL_PROTOCOL = "looks into asyncio's own SSLProtocol"

EXCLUDED = [
    ("test_events.EPollEventLoopTests.test_create_server_multiple_hosts_*", _MOCKS),
    ("test_events.EPollEventLoopTests.test_timeout_rounding", _MOCKS),
    (
        "test_events.EPollEventLoopTests.test_prompt_cancellation",
        "calls loop._stop_serving(), a private name",
    ),
    ("test_events.TestPyGetEventLoop.test_get_event_loop_returns_running_loop*", _SWAPPED),
    ("test_events.TestPyGetEventLoop.test_get_running_loop_already_running", _SWAPPED),
    ("test_unix_events.SelectorEventLoopSignalTests.test_add_signal_handler", _MOCKS),
    ("test_unix_events.SelectorEventLoopSignalTests.test_add_signal_handler_install_error*", _MOCKS),
    ("test_unix_events.SelectorEventLoopSignalTests.test_add_signal_handler_setup_error", _MOCKS),
    ("test_unix_events.SelectorEventLoopSignalTests.test_check_signal", _MOCKS),
    ("test_unix_events.SelectorEventLoopSignalTests.test_close*", _MOCKS),
    ("test_unix_events.SelectorEventLoopSignalTests.test_handle_signal_*", _MOCKS),
    ("test_unix_events.SelectorEventLoopSignalTests.test_remove_signal_handler", _MOCKS),
    ("test_unix_events.SelectorEventLoopSignalTests.test_remove_signal_handler_2", _MOCKS),
    ("test_unix_events.SelectorEventLoopSignalTests.test_remove_signal_handler_error*", _MOCKS),
    ("test_unix_events.SelectorEventLoopUnixSocketTests.test_create_unix_server_bind_error", _MOCKS),
    ("test_unix_events.SelectorEventLoopUnixSockSendfileTests.test_sock_sendfile_[bceo]*", _MOCKS),
    ("test_unix_events.SelectorEventLoopUnixSockSendfileTests.test_sock_sendfile_not_available", _MOCKS),
    ("test_unix_events.*ChildWatcher*", _WATCHERS),
    ("test_unix_events.PolicyTests.*", _WATCHERS),
    ("test_server_context.AsyncioEventLoopSSLTests.test_gh140947", _SSL_PROTOCOL),
    ("test_ssl.*.test_flush_before_shutdown", _SSL_PROTOCOL),
    ("test_ssl.*.test_remote_shutdown_receives_trailing_data_on_slow_socket", _SELECTOR_TRANSPORT),
    ("test_sslproto.*.test_connection_lost_when_busy", _SELECTOR_TRANSPORT),
    (
        "test_sslproto.*.test_create_connection_ssl_failed_certificate_no_cycles",
        "patches asyncio's own SSLProtocol to get hold of the transport",
    ),
    ("test_subprocess.*.test_watcher_implementation", _WATCHERS),
    ("test_tasks.*_OnLoop.test_log_destroyed_pending_task", "looks into asyncio's own queue, loop._ready"),
]


def reason_to_exclude(name):
    """The reason why this test is left out, or None."""
    return next((reason for pattern, reason in EXCLUDED if fnmatch.fnmatch(name, pattern)), None)
