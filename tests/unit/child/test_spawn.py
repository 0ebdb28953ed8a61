"""How a child is started: the objects and effects of fastloop's short way are those of subprocess.Popen."""

import asyncio
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from unittest import mock

import pytest
from support.net import open_fds, run

pytestmark = pytest.mark.usefixtures("no_child_left")

has_short_way = pytest.mark.skipif(
    not hasattr(os, "POSIX_SPAWN_CLOSEFROM"), reason="this Python always takes the way through Popen()"
)


@pytest.fixture(params=["short", "Popen"])
def way(request, monkeypatch):
    """Which way a child is started; the short one exists from Python 3.13 on."""
    from fastloop import _spawn

    if request.param == "Popen":
        monkeypatch.setattr(_spawn, "_CAN_SPAWN", False)
    elif not _spawn._CAN_SPAWN:
        pytest.skip("this Python has no short way")
    return request.param


def spawn(*args, shell=False, streams=(None, None, None), bufsize=0, **kwargs):
    from fastloop import _spawn

    proc = _spawn.spawn(args[0] if shell else args, shell, streams, bufsize, kwargs)
    assert isinstance(proc, subprocess.Popen)
    return proc


def is_short(proc):
    """Whether Popen.__init__() was spared."""
    return "pipesize" not in vars(proc)


def end(proc):
    """Wait for the child, close the pipes; return what came out of them."""
    out = [file.read() for file in (proc.stdout, proc.stderr) if file is not None]
    for file in (proc.stdin, proc.stdout, proc.stderr):
        if file is not None:
            file.close()
    proc.wait()
    return out


def test_methods_of_popen(way):
    proc = spawn("/bin/cat", streams=(PIPE, PIPE, None))
    assert is_short(proc) == (way == "short")
    assert proc.args == ("/bin/cat",)
    assert repr(proc) == "<Popen: returncode: None args: ('/bin/cat',)>"
    assert proc.universal_newlines is None or proc.universal_newlines is False
    assert proc.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        proc.wait(0.001)
    assert proc.communicate(b"in and out") == (b"in and out", None)
    assert proc.returncode == proc.wait() == proc.poll() == 0
    with spawn("/bin/sleep", "3600") as proc:
        proc.terminate()
    assert proc.returncode == -15


@has_short_way
def test_attributes_of_popen():
    """What a Popen object has, in this version of Python, these have too."""
    with subprocess.Popen(["/bin/true"]) as popen, spawn("/bin/true") as proc:
        assert is_short(proc)
        for name, value in vars(popen).items():
            assert hasattr(proc, name)
            if name not in {"args", "pid", "_waitpid_lock", "returncode"}:
                assert getattr(proc, name) == value, name


def test_streams(way):
    script = "cat; echo err >&2"
    expected = {
        (PIPE, PIPE, PIPE): [b"", b"err\n"],
        (PIPE, PIPE, STDOUT): [b"err\n"],
        (DEVNULL, PIPE, DEVNULL): [b""],
        (DEVNULL, DEVNULL, PIPE): [b"err\n"],
        (DEVNULL, DEVNULL, STDOUT): [],
    }
    for streams, output in expected.items():
        proc = spawn(script, shell=True, streams=streams)
        if proc.stdin is not None:
            proc.stdin.close()
        for file, stream in zip((proc.stdin, proc.stdout, proc.stderr), streams, strict=True):
            assert (file is not None) == (stream == PIPE)
        assert end(proc) == output


def test_files_of_pipes(way):
    """Raw, and not inherited by other children."""
    proc = spawn("/bin/cat", streams=(PIPE, PIPE, PIPE))
    for file, mode in ((proc.stdin, "wb"), (proc.stdout, "rb"), (proc.stderr, "rb")):
        assert (type(file).__name__, file.mode) == ("FileIO", mode)
        assert os.get_inheritable(file.fileno()) is False
        assert os.get_blocking(file.fileno()) is True
    proc.stdin.close()
    end(proc)


@pytest.mark.parametrize(
    "program",
    ["/bin/echo", "echo", b"echo", pathlib.Path("/bin/echo")],
    ids=["path", "name", "bytes", "Path"],
)
def test_program(way, program):
    proc = spawn(program, "text", b"\xff", pathlib.Path("path"), streams=(None, PIPE, None))
    assert is_short(proc) == (way == "short")
    assert end(proc) == [b"text \xff path\n"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("/no/such/program",), FileNotFoundError),
        (("no-such-program",), FileNotFoundError),
        (("/etc/passwd",), PermissionError),
        (("/bin/true", "\0"), ValueError),
        (("/bin/true", 7), TypeError),
        ((7,), TypeError),
    ],
)
def test_failures(way, args, expected):
    """Exactly Popen's exception, and no descriptor is left."""
    before = open_fds()
    with pytest.raises(expected) as caught:
        spawn(*args, streams=(PIPE, PIPE, PIPE))
    with pytest.raises(expected) as popens:
        subprocess.Popen(args)
    assert (caught.type, caught.value.args) == (popens.type, popens.value.args)
    assert getattr(caught.value, "filename", None) == getattr(popens.value, "filename", None)
    assert open_fds() == before


def test_what_only_popen_does(way):
    """Other arguments than streams, and streams that are files, go through Popen()."""
    read, write = os.pipe()
    with open(write, "wb") as file:
        proc = spawn(
            "/bin/sh", "-c", "pwd; echo $VALUE", streams=(None, file, None), cwd="/", env={"VALUE": "7"}
        )
        assert not is_short(proc)
        assert end(proc) == []
    with open(read, "rb") as file:
        assert file.read() == b"/\n7\n"


# -- children of fork_exec(), in everything like Popen's


def raised_by(start):
    """The exception that `start` raises, as (type, args, filename); no descriptor is left and no child."""
    before = open_fds()
    with pytest.raises(Exception) as caught:
        start()
    del start
    assert open_fds() == before
    return caught.type, caught.value.args, getattr(caught.value, "filename", None)


def fail():
    raise ZeroDivisionError


NO_FOLDER = {"cwd": "/no/such/folder"}
FAILURES = [
    ("/no/such/program", {"cwd": "/"}),
    ("no-such-program", {"cwd": "/", "env": {"PATH": "/bin:/usr/bin"}}),
    ("true", {"env": {"PATH": "/no/such/folder"}}),
    (b"/etc/passwd", {"umask": 0}),
    ("/bin/true", NO_FOLDER),
    ("/bin/true", {"cwd": b"/etc/passwd"}),
    ("/bin/true", {"cwd": pathlib.Path("/no/such/folder")}),
    ("/bin/true", {"process_group": 2**22 + 1}),
    ("/bin/true", {"process_group": 2**22 + 1, "cwd": "/"}),
    ("/bin/true", {"preexec_fn": fail}),
    ("/bin/true", {"env": {"A=B": "C"}}),
    ("/bin/true", {"env": {"A\0": "C"}}),
    ("/bin/true", {"env": {1: "C"}}),
    ("/bin/true", {"cwd": "\0"}),
    ("/bin/true", {"pass_fds": [-1]}),
    ("/bin/true", {"pass_fds": ["x"]}),
    ("/bin/true", {"executable": "/no/such/program"}),
    ("/bin/true", {"executable": 7}),
    (7, {"cwd": "/"}),
    ("", {"cwd": "/"}),
]


@pytest.mark.parametrize(("program", "options"), FAILURES)
def test_failures_with_options(program, options):
    ours = raised_by(lambda: spawn(program, "x", streams=(PIPE, PIPE, PIPE), **options))
    theirs = raised_by(lambda: subprocess.Popen([program, "x"], **options))
    assert ours == theirs


@pytest.mark.parametrize("options", [NO_FOLDER, {"executable": "/no/such/shell"}, {"executable": ""}])
@pytest.mark.parametrize("command", ["true", b"true"])
def test_failures_of_a_shell(command, options):
    if options == {"executable": ""} and isinstance(command, bytes):
        return
    try:
        theirs = raised_by(lambda: subprocess.Popen(command, shell=True, **options))
    except pytest.fail.Exception:
        pytest.skip("this is no failure")
    assert raised_by(lambda: spawn(command, shell=True, **options)) == theirs


def test_path_for_a_shell():
    """Which Popen refuses."""
    path = pathlib.Path("/bin/true")
    ours = raised_by(lambda: spawn(path, shell=True, cwd="/"))
    assert ours == raised_by(lambda: subprocess.Popen(path, shell=True)) and ours[0] is TypeError


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense",
        b":",
        b"::",
        b"OSError::",
        b"OSError:0:words of a child",
        b"OSError:0:noexec",
        b"OSError:0:noexec:chdir",
        b"OSError:d:",
        b"OSError:d:noexec",
        b"OSError:d:noexec:chdir",
        b"ValueError:2:words",
        b"SubprocessError:0:words:and more",
        b"NoSuchError:2:words",
        b"OSError:2:\xff",
    ],
)
@pytest.mark.parametrize("cwd", [None, "/"])
def test_what_a_child_may_say(message, cwd):
    """Of the reason why it does not run: it becomes the exception that Popen makes of it."""
    from fastloop import _fastloop

    options = {"cwd": cwd, "start_new_session": True}
    with mock.patch.object(_fastloop, "_read_exec_error", lambda fd: message):
        ours = raised_by(lambda: spawn("/bin/true", **options))
    with mock.patch("os.read", side_effect=[message, b""]):
        theirs = raised_by(lambda: subprocess.Popen(["/bin/true"], **options))
    if str(theirs[1][0]).startswith("Bad exception data"):  # which ends in the data, as one type or another
        assert (ours[0], ours[1][0][:30]) == (theirs[0], theirs[1][0][:30])
    else:
        assert ours == theirs


@pytest.mark.parametrize("closed", [(0,), (0, 1, 2), (1, 2)])
def test_no_standard_streams_and_a_folder(run_script, closed):
    """The pipe that a child tells of its failure by may have the number of one of its streams."""
    result = run_script(
        f"""
import os, subprocess
from fastloop._spawn import spawn
answer = os.dup(2)
for fd in {closed}:
    os.close(fd)
child = spawn("pwd; cat", True, (subprocess.PIPE, subprocess.PIPE, None), 0, {{"cwd": "/"}})
said = child.communicate(b"in")[0]
try:
    spawn(["/bin/true"], False, (subprocess.PIPE, subprocess.PIPE, None), 0, {{"cwd": "/no/such/folder"}})
except FileNotFoundError as error:
    said += error.filename.encode()
os.write(answer, said)
"""
    )
    assert (result.stderr, result.returncode) == ("/\nin/no/such/folder", 0)


def read_exec_error(fd):
    from fastloop import _fastloop

    return _fastloop._read_exec_error(fd)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        with contextlib.suppress(OSError):
            os.close(fd)


@pytest.fixture
def alarm():
    """A function that has a function called by a signal handler in the middle of a blocking call."""
    before = signal.getsignal(signal.SIGALRM)

    def set_alarm(function):
        signal.signal(signal.SIGALRM, lambda *_: function())
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    yield set_alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 5000])
def test_read_exec_error(pipe, size):
    """All of it, but not without limit."""
    read, write = pipe
    os.write(write, bytes(size))
    os.close(write)
    assert read_exec_error(read) == bytes(min(size, 1024))


def test_read_exec_error_is_interrupted(pipe, alarm):
    read, write = pipe
    alarm(lambda: os.close(write))
    assert read_exec_error(read) == b""


def test_read_exec_error_is_ended_by_a_signal_handler(pipe, alarm):
    alarm(fail)
    with pytest.raises(ZeroDivisionError):
        read_exec_error(pipe[0])


def test_read_exec_error_lets_other_threads_run(pipe):
    read, write = pipe
    timer = threading.Timer(0.05, os.close, [write])
    timer.start()
    assert read_exec_error(read) == b""
    timer.join()


@pytest.mark.parametrize(
    ("fd", "error"), [(-1, ValueError), ("x", ValueError), (2**40, ValueError), (1 << 20, OSError)]
)
def test_read_exec_error_of_no_descriptor(fd, error):
    with pytest.raises(error):
        read_exec_error(fd)


# -- what others do to Popen


def test_popen_that_somebody_replaced(way):
    with mock.patch("subprocess.Popen") as popen:
        from fastloop import _spawn

        assert _spawn.spawn(("/bin/true",), False, (None, None, None), 0, {}) is popen.return_value


@pytest.fixture
def audited():
    """A list of the arguments of the audit events `subprocess.Popen`; hooks cannot be removed."""
    events = []
    active = True

    def hook(name, args):
        if active and name == "subprocess.Popen":
            events.append(args)

    sys.addaudithook(hook)
    yield events
    active = False


def test_audit_event(way, audited):
    end(spawn("/bin/true", "argument"))
    end(spawn("exit", shell=True))
    assert audited == [
        ("/bin/true", ["/bin/true", "argument"], None, None),
        ("/bin/sh", ["/bin/sh", "-c", "exit"], None, None),
    ]


def test_children_that_others_forgot(impl, loop):
    """A Popen object that was dropped leaves a zombie, which whoever starts the next child reaps."""

    async def main():
        child = await asyncio.create_subprocess_exec("/bin/true")
        await child.wait()

    forgotten = subprocess.Popen(["/bin/cat"], stdin=PIPE)
    pid, stdin = forgotten.pid, forgotten.stdin
    with pytest.warns(ResourceWarning, match="still running"):
        del forgotten
    stdin.close()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    run(loop, main())
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
