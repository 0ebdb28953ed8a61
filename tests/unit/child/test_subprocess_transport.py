"""Transports of children, with protocols of one's own: callbacks, close(), failures, what may be looked at."""

import asyncio
import errno
import gc
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from unittest import mock

import pytest
from support.net import TIMEOUT, open_fds, run, run_until

pytestmark = pytest.mark.usefixtures("no_child_left")

PIPE = subprocess.PIPE
BLOCKED = ("/bin/sleep", "3600")
CAT = ("/bin/cat",)


class Recorder(asyncio.SubprocessProtocol):
    """Takes notes: `calls` lists each call as (name, argument …).

    `on` maps the name of a call to a function that is then called with the same arguments.
    """

    def __init__(self, **on):
        self.calls = []
        self.on = on
        self.transport = None

    @property
    def names(self):
        return [name for name, *_ in self.calls]

    @property
    def lost(self):
        return "connection_lost" in self.names

    def received(self, fd):
        return b"".join(call[2] for call in self.calls if call[:2] == ("pipe_data_received", fd))

    def reason(self, fd):
        """The exception given to the only pipe_connection_lost() of that pipe."""
        [reason] = [call[2] for call in self.calls if call[:2] == ("pipe_connection_lost", fd)]
        return reason

    def called(self, name, *args):
        self.calls.append((name, *args))
        if name in self.on:
            self.on[name](*args)

    def connection_made(self, transport):
        self.transport = transport
        self.called("connection_made", transport)

    def pipe_data_received(self, fd, data):
        self.called("pipe_data_received", fd, data)

    def pipe_connection_lost(self, fd, exc):
        self.called("pipe_connection_lost", fd, exc)

    def process_exited(self):
        self.called("process_exited")

    def connection_lost(self, exc):
        self.called("connection_lost", exc)

    def pause_writing(self):
        self.called("pause_writing")

    def resume_writing(self):
        self.called("resume_writing")


def start(loop, *command, on=(), **options):
    """Start a child; return its transport and protocol."""
    return run(loop, loop.subprocess_exec(lambda: Recorder(**dict(on)), *command, **options))


def end(loop, protocol):
    """Run the loop until everything about the child is over."""
    run_until(loop, lambda: protocol.lost)


def script(text):
    return ("/bin/sh", "-c", text)


# -- the object


def test_transport(loop):
    transport, protocol = start(loop, *CAT)
    assert isinstance(transport, asyncio.SubprocessTransport)
    assert isinstance(transport.get_pipe_transport(0), asyncio.WriteTransport)
    for fd in (1, 2):
        assert isinstance(transport.get_pipe_transport(fd), asyncio.ReadTransport)
    for fd in (-1, 3):
        assert transport.get_pipe_transport(fd) is None
    assert transport.get_protocol() is protocol
    assert transport.get_returncode() is None
    assert transport.is_closing() is False
    proc = transport.get_extra_info("subprocess")
    assert isinstance(proc, subprocess.Popen)
    assert proc.pid == transport.get_pid()
    for fd, file in enumerate((proc.stdin, proc.stdout, proc.stderr)):
        assert transport.get_pipe_transport(fd).get_extra_info("pipe") is file
    assert transport.get_extra_info("nothing", "default") == "default"
    transport.attribute = "anything"
    transport.close()
    end(loop, protocol)
    assert transport.get_returncode() == proc.returncode == -signal.SIGKILL


def test_private_names(loop):
    """Those that asyncio's transport has, and that others read."""
    transport, protocol = start(loop, *CAT, stderr=None)
    assert transport._loop is loop
    assert transport._protocol is protocol
    assert transport._proc is transport.get_extra_info("subprocess")
    assert transport._pid == transport.get_pid()
    assert transport._returncode is None
    assert list(transport._pipes) == [0, 1]
    assert transport._pipes[0].pipe is transport.get_pipe_transport(0)
    assert transport._pipes[1].disconnected is False
    transport._check_proc()
    transport.close()
    assert run(loop, transport._wait()) == -signal.SIGKILL
    end(loop, protocol)
    assert (transport._loop, transport._proc, transport._protocol) == (None, None, None)
    assert transport._returncode == -signal.SIGKILL
    assert transport._pipes[1].disconnected is True
    with pytest.raises(ProcessLookupError):
        transport._check_proc()


def test_repr(loop):
    transport, protocol = start(loop, *CAT)
    pid = transport.get_pid()
    assert re.fullmatch(
        rf"<\w*SubprocessTransport pid={pid} running stdin=<.*> stdout=<.*> stderr=<.*>>", repr(transport)
    )
    transport.get_pipe_transport(0).close()
    end(loop, protocol)
    assert re.fullmatch(rf"<\w*SubprocessTransport pid={pid} returncode=0 stdin=.*>", repr(transport))
    transport.close()
    assert re.fullmatch(rf"<\w*SubprocessTransport closed pid={pid} returncode=0 stdin=.*>", repr(transport))


def test_pipes_by_default(loop):
    transport, protocol = start(loop, *script("cat; echo err >&2"))
    stdin = transport.get_pipe_transport(0)
    stdin.write(b"in")
    stdin.write_eof()
    end(loop, protocol)
    assert protocol.received(1) == b"in"
    assert protocol.received(2) == b"err\n"
    transport.close()


def test_subprocess_shell(loop):
    transport, protocol = run(loop, loop.subprocess_shell(Recorder, "echo $0; exit 4"))
    end(loop, protocol)
    assert (protocol.received(1), transport.get_returncode()) == (b"/bin/sh\n", 4)
    transport.close()


# -- callbacks


@pytest.mark.parametrize("command", [script("echo out; echo err >&2; exit 3"), ("/bin/true",), CAT])
def test_order_of_callbacks(watched_by, loop, command):
    """connection_made() first, connection_lost() last, and for each pipe its end last."""
    transport, protocol = start(loop, *command)
    assert protocol.names[0] == "connection_made"
    transport.get_pipe_transport(0).close()
    end(loop, protocol)
    for _ in range(3):
        run(loop, asyncio.sleep(0))
    names = protocol.names
    assert names[-1] == "connection_lost"
    for name in ("connection_made", "process_exited", "connection_lost"):
        assert names.count(name) == 1
    for fd in range(3):
        calls = [name for name, *args in protocol.calls if args[:1] == [fd]]
        assert calls == ["pipe_data_received"] * (len(calls) - 1) + ["pipe_connection_lost"]
        assert protocol.reason(fd) is None
    assert protocol.calls[-1] == ("connection_lost", None)
    transport.close()


def test_no_pipes(watched_by, loop):
    transport, protocol = start(loop, "/bin/true", stdin=None, stdout=None, stderr=None)
    assert transport._pipes == {}
    end(loop, protocol)
    assert protocol.names == ["connection_made", "process_exited", "connection_lost"]
    transport.close()


def test_returncode_is_known_in_process_exited(watched_by, loop):
    codes = []

    def process_exited():
        codes.append(protocol.transport.get_returncode())

    protocol = Recorder(process_exited=process_exited)
    transport, _ = run(loop, loop.subprocess_exec(lambda: protocol, *script("exit 6")))
    end(loop, protocol)
    assert codes == [6]
    transport.close()


def test_pipe_may_outlive_the_child(loop):
    """process_exited() comes first then, connection_lost() when the pipe ends."""
    keep = script("exec 3<&0; cat <&3 & exit 0")
    transport, protocol = start(loop, *keep, stderr=None)
    run_until(loop, lambda: "process_exited" in protocol.names)
    assert transport.get_returncode() == 0
    stdin = transport.get_pipe_transport(0)
    stdin.write(b"after its death")
    stdin.close()
    end(loop, protocol)
    assert protocol.received(1) == b"after its death"
    transport.close()


def test_child_may_outlive_its_pipes(loop):
    read, write = os.pipe()
    command = script(f"exec <&- >&- 2>&-; read x </dev/fd/{read}; exit 3")
    transport, protocol = start(loop, *command, pass_fds=[read])
    os.close(read)
    run_until(loop, lambda: protocol.names.count("pipe_connection_lost") == 3)
    assert transport.get_returncode() is None
    assert not protocol.lost
    os.write(write, b"x\n")
    os.close(write)
    end(loop, protocol)
    assert protocol.names[-2:] == ["process_exited", "connection_lost"]
    assert transport.get_returncode() == 3
    transport.close()


def test_end_of_stdin(loop):
    """A child that closes its stdin is noticed though nothing is written."""
    transport, protocol = start(loop, *script("exec <&-; exec sleep 3600"))
    run_until(loop, lambda: ("pipe_connection_lost", 0, None) in protocol.calls)
    assert transport.get_returncode() is None
    transport.close()
    end(loop, protocol)


def test_end_of_stdin_with_data_left(loop):
    transport, protocol = start(loop, *script("read x"))
    transport.get_pipe_transport(0).write(b"x\n" + bytes(1 << 20))
    end(loop, protocol)
    assert isinstance(protocol.reason(0), BrokenPipeError)
    assert protocol.calls[-1] == ("connection_lost", None)
    transport.close()


def test_flow_control(loop):
    """stdin pauses the child's protocol, and a paused stdout holds the child up."""
    transport, protocol = start(loop, *CAT, stderr=None)
    stdin, stdout = map(transport.get_pipe_transport, (0, 1))
    stdout.pause_reading()
    data = os.urandom(1 << 20)
    stdin.write(data)
    assert protocol.names == ["connection_made", "pause_writing"]
    for _ in range(5):
        run(loop, asyncio.sleep(0.001))
    assert protocol.names == ["connection_made", "pause_writing"]
    stdout.resume_reading()
    run_until(loop, lambda: "resume_writing" in protocol.names)
    stdin.write_eof()
    end(loop, protocol)
    assert protocol.received(1) == data
    transport.close()


def test_set_protocol(loop):
    """Whoever is the protocol when something happens is told."""
    transport, first = start(loop, *script("read x; echo $x; exit 2"))
    second = Recorder()
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    transport.get_pipe_transport(0).write(b"hello\n")
    end(loop, second)
    assert first.names == ["connection_made"]
    assert second.received(1) == b"hello\n"
    assert second.names[-1] == "connection_lost"
    transport.close()


CALLBACKS = [
    "connection_made",
    "pipe_data_received",
    "pipe_connection_lost",
    "process_exited",
    "connection_lost",
]


@pytest.mark.parametrize("name", CALLBACKS)
def test_callback_that_raises(loop, reported, name):
    """It is reported each time, and everything else goes on."""

    def fail(*args):
        raise ZeroDivisionError

    transport, protocol = start(loop, *script("echo out; echo err >&2"), on={name: fail}, stdin=None)
    end(loop, protocol)
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError] * protocol.names.count(
        name
    )
    assert set(CALLBACKS) == set(protocol.names)
    assert protocol.names.count("connection_lost") == 1
    assert (transport._loop, transport._proc, transport._protocol) == (None, None, None)
    transport.close()


# -- close()


def test_close_kills(watched_by, loop):
    transport, protocol = start(loop, *BLOCKED)
    transport.close()
    assert transport.is_closing()
    transport.close()
    assert run(loop, transport._wait()) == -signal.SIGKILL
    end(loop, protocol)
    assert protocol.names.count("connection_lost") == 1


def test_close_leaves_a_dead_child_alone(watched_by, loop):
    """It has exited, and the loop does not know yet: it is not killed. What it returned may be lost in asyncio."""
    read, write = os.pipe()
    transport, protocol = start(loop, *script("read x; exit 3"), stdin=read)
    proc = transport.get_extra_info("subprocess")
    os.close(read)
    os.close(write)
    proc.wait()
    proc.kill = mock.Mock()
    transport.close()
    assert not proc.kill.called
    assert run(loop, transport._wait()) in {0, 3, 255}
    end(loop, protocol)


@pytest.mark.parametrize("name", CALLBACKS)
def test_close_in_a_callback(loop, name):
    def close(*args):
        protocol.transport.close()

    protocol = Recorder(**{name: close})
    command = script("echo out; echo err >&2; read x")
    transport, _ = run(loop, loop.subprocess_exec(lambda: protocol, *command))
    run_until(loop, lambda: protocol.received(2) or transport.is_closing())
    if not transport.is_closing():
        transport.get_pipe_transport(0).close()
    end(loop, protocol)
    run(loop, asyncio.sleep(0))
    assert protocol.names.count("connection_lost") == 1
    assert protocol.names[-1] == "connection_lost"
    assert transport.is_closing()


@pytest.mark.parametrize("name", ["send_signal", "terminate", "kill"])
def test_no_signals_after_the_end(loop, name):
    transport, protocol = start(loop, "/bin/true")
    end(loop, protocol)
    method = getattr(transport, name)
    with pytest.raises(ProcessLookupError):
        method(signal.SIGTERM) if name == "send_signal" else method()
    transport.close()
    assert transport.get_returncode() == 0


def test_signals(loop):
    for name, number in (("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)):
        transport, protocol = start(loop, *BLOCKED)
        getattr(transport, name)()
        end(loop, protocol)
        assert transport.get_returncode() == -number
        transport.close()


def test_invalid_signal(loop):
    transport, protocol = start(loop, *BLOCKED)
    with pytest.raises(OSError, match="Invalid argument"):
        transport.send_signal(12345)
    transport.close()
    end(loop, protocol)


def test_abort_of_stdin(loop):
    transport, protocol = start(loop, *script("exec sleep 3600"))
    stdin = transport.get_pipe_transport(0)
    stdin.write(bytes(1 << 20))
    stdin.abort()
    run_until(loop, lambda: ("pipe_connection_lost", 0, None) in protocol.calls)
    transport.close()
    end(loop, protocol)


def test_unclosed_transport(loop):
    """It warns and kills."""
    transport, protocol = start(loop, *BLOCKED, stdin=None, stdout=None, stderr=None)
    pid = transport.get_pid()
    message = re.escape(f"unclosed transport {transport!r}")
    with pytest.warns(ResourceWarning, match=message):
        transport.__del__()
    end(loop, protocol)
    assert transport.get_returncode() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# -- while it starts


def test_cancelled_start(watched_by, loop):
    """The child is killed and reaped before the cancellation goes on."""
    pids = []
    popen = subprocess.Popen

    def spawn(*args, **kwargs):
        proc = popen(*args, **kwargs)
        pids.append(proc.pid)
        return proc

    async def main():
        before = open_fds()
        task = asyncio.ensure_future(loop.subprocess_exec(Recorder, *BLOCKED))
        with mock.patch("subprocess.Popen", spawn):
            await asyncio.sleep(0)
        task.cancel("reason")
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ProcessLookupError):
            os.kill(pids[0], 0)
        for _ in range(3):
            await asyncio.sleep(0)
        assert open_fds() == before

    run(loop, main())
    gc.collect()


@pytest.mark.parametrize("name", ["connect_write_pipe", "connect_read_pipe"])
def test_pipe_that_cannot_be_connected(impl, loop, name):
    """The child is killed, and its pipes are closed."""
    if impl.name == "asyncio" and sys.version_info < (3, 14):
        pytest.skip("this asyncio leaks the pipes")

    class Failure(Exception):
        pass

    async def fail(*args):
        raise Failure

    async def main():
        before = open_fds()
        with mock.patch.object(loop, name, fail), pytest.raises(Failure):
            await loop.subprocess_exec(Recorder, *BLOCKED)
        for _ in range(3):
            await asyncio.sleep(0)
        assert open_fds() == before

    run(loop, main())
    gc.collect()


def test_pipes_are_connected_by_the_loops_methods(impl):
    """Which a subclass may override."""
    connected = []

    class Loop(impl.Loop):
        async def connect_read_pipe(self, protocol_factory, pipe):
            connected.append("read")
            return await super().connect_read_pipe(protocol_factory, pipe)

        async def connect_write_pipe(self, protocol_factory, pipe):
            connected.append("write")
            return await super().connect_write_pipe(protocol_factory, pipe)

    loop = Loop()
    transport, protocol = start(loop, "/bin/true")
    end(loop, protocol)
    transport.close()
    loop.close()
    assert connected == ["write", "read", "read"]


def test_popen_is_looked_up_when_called(loop):
    """Others put something in its place, for tests and for sandboxes."""
    with mock.patch("subprocess.Popen", side_effect=ZeroDivisionError) as popen:
        for stdin in (None, PIPE):
            with pytest.raises(ZeroDivisionError):
                start(loop, "program", "argument", stdin=stdin, cwd="/")
    args, kwargs = popen.call_args
    assert args == (("program", "argument"),)
    assert kwargs == {
        "shell": False,
        "stdin": PIPE,
        "stdout": PIPE,
        "stderr": PIPE,
        "universal_newlines": False,
        "bufsize": 0,
        "cwd": "/",
    }


def test_closed_loop(impl):
    loop = impl.new_event_loop()
    coro = loop.subprocess_exec(Recorder, "/bin/true")
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_until_complete(coro)
    coro.close()


# -- debug mode


def test_debug_messages(loop, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    loop.slow_callback_duration = 10
    transport, protocol = start(loop, "/bin/cat", "--", stderr=subprocess.STDOUT)
    described = repr(transport)
    pid = transport.get_pid()
    transport.close()
    end(loop, protocol)
    transport, protocol = run(
        loop, loop.subprocess_shell(Recorder, "exit", stdin=None, stdout=1, stderr=None)
    )
    end(loop, protocol)
    transport.close()
    text = caplog.text  # as it was logged: the messages describe the transport again
    assert " execute program '/bin/cat' stdin=<pipe> stdout=stderr=<pipe>\n" in text
    assert f" process '/bin/cat' created: pid {pid}\n" in text
    assert f" execute program '/bin/cat': {described}\n" in text
    assert " Close running child process: kill <" in text
    assert re.search(rf" <.* pid={pid} .*> exited with return code -9\n", text)
    assert " run shell command 'exit' stdout=1\n" in text


# -- what asyncio does not promise


def join_reapers():
    for thread in threading.enumerate():
        if thread.name.startswith("fastloop-"):
            thread.join(TIMEOUT)


@pytest.fixture
def own_loop():
    """A loop of fastloop, for tests that close it themselves."""
    import fastloop

    loop = fastloop.new_event_loop()
    yield loop
    loop.close()


def test_loop_closed_while_a_child_runs(watched_by, own_loop):
    """The transport's end is then the child's end, and it leaves no zombie and no descriptor."""
    transport, protocol = start(own_loop, *BLOCKED, stdin=None, stdout=None, stderr=None)
    own_loop.close()
    protocol.__dict__.clear()
    del protocol
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport
    join_reapers()


def test_loop_closed_before_a_dead_child_was_seen(watched_by, own_loop):
    transport, _ = start(own_loop, *BLOCKED, stdin=None, stdout=None, stderr=None)
    transport.kill()
    os.waitid(os.P_PID, transport.get_pid(), os.WEXITED | os.WNOWAIT)
    own_loop.close()
    join_reapers()
    transport.close()
    assert transport._proc.returncode == -signal.SIGKILL


def test_transport_closed_before_the_loop(watched_by, own_loop):
    transport, _ = start(own_loop, *BLOCKED, stdin=None, stdout=None, stderr=None)
    transport.close()
    own_loop.close()
    join_reapers()
    assert transport._proc.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["wait", "poll"])
def test_status_that_the_popen_object_took(watched_by, own_loop, name):
    """In asyncio it is lost: the return code is 255."""
    read, write = os.pipe()
    transport, protocol = start(own_loop, *script("read x; exit 3"), stdin=read)
    proc = transport.get_extra_info("subprocess")
    os.close(read)
    os.close(write)
    os.waitid(os.P_PID, proc.pid, os.WEXITED | os.WNOWAIT)
    assert getattr(proc, name)() == 3
    transport.kill()
    end(own_loop, protocol)
    assert transport.get_returncode() == 3
    transport.close()


def test_status_that_the_popen_object_takes_in_a_thread(watched_by, own_loop):
    for _ in range(10):
        transport, protocol = start(own_loop, *BLOCKED, stdin=None, stdout=None, stderr=None)
        thread = threading.Thread(target=transport.get_extra_info("subprocess").wait)
        thread.start()
        transport.kill()
        end(own_loop, protocol)
        thread.join()
        assert transport.get_returncode() == -signal.SIGKILL
        transport.close()


def test_no_descriptor_for_a_pidfd(own_loop, monkeypatch):
    """A thread waits for the child then."""

    def refuse(pid, flags=0):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    transport, protocol = start(own_loop, *script("exit 3"))
    end(own_loop, protocol)
    assert transport.get_returncode() == 3
    transport.close()


def test_child_that_cannot_be_watched(own_loop, monkeypatch):
    """Neither pidfd nor thread: the child is killed, reaped, and its pipes are closed."""

    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    before = open_fds()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        start(own_loop, *BLOCKED)
    assert open_fds() == before


def test_fork_with_a_running_child():
    """A forked process that closes its copy of the transport leaves the parent's child alone."""
    program = """
import asyncio, os, sys, warnings
from fastloop import new_event_loop

class Protocol(asyncio.SubprocessProtocol):
    def __init__(self):
        self.data = b""
        self.lost = loop.create_future()
    def pipe_data_received(self, fd, data):
        self.data += data
    def connection_lost(self, exc):
        self.lost.set_result(None)

loop = new_event_loop()
transport, protocol = loop.run_until_complete(loop.subprocess_exec(Protocol, "/bin/cat"))
pid = os.fork()
if pid == 0:
    warnings.simplefilter("ignore")
    transport.close()
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stdin = transport.get_pipe_transport(0)
stdin.write(b"still here")
stdin.close()
loop.run_until_complete(protocol.lost)
print(protocol.data, transport.get_returncode())
transport.close()
loop.close()
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("3\nb'still here' 0\n", "")
