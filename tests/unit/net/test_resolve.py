"""Looking addresses up: what is numeric needs no getaddrinfo(), everything else does."""

import asyncio
import socket
import sys

import pytest

STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP


@pytest.fixture
def lookups(loop):
    """The look-ups that the loop made; they answer that the name is unknown."""
    made = []

    async def getaddrinfo(host, port, *, family=0, type=0, proto=0, flags=0):
        made.append((host, port, family, type, proto, flags))
        return []

    loop.getaddrinfo = getaddrinfo
    return made


def resolve(loop, address, **details):
    """The entries for an address; asyncio's own loops also want to be told which loop looks it up."""
    if isinstance(loop, asyncio.SelectorEventLoop):
        details["loop"] = loop
    return loop.run_until_complete(loop._ensure_resolved(address, **details))


@pytest.mark.parametrize(
    "address, details, expected",
    [
        (("1.2.3.4", 5), {}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 5))),
        (("1.2.3.4", 5), {"type": DATAGRAM}, (socket.AF_INET, DATAGRAM, UDP, "", ("1.2.3.4", 5))),
        (("1.2.3.4", 5), {"proto": TCP}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 5))),
        (("1.2.3.4", 5), {"family": socket.AF_INET}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 5))),
        (("::3", 5), {}, (socket.AF_INET6, STREAM, TCP, "", ("::3", 5, 0, 0))),
        (("::3", 5, 7), {}, (socket.AF_INET6, STREAM, TCP, "", ("::3", 5, 7, 0))),
        (("::3", 5, 7, 9), {}, (socket.AF_INET6, STREAM, TCP, "", ("::3", 5, 7, 9))),
        (("::3", 5), {"family": socket.AF_INET6}, (socket.AF_INET6, STREAM, TCP, "", ("::3", 5, 0, 0))),
        (("::ffff:1.2.3.4", 5), {}, (socket.AF_INET6, STREAM, TCP, "", ("::ffff:1.2.3.4", 5, 0, 0))),
        ((b"1.2.3.4", 5), {}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 5))),
        (("1.2.3.4", None), {}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 0))),
        (("1.2.3.4", ""), {}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 0))),
        (("1.2.3.4", b""), {}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 0))),
        (("1.2.3.4", "80"), {}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 80))),
        (("1.2.3.4", b"80"), {}, (socket.AF_INET, STREAM, TCP, "", ("1.2.3.4", 80))),
    ],
    ids=repr,
)
def test_numeric_addresses_are_not_looked_up(loop, lookups, address, details, expected):
    assert list(resolve(loop, address, **details)) == [expected]
    assert lookups == []


@pytest.mark.parametrize(
    "address, details",
    [
        (("localhost", 80), {}),
        (("1.2.3", 80), {}),
        (("1.2.3.4.", 80), {}),
        (("", 80), {}),
        ((None, 80), {}),
        (("1.2.3.4", "http"), {}),
        (("1.2.3.4", b"http"), {}),
        (("fe80::1%lo", 80), {}),
        (("::3", 80), {"family": socket.AF_INET}),
        (("1.2.3.4", 80), {"family": socket.AF_INET6}),
        (("1.2.3.4", 80), {"family": socket.AF_UNIX}),
        (("1.2.3.4", 80), {"type": socket.SOCK_RAW}),
        (("1.2.3.4", 80), {"type": 0}),
        (("1.2.3.4", 80), {"proto": socket.IPPROTO_ICMP}),
    ],
    ids=repr,
)
def test_other_addresses_are_looked_up(loop, lookups, address, details):
    assert list(resolve(loop, address, **details)) == []
    assert lookups == [
        (*address, details.get("family", 0), details.get("type", STREAM), details.get("proto", 0), 0)
    ]


def test_flags_reach_getaddrinfo(loop, lookups):
    resolve(loop, ("name.invalid", 1), flags=socket.AI_CANONNAME)
    assert lookups == [("name.invalid", 1, 0, STREAM, 0, socket.AI_CANONNAME)]


@pytest.mark.parametrize("address", [(5, 80), ("1.2.3.4",), ("1.2.3.4", 80, 0, 0, 0)], ids=repr)
def test_what_is_no_address(loop, lookups, address):
    with pytest.raises((TypeError, ValueError)):
        resolve(loop, address)
    assert lookups == []


def test_host_with_a_zero_byte(loop, lookups):
    with pytest.raises(ValueError, match="embedded null character"):
        resolve(loop, ("1.2.3.4\0", 80))


def test_no_thread_for_numeric_addresses(run_script):
    """Neither the executor nor getaddrinfo() is used by a connection to a numeric address."""
    done = run_script("""
import socket, threading
def getaddrinfo(*args, **kwargs):
    raise AssertionError(args)
socket.getaddrinfo = getaddrinfo
async def main():
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    with socket.create_server(("127.0.0.1", 0)) as server, sock:
        await loop.sock_connect(sock, server.getsockname())
        assert sock.getpeername() == server.getsockname()
    assert threading.active_count() == 1 and loop._default_executor is None
loop = new_event_loop()
loop.run_until_complete(main())
loop.close()
print("ok")
""")
    assert (done.stdout, done.stderr) == ("ok\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="asks for what Linux resolves without a network")
def test_names_are_looked_up_in_a_thread(loop):
    found = resolve(loop, ("localhost", 80), family=socket.AF_INET)
    assert ("127.0.0.1", 80) in [address for *_, address in found]
    loop.run_until_complete(loop.shutdown_default_executor())
