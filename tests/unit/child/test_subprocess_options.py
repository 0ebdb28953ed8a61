"""What a child is given: streams, descriptors, environment, process attributes; what is refused, what fails."""

import asyncio
import os
import pathlib
import resource
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT

import pytest
from support.net import open_fds, run

pytestmark = pytest.mark.usefixtures("no_child_left")

exec_ = asyncio.create_subprocess_exec
shell = asyncio.create_subprocess_shell


def output(loop, *command, **options):
    """What a program writes to stdout."""

    async def main():
        child = await exec_(*command, **{"stdout": PIPE, **options})
        out, _ = await child.communicate()
        assert child.returncode == 0
        return out

    return run(loop, main())


def said(loop, script, **options):
    """What a shell script writes to stdout."""
    return output(loop, "/bin/sh", "-c", script, **options)


# -- streams


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_child_sees_pipes(loop, name):
    """No sockets: /dev/stdin and the like can be opened."""

    async def main():
        child = await exec_("/bin/sh", "-c", f"test -p /dev/{name}", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        await child.communicate(b"")
        return child.returncode

    assert run(loop, main()) == 0


def test_child_opens_its_streams_by_name(loop):
    async def main():
        child = await shell("cat /dev/stdin >/dev/stdout", stdin=PIPE, stdout=PIPE)
        return await child.communicate(b"by name")

    assert run(loop, main()) == (b"by name", None)


def test_childs_ends_block(loop):
    """Only the parent's ends of the pipes are non-blocking."""
    flags = "import fcntl, os; print([fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for fd in range(3)])"

    async def main():
        child = await exec_(sys.executable, "-c", flags, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        return await child.communicate(b"")

    assert run(loop, main()) == (b"[0, 0, 0]\n", b"")


def test_devnull(loop):
    assert said(loop, "cat; echo to stderr >&2; echo end", stdin=DEVNULL, stderr=DEVNULL) == b"end\n"
    assert said(loop, "echo lost", stdout=DEVNULL) is None


@pytest.mark.parametrize("as_fd", [False, True], ids=["file", "descriptor"])
def test_files(loop, tmp_path, as_fd):
    (tmp_path / "in").write_bytes(b"from a file")
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as target:
        streams = {"stdin": source, "stdout": target}
        if as_fd:
            streams = {name: file.fileno() for name, file in streams.items()}
        assert said(loop, "cat; echo and more >&2", stderr=STDOUT, **streams) is None
    assert (tmp_path / "out").read_bytes() == b"from a fileand more\n"


def test_pipe_between_two_children(loop):
    async def main():
        read, write = os.pipe()
        first = await shell("echo some words", stdout=write)
        os.close(write)
        second = await exec_("/usr/bin/tr", "a-z", "A-Z", stdin=read, stdout=PIPE)
        os.close(read)
        out, _ = await second.communicate()
        return await first.wait(), out

    assert run(loop, main()) == (0, b"SOME WORDS\n")


def test_streams_of_the_parent(run_script):
    """What is not given is inherited, and still blocks afterwards."""
    result = run_script(
        """
import os

async def main():
    child = await asyncio.create_subprocess_shell("cat; echo err >&2")
    return await child.wait()

loop = new_event_loop()
status = loop.run_until_complete(main())
loop.close()
print(status, [os.get_blocking(fd) for fd in range(3)])
""",
        input="inherited\n",
    )
    assert result.stdout == "inherited\n0 [True, True, True]\n"
    assert result.stderr == "err\n"


def test_parent_without_standard_streams(run_script):
    """The pipes then have the numbers of standard streams in the parent, too."""
    result = run_script(
        """
import os
from asyncio.subprocess import PIPE
answer = os.dup(1)
for fd in range(3):
    os.close(fd)

async def main():
    child = await asyncio.create_subprocess_shell("cat; echo err >&2", stdin=PIPE, stdout=PIPE, stderr=PIPE)
    return await child.communicate(b"in")

loop = new_event_loop()
result = loop.run_until_complete(main())
loop.close()
os.write(answer, repr(result).encode())
"""
    )
    assert result.stdout == "(b'in', b'err\\n')"


def test_pipesize(loop):
    async def main():
        child = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE, pipesize=4096)
        return await child.communicate(bytes(100000))

    assert run(loop, main()) == (bytes(100000), None)


# -- descriptors


def test_descriptors_are_closed_in_the_child(loop):
    read, write = os.pipe()
    os.set_inheritable(read, True)
    try:
        assert said(loop, "ls /proc/self/fd").split() == [
            b"0",
            b"1",
            b"2",
            b"3",
        ]  # the last one is that of ls
        assert str(read).encode() in said(loop, "ls /proc/self/fd", close_fds=False).split()
    finally:
        os.close(read)
        os.close(write)


def test_pipes_of_one_child_are_unknown_to_another(loop):
    """Or else the first would never see the end of its input."""

    async def main():
        first = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE, close_fds=False)
        second = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE, close_fds=False)
        assert await first.communicate(b"1") == (b"1", None)
        assert await second.communicate(b"2") == (b"2", None)

    run(loop, main())


def test_pass_fds(loop):
    read, write = os.pipe()
    try:
        assert said(loop, f"echo through >/dev/fd/{write}; echo stdout", pass_fds=[write]) == b"stdout\n"
        assert os.read(read, 100) == b"through\n"
    finally:
        os.close(read)
        os.close(write)


# -- program and environment


@pytest.mark.parametrize(
    "program", ["echo", b"/bin/echo", pathlib.Path("/bin/echo")], ids=lambda name: type(name).__name__
)
def test_program_and_arguments(loop, program):
    path = pathlib.Path("a path")
    assert output(loop, program, "text", b"bytes \xff", path) == b"text bytes \xff a path\n"


def test_executable(loop):
    assert output(loop, "a name", "-c", "echo $0 $1", "zero", "one", executable="/bin/sh") == b"zero one\n"
    assert output(loop, "a name", "-c", "echo $0", executable=b"/bin/sh") == b"a name\n"


def test_executable_of_shell(loop):
    async def main():
        child = await shell("echo $0", executable="/bin/bash", stdout=PIPE)
        return await child.communicate()

    assert run(loop, main()) == (b"/bin/bash\n", None)


def test_env(loop, monkeypatch):
    monkeypatch.setenv("INHERITED", "yes")
    assert said(loop, "echo $INHERITED $GIVEN") == b"yes\n"
    assert said(loop, "echo $INHERITED $GIVEN", env={"GIVEN": "too"}) == b"too\n"
    assert output(loop, "sh", "-c", "echo $GIVEN", env={b"GIVEN": b"\xff", "PATH": "/bin"}) == b"\xff\n"


def test_cwd(loop, tmp_path):
    assert said(loop, "pwd", cwd=tmp_path) == bytes(tmp_path) + b"\n"


# -- the process


def test_preexec_fn(loop):
    assert said(loop, "umask; pwd", preexec_fn=lambda: (os.umask(0o123), os.chdir("/"))) == b"0123\n/\n"


def test_preexec_fn_that_raises(loop):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(subprocess.SubprocessError, match="preexec_fn"):
        said(loop, "echo", preexec_fn=fail)


def test_start_new_session(loop):
    session = "import os; print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())"
    assert output(loop, sys.executable, "-c", session) == b"False False\n"
    assert output(loop, sys.executable, "-c", session, start_new_session=True) == b"True True\n"
    assert output(loop, sys.executable, "-c", session, process_group=0) == b"False True\n"


def test_umask(loop):
    assert said(loop, "umask", umask=0o27) == b"0027\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change the user")
def test_user_and_groups(loop):
    identity = "id -u; id -g; id -G"
    assert said(loop, identity, user=1, group=2, extra_groups=[3, 4]) == b"1\n2\n2 3 4\n"


def test_restore_signals(loop):
    """Python ignores SIGPIPE; a child does so only on demand."""
    ignored = "grep SigIgn /proc/self/status"
    sigpipe = 1 << signal.SIGPIPE - 1
    assert not int(said(loop, ignored).split()[1], 16) & sigpipe
    assert int(said(loop, ignored, restore_signals=False).split()[1], 16) & sigpipe


def test_handlers_are_not_inherited(loop):
    """Neither what a handler in Python does, nor what is blocked in the parent's thread by the spawn."""
    loop.add_signal_handler(signal.SIGUSR1, print)

    async def main():
        child = await shell("kill -USR1 $$; echo alive")
        return await child.wait()

    assert run(loop, main()) == -signal.SIGUSR1
    loop.remove_signal_handler(signal.SIGUSR1)
    assert int(said(loop, "grep SigBlk /proc/self/status").split()[1], 16) == 0


# -- what fails


@pytest.mark.parametrize(
    ("program", "options", "expected", "filename"),
    [
        ("/no/such/program", {}, FileNotFoundError, "/no/such/program"),
        ("no-such-program", {}, FileNotFoundError, "no-such-program"),
        ("/etc/passwd", {}, PermissionError, "/etc/passwd"),
        ("/bin/true", {"cwd": "/no/such/folder"}, FileNotFoundError, "/no/such/folder"),
        ("/bin/true", {"cwd": "/etc/passwd"}, NotADirectoryError, "/etc/passwd"),
    ],
)
def test_program_that_cannot_be_run(loop, program, options, expected, filename):
    """No protocol callback, no descriptor, no zombie."""
    calls = []

    class Protocol(asyncio.SubprocessProtocol):
        def connection_made(self, transport):
            calls.append(transport)

    async def main():
        before = open_fds()
        with pytest.raises(expected) as caught:
            await loop.subprocess_exec(Protocol, program, **options)
        assert caught.value.filename == filename
        assert open_fds() == before

    run(loop, main())
    assert calls == []


def test_file_that_is_no_program(loop, tmp_path):
    file = tmp_path / "noexec"
    file.write_bytes(b"\x7fELF, but not really")
    file.chmod(0o700)

    async def main():
        with pytest.raises(OSError, match="Exec format error"):
            await exec_(file)

    run(loop, main())


def test_shell_that_does_not_know_the_command(loop):
    async def main():
        child = await shell("no-such-program", stderr=PIPE)
        _, err = await child.communicate()
        assert b"not found" in err
        return child.returncode

    assert run(loop, main()) == 127


REFUSED = [
    ({"universal_newlines": True}, "universal_newlines must be False"),
    ({"bufsize": 1}, "bufsize must be 0"),
    ({"bufsize": -1}, "bufsize must be 0"),
    ({"text": True}, "text must be False"),
    ({"encoding": "utf-8"}, "encoding must be None"),
    ({"errors": "strict"}, "errors must be None"),
]


@pytest.mark.parametrize(("options", "message"), [*REFUSED, ({"shell": True}, "shell must be False")])
def test_refused_by_exec(loop, options, message):
    async def main():
        with pytest.raises(ValueError, match=f"^{message}$"):
            await exec_("/bin/true", **options)

    run(loop, main())


@pytest.mark.parametrize(("options", "message"), [*REFUSED, ({"shell": False}, "shell must be True")])
def test_refused_by_shell(loop, options, message):
    async def main():
        with pytest.raises(ValueError, match=f"^{message}$"):
            await shell("true", **options)

    run(loop, main())


@pytest.mark.parametrize("cmd", [["true"], 7, None, pathlib.Path("/bin/true")])
def test_command_of_another_type(loop, cmd):
    async def main():
        with pytest.raises(ValueError, match="^cmd must be a string$"):
            await shell(cmd)

    run(loop, main())


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (("/bin/true", 7), {}, TypeError),
        ((7,), {}, TypeError),
        (("/bin/true",), {"no_such_option": 1}, TypeError),
        (("/bin/true",), {"stdout": "a name"}, AttributeError),
        (("/bin/true",), {"creationflags": 1}, ValueError),
        (("/bin/true",), {"env": {"a=b": "c"}}, ValueError),
        (("/bin/true", "nul \0"), {}, ValueError),
    ],
)
def test_arguments_that_popen_refuses(loop, arguments, options, expected):
    async def main():
        before = open_fds()
        with pytest.raises(expected):
            await loop.subprocess_exec(asyncio.SubprocessProtocol, *arguments, **options)
        assert open_fds() == before

    run(loop, main())


def test_protocol_factory_that_raises(loop):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await loop.subprocess_exec(lambda: 1 / 0, "/bin/true")

    run(loop, main())


# -- large parents


def test_size_of_the_parent_does_not_matter(loop):
    """A spawn that copied the parent's page tables would fault them all in again, and take as long."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    large = bytearray(200 << 20)
    for page in range(0, len(large), 4096):
        large[page] = 1
    touched = resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    async def main():
        for _ in range(3):
            child = await exec_("/bin/true")
            await child.wait()

    run(loop, main())
    for page in range(0, len(large), 4096):
        large[page] = 2
    assert touched > faults
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - touched < 5000
