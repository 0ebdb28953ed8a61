"""Addresses: numeric hosts are understood at once, names are looked up by getaddrinfo()."""

from __future__ import annotations

import functools
import socket

from ._compat import logger

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    from ._loop import Loop

    # Family, type, protocol, canonical name and address, as socket.getaddrinfo() returns them.
    _AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

_INET, _INET6 = socket.AF_INET, socket.AF_INET6
_TCP, _UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP


def literal_info(
    host: Any, port: Any, family: int, type: int, proto: int, flowinfo: int = 0, scope_id: int = 0
) -> _AddressInfo | None:
    """Return getaddrinfo()'s entry for a numeric host and port, or None where a look-up is needed.

    As in asyncio only stream and datagram sockets are considered, and a host of None or an IPv6 host with
    a zone ("%eth0") is not.  Raises TypeError for a host that is neither str nor bytes.
    """
    if host is None or proto not in (0, _TCP, _UDP):
        return None
    if type == socket.SOCK_STREAM:
        proto = _TCP
    elif type == socket.SOCK_DGRAM:
        proto = _UDP
    else:
        return None
    if port is None or (isinstance(port, (str, bytes)) and not port):
        port = 0
    try:
        port = int(port)
    except (TypeError, ValueError):  # the name of a service
        return None
    if isinstance(host, bytes):
        host = host.decode("idna")
    if "%" in host:
        return None
    for candidate in (_INET, _INET6) if family == socket.AF_UNSPEC else (family,):
        try:
            socket.inet_pton(candidate, host)
        except OSError:
            continue
        if candidate == _INET6:
            return candidate, type, proto, "", (host, port, flowinfo, scope_id)
        return candidate, type, proto, "", (host, port)
    return None


async def getaddrinfo(
    self: Loop,
    host: bytes | str | None,
    port: bytes | str | int | None,
    *,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[tuple[Any, ...]]:
    """Return what socket.getaddrinfo() returns, looked up in the default executor."""
    lookup = functools.partial(_look_up_and_log, self) if self._debug else socket.getaddrinfo
    return await self.run_in_executor(None, lookup, host, port, family, type, proto, flags)


def _look_up_and_log(loop: Loop, host: Any, port: Any, *details: int) -> list[tuple[Any, ...]]:
    """Log what is looked up and how long it took: as information when it was slow."""
    names = ("family", "type", "proto", "flags")
    parts = [f"{host}:{port!r}"]
    parts += [f"{name}={value!r}" for name, value in zip(names, details, strict=True) if value]
    query = ", ".join(parts)
    logger.debug("Get address info %s", query)
    begin = loop.time()
    addresses = socket.getaddrinfo(host, port, *details)
    elapsed = loop.time() - begin
    log = logger.info if elapsed >= loop.slow_callback_duration else logger.debug
    log(f"Getting address info {query} took {elapsed * 1e3:.3f}ms: {addresses!r}")
    return addresses


async def getnameinfo(self: Loop, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
    """Return what socket.getnameinfo() returns, looked up in the default executor."""
    return await self.run_in_executor(None, socket.getnameinfo, sockaddr, flags)


async def ensure_resolved(
    self: Loop,
    address: tuple[Any, ...],
    *,
    family: int = 0,
    type: int = socket.SOCK_STREAM,
    proto: int = 0,
    flags: int = 0,
) -> Sequence[_AddressInfo]:
    """Return getaddrinfo()'s entries for (host, port), which IPv6's other two items may follow.

    A numeric address has one entry and is not looked up.  The list may be empty if getaddrinfo() is
    overridden.
    """
    host, port = address[:2]
    info = literal_info(host, port, family, type, proto, *address[2:])
    if info is not None:
        return [info]
    return await self.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
