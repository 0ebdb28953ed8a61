"""The transport of a child process, and how its exit is noticed."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import threading
import warnings
import weakref

from . import _fastloop
from ._compat import logger
from ._spawn import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import Callable
    from typing import Any

    from ._loop import Loop

_STATUS_UNKNOWN = 255  # the return code of a child that somebody else has reaped


class SubprocessTransport(asyncio.SubprocessTransport):
    """A child process and its pipes.

    The protocol is told of everything only after connection_made(), and connection_lost() comes last: when
    the child has exited and all its pipes are closed.
    """

    def __init__(
        self,
        loop: Loop,
        protocol: Any,
        args: Any,
        shell: bool,
        streams: tuple[Any, Any, Any],
        bufsize: int,
        extra: dict[str, Any] | None,
        kwargs: dict[str, Any],
    ) -> None:
        """Start the child and watch it.  Raises what subprocess.Popen raises."""
        super().__init__(extra)
        self._closed = True  # nothing to close until there is a child
        self._protocol = protocol
        self._loop: Any = loop
        self._proc: Any = None
        self._pid: int | None = None
        self._returncode: int | None = None
        self._pidfd = -1
        self._exit_waiters: set[asyncio.Future[int]] | None = set()
        self._pending_calls: list[tuple[Any, ...]] | None = []  # what waits for connection_made()
        self._pipes: dict[int, Any] = {fd: None for fd in range(3) if streams[fd] == subprocess.PIPE}
        self._finished = False
        proc = spawn(args, shell, streams, bufsize, kwargs)
        self._proc = proc
        self._pid = proc.pid
        self._extra["subprocess"] = proc  # type: ignore[attr-defined]
        try:
            self._watch()
        except BaseException:
            self._undo_start()
            raise
        self._closed = False
        if loop._debug:
            program = args if isinstance(args, (bytes, str)) else args[0]
            logger.debug("process %r created: pid %s", program, self._pid)

    def __repr__(self) -> str:
        parts = [self.__class__.__name__]
        if self._closed:
            parts.append("closed")
        if self._pid is not None:
            parts.append(f"pid={self._pid}")
        if self._returncode is not None:
            parts.append(f"returncode={self._returncode}")
        else:
            parts.append("not started" if self._pid is None else "running")
        names = {0: "stdin", 1: "stdout", 2: "stderr"}
        for fd, end in sorted(self._pipes.items()):
            if end is not None:
                parts.append(f"{names[fd]}={end.pipe}")
        return f"<{' '.join(parts)}>"

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if not self._closed:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self.close()

    # -- what users call

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closed

    def get_pid(self) -> int | None:  # type: ignore[override]
        return self._pid

    def get_returncode(self) -> int | None:
        return self._returncode

    def get_pipe_transport(self, fd: int) -> Any:
        end = self._pipes.get(fd)
        return None if end is None else end.pipe

    def close(self) -> None:
        """Close the pipes and kill the child if it still runs."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None and not self._loop.is_closed():
            for end in self._pipes.values():
                if end is not None:
                    end.pipe.close()
        proc = self._proc
        if proc is None or self._returncode is not None or proc.poll() is not None:
            return
        if self._loop._debug:
            logger.warning("Close running child process: kill %r", self)
        try:
            proc.kill()
        except (ProcessLookupError, PermissionError):
            pass  # it has just exited, or runs with the rights of another user

    def send_signal(self, signal: int) -> None:
        """Send the child a signal, unless it has exited.

        Raises ProcessLookupError after connection_lost(), and PermissionError.
        """
        self._check_proc()
        if self._returncode is None and self._proc.returncode is None:
            self._send(signal)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _check_proc(self) -> None:
        if self._proc is None:
            raise ProcessLookupError

    def _send(self, number: int) -> None:
        """By pidfd, which cannot hit another process that was given the same pid."""
        try:
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self._proc.pid, number)
        except ProcessLookupError:
            pass

    async def _wait(self) -> int:
        """Wait until the child has exited and return its return code."""
        if self._returncode is not None:
            return self._returncode
        waiter = self._loop.create_future()
        self._exit_waiters.add(waiter)  # type: ignore[union-attr]
        try:
            return await waiter  # type: ignore[no-any-return]
        finally:
            if self._exit_waiters is not None:
                self._exit_waiters.discard(waiter)

    # -- the child's pipes

    async def _connect_pipes(self) -> None:
        """Make transports of the pipes, then begin to tell the protocol what happens.

        Returns after connection_made() was called.
        """
        loop = self._loop
        if self._pipes:
            await self._connect_files((self._proc.stdin, self._proc.stdout, self._proc.stderr))
        pending, self._pending_calls = self._pending_calls, None
        loop.call_soon(self._protocol.connection_made, self)
        for call in pending or ():
            loop.call_soon(*call)
        await asyncio.sleep(0)  # these calls go first

    async def _connect_files(self, files: tuple[Any, Any, Any]) -> None:
        """Make transports of our ends of the pipes; close all of them on failure."""
        loop = self._loop
        try:
            for fd, file in enumerate(files):
                if file is not None:
                    connect = loop.connect_read_pipe if fd else loop.connect_write_pipe
                    kind = _ReadEnd if fd else _PipeEnd
                    _, self._pipes[fd] = await connect(functools.partial(kind, self, fd), file)
        except BaseException:
            for fd, file in enumerate(files):
                if file is not None and self._pipes[fd] is None:
                    file.close()
            raise

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        """Schedule a call of a protocol method, behind connection_made()."""
        if self._pending_calls is None:
            self._loop.call_soon(callback, *args)
        else:
            self._pending_calls.append((callback, *args))

    def _pipe_data_received(self, fd: int, data: bytes) -> None:
        self._call(self._protocol.pipe_data_received, fd, data)

    def _pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._call(self._protocol.pipe_connection_lost, fd, exc)
        self._try_finish()

    # -- the child's exit

    def _watch(self) -> None:
        """Have _child_exited() called in the loop: by a pidfd, or by a thread where there is none."""
        loop = self._loop
        try:
            self._pidfd = os.pidfd_open(self._pid)  # type: ignore[arg-type]
            _fastloop.BaseLoop.add_reader(loop, self._pidfd, self._child_exited)
        except (AttributeError, OSError):
            self._close_pidfd()
            name = f"fastloop-waitpid-{self._pid}"
            arguments = (loop, self._pid, weakref.ref(self))
            threading.Thread(target=_wait_in_thread, args=arguments, name=name, daemon=True).start()
        loop._children.add(self)

    def _undo_start(self) -> None:
        """A child that cannot be watched must not run."""
        self._proc.kill()
        self._proc.wait()
        for file in (self._proc.stdin, self._proc.stdout, self._proc.stderr):
            if file is not None:
                file.close()

    def _child_exited(self) -> None:
        """Take the child's status and tell the protocol; nothing if the child has not exited after all."""
        returncode = self._take_status()
        if returncode is None:
            return
        if self._pidfd >= 0:
            _fastloop.BaseLoop.remove_reader(self._loop, self._pidfd)
            self._close_pidfd()
        self._loop._children.discard(self)
        self._process_exited(returncode)

    def _take_status(self) -> int | None:
        """Reap the child and return its return code, or None if it still runs."""
        proc = self._proc
        if proc.returncode is not None:  # poll() or wait() was called on it
            return proc.returncode  # type: ignore[no-any-return]
        try:
            pid, status = os.waitpid(proc.pid, os.WNOHANG)
        except ChildProcessError:
            with proc._waitpid_lock:  # held by a thread that is in poll() or wait()
                if proc.returncode is not None:
                    return proc.returncode
            logger.warning(
                "child process pid %d exit status already read:  will report returncode %d",
                proc.pid,
                _STATUS_UNKNOWN,
            )
            return _STATUS_UNKNOWN
        return os.waitstatus_to_exitcode(status) if pid else None

    def _process_exited(self, returncode: int) -> None:
        """Publish the return code."""
        if self._loop._debug:
            logger.info("%r exited with return code %r", self, returncode)
        self._returncode = returncode
        if self._proc.returncode is None:
            self._proc.returncode = returncode
        self._call(self._protocol.process_exited)
        self._try_finish()
        waiters, self._exit_waiters = self._exit_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(returncode)

    def _try_finish(self) -> None:
        """Once everything is over, say so."""
        if self._returncode is None or self._finished:
            return
        if all(end is not None and end.disconnected for end in self._pipes.values()):
            self._finished = True
            self._call(self._call_connection_lost, None)

    def _call_connection_lost(self, exc: Exception | None) -> None:
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._loop = None
            self._proc = None
            self._protocol = None

    def _loop_was_closed(self) -> None:
        """The child still runs, or nobody has taken its status: a thread will."""
        self._close_pidfd()
        threading.Thread(target=self._proc.wait, name=f"fastloop-reaper-{self._pid}", daemon=True).start()

    def _close_pidfd(self) -> None:
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)


class _PipeEnd(asyncio.BaseProtocol):
    """The protocol of our end of a pipe of the child, whose number there is fd."""

    def __init__(self, proc: SubprocessTransport, fd: int) -> None:
        self.proc: Any = proc
        self.fd = fd
        self.pipe: Any = None  # its transport
        self.disconnected = False

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} fd={self.fd} pipe={self.pipe!r}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.pipe = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnected = True
        self.proc._pipe_connection_lost(self.fd, exc)
        self.proc = None

    def pause_writing(self) -> None:
        self.proc._protocol.pause_writing()

    def resume_writing(self) -> None:
        self.proc._protocol.resume_writing()


class _ReadEnd(_PipeEnd, asyncio.Protocol):
    """The same, of a pipe that the child writes to."""

    def data_received(self, data: bytes) -> None:
        self.proc._pipe_data_received(self.fd, data)


def _wait_in_thread(loop: Loop, pid: int, reference: weakref.ref[SubprocessTransport]) -> None:
    """Wait until a child exits, without reaping it, and tell the loop."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        pass  # reaped already
    transport = reference()
    try:
        if transport is not None:
            loop.call_soon_threadsafe(transport._child_exited)
    except RuntimeError:
        logger.warning("Loop %r that handles pid %r is closed", loop, pid)
