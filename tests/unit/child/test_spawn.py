"""How a child is started: the objects and effects of fastloop's short way are those of subprocess.Popen."""

import asyncio
import os
import pathlib
import subprocess
import sys
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
