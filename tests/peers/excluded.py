"""What is left out of other people's suites, and why: for each suite a list of (pattern on the test's id, reason).

Each was run on asyncio too, and fails there or leaves out for asyncio what the reason says, unless the reason says that
the test looks into private parts.
"""

import fnmatch
import os
import socket
import subprocess
import sys

_LIBUV = "looks into libuv, which fastloop does not have"
_UVLOOP_SOURCE = "about uvloop's own sources"
_HOOK = "needs a hook that uvloop has for its tests"
_PRIVATE = "reads loop._closed, a private name"
_DUCK = "a protocol with get_buffer() is only buffered if it is an asyncio.BufferedProtocol"
_OWNED = "asyncio does not keep a socket open that is closed while the loop waits for it"
_PSEUDO = "asyncio gives a TransportSocket, which has another repr()"
_REUSE = "asyncio has no argument reuse_address since 3.11"
_WRITER = "asyncio calls pause_writing() and resume_writing() in the context of whoever writes"
_POPEN = "mocks os while it imports uvloop, and counts the descriptors that uvloop opens for a child"


def _starts_under_any_name():
    command, quietly = ["doesnotexist", "-c", "pass"], subprocess.DEVNULL
    return subprocess.run(command, executable=sys.executable, stderr=quietly, check=False).returncode == 0


def _localhost_has_ipv6():
    try:
        return bool(socket.getaddrinfo("localhost", 0, socket.AF_INET6))
    except socket.gaierror:
        return False


EXCLUDED = {
    "uvloop": [
        ("tests/test_libuv_api.py", _LIBUV),
        ("tests/test_fs_event.py", _LIBUV),
        ("tests/test_cython.py", "calls a hook inside uvloop's compiled code"),
        ("tests/test_sourcecode.py", _UVLOOP_SOURCE),
        ("tests/test_testbase.py", _UVLOOP_SOURCE),
        ("*::test_close", _PRIVATE),
        (
            "*::TestBaseUV::test_thread_name_prefix_in_default_executor",
            "asyncio calls the threads asyncio_N, and not after the package",
        ),
        ("*::Test_UV_Context::test_create_connection_protocol", _WRITER),
        ("*::Test_UV_Process::test_process_double_close", _POPEN),
        ("*::Test_UV_Process_Delayed::test_process_delayed_stdio__paused__*", _HOOK),
        ("*::test_uvloop_run_2", "uvloop.run() refuses loops of other packages, asyncio.run() does not"),
        ("*::test_signals_no_SIGCHLD", "asyncio lets SIGCHLD have a handler"),
        ("*::TestUVSockets::test_pseudosocket", _PSEUDO),
        ("*::TestUVSockets::test_socket_close_loop_and_close", _OWNED),
        ("*::TestUVSockets::test_socket_connect_and_close", _OWNED),
        ("*::TestUVSockets::test_socket_recv_and_close", _OWNED),
        ("*::TestUVSockets::test_socket_recv_into_and_close", _OWNED),
        (
            "*::TestUVSockets::test_socket_sync_remove",
            "reads loop._get_backend_id(), libuv's epoll descriptor",
        ),
        ("*::Test_UV_TCP::test_create_server_buffered_[12]", _DUCK),
        (
            "*::Test_UV_TCP::test_tcp_handle_abort_in_connection_made",
            "asyncio's get_extra_info('socket') is not None after abort()",
        ),
        (
            "*::Test_UV_TCPSSL::test_flush_before_shutdown",
            "reads uvloop's own SSLProtocol out of the transport",
        ),
        (
            "*::Test_UV_TCPSSL::test_shutdown_timeout_handler_not_set",
            "asyncio calls eof_received() once reading is resumed, after the data that came before",
        ),
        ("*::Test_UV_TCPSSL::test_start_tls_client_buf_proto_1", _DUCK),
        ("*::Test_UV_UDP::test_create_datagram_endpoint_reuse_address_*", _REUSE),
        ("*::Test_UV_UDP::test_create_datagram_endpoint_wrong_sock", "asyncio says it in other words"),
        ("*::Test_UV_UDP::test_udp_sendto_dns", "asyncio's sendto() looks names up, and blocks"),
        (
            "tests/test_udp.py::*::test_socketpair",
            "asyncio cannot sendto() without an address on a socket pair",
        ),
        ("*::Test_UV_Unix::test_epollhup", _DUCK),
    ],
    "uvicorn": [
        ("tests/benchmarks/*", "times uvicorn, with a plugin of its own"),
        ("*::test_loop_auto", "wants asyncio's own loop, by the name of its module"),
    ],
    "aiohttp": [],
    "anyio": [],
}
if sys.version_info >= (3, 13, 3):
    EXCLUDED["uvloop"] += [
        (
            "*::test_set_task_name",
            "the task factory sets the name, which the test knows of asyncio's loops alone",
        ),
    ]
if sys.version_info < (3, 14):
    EXCLUDED["uvloop"] += [
        (
            "*::test_loop_create_task_eager_start",
            "asyncio's loop.create_task() has no eager_start on this Python",
        ),
    ]
if not _starts_under_any_name():
    EXCLUDED["uvloop"] += [
        (
            "*::test_process_executable_1",
            "this Python was moved, and finds its library by the name it is given",
        ),
    ]
if os.geteuid() == 0:
    EXCLUDED["aiohttp"] += [("*::test_static_*_without_read_permission*", "root may read any file")]
if not _localhost_has_ipv6():
    EXCLUDED["anyio"] += [
        (pattern, "needs an IPv6 address of localhost")
        for pattern in (
            "*[[-]ipv6[]-]*",
            "*::test_connection_refused[[]*-multi[]]",
            "*::test_getaddrinfo[[]*",
            "*::test_happy_eyeballs[[]*-dualstack[]]",
            "*::test_tcp_listener_retry_after_partial_failure[[]*",
            "*::test_tcp_listener_same_port[[]*-localhost-*",
            "*::test_tcp_listener_total_bind_failure[[]*",
        )
    ]


def reason_to_exclude(suite, name):
    """The reason why this test, or the whole file of that name, is left out, or None."""
    return next((reason for pattern, reason in EXCLUDED[suite] if fnmatch.fnmatch(name, pattern)), None)
