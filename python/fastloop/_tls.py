"""TLS by asyncio's own protocol on top of a stream transport."""

from __future__ import annotations

import asyncio
from asyncio import sslproto

from . import _fastloop
from ._core import CoreLoop

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    import socket
    import ssl
    from typing import Any

_SSLProtocol: Any = sslproto.SSLProtocol  # its stub knows an older version


def check_tls_arguments(tls: object, handshake_timeout: float | None, shutdown_timeout: float | None) -> None:
    """Raise ValueError if there is a timeout for a connection without TLS."""
    if not tls:
        if handshake_timeout is not None:
            raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
        if shutdown_timeout is not None:
            raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")


def make_tls_transport(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext | bool | None,
    waiter: asyncio.Future[Any] | None,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    extra: dict[str, Any] | None = None,
    server: Any = None,
    handshake_timeout: float | None = None,
    shutdown_timeout: float | None = None,
) -> asyncio.Transport:
    """Begin a TLS handshake on a connected socket, which the transport returned owns from then on.

    waiter is done when the handshake is: protocol.connection_made() was called, or the waiter has an
    exception.  A context of True or None stands for the default one, for clients only.  Timeouts are in
    seconds, None for asyncio's defaults.  If this raises, the socket is still the caller's.
    """
    tls = _SSLProtocol(
        loop,
        protocol,
        None if isinstance(context, bool) else context,
        waiter,
        server_side,
        server_hostname,
        ssl_handshake_timeout=handshake_timeout,
        ssl_shutdown_timeout=shutdown_timeout,
    )
    try:
        _fastloop.StreamTransport(loop, sock, tls, None, extra, server)
    except BaseException:
        tls._app_transport._closed = True  # so that it does not complain of never having been closed
        raise
    transport: asyncio.Transport = tls._app_transport
    return transport


class TlsMethods(CoreLoop):
    """start_tls()."""

    async def start_tls(  # type: ignore[override]
        self,
        transport: asyncio.Transport,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport:
        """Begin TLS on a connection and return the transport that protocol must use from then on.

        What a stream reader has received but not handed out yet is taken for TLS on the server's side.
        Raises TypeError for unusable arguments, and whatever ends the handshake, which closes the
        transport.
        """
        _check_upgrade(transport, sslcontext)
        waiter = self.create_future()
        tls = _SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            call_connection_made=False,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        # Nothing may arrive before connection_made() has been called.
        transport.pause_reading()
        if server_side:
            _take_unread(protocol, tls)
        if getattr(transport, "_protocol_paused", False):
            # Both sides of the layer are as paused as the protocol was; the transport will wake them.
            tls._ssl_writing_paused = tls._app_writing_paused = True
        transport.set_protocol(tls)
        steps = (self.call_soon(tls.connection_made, transport), self.call_soon(transport.resume_reading))
        try:
            await waiter
        except BaseException:
            transport.close()
            for step in steps:
                step.cancel()
            raise
        finally:
            del waiter  # its exception's traceback refers to this frame
        secured: asyncio.Transport = tls._app_transport
        return secured


def _check_upgrade(transport: Any, sslcontext: Any) -> None:
    """Raise TypeError unless TLS can begin on this transport with this context."""
    try:
        from ssl import SSLContext
    except ImportError:
        raise RuntimeError("Python ssl module is not available") from None
    if not isinstance(sslcontext, SSLContext):
        raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
    if not getattr(transport, "_start_tls_compatible", False):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")


def _take_unread(protocol: Any, tls: Any) -> None:
    """Move what a StreamReader has buffered to where TLS reads from."""
    if not isinstance(protocol, asyncio.StreamReaderProtocol):
        return
    reader = getattr(protocol, "_stream_reader", None)
    if reader is not None and reader._buffer:
        tls._incoming.write(reader._buffer)
        reader._buffer.clear()
