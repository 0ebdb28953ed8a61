"""Connections as a client: by host and port, by path, or over a socket or pipe that exists already."""

from __future__ import annotations

import asyncio
import os
import socket
from itertools import zip_longest

from . import _fastloop
from ._compat import check_ssl_socket, logger
from ._resolve import literal_info
from ._sockets import sock_connect
from ._tls import check_tls_arguments, make_tls_transport

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    import ssl as ssl_module
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias, TypeVar

    from ._loop import Loop
    from ._resolve import _AddressInfo

    _ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)
    _TransportT = TypeVar("_TransportT", bound=asyncio.BaseTransport)
    _Tls: TypeAlias = ssl_module.SSLContext | bool | None
    _Attempt: TypeAlias = asyncio.Task[socket.socket]

_STREAM = socket.SOCK_STREAM


async def create_connection(
    self: Loop,
    protocol_factory: Callable[[], _ProtocolT],
    host: str | bytes | None = None,
    port: str | bytes | int | None = None,
    *,
    ssl: _Tls = None,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    sock: socket.socket | None = None,
    local_addr: tuple[str, int] | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    happy_eyeballs_delay: float | None = None,
    interleave: int | None = None,
    all_errors: bool = False,
) -> tuple[asyncio.Transport, _ProtocolT]:
    """Connect to host and port, or take over a connected stream socket; return (transport, protocol).

    The addresses of a host are tried one after another; with happy_eyeballs_delay (seconds) each is
    begun that long after the one before or when that has failed, whichever is first.  interleave
    makes families alternate after that many addresses of the first.  When all fail, OSError is
    raised, or with all_errors an ExceptionGroup of what went wrong.
    """
    if ssl:
        if server_hostname is None:
            if not host:
                raise ValueError("You must set server_hostname when using ssl without a host")
            server_hostname = host  # type: ignore[assignment]
    elif server_hostname is not None:
        raise ValueError("server_hostname is only meaningful with ssl")
    check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if sock is not None:
        check_ssl_socket(sock)
    if host is not None or port is not None:
        if sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        sock = await _connect_host(
            self,
            (host, port),
            local_addr,
            (family, proto, flags),
            happy_eyeballs_delay,
            interleave,
            all_errors,
        )
    elif sock is None:
        raise ValueError("host and port was not specified and no sock specified")
    elif sock.type != _STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")
    transport, protocol = await _make_connection(
        self, sock, protocol_factory, ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout
    )
    if self._debug:
        shown = transport.get_extra_info("socket")
        logger.debug("%r connected to %s:%r: (%r, %r)", shown, host, port, transport, protocol)
    return transport, protocol


async def _connect_host(
    loop: Loop,
    address: tuple[Any, ...],
    local_addr: tuple[Any, ...] | None,
    details: tuple[int, int, int],
    delay: float | None,
    interleave: int | None,
    all_errors: bool,
) -> socket.socket:
    """Return a socket connected to one of the addresses of (host, port)."""
    infos = _literal_infos(address, details) or await _look_up(loop, address, details)
    local_infos = None
    if local_addr is not None:
        local_infos = _literal_infos(local_addr, details) or await _look_up(loop, local_addr, details)
    if delay is not None and interleave is None:
        interleave = 1
    if interleave:
        infos = _interleave(infos, interleave)
    failures: list[OSError] = []
    try:
        if delay is None:
            sock = await _connect_in_turn(loop, infos, local_infos, failures)
        else:
            sock = await _connect_in_race(loop, infos, local_infos, failures, delay)
        if sock is None:
            raise _combine(failures, all_errors)
        return sock
    finally:
        failures.clear()  # the failures' tracebacks refer to frames that refer to this list


async def _look_up(
    loop: Loop, address: tuple[Any, ...], details: tuple[int, int, int]
) -> Sequence[_AddressInfo]:
    """What getaddrinfo() has for (host, port), which must not be nothing."""
    host, port = address[:2]
    family, proto, flags = details
    infos = await loop.getaddrinfo(host, port, family=family, type=_STREAM, proto=proto, flags=flags)
    if not infos:
        raise OSError("getaddrinfo() returned empty list")
    return infos


async def _connect_in_turn(
    loop: Loop,
    infos: Sequence[_AddressInfo],
    local_infos: Sequence[_AddressInfo] | None,
    failures: list[OSError],
) -> socket.socket | None:
    """Return a socket connected to the first address that can be reached, or None."""
    for info in infos:
        try:
            return await _connect_address(loop, info, local_infos, failures)
        except OSError:
            continue
    return None


async def _connect_in_race(
    loop: Loop,
    infos: Sequence[_AddressInfo],
    local_infos: Sequence[_AddressInfo] | None,
    failures: list[OSError],
    delay: float,
) -> socket.socket | None:
    """Return the first socket that connects, or None when no address can be reached.

    Each attempt is begun when the one before it has failed, or delay seconds after it.
    """
    attempts: list[_Attempt] = []
    reasons: list[list[OSError]] = []
    winner = None
    try:
        for info in infos:
            reasons.append([])
            attempts.append(loop.create_task(_connect_address(loop, info, local_infos, reasons[-1])))
            winner = await _await_winner(loop, attempts, delay)
            if winner is not None:
                return winner.result()
        winner = await _await_winner(loop, attempts, None)
        return None if winner is None else winner.result()
    finally:
        await _end_attempts(attempts, winner)
        for failed in reasons:
            failures += failed
            failed.clear()


async def _await_winner(loop: Loop, attempts: Sequence[_Attempt], patience: float | None) -> _Attempt | None:
    """Wait until an attempt succeeds and return it.

    Return None when the last one has failed or after patience seconds; patience None: when all have
    failed.  Raises what an attempt raised that is no OSError.
    """
    end = None if patience is None else loop.time() + patience
    while True:
        waiting = []
        for attempt in attempts:
            if not attempt.done():
                waiting.append(attempt)
            elif not isinstance(attempt.exception(), OSError):
                attempt.result()
                return attempt
        if not waiting or (end is not None and attempts[-1].done()):
            return None
        left = None if end is None else end - loop.time()
        if left is not None and left <= 0:
            return None
        await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)


async def _connect_address(
    loop: Loop, info: _AddressInfo, local_infos: Sequence[_AddressInfo] | None, failures: list[OSError]
) -> socket.socket:
    """Return a socket connected to one address; the OSErrors on the way there join failures."""
    family, type_, proto, _, address = info
    sock = None
    try:
        sock = socket.socket(family, type_ | socket.SOCK_NONBLOCK, proto)
        if local_infos is not None:
            _bind(sock, family, local_infos, failures)
        await _connect_socket(loop, sock, address)
    except BaseException as exc:
        if isinstance(exc, OSError):
            failures.append(exc)
        if sock is not None:
            _close_quietly(sock)
        raise
    return sock


async def _connect_socket(loop: Loop, sock: socket.socket, address: Any) -> None:
    """Connect to an address that needs no look-up: by sock_connect() only if that was overridden."""
    if getattr(loop.sock_connect, "__func__", None) is sock_connect:
        await loop._sock_connect_resolved(sock, address)
    else:
        await loop.sock_connect(sock, address)


async def create_unix_connection(
    self: Loop,
    protocol_factory: Callable[[], _ProtocolT],
    path: str | bytes | os.PathLike[Any] | None = None,
    *,
    ssl: _Tls = None,
    sock: socket.socket | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> tuple[asyncio.Transport, _ProtocolT]:
    """Connect to a Unix socket, or take over a connected one; return (transport, protocol).

    A path that begins with a zero byte is an address in Linux's abstract namespace.
    """
    assert server_hostname is None or isinstance(server_hostname, str)
    if ssl:
        if server_hostname is None:
            raise ValueError("you have to pass server_hostname when using ssl")
    elif server_hostname is not None:
        raise ValueError("server_hostname is only meaningful with ssl")
    check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if path is not None:
        if sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        sock = await _connect_path(self, os.fspath(path))
    elif sock is None:
        raise ValueError("no path and sock were specified")
    elif sock.family != socket.AF_UNIX or sock.type != _STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
    return await _make_connection(
        self, sock, protocol_factory, ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout
    )


async def _connect_path(loop: Loop, path: str | bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, _STREAM | socket.SOCK_NONBLOCK)
    try:
        await _connect_socket(loop, sock, path)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_accepted_socket(
    self: Loop,
    protocol_factory: Callable[[], _ProtocolT],
    sock: socket.socket,
    *,
    ssl: _Tls = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> tuple[asyncio.Transport, _ProtocolT]:
    """Serve a connection that was accepted elsewhere; return (transport, protocol)."""
    if sock.type != _STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")
    check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    check_ssl_socket(sock)
    transport, protocol = await _make_connection(
        self, sock, protocol_factory, ssl, "", ssl_handshake_timeout, ssl_shutdown_timeout, server_side=True
    )
    if self._debug:
        shown = transport.get_extra_info("socket")
        logger.debug("%r handled: (%r, %r)", shown, transport, protocol)
    return transport, protocol


async def _make_connection(
    loop: Loop,
    sock: socket.socket,
    protocol_factory: Callable[[], _ProtocolT],
    ssl: _Tls,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
    server_side: bool = False,
) -> tuple[asyncio.Transport, _ProtocolT]:
    """Make protocol and transport for a connected socket, which is closed if that fails."""
    transport: asyncio.Transport
    try:
        if sock.gettimeout() != 0:
            sock.setblocking(False)
        protocol = protocol_factory()
        waiter = loop.create_future()
        if ssl:
            transport = make_tls_transport(
                loop,
                sock,
                protocol,
                ssl,
                waiter,
                server_side=server_side,
                server_hostname=server_hostname,
                handshake_timeout=handshake_timeout,
                shutdown_timeout=shutdown_timeout,
            )
        else:
            transport = _fastloop.StreamTransport(loop, sock, protocol, waiter)
    except BaseException:
        sock.close()
        raise
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    finally:
        del waiter  # its exception's traceback refers to this frame
    return transport, protocol


async def connect_read_pipe(
    self: Loop, protocol_factory: Callable[[], _ProtocolT], pipe: Any
) -> tuple[asyncio.ReadTransport, _ProtocolT]:
    """Read from a pipe, a socket or a character device, given as a file; return (transport, protocol).

    The transport owns the file, also when this fails while the transport is being set up.
    """
    return await _connect_pipe(self, "Read", _fastloop.ReadPipeTransport, protocol_factory, pipe)


async def connect_write_pipe(
    self: Loop, protocol_factory: Callable[[], _ProtocolT], pipe: Any
) -> tuple[asyncio.WriteTransport, _ProtocolT]:
    """Write to a pipe, a socket or a character device, given as a file; return (transport, protocol).

    The transport owns the file, also when this fails while the transport is being set up.
    """
    return await _connect_pipe(self, "Write", _fastloop.WritePipeTransport, protocol_factory, pipe)


async def _connect_pipe(
    loop: Loop,
    kind: str,
    transport_type: Callable[..., _TransportT],
    protocol_factory: Callable[[], _ProtocolT],
    pipe: Any,
) -> tuple[_TransportT, _ProtocolT]:
    """Make protocol and transport for one end of a pipe, and wait until they are connected."""
    protocol = protocol_factory()
    waiter = loop.create_future()
    transport = transport_type(loop, pipe, protocol, waiter)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    if loop._debug:
        logger.debug("%s pipe %r connected: (%r, %r)", kind, pipe.fileno(), transport, protocol)
    return transport, protocol


def _literal_infos(address: tuple[Any, ...], details: tuple[int, int, int]) -> Sequence[_AddressInfo]:
    """The address itself if it is numeric: mostly it is, and awaits nothing."""
    host, port, *rest = address
    info = literal_info(host, port, details[0], _STREAM, details[1], *rest)
    return [] if info is None else [info]


def _bind(
    sock: socket.socket, family: int, candidates: Sequence[_AddressInfo], failures: list[OSError]
) -> None:
    """Bind a socket to the first local address of its family that can be had.

    Raises OSError when there is none: the last failure; those before it join failures.
    """
    known = len(failures)
    for candidate in candidates:
        if candidate[0] != family:
            continue
        address = candidate[4]
        try:
            sock.bind(address)
        except OSError as exc:
            text = f"error while attempting to bind on address {address!r}: {str(exc).lower()}"
            failures.append(OSError(exc.errno, text))
        else:
            return
    if len(failures) > known:
        raise failures.pop()
    raise OSError(f"no matching local address with {family=} found")


def _close_quietly(sock: socket.socket) -> None:
    """Close a socket that nobody has seen; what went wrong before matters more than an error here."""
    try:
        sock.close()
    except OSError:
        pass


def _interleave(infos: Sequence[_AddressInfo], first_count: int) -> list[_AddressInfo]:
    """Order addresses so that their families take turns, after first_count of the first family."""
    families: dict[int, list[_AddressInfo]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    groups = list(families.values())
    ahead = max(first_count - 1, 0)
    head, groups[0] = groups[0][:ahead], groups[0][ahead:]
    return head + [info for turn in zip_longest(*groups) for info in turn if info is not None]


def _combine(failures: list[OSError], all_errors: bool) -> Exception:
    """The exception to raise for connections that failed: all of them, one for all, or a summary."""
    if all_errors:
        return ExceptionGroup("create_connection failed", failures)
    texts = [str(failure) for failure in failures]
    if all(text == texts[0] for text in texts):
        return failures[0]
    return OSError(f"Multiple exceptions: {', '.join(texts)}")


async def _end_attempts(attempts: Sequence[_Attempt], winner: _Attempt | None) -> None:
    """Cancel all attempts but the winner, wait until they have ended, and close what they connected.

    When the waiting itself is cancelled the winner is closed too.
    """
    waiting = []
    for attempt in attempts:
        if attempt is winner:
            continue
        if attempt.done():
            _discard(attempt)
        else:
            attempt.cancel()
            attempt.add_done_callback(_discard)
            waiting.append(attempt)
    if not waiting:
        return
    try:
        await asyncio.wait(waiting)
    except BaseException:
        if winner is not None:
            _discard(winner)
        raise


def _discard(attempt: _Attempt) -> None:
    """Close the socket of an attempt that nobody needs; take note of how it failed."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
