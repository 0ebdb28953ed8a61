"""Server: the listening sockets of create_server() and create_unix_server()."""

from __future__ import annotations

import asyncio
import contextvars

from . import _fastloop, _socket_files
from ._compat import SERVER_CLOSES_CLIENTS, SERVER_HAS_CONTEXT, SERVER_WAITS_FOR_CLIENTS, TransportSocket
from ._tls import make_tls_transport

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    import socket
    import ssl
    from collections.abc import Callable
    from typing import Any

    from ._loop import Loop


class Server(_fastloop.BaseServer, asyncio.AbstractServer):
    """Listening sockets, and the connections that they accepted.

    An asynchronous context manager, which closes the server at its end.  The connections are counted
    in C; a transport is attached from its creation until after connection_lost().
    """

    def __init__(
        self,
        loop: Loop,
        sockets: list[socket.socket],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        ssl_context: ssl.SSLContext | None,
        backlog: int,
        ssl_handshake_timeout: float | None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._sockets: list[socket.socket] | None = sockets
        self._listeners: list[_fastloop.Listener] = []
        self._socket_file: tuple[str, int] | None = None  # path and inode of what close() removes
        self._waiters: list[asyncio.Future[None]] | None = []
        self._protocol_factory = protocol_factory
        self._backlog = backlog
        self._ssl_context = ssl_context
        self._ssl_handshake_timeout = ssl_handshake_timeout
        self._ssl_shutdown_timeout = ssl_shutdown_timeout
        self._serving = False
        self._serving_forever_fut: asyncio.Future[None] | None = None
        self._context = contextvars.copy_context()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    # -- what it is

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that the server belongs to."""
        return self._loop

    def is_serving(self) -> bool:
        """Return whether connections are being accepted."""
        return self._serving

    @property
    def sockets(self) -> tuple[TransportSocket, ...]:
        """The listening sockets; empty once the server is closed."""
        return tuple(TransportSocket(sock) for sock in self._sockets or ())

    # -- serving

    async def start_serving(self) -> None:
        """Accept connections from now on.  Does nothing if that is so already."""
        self._start_serving()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept connections until cancelled, then close the server and raise CancelledError.

        Raises RuntimeError if the server is closed, or is awaited here by another task.
        """
        if self._serving_forever_fut is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._start_serving()
        self._serving_forever_fut = self._loop.create_future()
        try:
            await self._serving_forever_fut
        except asyncio.CancelledError:
            self.close()
            if SERVER_CLOSES_CLIENTS:
                self.close_clients()
            await self.wait_closed()
            raise
        finally:
            self._serving_forever_fut = None

    def _start_serving(self) -> None:
        """Listen on all sockets, or on none and raise OSError."""
        if self._serving:
            return
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._serving = True
        try:
            for sock in self._sockets:
                sock.listen(self._backlog)
                self._listeners.append(self._listen(sock))
        except BaseException:
            self._stop_listening()
            raise

    def _listen(self, sock: socket.socket) -> _fastloop.Listener:
        """Begin to accept; the callbacks of each connection run in a copy of a context.

        It is that of whoever made the server from Python 3.15 on, of whoever started it before.
        """
        context = self._context if SERVER_HAS_CONTEXT else contextvars.copy_context()
        accepted = self._accept_tls if self._ssl_context else None
        return context.run(
            _fastloop.Listener,
            self._loop,
            sock,
            self,
            self._protocol_factory,
            self._backlog,
            accepted,
        )

    def _stop_listening(self) -> None:
        self._serving = False
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    # -- TLS

    def _accept_tls(self, sock: socket.socket, address: Any) -> None:
        """Called for each accepted connection of a TLS server, in a context of its own."""
        try:
            protocol = self._protocol_factory()
            waiter = self._loop.create_future()
            transport = make_tls_transport(
                self._loop,
                sock,
                protocol,
                self._ssl_context,
                waiter,
                server_side=True,
                extra=None if address is None else {"peername": address},
                server=self,
                handshake_timeout=self._ssl_handshake_timeout,
                shutdown_timeout=self._ssl_shutdown_timeout,
            )
        except BaseException:
            sock.close()
            raise
        handshake = self._await_handshake(protocol, transport, waiter)
        try:
            self._loop.create_task(handshake)
        except BaseException:
            handshake.close()
            waiter.cancel()
            transport.abort()
            raise

    async def _await_handshake(
        self, protocol: asyncio.BaseProtocol, transport: asyncio.Transport, waiter: asyncio.Future[None]
    ) -> None:
        """Close a connection that does not come about; as in asyncio only the debug mode tells.

        This is a task so that asyncio.run(), which cancels those that are left, ends the connection too.
        """
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            transport.close()
            raise
        except BaseException as failure:  # noqa: BLE001
            transport.close()
            if self._loop.get_debug():
                self._loop.call_exception_handler(
                    {
                        "message": "Error on transport creation for incoming connection",
                        "exception": failure,
                        "protocol": protocol,
                        "transport": transport,
                    }
                )
        finally:
            del waiter  # its exception's traceback refers to this frame

    # -- the end

    def close(self) -> None:
        """Stop accepting and close the listening sockets.  The connections stay open."""
        sockets = self._sockets
        if sockets is None:
            return
        self._sockets = None
        self._stop_listening()
        for sock in sockets:
            sock.close()
        if self._socket_file is not None:
            _socket_files.remove_own_socket(*self._socket_file)
        forever = self._serving_forever_fut
        if forever is not None and not forever.done():
            forever.cancel()
            self._serving_forever_fut = None
        self._closed = True
        if self._active_count == 0:
            self._wakeup()

    def close_clients(self) -> None:
        """Close all connections, each as its transport's close() does.

        Over TLS no peer is waited for: an idle one might not answer before the shutdown timeout.
        """
        for transport in self._clients():
            if isinstance(transport, _fastloop.SSLTransport):
                transport._close_without_reply()
            else:
                transport.close()

    def abort_clients(self) -> None:
        """Abort all connections, each as its transport's abort() does."""
        for transport in self._clients():
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its last connection is gone.

        On Python 3.11 this returns at once when the server is closed.
        """
        if self._waiters is None or (self._sockets is None and not SERVER_WAITS_FOR_CLIENTS):
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _wakeup(self) -> None:
        """Called when the server is closed and no connection is left: end wait_closed()."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)
