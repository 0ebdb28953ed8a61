"""create_datagram_endpoint(): addresses of every kind, options of the socket, arguments that it refuses."""

import asyncio
import errno
import gc
import itertools
import os
import pathlib
import re
import socket
import stat
import sys

import pytest
from support.net import datagram_socket, open_fds, run, run_until
from support.serving import Datagrams, Endpoints, address_of, settle

SINCE_313 = sys.version_info >= (3, 13)
UDP = socket.IPPROTO_UDP

_numbers = itertools.count()


@pytest.fixture
def endpoints(loop):
    endpoints = Endpoints(loop)
    yield endpoints
    endpoints.end()


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The path of a socket that is not there yet, short enough for the kernel."""
    monkeypatch.chdir(tmp_path)
    return "socket"


@pytest.fixture
def lookups(loop):
    """The look-ups that the loop made; `answers` by host name says what they find."""

    class Lookups(list):
        answers = None

        async def getaddrinfo(self, host, port, *, family=0, type=0, proto=0, flags=0):
            self.append((host, port, family, type, proto, flags))
            return self.answers[host]

    lookups = Lookups()
    loop.getaddrinfo = lookups.getaddrinfo
    return lookups


def found(address, proto=UDP):
    """What getaddrinfo() says of an address."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return (family, socket.SOCK_DGRAM, proto, "", address)


def create(loop, *args, **options):
    return run(loop, loop.create_datagram_endpoint(Datagrams, *args, **options))


def abstract_name():
    return f"\0fastloop-test-{os.getpid()}-{next(_numbers)}"


def wait_for_datagrams(loop, protocol, count):
    run_until(loop, lambda: len(protocol.datagrams) >= count)
    return protocol.datagrams


def options_of(protocol, name):
    sock = protocol.transport.get_extra_info("socket")
    return bool(sock.getsockopt(socket.SOL_SOCKET, name))


# IP addresses.


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_local_address(endpoints, host):
    protocol = endpoints.open((host, 0))
    assert address_of(protocol)[0] == host
    assert address_of(protocol)[1] > 0


def test_remote_address(loop, endpoints):
    peer = endpoints.socket()
    protocol = endpoints.open(remote_addr=peer.getsockname())
    assert protocol.transport.get_extra_info("peername") == peer.getsockname()
    assert protocol.transport._address == peer.getsockname()
    protocol.transport.sendto(b"data")
    assert run(loop, loop.sock_recvfrom(peer, 10)) == (b"data", address_of(protocol))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_family_without_addresses(loop, endpoints, family):
    """A socket without a name, which gets one when it sends."""
    peer = endpoints.socket(family, ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    protocol = endpoints.open(family=family)
    assert address_of(protocol)[1] == 0
    protocol.transport.sendto(b"data", peer.getsockname())
    data, addr = run(loop, loop.sock_recvfrom(peer, 10))
    peer.sendto(data, addr)
    assert wait_for_datagrams(loop, protocol, 1) == [b"data"]


def test_all_interfaces(endpoints):
    assert address_of(endpoints.open(("0.0.0.0", 0)))[0] == "0.0.0.0"
    assert address_of(endpoints.open((None, 0), family=socket.AF_INET))[0] == "127.0.0.1"
    passive = endpoints.open((None, 0), family=socket.AF_INET, flags=socket.AI_PASSIVE)
    assert address_of(passive)[0] == "0.0.0.0"


@pytest.mark.parametrize("port", ["0", "", None])
def test_port_of_another_type(endpoints, port):
    assert address_of(endpoints.open(("127.0.0.1", port)))[1] > 0


def test_names_are_looked_up(endpoints, lookups):
    lookups.answers = {"here": [found(("127.0.0.1", 0))], "there": [found(("127.0.0.1", 9))]}
    protocol = endpoints.open(
        ("here", "a"), ("there", 9), family=socket.AF_INET, flags=socket.AI_CANONNAME, proto=UDP
    )
    details = (socket.AF_INET, socket.SOCK_DGRAM, UDP, socket.AI_CANONNAME)
    assert lookups == [("here", "a", *details), ("there", 9, *details)]
    assert address_of(protocol)[0] == "127.0.0.1"
    assert protocol.transport.get_extra_info("peername") == ("127.0.0.1", 9)


def test_numbers_are_not_looked_up(endpoints, lookups):
    endpoints.open(("127.0.0.1", 0), ("127.0.0.1", 9))
    assert lookups == []


def test_both_addresses_must_be_of_one_family(endpoints, lookups):
    """Of what was found for each, the family that both have is taken."""
    lookups.answers = {
        "here": [found(("::1", 0, 0, 0)), found(("127.0.0.1", 0))],
        "there": [found(("127.0.0.1", 9))],
    }
    protocol = endpoints.open(("here", 0), ("there", 9))
    assert protocol.transport.get_extra_info("socket").family == socket.AF_INET


def test_no_family_in_common(loop):
    with pytest.raises(ValueError, match="^can not get address information$"):
        create(loop, ("127.0.0.1", 0), ("::1", 9))


def test_name_without_addresses(loop, lookups):
    lookups.answers = {"nowhere": []}
    with pytest.raises(OSError, match=r"^getaddrinfo\(\) returned empty list$"):
        create(loop, ("nowhere", 0))


def test_next_address_when_the_first_fails(endpoints, lookups):
    """Bound or connected: the first that can be used is."""
    lookups.answers = {
        "local": [found(("::1", 1, 0, 0), 250), found(("127.0.0.1", 0))],
        "remote": [found(("255.255.255.255", 9), UDP), found(("::1", 9, 0, 0))],
    }
    assert address_of(endpoints.open(("local", 0)))[0] == "127.0.0.1"
    protocol = endpoints.open(remote_addr=("remote", 9))
    assert protocol.transport.get_extra_info("peername")[0] == "::1"


def test_first_error_when_all_fail(loop, endpoints, lookups):
    taken = endpoints.socket().getsockname()
    lookups.answers = {"local": [found(taken), found(("::1", 0, 0, 0), 250)]}
    before = open_fds()
    with pytest.raises(OSError) as caught:
        create(loop, ("local", 0))
    assert caught.value.errno == errno.EADDRINUSE
    assert open_fds() == before


def test_address_in_use(loop, endpoints):
    before = open_fds()
    taken = endpoints.bound()
    with pytest.raises(OSError) as caught:
        create(loop, address_of(taken))
    assert caught.value.errno == errno.EADDRINUSE
    assert len(open_fds()) == len(before) + 1


def test_address_of_another_machine(loop):
    with pytest.raises(OSError) as caught:
        create(loop, ("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL


# Options of the socket.


@pytest.mark.parametrize("value", [None, False, True])
def test_reuse_port(loop, endpoints, value):
    protocol = endpoints.open(("127.0.0.1", 0), reuse_port=value)
    assert options_of(protocol, socket.SO_REUSEPORT) is bool(value)
    assert not options_of(protocol, socket.SO_REUSEADDR)
    if value:
        endpoints.open(address_of(protocol), reuse_port=True)


@pytest.mark.parametrize("value", [None, False, True])
def test_allow_broadcast(endpoints, value):
    protocol = endpoints.open(("127.0.0.1", 0), allow_broadcast=value)
    assert options_of(protocol, socket.SO_BROADCAST) is bool(value)


def test_broadcast_endpoint_is_not_connected(loop, endpoints):
    """It sends to its remote address, and hears of everybody who answers."""
    peer, stranger = endpoints.socket(), endpoints.socket()
    protocol = endpoints.open(("127.0.0.1", 0), peer.getsockname(), allow_broadcast=True)
    assert protocol.transport.get_extra_info("peername") is None
    protocol.transport.sendto(b"data")
    assert run(loop, loop.sock_recvfrom(peer, 10))[0] == b"data"
    protocol.transport.sendto(b"more", peer.getsockname())
    assert run(loop, loop.sock_recvfrom(peer, 10))[0] == b"more"
    with pytest.raises(ValueError, match="^Invalid address: must be None or "):
        protocol.transport.sendto(b"data", stranger.getsockname())
    stranger.sendto(b"answer", address_of(protocol))
    assert wait_for_datagrams(loop, protocol, 1) == [b"answer"]


def test_reuse_address_is_no_argument(loop):
    with pytest.raises(TypeError, match="unexpected keyword argument 'reuse_address'"):
        loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0), reuse_address=True)


# A socket made by the caller.


def test_given_socket(loop, endpoints):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    protocol = endpoints.open(sock=sock)
    assert sock.gettimeout() == 0
    assert address_of(protocol) == sock.getsockname()
    endpoints.socket().sendto(b"data", sock.getsockname())
    assert wait_for_datagrams(loop, protocol, 1) == [b"data"]
    protocol.transport.close()
    run_until(loop, lambda: protocol.lost)
    assert sock.fileno() == -1


def test_given_socket_that_is_connected(loop, endpoints):
    peer = endpoints.socket()
    sock = datagram_socket()
    sock.connect(peer.getsockname())
    protocol = endpoints.open(sock=sock)
    assert protocol.transport.get_extra_info("peername") == peer.getsockname()
    protocol.transport.sendto(b"data")
    assert run(loop, loop.sock_recvfrom(peer, 10))[0] == b"data"
    protocol.transport.sendto(b"more", peer.getsockname())
    assert run(loop, loop.sock_recvfrom(peer, 10))[0] == b"more"


def test_socket_pair(impl, loop, endpoints):
    """Connected, though the peer has no name."""
    if impl.name == "asyncio":
        pytest.skip("asyncio takes it for unconnected")
    ends = [endpoints.open(sock=sock) for sock in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)]
    ends[0].transport.sendto(b"ping")
    assert wait_for_datagrams(loop, ends[1], 1) == [b"ping"]
    ends[1].transport.sendto(b"pong")
    assert wait_for_datagrams(loop, ends[0], 1) == [b"pong"]


def test_netlink(loop, endpoints):
    """Addresses of a family that is neither IP nor Unix."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE)
    protocol = endpoints.open(sock=sock)
    assert protocol.transport.get_extra_info("sockname")[0] >= 0
    request = (20).to_bytes(4, sys.byteorder) + (18).to_bytes(2, sys.byteorder)  # RTM_GETLINK
    request += (0x301).to_bytes(2, sys.byteorder) + bytes(
        12
    )  # NLM_F_REQUEST | NLM_F_DUMP, family and padding
    protocol.transport.sendto(request, (0, 0))
    wait_for_datagrams(loop, protocol, 1)
    assert protocol.calls[1][2] == (0, 0)


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_socket_of_another_kind(loop, endpoints, kind):
    """From Python 3.13 on anything but a stream will do."""
    sock, peer = socket.socketpair(socket.AF_UNIX, kind)
    with peer:
        if SINCE_313 or kind == socket.SOCK_DGRAM:
            protocol = endpoints.open(sock=sock)
            peer.send(b"data")
            assert wait_for_datagrams(loop, protocol, 1) == [b"data"]
            return
        with sock:
            message = re.escape(f"A UDP Socket was expected, got {sock!r}")
            with pytest.raises(ValueError, match=f"^{message}$"):
                create(loop, sock=sock)


# Wrong arguments.


def test_stream(loop):
    with socket.socket() as sock:
        kind = "datagram socket" if SINCE_313 else "UDP Socket"
        message = re.escape(f"A {kind} was expected, got {sock!r}")
        with pytest.raises(ValueError, match=f"^{message}$"):
            create(loop, sock=sock)
        assert sock.fileno() != -1


@pytest.mark.parametrize(
    "options",
    [
        {"local_addr": ("127.0.0.1", 0)},
        {"remote_addr": ("127.0.0.1", 9)},
        {"family": 1},
        {"proto": 1},
        {"flags": 1},
        {"reuse_port": True},
        {"allow_broadcast": True},
        {"family": 1, "proto": 2, "flags": 3, "reuse_port": True, "allow_broadcast": True},
    ],
)
def test_options_besides_a_socket(loop, options):
    problems = ", ".join(f"{name}={value}" for name, value in options.items())
    message = "socket modifier keyword arguments can not be used when sock is specified. "
    with datagram_socket() as sock:
        with pytest.raises(ValueError, match=f"^{re.escape(f'{message}({problems})')}$"):
            create(loop, sock=sock, **options)
        assert sock.fileno() != -1


def test_options_that_change_nothing_besides_a_socket(endpoints):
    endpoints.open(None, None, family=0, proto=0, flags=0, reuse_port=False, sock=datagram_socket())


@pytest.mark.parametrize("options", [{}, {"proto": UDP}, {"local_addr": ""}, {"local_addr": ()}])
def test_neither_family_nor_address(loop, options):
    with pytest.raises(ValueError, match="^unexpected address family$"):
        create(loop, **options)


@pytest.mark.parametrize("address", [["127.0.0.1", 0], ("127.0.0.1",), ("::1", 0, 0, 0), "127.0.0.1", 1])
@pytest.mark.parametrize("name", ["local_addr", "remote_addr"])
def test_address_that_is_no_pair(loop, name, address):
    with pytest.raises(TypeError, match="^2-tuple is expected$"):
        create(loop, **{name: address})


@pytest.mark.parametrize("address", [b"path", pathlib.Path("path"), ("127.0.0.1", 1)])
@pytest.mark.parametrize("name", ["local_addr", "remote_addr"])
def test_path_that_is_no_text(loop, name, address):
    with pytest.raises(TypeError, match="^string is expected$"):
        create(loop, family=socket.AF_UNIX, **{name: address})


@pytest.mark.filterwarnings("ignore")  # asyncio leaves that socket to the collector
@pytest.mark.parametrize("given", [False, True])
def test_protocol_factory_fails(impl, loop, given):
    """A socket of the caller's stays open."""

    def fail():
        raise ZeroDivisionError("no protocol")

    before = open_fds()
    sock = datagram_socket() if given else None
    where = {"sock": sock} if given else {"local_addr": ("127.0.0.1", 0)}
    with pytest.raises(ZeroDivisionError):
        run(loop, loop.create_datagram_endpoint(fail, **where))
    if impl.name == "fastloop" or given:
        assert len(open_fds()) == len(before) + given
    if given:
        sock.close()
    gc.collect()


def test_cancelled_before_it_is_made(loop):
    """The transport is closed."""
    protocol = Datagrams()
    before = open_fds()

    async def main():
        creation = loop.create_datagram_endpoint(lambda: protocol, ("127.0.0.1", 0))
        task = asyncio.ensure_future(creation)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(loop, main())
    run_until(loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "connection_lost"]
    settle(loop)
    assert open_fds() == before


def test_debug_log(loop, endpoints, caplog):
    loop.set_debug(True)
    with caplog.at_level("DEBUG", logger="asyncio"):
        bound = endpoints.open(("127.0.0.1", 0))
        connected = endpoints.open(remote_addr=("127.0.0.1", 9))
    messages = {record.getMessage(): record.levelname for record in caplog.records}
    expected = (
        f"Datagram endpoint local_addr=('127.0.0.1', 0) remote_addr=None created: "
        f"({bound.transport!r}, {bound!r})"
    )
    assert messages[expected] == "INFO"
    expected = (
        f"Datagram endpoint remote_addr=('127.0.0.1', 9) created: ({connected.transport!r}, {connected!r})"
    )
    assert messages[expected] == "DEBUG"


# Unix sockets.


def test_path(loop, endpoints, path):
    protocol = endpoints.open(path, family=socket.AF_UNIX)
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert address_of(protocol) == path
    peer = endpoints.socket(socket.AF_UNIX, "peer")
    peer.sendto(b"hello", path)
    assert wait_for_datagrams(loop, protocol, 1) == [b"hello"]
    assert protocol.calls[-1][2] == "peer"
    protocol.transport.sendto(b"answer", "peer")
    assert run(loop, loop.sock_recvfrom(peer, 10)) == (b"answer", path)


def test_two_paths(loop, endpoints, path):
    peer = endpoints.socket(socket.AF_UNIX, "peer")
    protocol = endpoints.open(path, "peer", family=socket.AF_UNIX)
    assert protocol.transport.get_extra_info("peername") == "peer"
    protocol.transport.sendto(b"hello")
    assert run(loop, loop.sock_recvfrom(peer, 10)) == (b"hello", path)
    peer.sendto(b"answer", path)
    assert wait_for_datagrams(loop, protocol, 1) == [b"answer"]


def test_abstract_names(loop, endpoints):
    names = abstract_name(), abstract_name()
    one = endpoints.open(names[0], family=socket.AF_UNIX)
    other = endpoints.open(names[1], names[0], family=socket.AF_UNIX)
    assert address_of(one) == os.fsencode(names[0])
    other.transport.sendto(b"ping")
    assert wait_for_datagrams(loop, one, 1) == [b"ping"]
    assert one.calls[-1][2] == os.fsencode(names[1])
    one.transport.sendto(b"pong", one.calls[-1][2])
    assert wait_for_datagrams(loop, other, 1) == [b"pong"]


def test_sender_without_a_name(loop, endpoints, path):
    receiver = endpoints.open(path, family=socket.AF_UNIX)
    sender = endpoints.open(family=socket.AF_UNIX)
    sender.transport.sendto(b"hello", path)
    assert wait_for_datagrams(loop, receiver, 1) == [b"hello"]
    assert receiver.calls[-1][2] is None
    connected = endpoints.open(remote_addr=path, family=socket.AF_UNIX)
    connected.transport.sendto(b"hello")
    wait_for_datagrams(loop, receiver, 2)


@pytest.mark.parametrize("size", [0, 1, 60_000, 150_000])
def test_sizes_of_unix_datagrams(loop, endpoints, path, size):
    if size == 0 and not SINCE_313:
        pytest.skip("empty datagrams were ignored up to Python 3.12")
    data = os.urandom(size)
    receiver = endpoints.open(path, family=socket.AF_UNIX)
    sender = endpoints.open(remote_addr=path, family=socket.AF_UNIX)
    sender.transport.sendto(data)
    assert wait_for_datagrams(loop, receiver, 1) == [data]


def test_many_unix_datagrams(loop, endpoints, path):
    """More than the kernel keeps, to a receiver on the same loop."""
    receiver = endpoints.open(path, family=socket.AF_UNIX)
    sender = endpoints.open(remote_addr=path, family=socket.AF_UNIX)
    sent = [b"%d" % number for number in range(500)]
    for data in sent:
        sender.transport.sendto(data)
    assert wait_for_datagrams(loop, receiver, len(sent)) == sent


def test_stale_socket_is_replaced(loop, endpoints, path):
    datagram_socket(socket.AF_UNIX, path).close()
    protocol = endpoints.open(path, family=socket.AF_UNIX)
    endpoints.socket(socket.AF_UNIX, "peer").sendto(b"hello", path)
    assert wait_for_datagrams(loop, protocol, 1) == [b"hello"]


def test_other_files_stay(loop, path):
    pathlib.Path(path).touch()
    with pytest.raises(OSError) as caught:
        create(loop, path, family=socket.AF_UNIX)
    assert caught.value.errno == errno.EADDRINUSE
    assert os.path.exists(path)


def test_file_stays_after_close(loop, endpoints, path):
    protocol = endpoints.open(path, family=socket.AF_UNIX)
    protocol.transport.close()
    run_until(loop, lambda: protocol.lost)
    assert os.path.exists(path)


def test_stale_socket_that_cannot_be_looked_at(loop, path, caplog):
    pathlib.Path("file").touch()
    with pytest.raises(NotADirectoryError):
        create(loop, "file/socket", family=socket.AF_UNIX)
    [record] = caplog.records
    assert record.getMessage().startswith(
        "Unable to check or remove stale UNIX socket 'file/socket': NotADir"
    )


def test_nobody_at_the_remote_path(loop, path):
    with pytest.raises(FileNotFoundError):
        create(loop, remote_addr=path, family=socket.AF_UNIX)
    datagram_socket(socket.AF_UNIX, path).close()
    with pytest.raises(ConnectionRefusedError):
        create(loop, remote_addr=path, family=socket.AF_UNIX)


def test_sending_to_nobody(loop, endpoints, path):
    protocol = endpoints.open(family=socket.AF_UNIX)
    protocol.transport.sendto(b"data", path)
    run_until(loop, lambda: protocol.errors)
    assert [type(exc) for exc in protocol.errors] == [FileNotFoundError]
    assert not protocol.transport.is_closing()
