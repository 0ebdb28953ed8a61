"""Fixtures shared by all tests: one implementation after the other, and a fresh loop of it."""

import asyncio
import functools
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from support import net

# A shell that starts the tests in the background has them ignore SIGINT, nohup SIGHUP, and both are sent in tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass(frozen=True)
class Implementation:
    """An event loop package under test: asyncio, which pins a behaviour, or fastloop, which must match it."""

    name: str
    new_event_loop: Callable[[], asyncio.AbstractEventLoop]
    Loop: type
    Future: type
    Task: type
    run: Callable


def implementation(name: str) -> Implementation:
    if name == "asyncio":
        loop_type = asyncio.SelectorEventLoop
        return Implementation(name, loop_type, loop_type, asyncio.Future, asyncio.Task, asyncio.run)
    # Imported late, so that the tests of other implementations and of other folders run without a build.
    import fastloop

    return Implementation(
        name, fastloop.new_event_loop, fastloop.Loop, fastloop.Future, fastloop.Task, fastloop.run
    )


@pytest.fixture(params=["asyncio", "fastloop"])
def impl(request):
    """The implementation under test. `pytest -k asyncio` selects the tests that need no build of fastloop."""
    return implementation(request.param)


@pytest.fixture
def loop(impl):
    """A fresh loop of `impl`, closed afterwards; no event loop policy is involved."""
    loop = impl.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def turn(loop):
    """A function that runs exactly one turn of `loop`, or as many as it is given: `net.run_turns`."""
    return functools.partial(net.run_turns, loop)


@pytest.fixture
def reported(loop):
    """The list of contexts that `loop` has given to its exception handler."""
    contexts = []
    loop.set_exception_handler(lambda _loop, context: contexts.append(context))
    return contexts


@pytest.fixture
def run_script(impl):
    """A function that runs Python source in a fresh process, where `new_event_loop` is that of `impl`."""

    def run(source: str, **options) -> subprocess.CompletedProcess:
        factory = {
            "asyncio": "from asyncio import SelectorEventLoop as new_event_loop",
            "fastloop": "from fastloop import new_event_loop",
        }
        program = f"import asyncio\n{factory[impl.name]}\n{source}"
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run([sys.executable, "-c", program], check=False, **options)

    return run


@pytest.fixture
def pair():
    """Two connected non-blocking sockets."""
    sockets = net.unix_pair()
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.fixture
def tcp_pair():
    """Two connected non-blocking TCP sockets."""
    sockets = net.tcp_pair()
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.fixture
def listener():
    """A listening non-blocking TCP socket on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture
def connect(loop, turn):
    """A function that connects a protocol to a raw socket: a `net.Connection`, closed afterwards.

    `protocol` is a `net.Recorder` unless given, `kind` is "unix" or "tcp", `sndbuf` the kernel's send buffer in bytes.
    """
    connections = []

    def connect(protocol=None, kind="unix", sndbuf=None):
        left, right = net.PAIRS[kind]()
        if sndbuf is not None:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        protocol = net.Recorder() if protocol is None else protocol
        transport, _ = net.run(loop, loop.create_connection(lambda: protocol, sock=left))
        connections.append(net.Connection(loop, transport, protocol, right))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.peer.close()
    if not loop.is_closed():
        for connection in connections:
            if connection.transport._sock is not None:
                connection.transport.abort()
        turn()


@pytest.fixture
def connection(connect):
    """A transport with a `net.Recorder`, connected to a raw Unix socket."""
    return connect()


@pytest.fixture
def tls(request, loop):
    """The TLS connections of a test, a `tls.TlsEnds`; limited to one version with `tls.each_version`."""
    from support.tls import TlsEnds  # late, for the tests that run without the ssl module

    ends = TlsEnds(loop, getattr(request, "param", None))
    yield ends
    ends.end()


@pytest.fixture
def no_child_left():
    """The test may leave no child behind, dead or alive, and no descriptor. To be named before `loop`."""
    before = net.open_fds()
    yield
    if net.open_fds() != before:
        gc.collect()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert net.open_fds() == before


@pytest.fixture(params=["pidfd", "thread"])
def watched_by(request, monkeypatch):
    """How the loop notices that a child has exited. To be named before `loop`."""
    if sys.version_info < (3, 14):  # asyncio's watcher is the policy's, which keeps it
        monkeypatch.setattr(asyncio.get_event_loop_policy(), "_watcher", None, raising=False)
    if request.param == "thread":

        def refuse(pid, flags=0):
            raise PermissionError

        monkeypatch.setattr(os, "pidfd_open", refuse)
    return request.param
