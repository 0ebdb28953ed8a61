"""Addresses that refuse, that never answer, and names that stand for any of them: for the tests of connections."""

import contextlib
import errno
import socket
import sys

import pytest

from support.net import tcp_socket

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")


@contextlib.contextmanager
def refusing(count):
    """`count` addresses where nobody listens; binding to them fails too."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(tcp_socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        yield [sock.getsockname() for sock in sockets]


def refusal(address):
    """What the exception says when an address refuses a connection."""
    return f"[Errno {errno.ECONNREFUSED}] Connect call failed {address}"


class Busy:
    """A listening socket that does not answer, because its queue of waiting connections is full."""

    def __init__(self):
        self.server = tcp_socket()
        self.server.bind(("127.0.0.1", 0))
        self.server.listen(0)
        self.address = self.server.getsockname()
        self.waiting = [tcp_socket() for _ in range(4)]
        for sock in self.waiting:
            sock.connect_ex(self.address)

    def close(self):
        for sock in (self.server, *self.waiting):
            sock.close()


def resolve_to(loop, *addresses):
    """Make every name stand for these addresses; return the list of look-ups, which then grows."""
    lookups = []

    async def getaddrinfo(host, port, **details):
        lookups.append((host, port, details))
        return [
            (
                socket.AF_INET6 if len(address) == 4 else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                address,
            )
            for address in addresses
        ]

    loop.getaddrinfo = getaddrinfo
    return lookups


def asyncio_since(impl, *version):
    """Skip the rest of a test on the asyncio of older Pythons, which behaves otherwise."""
    if impl.name == "asyncio" and sys.version_info < version:
        pytest.skip(f"asyncio does so since {'.'.join(map(str, version))}")
