"""Datagram transports: sending, receiving, errors, back-pressure and the end."""

import asyncio
import contextlib
import contextvars
import errno
import gc
import itertools
import os
import socket
import sys
import warnings
from asyncio import trsock

import pytest
from support.net import run, run_until
from support.serving import Datagrams, Endpoints, address_of, settle

SINCE_312 = sys.version_info >= (3, 12)
SINCE_313 = sys.version_info >= (3, 13)
LARGEST = 65507  # bytes in one UDP datagram over IPv4

_numbers = itertools.count()


@pytest.fixture
def endpoints(loop):
    endpoints = Endpoints(loop)
    yield endpoints
    endpoints.end()


def abstract_name():
    return f"\0fastloop-test-{os.getpid()}-{next(_numbers)}"


def received(loop, sock):
    """The next datagram and its sender's address."""
    return run(loop, loop.sock_recvfrom(sock, 1 << 20))


def receive_all(sock):
    """The datagrams that can be received now without waiting."""
    datagrams = []
    try:
        while True:
            datagrams.append(sock.recv(1 << 20))
    except BlockingIOError:
        return datagrams


def wait_for_datagrams(loop, protocol, count):
    run_until(loop, lambda: len(protocol.datagrams) >= count)
    return protocol.datagrams


def unused_address():
    """An address where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


# What it is.


def test_is_a_datagram_transport(impl, endpoints):
    transport = endpoints.bound().transport
    assert isinstance(transport, asyncio.BaseTransport)
    if impl.name == "fastloop" or SINCE_312:
        assert isinstance(transport, asyncio.DatagramTransport)
    transport.attribute = 1


def test_connection_made_comes_before_the_result(endpoints):
    protocol = endpoints.bound()
    assert protocol.names == ["connection_made"]
    assert protocol.transport.get_protocol() is protocol
    assert not protocol.transport.is_closing()


def test_extra_info_of_an_unconnected_endpoint(endpoints):
    transport = endpoints.bound().transport
    sock = transport.get_extra_info("socket")
    assert type(sock) is trsock.TransportSocket
    assert sock.type == socket.SOCK_DGRAM
    assert sock.gettimeout() == 0
    assert not os.get_inheritable(sock.fileno())
    assert transport.get_extra_info("sockname") == sock.getsockname()
    assert transport.get_extra_info("peername") is None
    assert transport.get_extra_info("nothing", 1) == 1


def test_extra_info_of_a_connected_endpoint(endpoints):
    peer = endpoints.socket()
    transport = endpoints.connected(peer).transport
    assert transport.get_extra_info("peername") == peer.getsockname()
    assert transport.get_extra_info("sockname")[0] == "127.0.0.1"


def test_repr(endpoints, turn):
    protocol = endpoints.bound()
    fd = protocol.transport.get_extra_info("socket").fileno()
    assert f"fd={fd}" in repr(protocol.transport)
    assert "closing" not in repr(protocol.transport)
    protocol.transport.close()
    assert "closing" in repr(protocol.transport)
    turn()
    assert "closed" in repr(protocol.transport)


def test_private_names_that_others_read(loop, endpoints):
    transport = endpoints.bound().transport
    assert transport._sock.fileno() == transport.get_extra_info("socket").fileno()
    assert transport._loop is loop
    assert transport._address is None
    assert isinstance(transport._extra, dict)


# Sending and receiving.


def test_receive_and_answer(loop, endpoints):
    """datagram_received() gets the sender's address, which sendto() takes."""
    peer = endpoints.socket()
    protocol = endpoints.bound(
        datagram_received=lambda data, addr: protocol.transport.sendto(data.upper(), addr)
    )
    peer.sendto(b"hello", address_of(protocol))
    assert received(loop, peer) == (b"HELLO", address_of(protocol))
    assert protocol.calls[1:] == [("datagram_received", b"hello", peer.getsockname())]


def test_connected_endpoint(loop, endpoints):
    """It needs no address, and takes its own."""
    peer, stranger = endpoints.socket(), endpoints.socket()
    protocol = endpoints.connected(peer)
    protocol.transport.sendto(b"one")
    protocol.transport.sendto(b"two", None)
    protocol.transport.sendto(b"three", peer.getsockname())
    expected = [(data, address_of(protocol)) for data in (b"one", b"two", b"three")]
    assert [received(loop, peer) for _ in range(3)] == expected
    stranger.sendto(b"unwanted", address_of(protocol))
    peer.sendto(b"wanted", address_of(protocol))
    assert wait_for_datagrams(loop, protocol, 1) == [b"wanted"]


def test_connected_endpoint_refuses_other_addresses(loop, endpoints):
    peer, stranger = endpoints.socket(), endpoints.socket()
    protocol = endpoints.connected(peer)
    with pytest.raises(ValueError) as caught:
        protocol.transport.sendto(b"data", stranger.getsockname())
    assert str(caught.value) == f"Invalid address: must be None or {peer.getsockname()}"
    protocol.transport.sendto(b"after")
    assert received(loop, peer)[0] == b"after"


def test_two_endpoints(loop, endpoints):
    one, other = endpoints.bound(), endpoints.bound()
    one.transport.sendto(b"ping", address_of(other))
    assert wait_for_datagrams(loop, other, 1) == [b"ping"]
    other.transport.sendto(b"pong", other.calls[-1][2])
    assert wait_for_datagrams(loop, one, 1) == [b"pong"]


def test_ipv6(loop, endpoints):
    one = endpoints.open(("::1", 0))
    other = endpoints.open(remote_addr=address_of(one)[:2])
    assert len(address_of(one)) == 4
    other.transport.sendto(b"ping")
    assert wait_for_datagrams(loop, one, 1) == [b"ping"]
    assert one.calls[-1][2] == address_of(other)
    one.transport.sendto(b"pong", address_of(other))
    assert wait_for_datagrams(loop, other, 1) == [b"pong"]


def test_datagrams_keep_their_order_and_bounds(loop, endpoints):
    one, other = endpoints.bound(), endpoints.bound()
    sent = [b"%d" % number * (number % 7 + 1) for number in range(150)]
    for data in sent:
        one.transport.sendto(data, address_of(other))
    assert wait_for_datagrams(loop, other, len(sent)) == sent


def test_datagrams_for_several_receivers(loop, endpoints):
    sender = endpoints.bound()
    peers = [endpoints.socket() for _ in range(5)]
    for number in range(10):
        for peer in peers:
            sender.transport.sendto(b"%d" % number, peer.getsockname())
    for peer in peers:
        assert [received(loop, peer)[0] for _ in range(10)] == [b"%d" % number for number in range(10)]


def test_addresses_of_several_senders(loop, endpoints):
    receiver = endpoints.bound()
    peers = [endpoints.socket() for _ in range(10)]
    for number, peer in enumerate(peers):
        peer.sendto(b"%d" % number, address_of(receiver))
    wait_for_datagrams(loop, receiver, 10)
    expected = [("datagram_received", b"%d" % i, peer.getsockname()) for i, peer in enumerate(peers)]
    assert receiver.calls[1:] == expected


@pytest.mark.parametrize("size", [1, 1472, 9000, 65000, LARGEST])
def test_sizes(loop, endpoints, size):
    data = os.urandom(size)
    peer = endpoints.socket()
    protocol = endpoints.bound(datagram_received=lambda data, addr: protocol.transport.sendto(data, addr))
    peer.sendto(data, address_of(protocol))
    assert received(loop, peer)[0] == data
    assert protocol.datagrams == [data]
    assert type(protocol.datagrams[0]) is bytes


def test_empty_datagram_is_received(loop, endpoints):
    peer = endpoints.socket()
    protocol = endpoints.bound()
    peer.sendto(b"", address_of(protocol))
    peer.sendto(b"data", address_of(protocol))
    assert wait_for_datagrams(loop, protocol, 2) == [b"", b"data"]


def test_empty_datagram_is_sent(loop, endpoints):
    """From Python 3.13 on; before it was ignored."""
    peer = endpoints.socket()
    protocol = endpoints.connected(peer)
    protocol.transport.sendto(b"")
    protocol.transport.sendto(b"data")
    assert received(loop, peer)[0] == (b"" if SINCE_313 else b"data")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(b"_" + data)[1:]])
def test_kinds_of_data(loop, endpoints, kind):
    peer = endpoints.socket()
    protocol = endpoints.connected(peer)
    protocol.transport.sendto(kind(b"hello"))
    assert received(loop, peer)[0] == b"hello"


@pytest.mark.parametrize("data, name", [("text", "str"), (None, "NoneType"), (1, "int"), ([b"a"], "list")])
def test_data_of_another_type(endpoints, data, name):
    protocol = endpoints.connected(endpoints.socket())
    message = f"^data argument must be a bytes-like object, not '{name}'$"
    with pytest.raises(TypeError, match=message):
        protocol.transport.sendto(data)
    assert not protocol.transport.is_closing()


def test_host_names_are_resolved(loop, endpoints):
    """By the socket module, and blocking the loop, as in asyncio."""
    peer = endpoints.socket()
    protocol = endpoints.bound()
    protocol.transport.sendto(b"hello", ("localhost", peer.getsockname()[1]))
    assert received(loop, peer)[0] == b"hello"


def test_set_protocol(loop, endpoints):
    peer = endpoints.socket()
    first = endpoints.bound()
    transport, second = first.transport, Datagrams()
    peer.sendto(b"one", address_of(first))
    wait_for_datagrams(loop, first, 1)
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    peer.sendto(b"two", address_of(first))
    wait_for_datagrams(loop, second, 1)
    transport.close()
    run_until(loop, lambda: second.lost)
    assert first.names == ["connection_made", "datagram_received"]
    assert second.names == ["datagram_received", "connection_lost"]
    first.transport = None


def test_set_protocol_between_two_datagrams(loop, endpoints):
    """Even if both were there already."""
    peer, second = endpoints.socket(), Datagrams()
    first = endpoints.bound(datagram_received=lambda *args: first.transport.set_protocol(second))
    peer.sendto(b"one", address_of(first))
    peer.sendto(b"two", address_of(first))
    wait_for_datagrams(loop, second, 1)
    assert (first.datagrams, second.datagrams) == ([b"one"], [b"two"])
    first.transport.close()
    run_until(loop, lambda: second.lost)
    first.transport = None


NUMBER = contextvars.ContextVar("number", default=0)


def test_callbacks_run_in_the_context_of_the_maker(loop, endpoints):
    seen = []

    def note(*args):
        seen.append(NUMBER.get())

    protocol = Datagrams(connection_made=note, datagram_received=note, connection_lost=note)
    endpoints.protocols.append(protocol)

    async def main():
        NUMBER.set(1)
        await loop.create_datagram_endpoint(lambda: protocol, ("127.0.0.1", 0))

    run(loop, main())
    endpoints.socket().sendto(b"data", address_of(protocol))
    wait_for_datagrams(loop, protocol, 1)
    assert seen == [1, 1]


# Errors of the system.


def test_nobody_listens(loop, endpoints):
    """The kernel learns of it after sending; a connected endpoint is told, and goes on."""
    protocol = endpoints.open(remote_addr=unused_address())
    protocol.transport.sendto(b"data")
    run_until(loop, lambda: protocol.errors)
    assert [type(exc) for exc in protocol.errors] == [ConnectionRefusedError]
    assert not protocol.transport.is_closing()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(protocol.transport.get_extra_info("peername"))
        protocol.transport.sendto(b"again")
        peer.setblocking(False)
        assert received(loop, peer)[0] == b"again"


def test_nobody_listens_to_an_unconnected_endpoint(loop, endpoints):
    protocol = endpoints.bound()
    protocol.transport.sendto(b"data", unused_address())
    settle(loop)
    assert protocol.names == ["connection_made"]


def test_error_that_is_found_while_sending(loop, endpoints):
    """The refusal of one datagram may be reported by the sending of the next."""
    protocol = endpoints.open(remote_addr=unused_address())
    for _ in range(5):
        protocol.transport.sendto(b"data")
    run_until(loop, lambda: protocol.errors)
    settle(loop)
    assert {type(exc) for exc in protocol.errors} == {ConnectionRefusedError}
    assert not protocol.lost


def test_datagram_too_large(loop, endpoints):
    peer = endpoints.socket()
    protocol = endpoints.connected(peer)
    protocol.transport.sendto(bytes(LARGEST + 1))
    protocol.transport.sendto(b"small")
    assert received(loop, peer)[0] == b"small"
    assert [exc.errno for exc in protocol.errors] == [errno.EMSGSIZE]
    assert not protocol.transport.is_closing()


def test_broadcast_needs_the_flag(loop, endpoints):
    protocol = endpoints.open(family=socket.AF_INET)
    protocol.transport.sendto(b"data", ("255.255.255.255", 9))
    run_until(loop, lambda: protocol.errors)
    assert isinstance(protocol.errors[0], OSError)
    assert not protocol.lost


@pytest.mark.parametrize("addr", [("::1", 9), ("no such host.invalid", 9)])
def test_address_that_leads_nowhere(loop, endpoints, addr):
    """An address of another family, or one that is not found."""
    protocol = endpoints.bound()
    protocol.transport.sendto(b"data", addr)
    run_until(loop, lambda: protocol.errors)
    assert isinstance(protocol.errors[0], socket.gaierror)
    assert not protocol.transport.is_closing()


@pytest.mark.parametrize(
    "addr, error", [("text", TypeError), (("127.0.0.1",), TypeError), (("127.0.0.1", 70000), OverflowError)]
)
def test_address_that_is_none(loop, endpoints, reported, addr, error):
    """It ends the transport and is reported."""
    protocol = endpoints.bound()
    protocol.transport.sendto(b"data", addr)
    run_until(loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "connection_lost"]
    assert type(protocol.reason) is error
    [context] = reported
    assert context["message"] == "Fatal write error on datagram transport"
    assert context["exception"] is protocol.reason
    assert context["transport"] is protocol.transport
    assert context["protocol"] is protocol


def test_no_address_at_all(loop, endpoints, reported):
    """An endpoint that is not connected needs one."""
    protocol = endpoints.bound()
    protocol.transport.sendto(b"data")
    run_until(loop, lambda: protocol.lost)
    assert isinstance(protocol.reason, TypeError)
    assert [context["message"] for context in reported] == ["Fatal write error on datagram transport"]


# Exceptions of the protocol.


def test_datagram_received_fails(loop, endpoints, reported):
    """It is reported; the next datagram comes."""
    outcomes = [ZeroDivisionError("failed"), None, None]

    def fail(data, addr):
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    peer = endpoints.socket()
    protocol = endpoints.bound(datagram_received=fail)
    for data in (b"one", b"two", b"three"):
        peer.sendto(data, address_of(protocol))
    assert wait_for_datagrams(loop, protocol, 3) == [b"one", b"two", b"three"]
    assert [str(context["exception"]) for context in reported] == ["failed"]
    assert not protocol.transport.is_closing()


def test_error_received_fails(loop, endpoints, reported):
    def fail(exc):
        raise ZeroDivisionError("failed")

    protocol = endpoints.open(remote_addr=unused_address(), on={"error_received": fail})
    protocol.transport.sendto(b"data")
    run_until(loop, lambda: protocol.errors)
    settle(loop)
    assert [str(context["exception"]) for context in reported] == ["failed"]
    assert not protocol.transport.is_closing()


def test_connection_made_fails(loop, endpoints, reported):
    """It is reported; the endpoint is made all the same."""
    peer = endpoints.socket()
    protocol = endpoints.bound(connection_made=lambda transport: 1 / 0)
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    peer.sendto(b"data", address_of(protocol))
    assert wait_for_datagrams(loop, protocol, 1) == [b"data"]


def test_connection_lost_fails(loop, endpoints, reported):
    protocol = endpoints.bound(connection_lost=lambda exc: 1 / 0)
    sock = protocol.transport.get_extra_info("socket")
    protocol.transport.close()
    run_until(loop, lambda: reported)
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]
    assert protocol.names == ["connection_made", "connection_lost"]
    assert sock.fileno() == -1


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_datagram_received_interrupts(loop, endpoints, exception):
    """It leaves run_forever(), and the endpoint goes on."""
    outcomes = [exception]

    def interrupt(data, addr):
        if outcomes:
            raise outcomes.pop()

    peer = endpoints.socket()
    protocol = endpoints.bound(datagram_received=interrupt)
    peer.sendto(b"one", address_of(protocol))
    peer.sendto(b"two", address_of(protocol))
    with pytest.raises(exception):
        run(loop, asyncio.sleep(10))
    gc.collect()
    assert wait_for_datagrams(loop, protocol, 2) == [b"one", b"two"]


# Back-pressure: the kernel lets a Unix socket wait for its receiver.


def fill(transport, size=1000):
    """Send until the transport holds more than its limit; return what was sent."""
    sent = []
    _, limit = transport.get_write_buffer_limits()
    while transport.get_write_buffer_size() <= limit and not transport.is_closing():
        sent.append(b"%d:" % len(sent) + bytes(size))
        transport.sendto(sent[-1])
    return sent


def receive_until_empty(loop, transport, peer):
    """Receive at the peer until the transport has nothing left to send; return the datagrams."""
    datagrams = []

    def is_empty():
        datagrams.extend(receive_all(peer))
        return not transport.get_write_buffer_size()

    run_until(loop, is_empty)
    return datagrams + receive_all(peer)


@pytest.fixture
def slow(endpoints):
    """A raw socket that receives only when told to, and an endpoint connected to it."""
    peer = endpoints.socket(socket.AF_UNIX, abstract_name())
    return peer, endpoints.open(remote_addr=peer.getsockname().decode(), family=socket.AF_UNIX)


def empties(transport):
    """Whether the transport knows when it is empty: 3.13 forgot eight bytes for each datagram."""
    return type(transport).__module__.startswith("fastloop") or sys.version_info[:2] != (3, 13)


def test_datagrams_wait_for_the_kernel(loop, slow):
    """The protocol is paused above the limit and resumed when it is reached; nothing is lost."""
    peer, protocol = slow
    sent = fill(protocol.transport)
    assert protocol.names == ["connection_made", "pause_writing"]
    if not empties(protocol.transport):
        pytest.skip("asyncio does not resume on this version")
    assert receive_until_empty(loop, protocol.transport, peer) == sent
    assert protocol.names == ["connection_made", "pause_writing", "resume_writing"]
    protocol.transport.sendto(b"after")
    assert received(loop, peer)[0] == b"after"


def test_write_buffer_size(loop, slow):
    """What the transport holds, from Python 3.13 on with eight bytes for each datagram."""
    _, protocol = slow
    transport = protocol.transport
    assert transport.get_write_buffer_size() == 0
    while not transport.get_write_buffer_size():
        transport.sendto(bytes(100))
        run(loop, asyncio.sleep(0))
    size = transport.get_write_buffer_size()
    transport.sendto(bytes(200))
    assert (size, transport.get_write_buffer_size() - size) == ((108, 208) if SINCE_313 else (100, 200))


def test_write_buffer_limits(endpoints):
    transport = endpoints.bound().transport
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.set_write_buffer_limits(high=100)
    assert transport.get_write_buffer_limits() == (25, 100)
    transport.set_write_buffer_limits(high=100, low=10)
    assert transport.get_write_buffer_limits() == (10, 100)
    transport.set_write_buffer_limits(low=10)
    assert transport.get_write_buffer_limits() == (10, 40)
    transport.set_write_buffer_limits()
    assert transport.get_write_buffer_limits() == (16384, 65536)
    for wrong in ({"high": 1, "low": 2}, {"low": -1}):
        with pytest.raises(ValueError, match="must be >= "):
            transport.set_write_buffer_limits(**wrong)


def test_high_limit_of_zero(loop, slow):
    """Any datagram that waits pauses the protocol."""
    peer, protocol = slow
    protocol.transport.set_write_buffer_limits(high=0)
    sent = fill(protocol.transport)
    assert protocol.names[-1] == "pause_writing"
    if empties(protocol.transport):
        assert receive_until_empty(loop, protocol.transport, peer) == sent
        assert protocol.names[-1] == "resume_writing"


def test_waiting_data_is_a_copy(loop, slow):
    peer, protocol = slow
    sent = fill(protocol.transport)
    data = bytearray(b"before")
    protocol.transport.sendto(data)
    data[:] = b"after!"
    if empties(protocol.transport):
        assert receive_until_empty(loop, protocol.transport, peer) == [*sent, b"before"]


def test_close_sends_what_waits(loop, slow):
    peer, protocol = slow
    sent = fill(protocol.transport)
    protocol.transport.close()
    assert protocol.transport.is_closing()
    settle(loop)
    assert not protocol.lost
    datagrams = []

    def is_lost():
        datagrams.extend(receive_all(peer))
        return protocol.lost

    run_until(loop, is_lost)
    assert datagrams + receive_all(peer) == sent
    assert protocol.reason is None


def test_abort_drops_what_waits(loop, slow):
    peer, protocol = slow
    sent = fill(protocol.transport)
    protocol.transport.abort()
    run_until(loop, lambda: protocol.lost)
    assert protocol.reason is None
    arrived = receive_all(peer)
    assert arrived == sent[: len(arrived)]
    assert len(arrived) < len(sent)


def test_receiver_dies_while_datagrams_wait(loop, slow):
    """There is an error for what cannot be sent any more; the transport stays."""
    peer, protocol = slow
    fill(protocol.transport)
    peer.close()
    run_until(loop, lambda: protocol.errors)
    assert {exc.errno for exc in protocol.errors} <= {errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN}
    assert not protocol.lost


@pytest.mark.parametrize("way", ["close", "abort"])
@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
def test_end_inside_flow_control(loop, slow, name, way):
    peer, protocol = slow
    if not empties(protocol.transport):
        pytest.skip("asyncio does not resume on this version")
    protocol.on[name] = getattr(protocol.transport, way)
    fill(protocol.transport)

    def is_lost():
        receive_all(peer)
        return protocol.lost

    run_until(loop, is_lost)
    assert protocol.names.count("connection_lost") == 1
    assert protocol.reason is None


# The end.


@pytest.mark.parametrize("way", ["close", "abort"])
def test_end(loop, endpoints, way):
    """connection_lost() comes later, once, and then the socket is closed."""
    protocol = endpoints.bound()
    sock = protocol.transport.get_extra_info("socket")
    assert getattr(protocol.transport, way)() is None
    assert protocol.transport.is_closing()
    assert not protocol.lost
    run_until(loop, lambda: protocol.lost)
    settle(loop)
    assert protocol.calls[1:] == [("connection_lost", None)]
    assert sock.fileno() == -1
    assert protocol.transport.is_closing()
    protocol.transport.close()
    settle(loop)
    assert protocol.names.count("connection_lost") == 1


@pytest.mark.parametrize("first", ["close", "abort"])
@pytest.mark.parametrize("second", ["close", "abort"])
def test_end_twice(loop, endpoints, first, second):
    protocol = endpoints.bound()
    getattr(protocol.transport, first)()
    getattr(protocol.transport, second)()
    run_until(loop, lambda: protocol.lost)
    settle(loop)
    assert protocol.names == ["connection_made", "connection_lost"]


@pytest.mark.parametrize("way", ["close", "abort"])
def test_what_was_sent_before_the_end_arrives(loop, endpoints, way):
    peer = endpoints.socket()
    protocol = endpoints.connected(peer)
    protocol.transport.sendto(b"one")
    protocol.transport.sendto(b"two")
    getattr(protocol.transport, way)()
    assert [received(loop, peer)[0] for _ in range(2)] == [b"one", b"two"]


@pytest.mark.parametrize("way", ["close", "abort"])
@pytest.mark.parametrize(
    "name", ["connection_made", "datagram_received", "error_received", "connection_lost"]
)
def test_end_inside_a_callback(loop, endpoints, name, way):
    """Nothing is called after it but connection_lost(), once, whatever waits in the socket."""
    protocol = endpoints.connected(endpoints.socket())
    transport = protocol.transport
    peer = endpoints.sockets[0]
    if name == "connection_made":
        made = Datagrams(connection_made=lambda transport: getattr(transport, way)())
        creation = loop.create_datagram_endpoint(lambda: made, ("127.0.0.1", 0))
        run(loop, creation)
        run_until(loop, lambda: made.lost)
        assert made.names == ["connection_made", "connection_lost"]
        return
    protocol.on[name] = lambda *args: getattr(transport, way)()
    if name == "error_received":
        peer.close()
        transport.sendto(b"data")
    else:
        for _ in range(3):
            peer.sendto(b"data", address_of(protocol))
        if name == "connection_lost":
            transport.close()
    run_until(loop, lambda: protocol.lost)
    settle(loop)
    expected = [] if name == "connection_lost" else [name]
    assert protocol.names == ["connection_made", *expected, "connection_lost"]
    assert protocol.reason is None


def test_nothing_is_received_after_close(loop, endpoints):
    peer = endpoints.socket()
    protocol = endpoints.bound()
    peer.sendto(b"data", address_of(protocol))
    protocol.transport.close()
    run_until(loop, lambda: protocol.lost)
    assert protocol.datagrams == []


def test_sendto_after_close_of_a_connected_endpoint(loop, endpoints, caplog):
    """It is ignored; the log says so from the fifth time on."""
    peer = endpoints.socket()
    protocol = endpoints.connected(peer)
    protocol.transport.close()
    for _ in range(2):
        protocol.transport.sendto(b"data")
    run_until(loop, lambda: protocol.lost)
    for _ in range(2):
        protocol.transport.sendto(b"data")
    assert caplog.messages == []
    for _ in range(3):
        protocol.transport.sendto(b"data")
    assert set(caplog.messages) == {"socket.send() raised exception."}
    assert receive_all(peer) == []
    with pytest.raises(TypeError):
        protocol.transport.sendto("text")


def test_sendto_after_the_end_of_an_unconnected_endpoint(impl, loop, endpoints):
    if impl.name == "asyncio":
        pytest.skip("asyncio raises AttributeError")
    peer = endpoints.socket()
    protocol = endpoints.bound()
    protocol.transport.close()
    run_until(loop, lambda: protocol.lost)
    protocol.transport.sendto(b"data", peer.getsockname())
    settle(loop)
    assert receive_all(peer) == []
    assert protocol.names == ["connection_made", "connection_lost"]


def test_endpoint_that_nobody_closed(loop, endpoints):
    """It warns, and closes its socket."""
    protocol = endpoints.bound()
    fd = protocol.transport.get_extra_info("socket").fileno()
    endpoints.protocols.clear()
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del protocol
        gc.collect()
    assert any(str(warning.message).startswith("unclosed transport <") for warning in caught)
    with pytest.raises(OSError):
        os.fstat(fd)


def test_what_waits_is_sent_while_reading_is_paused(loop, impl):
    if impl.name == "asyncio":
        pytest.skip("asyncio's datagram transports cannot pause")
    sock, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)
    peer.setblocking(False)
    transport, protocol = run(loop, loop.create_datagram_endpoint(Datagrams, sock=sock))
    sent = 600
    for number in range(sent):
        transport.sendto(str(number).encode())
    transport.pause_reading()
    arrived = []

    def drain():
        with contextlib.suppress(BlockingIOError):
            while True:
                arrived.append(peer.recv(100))
        return len(arrived) == sent

    with peer:
        assert transport.get_write_buffer_size() > 0
        run_until(loop, drain)
        assert arrived == [str(number).encode() for number in range(sent)]
        transport.abort()
        run_until(loop, lambda: protocol.lost)
