"""TLS: what is done once per connection, and start_tls()."""

from __future__ import annotations

import asyncio

from . import _fastloop
from ._compat import SSLProtocol, constants

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    import socket
    import ssl
    from typing import Any

    from ._loop import Loop


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
    layer = _make_layer(context, server_side, server_hostname, handshake_timeout, shutdown_timeout)
    return layer.open(loop, sock, protocol, waiter, extra, server)


def _make_layer(
    context: ssl.SSLContext | bool | None,
    server_side: bool,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
) -> _fastloop.TLSLayer:
    """Return one side of a TLS connection that has not begun.  Raises ValueError for timeouts below 0."""
    handshake_timeout = _timeout("ssl_handshake_timeout", handshake_timeout, constants.SSL_HANDSHAKE_TIMEOUT)
    shutdown_timeout = _timeout("ssl_shutdown_timeout", shutdown_timeout, constants.SSL_SHUTDOWN_TIMEOUT)
    if server_side:
        server_hostname = None
    if not context or isinstance(context, bool):
        context = _default_context(server_side, server_hostname)
    return _fastloop.TLSLayer(
        context, server_side, server_hostname or None, handshake_timeout, shutdown_timeout
    )


def _timeout(name: str, given: float | None, default: float) -> float:
    """Return a timeout in seconds."""
    if given is None:
        return default
    if given <= 0:
        raise ValueError(f"{name} should be a positive number, got {given}")
    return given


def _default_context(server_side: bool, server_hostname: str | None) -> ssl.SSLContext:
    """Return what ssl=True stands for."""
    if server_side:
        raise ValueError("Server side SSL needs a valid SSLContext")
    from ssl import create_default_context

    context = create_default_context()
    if not server_hostname:
        context.check_hostname = False
    return context


async def start_tls(
    self: Loop,
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    sslcontext: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> asyncio.Transport | None:
    """Begin TLS on a connection and return the transport that protocol must use from then on.

    That is the same transport, if it is one of this loop's without TLS; None if it was closed, before or
    meanwhile.  What a stream reader has received but not handed out yet is taken for TLS on the server's
    side.  Raises TypeError for unusable arguments, and whatever ends the handshake, which closes the
    transport.
    """
    _check_upgrade(transport, sslcontext)
    if transport.is_closing():
        return None  # asyncio waits for its end, for ever if that was before
    if type(transport) is not _fastloop.StreamTransport:
        return await _start_tls_over(
            self,
            transport,
            protocol,
            sslcontext,
            server_side,
            server_hostname,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
        )
    layer = _make_layer(sslcontext, server_side, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
    waiter = self.create_future()
    unread = _unread(protocol) if server_side else bytearray()
    layer.start(transport, waiter, unread)
    try:
        unread.clear()
        transport.set_protocol(protocol)
        await waiter
    except BaseException:
        transport.close()
        raise
    finally:
        del waiter  # its exception's traceback refers to this frame
    return None if transport.get_protocol() is None else transport


async def _start_tls_over(
    loop: Loop,
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    sslcontext: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
) -> asyncio.Transport | None:
    """Begin TLS over a transport that is not ours or is TLS itself, by asyncio's own means."""
    waiter = loop.create_future()
    tls = SSLProtocol(
        loop,
        protocol,
        sslcontext,
        waiter,
        server_side,
        server_hostname,
        call_connection_made=False,
        ssl_handshake_timeout=handshake_timeout,
        ssl_shutdown_timeout=shutdown_timeout,
    )
    # Nothing may arrive before connection_made() has been called.
    transport.pause_reading()
    if server_side:
        unread = _unread(protocol)
        tls._incoming.write(unread)
        unread.clear()
    if getattr(transport, "_protocol_paused", False):
        # Both sides of the layer are as paused as the protocol was; the transport will wake them.
        tls._ssl_writing_paused = tls._app_writing_paused = True
    transport.set_protocol(tls)
    steps = (loop.call_soon(tls.connection_made, transport), loop.call_soon(transport.resume_reading))
    try:
        await waiter
    except BaseException:
        transport.close()
        for step in steps:
            step.cancel()
        raise
    finally:
        del waiter  # its exception's traceback refers to this frame
    secured: asyncio.Transport | None = tls._app_transport
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


def _unread(protocol: Any) -> bytearray:
    """Return what a StreamReader has received and not handed out yet."""
    reader = getattr(protocol, "_stream_reader", None)
    if not isinstance(protocol, asyncio.StreamReaderProtocol) or reader is None:
        return bytearray()
    buffer: bytearray = reader._buffer
    return buffer
