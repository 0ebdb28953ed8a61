"""subprocess_exec() and subprocess_shell(): their arguments, and the way from a spawn to a transport."""

from __future__ import annotations

import subprocess

from ._compat import logger

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    import asyncio
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._child import SubprocessTransport
    from ._loop import Loop

    _Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


class Children:
    """The children of a loop whose exit it has not seen."""

    def __init__(self) -> None:
        self._transports: set[SubprocessTransport] = set()

    def add(self, transport: SubprocessTransport) -> None:
        """Remember a child that was started."""
        self._transports.add(transport)

    def discard(self, transport: SubprocessTransport) -> None:
        """Forget a child that has exited."""
        self._transports.discard(transport)

    def close(self) -> None:
        """Have those that still run reaped when they end: their loop was closed."""
        transports, self._transports = self._transports, set()
        for transport in transports:
            transport._loop_was_closed()


async def subprocess_shell(
    self: Loop,
    protocol_factory: Callable[[], _Protocol],
    cmd: bytes | str,
    *,
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    universal_newlines: bool = False,
    shell: bool = True,
    bufsize: int = 0,
    encoding: str | None = None,
    errors: str | None = None,
    text: bool | None = None,
    **kwargs: Any,
) -> tuple[SubprocessTransport, _Protocol]:
    """Have the shell run cmd; return transport and protocol.

    Arguments and errors are those of subprocess_exec(), and cmd must be bytes or str.
    """
    if not isinstance(cmd, (bytes, str)):
        raise ValueError("cmd must be a string")  # noqa: TRY004  (as asyncio does)
    if universal_newlines:
        raise ValueError("universal_newlines must be False")
    if not shell:
        raise ValueError("shell must be True")
    _refuse_text(bufsize, text, encoding, errors)
    protocol = protocol_factory()
    started = f"run shell command {cmd!r}" if self._debug else ""
    if started:
        _log_start(started, stdin, stdout, stderr)
    transport = await self._make_subprocess_transport(
        protocol, cmd, True, stdin, stdout, stderr, bufsize, **kwargs
    )
    if started:
        logger.info("%s: %r", started, transport)
    return transport, protocol


async def subprocess_exec(
    self: Loop,
    protocol_factory: Callable[[], _Protocol],
    program: Any,
    *args: Any,
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    universal_newlines: bool = False,
    shell: bool = False,
    bufsize: int = 0,
    encoding: str | None = None,
    errors: str | None = None,
    text: bool | None = None,
    **kwargs: Any,
) -> tuple[SubprocessTransport, _Protocol]:
    """Run a program; return transport and protocol.

    stdin, stdout and stderr are what subprocess.Popen takes, a PIPE by default, and kwargs are passed to
    it.  Raises ValueError for arguments that ask for text or buffers, and what Popen raises: OSError if
    the program cannot be run.  Cancelled, it kills the child and waits for its end.
    """
    if universal_newlines:
        raise ValueError("universal_newlines must be False")
    if shell:
        raise ValueError("shell must be False")
    _refuse_text(bufsize, text, encoding, errors)
    protocol = protocol_factory()
    started = f"execute program {program!r}" if self._debug else ""
    if started:
        _log_start(started, stdin, stdout, stderr)
    transport = await self._make_subprocess_transport(
        protocol, (program, *args), False, stdin, stdout, stderr, bufsize, **kwargs
    )
    if started:
        logger.info("%s: %r", started, transport)
    return transport, protocol


async def make_subprocess_transport(
    self: Loop,
    protocol: Any,
    args: Any,
    shell: bool,
    stdin: Any,
    stdout: Any,
    stderr: Any,
    bufsize: int,
    extra: dict[str, Any] | None = None,
    **kwargs: Any,
) -> SubprocessTransport:
    """Start the child and connect its pipes."""
    from ._child import SubprocessTransport

    self._check_closed()
    streams = (stdin, stdout, stderr)
    transport = SubprocessTransport(self, protocol, args, shell, streams, bufsize, extra, kwargs)
    try:
        await transport._connect_pipes()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        transport.close()
        await transport._wait()
        raise
    return transport


def _log_start(started: str, *streams: Any) -> None:
    """Log what is about to be started, and with which streams."""
    stdin, stdout, stderr = streams
    parts = [started]
    if stdin is not None:
        parts.append(f"stdin={_describe(stdin)}")
    if stdout is not None and stderr == subprocess.STDOUT:
        parts.append(f"stdout=stderr={_describe(stdout)}")
    else:
        if stdout is not None:
            parts.append(f"stdout={_describe(stdout)}")
        if stderr is not None:
            parts.append(f"stderr={_describe(stderr)}")
    logger.debug(" ".join(parts))


def _refuse_text(bufsize: Any, text: Any, encoding: Any, errors: Any) -> None:
    if bufsize != 0:
        raise ValueError("bufsize must be 0")
    if text:
        raise ValueError("text must be False")
    if encoding is not None:
        raise ValueError("encoding must be None")
    if errors is not None:
        raise ValueError("errors must be None")


def _describe(stream: Any) -> str:
    """A stream of a child, for a log."""
    if stream == subprocess.PIPE:
        return "<pipe>"
    if stream == subprocess.STDOUT:
        return "<stdout>"
    return repr(stream)
