"""Starting a child as subprocess.Popen does, without the questions that it asks first.

Whenever a child has just been run, the parent's code is out of the caches; then the way through Popen() costs as
much as the system calls it leads to.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading

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
            return Popen(args, shell, streams)
        except (_Unusual, OSError, TypeError, ValueError):
            pass  # Popen knows how to, or what to raise
    stdin, stdout, stderr = streams
    return subprocess.Popen(
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
    """Not what Popen below is for."""


class Popen(_Popen):
    """A child of posix_spawn(), for what is asked for most; in all else its base class."""

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

    def __init__(self, args: Any, shell: bool, streams: tuple[Any, Any, Any]) -> None:
        """Raise _Unusual where the base class is needed."""
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
