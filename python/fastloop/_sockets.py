"""Socket operations that begin with a look-up or end with a file: sock_connect() and sock_sendfile()."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import socket
from asyncio import SendfileNotAvailableError

from ._compat import check_ssl_socket

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    import asyncio
    from collections.abc import Awaitable, Callable
    from typing import IO, Any

    from ._loop import Loop

_FALLBACK_CHUNK = 256 * 1024  # bytes read at once where sendfile(2) cannot be used
_SENDFILE_CHUNK = 2**30  # bytes for one system call when there is no count
_INET = (socket.AF_INET, socket.AF_INET6)


async def sock_connect(self: Loop, sock: socket.socket, address: Any) -> None:
    """Connect a non-blocking socket; host names are resolved by getaddrinfo().

    Raises OSError if the connection fails, ValueError in debug mode if the socket is blocking.
    """
    _check_socket(self, sock)
    if sock.family in _INET:
        found = await self._ensure_resolved(address, family=sock.family, type=sock.type, proto=sock.proto)
        if not found:
            raise OSError(f"getaddrinfo({address[0]!r}) returned empty list")
        address = found[0][4]
    await self._sock_connect_resolved(sock, address)


def _check_socket(loop: Loop, sock: socket.socket) -> None:
    check_ssl_socket(sock)
    if loop._debug and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")


async def sock_sendfile(
    self: Loop,
    sock: socket.socket,
    file: IO[bytes],
    offset: int = 0,
    count: int | None = None,
    *,
    fallback: bool | None = True,
) -> int:
    """Send count bytes (None: all) of a file from offset on and return the number sent.

    sendfile(2) is used where the file allows it; else, unless fallback is false, the file is read in
    the executor.  The file's position ends after the last byte sent, or at offset.  Raises
    SendfileNotAvailableError, and ValueError or TypeError for unusable arguments.
    """
    _check_socket(self, sock)
    _check_sendfile_arguments(sock, file, offset, count)
    try:
        return await self._sock_sendfile_native(sock, file, offset, count)
    except SendfileNotAvailableError:
        if not fallback:
            raise
    send = functools.partial(self.sock_sendall, sock)
    return await send_file_in_chunks(self, file, offset, count, _FALLBACK_CHUNK, send)


async def sock_sendfile_native(
    self: Loop, sock: socket.socket, file: IO[bytes], offset: int, count: int | None
) -> int:
    """sendfile(2) until the file ends or count bytes are gone."""
    file_fd = _sendfile_descriptor(file)
    sent = 0
    try:
        while count is None or sent < count:
            chunk = _SENDFILE_CHUNK if count is None else min(count - sent, _SENDFILE_CHUNK)
            try:
                n = await self._sock_sendfile_some(sock, file_fd, offset + sent, chunk)
            except OSError as exc:
                error = _sendfile_error(exc, sent)
                if error is exc:
                    raise
                raise error from exc
            if n == 0:
                break
            sent += n
    finally:
        with contextlib.suppress(OSError):  # sendfile(2) has complained of it already
            os.lseek(file_fd, offset + sent, os.SEEK_SET)
    return sent


async def send_file_in_chunks(
    loop: asyncio.AbstractEventLoop,
    file: Any,
    offset: int,
    count: int | None,
    chunk: int,
    send: Callable[[memoryview], Awaitable[None]],
) -> int:
    """Read count bytes (None: all) of a file from offset on in the executor; return the number sent.

    Each part read, of at most chunk bytes, is awaited to be sent before the next is read into the same
    memory.  The file's position, if it has one, ends after the last byte sent, or at offset.
    """
    seekable = hasattr(file, "seek")
    if seekable:
        file.seek(offset)
    buffer = memoryview(bytearray(chunk if count is None else min(count, chunk)))
    sent = 0
    try:
        while count is None or sent < count:
            want = buffer if count is None else buffer[: count - sent]
            read = await loop.run_in_executor(None, file.readinto, want)
            if not read:
                break
            await send(want[:read])
            sent += read
    finally:
        if sent > 0 and seekable:
            file.seek(offset + sent)
    return sent


def _check_sendfile_arguments(sock: socket.socket, file: Any, offset: Any, count: Any) -> None:
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if not sock.type == socket.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None:
        if not isinstance(count, int):
            raise TypeError(f"count must be a positive integer (got {count!r})")
        if count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
    if not isinstance(offset, int):
        raise TypeError(f"offset must be a non-negative integer (got {offset!r})")
    if offset < 0:
        raise ValueError(f"offset must be a non-negative integer (got {offset!r})")


def _sendfile_descriptor(file: IO[bytes]) -> int:
    """The descriptor of a regular file, or SendfileNotAvailableError."""
    try:
        fd = file.fileno()
        os.fstat(fd)
    except (AttributeError, io.UnsupportedOperation, OSError) as exc:
        raise SendfileNotAvailableError("not a regular file") from exc
    return fd


def _sendfile_error(exc: OSError, sent: int) -> Exception:
    """What a failed sendfile(2) becomes: at the beginning, a reason to send without it."""
    if exc.errno == errno.ENOTCONN and type(exc) is not ConnectionError:
        return ConnectionError("socket is not connected", errno.ENOTCONN)
    if sent == 0:
        return SendfileNotAvailableError("os.sendfile call failed")
    return exc
