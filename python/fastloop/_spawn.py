"""Starting a child as subprocess.Popen does: the usual one in short, any other without os.read().

Whenever a child has just been run, the parent's code is out of the caches; then the way through Popen() costs as
much as the system calls it leads to.
"""

from __future__ import annotations

import _posixsubprocess
import builtins
import io
import os
import signal
import subprocess
import sys
import threading

from . import _fastloop
from ._compat import FORK_EXEC_ASKS_FOR_VFORK, FORK_EXEC_IS_KNOWN, FORK_EXEC_TELLS_OF_CHDIR

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from typing import Any, TypeAlias

    _Popen: TypeAlias = subprocess.Popen[bytes]
else:
    _Popen = subprocess.Popen

# To close what the child shall not have takes a file action that came with Python 3.13 and glibc 2.34; where
# posix_spawn() does not report what exec() says, Popen does not use it either.
_CLOSEFROM: Any = getattr(os, "POSIX_SPAWN_CLOSEFROM", None)
_CAN_SPAWN = getattr(subprocess, "_USE_POSIX_SPAWN", False) and _CLOSEFROM is not None
_fork_exec: Any = _posixsubprocess.fork_exec  # what Popen starts other children by
# What a child says when it cannot change to its folder; "noexec" is said of all that fails before exec().
_NO_FOLDER = "noexec:chdir" if FORK_EXEC_TELLS_OF_CHDIR else "noexec"
# What Python ignores, and Popen gives its default handling back to in a child.
_RESTORED = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name)]


def spawn(
    args: Any, shell: bool, streams: tuple[Any, Any, Any], bufsize: int, kwargs: dict[str, Any]
) -> subprocess.Popen[bytes]:
    """Start a child.  Arguments, result and exceptions are those of subprocess.Popen.

    streams are stdin, stdout and stderr.
    """
    if _CAN_SPAWN and subprocess.Popen is _Popen and not kwargs and not bufsize:
        try:
            return Popen.spawn(args, shell, streams)
        except (_Unusual, OSError, TypeError, ValueError):
            pass  # Popen knows how to, or what to raise
    popen = Popen if FORK_EXEC_IS_KNOWN and subprocess.Popen is _Popen else subprocess.Popen
    stdin, stdout, stderr = streams
    return popen(
        args,
        shell=shell,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        universal_newlines=False,
        bufsize=bufsize,
        **kwargs,
    )


class _Unusual(Exception):
    """Not what posix_spawn() is used for."""


class Popen(_Popen):
    """A child of fork_exec(), or of posix_spawn() if spawn() made it; in all else its base class.

    A child of fork_exec() says through a pipe why its program does not run, and C code listens.
    """

    # What the base class sets in each object, but for what __init__() sets here.
    _child_created = False
    _closed_child_pipe_fds = True
    _communication_started = False
    _input = None
    _sigint_wait_secs = 0.25
    encoding = errors = None
    pid: Any = None
    pipesize = -1
    returncode: Any = None
    stdin: Any = None
    stdout: Any = None
    stderr: Any = None
    text_mode = None

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        startupinfo: object,
        creationflags: object,
        shell: bool,
        *rest: Any,
    ) -> None:
        """Start the child; Popen.__init__() has found out how.  Raises why it does not run."""
        *streams, restore_signals, gid, gids, uid, umask, start_new_session, process_group = rest
        command = _command(args, shell, executable)
        program = command[0] if executable is None else executable
        sys.audit("subprocess.Popen", program, command, cwd, env)
        pipe, childs_end = _error_pipe()
        try:
            try:
                self.pid = _fork_exec(
                    command,
                    _paths(program, env),
                    close_fds,
                    tuple(sorted({childs_end, *map(int, pass_fds)})),
                    cwd,
                    _environment(env),
                    *streams,
                    pipe,
                    childs_end,
                    restore_signals,
                    start_new_session,
                    process_group,
                    gid,
                    gids,
                    uid,
                    umask,
                    preexec_fn,
                    *_vfork_wish(),
                )
                self._child_created = True
            finally:
                os.close(childs_end)
            self._close_pipe_fds(*streams)  # type: ignore[attr-defined]
            error = _fastloop._read_exec_error(pipe)
        finally:
            os.close(pipe)
        if error:
            self.wait()
            raise _exec_error(error, program, cwd)

    @classmethod
    def spawn(cls, args: Any, shell: bool, streams: tuple[Any, Any, Any]) -> Popen:
        """Return a child of posix_spawn(), for what is asked for most; raise _Unusual for what that cannot do."""
        proc = cls.__new__(cls)
        proc._spawn(args, shell, streams)
        return proc

    def _spawn(self, args: Any, shell: bool, streams: tuple[Any, Any, Any]) -> None:
        """Do what __init__() does."""
        subprocess._cleanup()  # type: ignore[attr-defined]  # reaps what others left behind
        self.args = args
        self._waitpid_lock = threading.Lock()
        command = ["/bin/sh", "-c", args] if shell else list(args)
        program = command[0]
        find_and_spawn = os.posix_spawn if os.path.dirname(program) else os.posix_spawnp
        theirs: list[int] = []  # the child's ends of the pipes
        try:
            actions = self._connect(streams, theirs)
            sys.audit("subprocess.Popen", program, command, None, None)
            inherited: Any = None  # 3.13 on: the environment is this process's
            self.pid = find_and_spawn(program, command, inherited, file_actions=actions, setsigdef=_RESTORED)
            self._child_created = True
        finally:
            for fd in theirs:
                os.close(fd)
            if not self._child_created:
                for file in (self.stdin, self.stdout, self.stderr):
                    if file is not None:
                        file.close()

    def _connect(self, streams: tuple[Any, Any, Any], theirs: list[int]) -> list[tuple[Any, ...]]:
        """Make the pipes; return the file actions that give the child its streams, and nothing else."""
        actions: list[tuple[Any, ...]] = []
        for fd, stream in enumerate(streams):
            if stream is None:
                continue
            if stream == subprocess.PIPE:
                end = self._make_pipe(fd)
                theirs.append(end)
                if end < 3:  # the parent lacks a standard stream: another action might overwrite this one
                    raise _Unusual
                actions.append((os.POSIX_SPAWN_DUP2, end, fd))
            elif stream == subprocess.DEVNULL:
                actions.append((os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0))
            elif stream == subprocess.STDOUT and fd == 2 and streams[1] == subprocess.PIPE:
                actions.append((os.POSIX_SPAWN_DUP2, 1, 2))
            else:
                raise _Unusual
        actions.append((_CLOSEFROM, 3))
        return actions

    def _make_pipe(self, fd: int) -> int:
        """Keep the parent's end of a pipe for the child's fd as a file; return the other end."""
        read, write = os.pipe()
        if fd == 0:
            self.stdin = io.FileIO(write, "wb")
            return read
        file = io.FileIO(read, "rb")
        if fd == 1:
            self.stdout = file
        else:
            self.stderr = file
        return write


def _command(args: Any, shell: bool, executable: Any) -> list[Any]:
    """Return the list of a program's name and arguments, or of the shell's."""
    if isinstance(args, os.PathLike) and shell:
        raise TypeError("path-like args is not allowed when shell is true")
    command = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
    return [executable or "/bin/sh", "-c", *command] if shell else command


def _paths(program: Any, env: Any) -> tuple[bytes, ...]:
    """Return where a program may be, in the order in which that is tried."""
    name = os.fsencode(program)
    if os.path.dirname(name):
        return (name,)
    return tuple(os.path.join(os.fsencode(folder), name) for folder in os.get_exec_path(env))


def _environment(env: Any) -> list[bytes] | None:
    """Return the variables as exec() takes them; None stands for those of this process."""
    if env is None:
        return None
    variables = [(os.fsencode(name), os.fsencode(value)) for name, value in env.items()]
    if any(b"=" in name for name, _ in variables):
        raise ValueError("illegal environment variable name")
    return [name + b"=" + value for name, value in variables]


def _error_pipe() -> tuple[int, int]:
    """Return a pipe's ends; the one to write to is above those that become the child's streams."""
    read, write = os.pipe()
    low: list[int] = []
    try:
        while write < 3:
            low.append(write)
            write = os.dup(write)
    except BaseException:
        os.close(read)
        raise
    finally:
        for fd in low:
            os.close(fd)
    return read, write


def _vfork_wish() -> tuple[bool, ...]:
    return (subprocess._USE_VFORK,) if FORK_EXEC_ASKS_FOR_VFORK else ()


def _exec_error(message: bytes, program: Any, cwd: Any) -> Exception:
    """What subprocess.Popen raises for a child's message, "name of an exception:errno in hex:text"."""
    try:
        name, number, words = message.split(b":", 2)
        text = words.decode()
    except ValueError:
        return subprocess.SubprocessError(f"Bad exception data from child: {message!r}")
    kind = getattr(builtins, name.decode("ascii"), subprocess.SubprocessError)
    if not (issubclass(kind, OSError) and number):
        return kind(text)
    code = int(number, 16)
    filename = program
    if text in ("noexec", _NO_FOLDER):
        filename = cwd if text == _NO_FOLDER else None
        text = ""
    reason = os.strerror(code) if code else text
    if filename is None and FORK_EXEC_TELLS_OF_CHDIR:
        return kind(code, reason)
    return kind(code, reason, filename)
