"""create_server() and create_unix_server()."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
from collections.abc import Iterable

from . import _socket_files
from ._compat import (
    SERVER_REMOVES_SOCKET_FILE,
    SKIPS_ABSENT_ADDRESSES,
    check_ssl_socket,
    logger,
    set_reuseport,
)
from ._tls import check_tls_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    import ssl as ssl_module
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from ._loop import Loop
    from ._resolve import _AddressInfo
    from ._server import Server

    _ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]
    _Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_INET = (socket.AF_INET, socket.AF_INET6)


async def create_server(
    self: Loop,
    protocol_factory: _ProtocolFactory,
    host: str | Iterable[str] | None = None,
    port: int | str | None = None,
    *,
    family: int = socket.AF_UNSPEC,
    flags: int = socket.AI_PASSIVE,
    sock: socket.socket | None = None,
    backlog: int = 100,
    ssl: ssl_module.SSLContext | None = None,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    keep_alive: bool | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
) -> Server:
    """Make a server that listens on every address of a host, or of several, or on a socket.

    None and "" stand for all interfaces; port 0 lets the kernel choose, for each address.
    reuse_address is on unless it is False.  Raises OSError if an address cannot be bound,
    ValueError and TypeError for unusable arguments.
    """
    _check_server_tls(ssl)
    check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if sock is not None:
        check_ssl_socket(sock)
    if host is not None or port is not None:
        if sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        infos = await _resolve_hosts(self, host, port, family, flags)
        sockets = _bind_all(self, infos, reuse_address is not False, reuse_port, keep_alive)
    elif sock is None:
        raise ValueError("Neither host/port nor sock were specified")
    elif sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")
    else:
        sockets = [sock]
    server = _make_server(
        self, sockets, protocol_factory, ssl, backlog, ssl_handshake_timeout, ssl_shutdown_timeout
    )
    await _start_new_server(self, server, start_serving, close=sock is None)
    if self._debug:
        logger.info("%r is serving", server)
    return server


async def create_unix_server(
    self: Loop,
    protocol_factory: _ProtocolFactory,
    path: _Path | None = None,
    *,
    sock: socket.socket | None = None,
    backlog: int = 100,
    ssl: ssl_module.SSLContext | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
    cleanup_socket: bool = SERVER_REMOVES_SOCKET_FILE,
) -> Server:
    """Make a server that listens on a path, abstract if it begins with a zero, or on a socket.

    A socket file that is already there is replaced.  With cleanup_socket, the default from Python
    3.13 on, the server removes its file when it is closed.  Raises OSError if the path cannot be
    bound, ValueError and TypeError for unusable arguments.
    """
    _check_server_tls(ssl)
    check_tls_arguments(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if path is not None:
        if sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        listening = _bind_path(os.fspath(path))
    elif sock is None:
        raise ValueError("path was not specified, and no sock specified")
    elif sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")
    else:
        listening = sock
    server = _make_server(
        self, [listening], protocol_factory, ssl, backlog, ssl_handshake_timeout, ssl_shutdown_timeout
    )
    if cleanup_socket:
        name = listening.getsockname()
        inode = _socket_files.inode_of(name)
        server._socket_file = None if inode is None else (name, inode)
    await _start_new_server(self, server, start_serving, close=sock is None)
    return server


def _make_server(loop: Loop, sockets: list[socket.socket], *arguments: Any) -> Server:
    """Return a Server that does not serve yet."""
    from ._server import Server

    for sock in sockets:
        sock.setblocking(False)
    return Server(loop, sockets, *arguments)


async def _start_new_server(loop: Loop, server: Server, start: bool, *, close: bool) -> None:
    """Start the server if so wished; if that fails, stop it, and close it if its sockets are ours."""
    if not start:
        return
    try:
        await server.start_serving()
    except BaseException:
        if close:
            server.close()
        else:
            server._stop_listening()
        raise


# -- addresses


async def _resolve_hosts(loop: Loop, hosts: Any, port: Any, family: int, flags: int) -> list[_AddressInfo]:
    """Return what getaddrinfo() says of one host or several, each address once."""
    if hosts == "":
        hosts = [None]
    elif isinstance(hosts, str) or not isinstance(hosts, Iterable):
        hosts = [hosts]
    found = await asyncio.gather(*(_resolve_host(loop, host, port, family, flags) for host in hosts))
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


async def _resolve_host(loop: Loop, host: Any, port: Any, family: int, flags: int) -> Sequence[_AddressInfo]:
    infos = await loop._ensure_resolved((host, port), family=family, flags=flags)
    if not infos:
        raise OSError(f"getaddrinfo({host!r}) returned empty list")
    return infos


def _bind_all(
    loop: Loop,
    infos: list[_AddressInfo],
    reuse_address: bool,
    reuse_port: bool | None,
    keep_alive: bool | None,
) -> list[socket.socket]:
    """Return a bound socket for each address; those this machine does not have are left out."""
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in infos:
            sock = _open_listening(loop, family, kind, proto)
            if sock is None:
                continue
            sockets.append(sock)
            _set_listening_options(sock, reuse_address, reuse_port, keep_alive)
            if not _bind(loop, sock, address):
                sockets.pop().close()
        if SKIPS_ABSENT_ADDRESSES and not sockets:
            raise OSError(f"could not bind on any address out of {[info[4] for info in infos]!r}")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _open_listening(loop: Loop, family: int, kind: int, proto: int) -> socket.socket | None:
    """Return a socket, or None if there is no such kind here."""
    try:
        return socket.socket(family, kind, proto)
    except OSError:
        if loop._debug:
            logger.warning(
                "create_server() failed to create socket.socket(%r, %r, %r)",
                family,
                kind,
                proto,
                exc_info=True,
            )
        return None


def _bind(loop: Loop, sock: socket.socket, address: Any) -> bool:
    """Bind a socket and return True; False if the address is none of this machine's."""
    try:
        sock.bind(address)
    except OSError as exc:
        reason = str(exc) if SKIPS_ABSENT_ADDRESSES else exc.strerror
        message = f"error while attempting to bind on address {address!r}: {str(reason).lower()}"
        if not SKIPS_ABSENT_ADDRESSES or exc.errno != errno.EADDRNOTAVAIL:
            raise OSError(exc.errno, message) from None
        if loop._debug:
            logger.warning(message)
        return False
    return True


def _check_server_tls(ssl: object) -> None:
    """Raise TypeError for True and False, which mean something to a client only."""
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")


def _set_listening_options(
    sock: socket.socket, reuse_address: bool, reuse_port: bool | None, keep_alive: bool | None
) -> None:
    if reuse_address:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    # Linux 6.12.9 and later refuse SO_REUSEPORT for other families.
    if reuse_port and sock.family in _INET:
        set_reuseport(sock)
    if keep_alive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
    if sock.family == socket.AF_INET6:  # IPv4 has a socket of its own
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)


def _bind_path(path: str | bytes) -> socket.socket:
    """Return a Unix stream socket bound to a path, whose stale file is removed."""
    if _socket_files.has_file(path):
        _socket_files.remove_stale_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE:
            raise OSError(errno.EADDRINUSE, f"Address {path!r} is already in use") from None
        raise
    return sock
