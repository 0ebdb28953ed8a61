"""Files sent over a transport."""

from __future__ import annotations

import asyncio
from asyncio import SendfileNotAvailableError

from ._compat import SendfileMode
from ._sockets import send_file_in_chunks

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from typing import IO, Any

    from ._loop import Loop

_CHUNK = 16384  # bytes read and written at once where sendfile(2) cannot be used


async def sendfile(
    self: Loop,
    transport: asyncio.WriteTransport,
    file: IO[bytes],
    offset: int = 0,
    count: int | None = None,
    *,
    fallback: bool | None = True,
) -> int:
    """Send count bytes (None: all) of a file from offset on and return the number sent.

    What was written to the transport before goes first; while this runs writing to it is an error
    and it does not read.  sendfile(2) is used where transport and file allow it; else, unless
    fallback is false, the file is read in the executor.  The file's position ends after the last byte
    sent.  Raises RuntimeError if the transport is closing or cannot do it, SendfileNotAvailableError,
    and ConnectionError if the peer goes away.
    """
    if transport.is_closing():
        raise RuntimeError("Transport is closing")
    mode = getattr(transport, "_sendfile_compatible", SendfileMode.UNSUPPORTED)
    if mode is SendfileMode.UNSUPPORTED:
        raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
    if mode is SendfileMode.TRY_NATIVE:
        try:
            return await self._sendfile_native(transport, file, offset, count)
        except SendfileNotAvailableError:
            if not fallback:
                raise
    if not fallback:
        raise RuntimeError(
            f"fallback is disabled and native sendfile is not supported for transport {transport!r}"
        )
    return await self._sendfile_fallback(transport, file, offset, count)


async def sendfile_native(self: Loop, transport: Any, file: IO[bytes], offset: int, count: int | None) -> int:
    """sendfile(2) once everything written has gone."""
    emptied = transport._make_empty_waiter()
    resume_reading = transport.is_reading()
    transport.pause_reading()
    try:
        await emptied
        return await self.sock_sendfile(transport._sock, file, offset, count, fallback=False)
    except (OSError, SendfileNotAvailableError) as exc:
        if transport.is_closing() and not isinstance(exc, ConnectionError):
            raise ConnectionError("Connection closed by peer") from exc
        raise
    finally:
        transport._reset_empty_waiter()
        if resume_reading:
            transport.resume_reading()


async def sendfile_fallback(self: Loop, transport: Any, file: Any, offset: int, count: int | None) -> int:
    """Read the file in the executor and write what was read, as fast as it can be sent."""
    writer = _FileWriter(self, transport)
    try:
        return await send_file_in_chunks(self, file, offset, count or None, _CHUNK, writer.write)
    finally:
        writer.restore()


class _FileWriter(asyncio.Protocol):
    """Stands in for a transport's protocol while a file is written: it hears of back-pressure."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._protocol: Any = transport.get_protocol()
        self._resume_reading: bool = transport.is_reading()
        self._paused: bool = transport._protocol_paused
        self._protocol_paused = self._paused  # what the protocol was told last
        self._lost = False
        self._writable: asyncio.Future[None] | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    async def write(self, data: memoryview) -> None:
        """Write a copy, and return when the transport takes more; raises ConnectionError if it is closed."""
        self._transport.write(bytes(data))
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")
        if self._paused:
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None

    def restore(self) -> None:
        """Give the transport back to its protocol and tell that whether it may write."""
        self._transport.set_protocol(self._protocol)
        if self._lost:
            return
        if self._resume_reading:
            self._transport.resume_reading()
        if self._protocol_paused and not self._paused:
            self._protocol.resume_writing()
        elif self._paused and not self._protocol_paused:
            self._protocol.pause_writing()

    def pause_writing(self) -> None:
        """Have write() wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let write() return."""
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """End write() with an exception, and tell the protocol."""
        self._lost = True
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(exc or ConnectionError("Connection is closed by peer"))
        self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Nothing may arrive: the transport does not read."""
        raise RuntimeError("Invalid state: reading should be paused")

    def eof_received(self) -> bool | None:
        """TLS may end all the same: the protocol decides."""
        keep_open: bool | None = self._protocol.eof_received()
        return keep_open
