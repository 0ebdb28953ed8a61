"""create_datagram_endpoint()."""

from __future__ import annotations

import socket

from . import _fastloop, _socket_files
from ._compat import TAKES_ANY_DATAGRAM_SOCKET, logger, set_reuseport

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    import asyncio
    from collections.abc import Callable
    from typing import Any, TypeAlias, TypeVar

    from ._loop import Loop

    _ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)
    # Family and protocol number of a socket, its local and its remote address.
    _Candidate: TypeAlias = tuple[int, int, Any, Any]


async def create_datagram_endpoint(
    self: Loop,
    protocol_factory: Callable[[], _ProtocolT],
    local_addr: tuple[str, int] | str | None = None,
    remote_addr: tuple[str, int] | str | None = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
) -> tuple[asyncio.DatagramTransport, _ProtocolT]:
    """Make a transport of datagrams; return it and its protocol.

    The addresses are pairs of host and port, or paths with family AF_UNIX.  With remote_addr the
    socket is connected, unless allow_broadcast is set.  Raises OSError if no address can be used,
    ValueError and TypeError for unusable arguments.
    """
    if sock is not None:
        options = {
            "local_addr": local_addr,
            "remote_addr": remote_addr,
            "family": family,
            "proto": proto,
            "flags": flags,
            "reuse_port": reuse_port,
            "allow_broadcast": allow_broadcast,
        }
        _check_given_socket(sock, options)
        sock.setblocking(False)
        transport, protocol = await _make_endpoint(self, protocol_factory(), sock, None)
    else:
        candidates = await _datagram_candidates(self, local_addr, remote_addr, family, proto, flags)
        sock, remote_address = await _open_first(self, candidates, reuse_port, allow_broadcast)
        try:
            protocol = protocol_factory()
        except BaseException:
            sock.close()
            raise
        transport, protocol = await _make_endpoint(self, protocol, sock, remote_address)
    if self._debug:
        _log_endpoint(local_addr, remote_addr, transport, protocol)
    return transport, protocol


async def _make_endpoint(
    loop: Loop, protocol: _ProtocolT, sock: socket.socket, remote_address: Any
) -> tuple[asyncio.DatagramTransport, _ProtocolT]:
    """Return transport and protocol once connection_made() was called."""
    waiter = loop.create_future()
    transport = _fastloop.DatagramTransport(loop, sock, protocol, remote_address, waiter)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol


# -- addresses


async def _datagram_candidates(
    loop: Loop, local_addr: Any, remote_addr: Any, family: int, proto: int, flags: int
) -> list[_Candidate]:
    """Return the kinds of socket to try, each with its addresses, in the order of the look-ups."""
    if not (local_addr or remote_addr):
        if family == 0:
            raise ValueError("unexpected address family")
        return [(family, proto, None, None)]
    if family == socket.AF_UNIX:
        for path in (local_addr, remote_addr):
            if path is not None and not isinstance(path, str):
                raise TypeError("string is expected")
        if local_addr and _socket_files.has_file(local_addr):
            _socket_files.remove_stale_socket(local_addr)
        return [(family, proto, local_addr, remote_addr)]
    candidates = [
        (*kind, local, remote)
        for kind, (local, remote) in (
            await _resolve_ends(loop, (local_addr, remote_addr), family, proto, flags)
        ).items()
        if (local or not local_addr) and (remote or not remote_addr)
    ]
    if not candidates:
        raise ValueError("can not get address information")
    return candidates


async def _resolve_ends(
    loop: Loop, ends: tuple[Any, Any], family: int, proto: int, flags: int
) -> dict[tuple[int, int], list[Any]]:
    """Return the last local and remote address found for each family and protocol number."""
    found: dict[tuple[int, int], list[Any]] = {}
    for index, address in enumerate(ends):
        if address is None:
            continue
        if not (isinstance(address, tuple) and len(address) == 2):
            raise TypeError("2-tuple is expected")
        infos = await loop._ensure_resolved(
            address, family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags
        )
        if not infos:
            raise OSError("getaddrinfo() returned empty list")
        for info in infos:
            found.setdefault((info[0], info[2]), [None, None])[index] = info[4]
    return found


async def _open_first(
    loop: Loop, candidates: list[_Candidate], reuse_port: bool | None, allow_broadcast: bool | None
) -> tuple[socket.socket, Any]:
    """Return the first socket that can be bound and connected, and its remote address.

    Raises what went wrong with the first candidate if all fail.
    """
    failure = None
    for family, proto, local, remote in candidates:
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM, proto)
            if reuse_port:
                set_reuseport(sock)
            if allow_broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setblocking(False)
            if local:
                sock.bind(local)
            if remote and not allow_broadcast:
                await loop.sock_connect(sock, remote)
        except BaseException as exc:
            if sock is not None:
                sock.close()
            if not isinstance(exc, OSError):
                raise
            failure = failure or exc
        else:
            return sock, remote
    assert failure is not None
    try:
        raise failure
    finally:
        failure = None  # its traceback leads to this frame


def _check_given_socket(sock: socket.socket, options: dict[str, Any]) -> None:
    """Refuse a stream, and arguments that would change a socket made by the caller."""
    if sock.type == socket.SOCK_STREAM or (not TAKES_ANY_DATAGRAM_SOCKET and sock.type != socket.SOCK_DGRAM):
        expected = "datagram socket" if TAKES_ANY_DATAGRAM_SOCKET else "UDP Socket"
        raise ValueError(f"A {expected} was expected, got {sock!r}")
    problems = ", ".join(f"{name}={value}" for name, value in options.items() if value)
    if problems:
        raise ValueError(
            f"socket modifier keyword arguments can not be used when sock is specified. ({problems})"
        )


def _log_endpoint(
    local_addr: Any, remote_addr: Any, transport: asyncio.DatagramTransport, protocol: Any
) -> None:
    if local_addr:
        message = "Datagram endpoint local_addr=%r remote_addr=%r created: (%r, %r)"
        logger.info(message, local_addr, remote_addr, transport, protocol)
    else:
        logger.debug("Datagram endpoint remote_addr=%r created: (%r, %r)", remote_addr, transport, protocol)
