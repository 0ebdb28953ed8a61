"""Where a server listens: hosts, ports, options of the sockets, and arguments that create_server() refuses."""

import asyncio
import errno
import gc
import os
import re
import socket
import ssl
import sys

import pytest
from support.net import datagram_socket, open_fds, run, run_until
from support.serving import Service

SINCE_313 = sys.version_info >= (3, 13)


@pytest.fixture
def service(loop):
    service = Service(loop)
    yield service
    service.end()


def create(loop, *args, **options):
    return run(loop, loop.create_server(asyncio.Protocol, *args, **options))


def families(server):
    return sorted(sock.family for sock in server.sockets)


def test_port_zero_is_the_kernels_choice(service):
    [sock] = service.start().sockets
    host, port = sock.getsockname()
    assert host == "127.0.0.1" and port > 0


@pytest.mark.parametrize("port", ["0", b"0", "", None])
def test_port_of_another_type(service, port):
    [sock] = service.start(port=port).sockets
    assert sock.getsockname()[1] > 0


@pytest.mark.parametrize("host", [None, ""])
def test_all_interfaces(service, host):
    """The two families share no port, as each socket gets its own."""
    server = service.start(host, 0)
    assert families(server) == [socket.AF_INET, socket.AF_INET6]
    assert {sock.getsockname()[0] for sock in server.sockets} == {"0.0.0.0", "::"}
    for sock in server.sockets:
        with socket.create_connection(
            ("::1" if sock.family == socket.AF_INET6 else "127.0.0.1", sock.getsockname()[1])
        ):
            pass
    run_until(service.loop, lambda: len(service.protocols) == 2 and all(p.lost for p in service.protocols))


def test_family(service):
    assert families(service.start(None, 0, family=socket.AF_INET)) == [socket.AF_INET]


def test_ipv6(loop, service):
    server = service.start("::1")
    [sock] = server.sockets
    assert sock.family == socket.AF_INET6
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    protocol, client = service.connect()
    assert protocol.transport.get_extra_info("peername") == client.getsockname()
    assert len(client.getsockname()) == 4


def test_both_families_on_one_port(service):
    """An IPv6 socket for all interfaces leaves IPv4 alone."""
    port = service.start("0.0.0.0").sockets[0].getsockname()[1]
    assert service.start("::", port).sockets[0].getsockname()[1] == port


def test_several_hosts(service):
    server = service.start(["127.0.0.1", "127.0.0.2"])
    assert sorted(sock.getsockname()[0] for sock in server.sockets) == ["127.0.0.1", "127.0.0.2"]
    for sock in server.sockets:
        with socket.create_connection(sock.getsockname()):
            pass
    run_until(service.loop, lambda: len(service.protocols) == 2 and all(p.lost for p in service.protocols))


@pytest.mark.parametrize("container", [list, tuple, set, iter, dict.fromkeys])
def test_kinds_of_sequences(service, container):
    server = service.start(container(["127.0.0.1"]))
    assert families(server) == [socket.AF_INET]


def test_each_address_once(service):
    port = service.start().sockets[0].getsockname()[1]
    service.servers[0].close()
    assert len(service.start(["127.0.0.1", "127.0.0.1"], port).sockets) == 1


def test_no_host_at_all(loop, service):
    if SINCE_313:
        with pytest.raises(OSError, match=r"^could not bind on any address out of \[\]$"):
            create(loop, [], 0)
    else:
        assert service.start([]).sockets == ()


def test_names_are_looked_up(loop, service):
    asked = []

    async def getaddrinfo(host, port, **details):
        asked.append((host, port, details))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    loop.getaddrinfo = getaddrinfo
    server = service.start(["one", "two"], "service", family=socket.AF_INET, flags=socket.AI_CANONNAME)
    details = {
        "family": socket.AF_INET,
        "type": socket.SOCK_STREAM,
        "proto": 0,
        "flags": socket.AI_CANONNAME,
    }
    assert asked == [("one", "service", details), ("two", "service", details)]
    assert len(server.sockets) == 1


def test_passive_addresses_are_asked_for(loop, service):
    async def getaddrinfo(host, port, *, flags, **details):
        assert (host, port, flags) == (None, 0, socket.AI_PASSIVE)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    loop.getaddrinfo = getaddrinfo
    service.start(None, 0)


def test_name_without_addresses(loop):
    async def getaddrinfo(*args, **details):
        return []

    loop.getaddrinfo = getaddrinfo
    with pytest.raises(OSError, match=r"^getaddrinfo\('nowhere'\) returned empty list$"):
        create(loop, "nowhere", 0)


def test_look_up_fails(loop):
    async def getaddrinfo(*args, **details):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    loop.getaddrinfo = getaddrinfo
    with pytest.raises(socket.gaierror):
        create(loop, ["127.0.0.1", "nowhere"], 0)


def test_kind_of_socket_that_does_not_exist_is_passed_over(loop, service):
    async def getaddrinfo(*args, **details):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 250, "", ("127.0.0.1", 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]

    loop.getaddrinfo = getaddrinfo
    assert len(service.start("somewhere").sockets) == 1


# Options of the sockets.


def option(server, name):
    return bool(server.sockets[0].getsockopt(socket.SOL_SOCKET, name))


@pytest.mark.parametrize("value, expected", [(None, True), (True, True), (False, False)])
def test_reuse_address(service, value, expected):
    assert option(service.start(reuse_address=value), socket.SO_REUSEADDR) is expected


@pytest.mark.parametrize("value", [None, False, True])
def test_reuse_port(service, value):
    server = service.start(reuse_port=value)
    assert option(server, socket.SO_REUSEPORT) is bool(value)
    if value:
        service.start("127.0.0.1", server.sockets[0].getsockname()[1], reuse_port=True)


@pytest.mark.parametrize("value", [None, False, True])
def test_keep_alive(impl, service, value):
    if impl.name == "asyncio" and not SINCE_313:
        pytest.skip("asyncio has it from Python 3.13 on")
    server = service.start(keep_alive=value)
    assert option(server, socket.SO_KEEPALIVE) is bool(value)
    protocol, _ = service.connect()  # inherits it
    sock = protocol.transport.get_extra_info("socket")
    assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is bool(value)


# A socket made by the caller.


def test_given_socket(service):
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = service.start(None, None, sock=sock)
    assert sock.gettimeout() == 0
    assert server.sockets[0].fileno() == sock.fileno()
    service.connect()
    server.close()
    assert sock.fileno() == -1


def test_given_socket_that_listens_already(service):
    service.start(None, None, sock=socket.create_server(("127.0.0.1", 0)))
    service.connect()


def test_given_socket_that_cannot_listen(loop):
    """A connected socket: the error is listen()'s, and the socket is still the caller's."""
    one, other = socket.socketpair()
    with one, other:
        with pytest.raises(OSError) as caught:
            create(loop, sock=one)
        assert caught.value.errno == errno.EINVAL
        assert one.fileno() != -1


# Wrong arguments.


@pytest.mark.parametrize("ssl_argument", [True, False])
def test_ssl_must_be_a_context(loop, ssl_argument):
    with pytest.raises(TypeError, match="^ssl argument must be an SSLContext or None$"):
        create(loop, "127.0.0.1", 0, ssl=ssl_argument)


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_timeouts_need_ssl(loop, name):
    with pytest.raises(ValueError, match=f"^{name} is only meaningful with ssl$"):
        create(loop, "127.0.0.1", 0, **{name: 1.0})


@pytest.mark.parametrize("where", [("127.0.0.1", 0), ("127.0.0.1", None), (None, 0)])
def test_host_or_port_besides_a_socket(loop, listener, where):
    message = "^host/port and sock can not be specified at the same time$"
    with pytest.raises(ValueError, match=message):
        create(loop, *where, sock=listener)


def test_neither_host_nor_socket(loop):
    with pytest.raises(ValueError, match="^Neither host/port nor sock were specified$"):
        create(loop)


def test_socket_that_is_no_stream(loop):
    with datagram_socket() as sock:
        message = re.escape(f"A Stream Socket was expected, got {sock!r}")
        with pytest.raises(ValueError, match=f"^{message}$"):
            create(loop, sock=sock)


def test_socket_of_the_ssl_module(loop):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with (
        context.wrap_socket(socket.socket(), do_handshake_on_connect=False) as sock,
        pytest.raises(TypeError, match="^Socket cannot be of type SSLSocket$"),
    ):
        create(loop, sock=sock)


@pytest.mark.parametrize(
    "error, args",
    [
        (TypeError, ("127.0.0.1", 0, 0)),
        (OverflowError, ("127.0.0.1", 65536)),
        (socket.gaierror, ("1.2.3.4.5", 0)),
    ],
)
def test_other_wrong_arguments(loop, error, args):
    async def getaddrinfo(*args, **details):
        return socket.getaddrinfo(*args, flags=socket.AI_NUMERICHOST)

    loop.getaddrinfo = getaddrinfo
    before = open_fds()
    with pytest.raises(error):
        create(loop, *args)
    assert open_fds() == before


# Addresses that cannot be bound.


def test_address_in_use(loop, service):
    """The error names the address; of several sockets none is left open."""
    address = service.start().sockets[0].getsockname()
    before = open_fds()
    with pytest.raises(OSError) as caught:
        create(loop, ["127.0.0.2", "127.0.0.1"], address[1])
    reason = os.strerror(errno.EADDRINUSE).lower()
    if SINCE_313:
        reason = f"[errno {errno.EADDRINUSE}] {reason}"
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == f"error while attempting to bind on address {address}: {reason}"
    assert caught.value.__suppress_context__
    del caught
    gc.collect()
    assert open_fds() == before


def test_address_of_another_machine(loop):
    before = open_fds()
    with pytest.raises(OSError) as caught:
        create(loop, "192.0.2.1", 0)
    if SINCE_313:
        assert str(caught.value) == "could not bind on any address out of [('192.0.2.1', 0)]"
    else:
        assert caught.value.errno == errno.EADDRNOTAVAIL
        assert caught.value.strerror.startswith(
            "error while attempting to bind on address ('192.0.2.1', 0): "
        )
    del caught
    gc.collect()
    assert open_fds() == before


@pytest.mark.skipif(not SINCE_313, reason="an error up to Python 3.12")
def test_address_of_another_machine_is_passed_over(loop, service, caplog):
    loop.set_debug(True)
    server = service.start(["192.0.2.1", "127.0.0.1"])
    assert [sock.getsockname()[0] for sock in server.sockets] == ["127.0.0.1"]
    assert any("bind on address ('192.0.2.1', 0)" in record.getMessage() for record in caplog.records)


@pytest.mark.filterwarnings("ignore")  # asyncio leaves those sockets to the collector
def test_two_listeners_on_one_address(loop, service):
    """Both can bind, as SO_REUSEADDR allows it; listen() then fails."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        server = service.start(port=sock.getsockname()[1], start_serving=False)
        sock.listen()
        with pytest.raises(OSError) as caught:
            run(loop, server.start_serving())
        assert caught.value.errno == errno.EADDRINUSE
