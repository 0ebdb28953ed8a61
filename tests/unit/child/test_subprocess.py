"""asyncio.create_subprocess_exec() and create_subprocess_shell(): exits, signals, streams, many children at once."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import sys
import threading
from asyncio.subprocess import PIPE, STDOUT

import pytest
from support.net import TIMEOUT, open_fds, run

pytestmark = pytest.mark.usefixtures("no_child_left")

BLOCKED = ("/bin/sleep", "3600")
LARGE = os.urandom(1 << 16) * 64  # 4 MiB: pipes hold 64 KiB

exec_ = asyncio.create_subprocess_exec
shell = asyncio.create_subprocess_shell


def wait_for(child, state=os.WEXITED):
    """Block until the child is dead, or in another state, and leave its status to the loop."""
    os.waitid(os.P_PID, child.pid, state | os.WNOWAIT)


class Held:
    """A child that lives until `release()`, which returns when it is dead and before the loop has noticed."""

    async def start(self, script="exit 3"):
        read, self.write = os.pipe()
        self.child = await exec_("/bin/sh", "-c", f"read x; {script}", stdin=read)
        os.close(read)
        return self.child

    def release(self, reap=False):
        os.close(self.write)
        with contextlib.suppress(ChildProcessError):  # the thread of older asyncios takes the status
            os.waitpid(self.child.pid, 0) if reap else wait_for(self.child)


# -- exits


@pytest.mark.parametrize(("script", "returncode"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", -9)])
def test_returncode(watched_by, loop, script, returncode):
    async def main():
        child = await exec_("/bin/sh", "-c", script)
        assert isinstance(child, asyncio.subprocess.Process)
        assert (child.stdin, child.stdout, child.stderr) == (None, None, None)
        assert await child.wait() == returncode
        assert child.returncode == returncode
        assert await child.wait() == returncode

    run(loop, main())


def test_shell(watched_by, loop):
    async def main():
        child = await shell(b"exit $((3 + 4))")
        return await child.wait()

    assert run(loop, main()) == 7


def test_returncode_is_none_while_the_child_runs(watched_by, loop):
    async def main():
        child = await exec_(*BLOCKED)
        assert child.returncode is None
        os.kill(child.pid, 0)
        child.kill()
        assert await child.wait() == -signal.SIGKILL

    run(loop, main())


def test_child_that_has_exited_before_the_loop_looks(watched_by, loop):
    async def main():
        held = Held()
        child = await held.start()
        held.release()
        assert child.returncode is None
        return await child.wait()

    assert run(loop, main()) == 3


def test_status_that_somebody_else_takes(impl, watched_by, loop, caplog):
    """What the child returned is unknown then: 255, and a warning."""

    async def main():
        held = Held()
        child = await held.start()
        held.release(reap=True)
        return await child.wait()

    returncode = run(loop, main())
    if impl.name == "asyncio" and sys.version_info < (3, 14):
        assert returncode in {3, 255}  # a thread may take the status, so two wait for it
    else:
        assert returncode == 255
        assert "255" in caplog.text


def test_sigchld_that_is_ignored(watched_by, loop):
    """The kernel then throws the status away."""
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    async def main():
        child = await exec_("/bin/cat", stdin=PIPE)
        child.stdin.close()
        return await child.wait()

    try:
        assert run(loop, main()) == 255
    finally:
        signal.signal(signal.SIGCHLD, previous)


def test_wait_does_not_wait_for_pipes(impl, loop):
    """A grandchild keeps the pipes open: the child is over nevertheless."""
    if impl.name == "asyncio" and sys.version_info < (3, 14):
        pytest.skip("this asyncio waits for the pipes")

    async def main():
        child = await shell("exec 3<&0; cat <&3 & echo ready; wait", stdin=PIPE, stdout=PIPE)
        assert await child.stdout.readline() == b"ready\n"
        child.kill()
        assert await child.wait() == -signal.SIGKILL
        assert await child.communicate(b"late") == (b"late", None)

    run(loop, main())


def test_many_wait_for_one(watched_by, loop):
    async def main():
        child = await exec_("/bin/cat", stdin=PIPE)
        waits = [asyncio.ensure_future(child.wait()) for _ in range(10)]
        await asyncio.sleep(0)
        waits[3].cancel()
        child.stdin.close()
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert isinstance(results.pop(3), asyncio.CancelledError)
        assert results == [0] * 9

    run(loop, main())


def test_wait_again_after_a_timeout(watched_by, loop):
    async def main():
        child = await exec_(*BLOCKED)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(child.wait(), 0.001)
        child.kill()
        return await child.wait()

    assert run(loop, main()) == -signal.SIGKILL


# -- signals


@pytest.mark.parametrize(("name", "number"), [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)])
def test_ending_a_child(watched_by, loop, name, number):
    async def main():
        child = await exec_(*BLOCKED)
        getattr(child, name)()
        return await child.wait()

    assert run(loop, main()) == -number


def test_send_signal(watched_by, loop):
    async def main():
        child = await shell("trap 'echo caught; exit 5' USR1; echo ready; read x", stdin=PIPE, stdout=PIPE)
        assert await child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGUSR1)
        assert await child.stdout.read() == b"caught\n"
        child.stdin.close()
        return await child.wait()

    assert run(loop, main()) == 5


@pytest.mark.parametrize("name", ["terminate", "kill"])
def test_ending_a_child_that_has_exited(impl, watched_by, loop, name):
    if impl.name == "asyncio" and sys.version_info < (3, 14):
        pytest.skip("this asyncio loses the return code")

    async def main():
        held = Held()
        child = await held.start()
        held.release()
        getattr(child, name)()
        assert await child.wait() == 3
        await asyncio.sleep(0)
        with pytest.raises(ProcessLookupError):
            getattr(child, name)()

    run(loop, main())


def test_killing_until_it_is_dead(impl, watched_by, loop):
    if impl.name == "asyncio" and sys.version_info < (3, 14):
        pytest.skip("this asyncio loses the return code")

    async def main():
        child = await exec_(*BLOCKED)
        while child.returncode is None:
            child.kill()
            await asyncio.sleep(0)
        return await child.wait()

    assert run(loop, main()) == -signal.SIGKILL


def test_stopped_child_is_not_dead(watched_by, loop):
    async def main():
        child = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE)
        child.send_signal(signal.SIGSTOP)
        wait_for(child, os.WSTOPPED)
        for _ in range(3):
            await asyncio.sleep(0.001)
        assert child.returncode is None
        child.send_signal(signal.SIGCONT)
        assert await child.communicate(b"alive") == (b"alive", None)
        return await child.wait()

    assert run(loop, main()) == 0


def test_handler_of_sigchld(watched_by, loop):
    """Children and a handler for their signal do not disturb each other."""
    signals = []
    loop.add_signal_handler(signal.SIGCHLD, signals.append, "SIGCHLD")

    async def main():
        children = [await shell(f"exit {number}") for number in range(3)]
        codes = [await child.wait() for child in children]
        while not signals:
            await asyncio.sleep(0)
        return codes

    assert run(loop, main()) == [0, 1, 2]
    assert loop.remove_signal_handler(signal.SIGCHLD)


# -- streams


def test_talking_to_a_child(loop):
    async def main():
        child = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE)
        for line in (b"one\n", b"two\n"):
            child.stdin.write(line)
            await child.stdin.drain()
            assert await child.stdout.readline() == line
        child.stdin.close()
        await child.stdin.wait_closed()
        assert await child.stdout.read() == b""
        return await child.wait()

    assert run(loop, main()) == 0


@pytest.mark.parametrize("sent", [b"", b"some data", LARGE], ids=["nothing", "some", "large"])
def test_communicate(watched_by, loop, sent):
    """A large input and the equally large output need each other to go on."""

    async def main():
        child = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE)
        assert await child.communicate(sent) == (sent, None)
        assert child.returncode == 0

    run(loop, main())


def test_both_outputs_are_large(loop):
    async def main():
        script = "head -c 1000000 /dev/zero >&2 & head -c 1000000 /dev/zero; wait; cat >&2"
        child = await shell(script, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        out, err = await child.communicate(LARGE)
        assert out == bytes(1000000)
        assert err == bytes(1000000) + LARGE

    run(loop, main())


def test_stderr_goes_where_stdout_goes(loop):
    async def main():
        child = await shell("echo out; echo err >&2; echo out", stdout=PIPE, stderr=STDOUT)
        assert child.stderr is None
        assert await child.communicate() == (b"out\nerr\nout\n", None)

    run(loop, main())


def test_only_stderr(loop):
    async def main():
        child = await shell("echo err >&2", stderr=PIPE)
        assert (child.stdin, child.stdout) == (None, None)
        assert await child.communicate() == (None, b"err\n")

    run(loop, main())


def test_output_that_is_read_after_the_exit(watched_by, loop):
    async def main():
        child = await shell("echo some words", stdout=PIPE)
        assert await child.wait() == 0
        return await child.stdout.read()

    # Before 3.13.1 wait() ends with the last pipe, but what was read before is kept all the same.
    assert run(loop, main()) == b"some words\n"


def test_output_longer_than_the_limit(loop):
    """The pipe is not read while nobody reads the stream, and nothing is lost."""

    async def main():
        child = await shell("head -c 300000 /dev/zero", stdout=PIPE, limit=10)
        size = 0
        while data := await child.stdout.read(1000):
            size += len(data)
            await asyncio.sleep(0)
        return size, await child.wait()

    assert run(loop, main()) == (300000, 0)


def test_input_that_nobody_reads(loop):
    """A child that exits early ends communicate() quietly and drain() with an exception."""

    async def communicate():
        child = await exec_("/bin/true", stdin=PIPE)
        await child.communicate(LARGE * 3)
        assert child.returncode == 0

    async def drain():
        child = await shell("read x", stdin=PIPE)
        child.stdin.write(b"x\n" + LARGE)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                await child.stdin.drain()
                child.stdin.write(LARGE)
        return await child.wait()

    run(loop, communicate())
    assert run(loop, drain()) == 0


# -- many, and elsewhere


def test_a_hundred_at_once(watched_by, loop):
    async def one(number):
        child = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE)
        assert await child.communicate(b"%d" % number) == (b"%d" % number, None)
        return child.returncode

    async def main():
        return await asyncio.gather(*map(one, range(100)))

    assert run(loop, main()) == [0] * 100


def test_loop_in_another_thread(impl, watched_by):
    results = []

    async def main():
        child = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE)
        out, _ = await child.communicate(b"from a thread")
        results.append((out, child.returncode))

    def target():
        loop = impl.new_event_loop()
        try:
            run(loop, main())
        finally:
            loop.close()

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(TIMEOUT)
    assert results == [(b"from a thread", 0)]


FORK = """
import os
from asyncio.subprocess import PIPE

async def main(text):
    child = await asyncio.create_subprocess_exec("/bin/cat", stdin=PIPE, stdout=PIPE)
    out, _ = await child.communicate(text)
    return out, child.returncode

async def parent():
    child = await asyncio.create_subprocess_exec("/bin/cat", stdin=PIPE, stdout=PIPE)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            asyncio._set_running_loop(None)
            loop = new_event_loop()
            assert loop.run_until_complete(main(b"child")) == (b"child", 0)
            loop.close()
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    out, _ = await child.communicate(b"parent")
    print(status, out, child.returncode)

loop = new_event_loop()
loop.run_until_complete(parent())
loop.close()
"""


def test_fork_while_a_child_runs(run_script):
    """The forked process has children of its own, and the parent's child stays the parent's."""
    result = run_script(FORK)
    assert result.stdout == "0 b'parent' 0\n"


def test_descriptors_run_out(loop):
    """No descriptor for the pipes: an OSError, and everything works again when there are some."""

    async def main():
        spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
        hoard = []
        try:
            while True:
                hoard.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as exc:
            assert exc.errno == errno.EMFILE
        for fd in spare:
            os.close(fd)
        with pytest.raises(OSError) as caught:
            await exec_("/bin/cat", stdin=PIPE, stdout=PIPE)
        assert caught.value.errno == errno.EMFILE
        for fd in hoard:
            os.close(fd)
        child = await exec_("/bin/cat", stdin=PIPE, stdout=PIPE)
        return await child.communicate(b"again")

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_fds()) + 20, limits[1]))
    try:
        assert run(loop, main()) == (b"again", None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
