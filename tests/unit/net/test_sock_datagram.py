"""sock_recvfrom(), sock_recvfrom_into() and sock_sendto() on datagrams."""

import asyncio
import errno
import os
import socket

import pytest
from support.net import datagram_socket, run


@pytest.fixture
def ends():
    """Two bound non-blocking UDP sockets."""
    with datagram_socket() as one, datagram_socket() as other:
        yield one, other


def test_sendto_and_recvfrom(loop, ends):
    one, other = ends
    assert run(loop, loop.sock_sendto(one, b"hello", other.getsockname())) == 5
    assert run(loop, loop.sock_recvfrom(other, 100)) == (b"hello", one.getsockname())


def test_recvfrom_waits(loop, ends):
    one, other = ends
    loop.call_later(0.002, one.sendto, b"late", other.getsockname())
    assert run(loop, loop.sock_recvfrom(other, 100)) == (b"late", one.getsockname())


def test_recvfrom_cuts_a_datagram(loop, ends):
    one, other = ends
    one.sendto(b"first datagram", other.getsockname())
    one.sendto(b"second", other.getsockname())
    assert run(loop, loop.sock_recvfrom(other, 5))[0] == b"first"
    assert run(loop, loop.sock_recvfrom(other, 100))[0] == b"second"


def test_empty_datagram(loop, ends):
    one, other = ends
    assert run(loop, loop.sock_sendto(one, b"", other.getsockname())) == 0
    assert run(loop, loop.sock_recvfrom(other, 100)) == (b"", one.getsockname())


@pytest.mark.parametrize("wait", [False, True], ids=["there", "waits"])
def test_recvfrom_into(loop, ends, wait):
    one, other = ends
    buffer = bytearray(10)
    loop.call_later(0.002 if wait else 0, one.sendto, b"hello", other.getsockname())
    if not wait:
        run(loop, asyncio.sleep(0.001))
    assert run(loop, loop.sock_recvfrom_into(other, buffer)) == (5, one.getsockname())
    assert buffer == b"hello" + bytes(5)


def test_recvfrom_into_a_part_of_the_buffer(loop, ends):
    one, other = ends
    buffer = bytearray(10)
    one.sendto(b"hello", other.getsockname())
    assert run(loop, loop.sock_recvfrom_into(other, buffer, 3)) == (3, one.getsockname())
    assert buffer == b"hel" + bytes(7)


def test_recvfrom_into_a_view(loop, ends):
    one, other = ends
    buffer = bytearray(10)
    one.sendto(b"hello", other.getsockname())
    assert run(loop, loop.sock_recvfrom_into(other, memoryview(buffer)[4:]))[0] == 5
    assert buffer == bytes(4) + b"hello" + bytes(1)


@pytest.mark.parametrize(
    "nbytes, message",
    [
        (11, "^nbytes is greater than the length of the buffer$"),
        (-1, r"^negative buffersize in recvfrom_into$"),
    ],
)
def test_recvfrom_into_of_a_bad_count(loop, ends, nbytes, message):
    with pytest.raises(ValueError, match=message):
        run(loop, loop.sock_recvfrom_into(ends[0], bytearray(10), nbytes))


def test_recvfrom_of_a_negative_count(loop, ends):
    with pytest.raises(ValueError, match="^negative buffersize in recvfrom$"):
        run(loop, loop.sock_recvfrom(ends[0], -1))


def test_recvfrom_into_what_cannot_be_written(loop, ends):
    with pytest.raises(TypeError):
        run(loop, loop.sock_recvfrom_into(ends[0], b"read-only"))
    with pytest.raises(TypeError):
        run(loop, loop.sock_recvfrom_into(ends[0], None))


@pytest.mark.parametrize("data", [bytearray(b"data"), memoryview(b"data")], ids=["bytearray", "view"])
def test_sendto_of_buffers(loop, ends, data):
    one, other = ends
    assert run(loop, loop.sock_sendto(one, data, other.getsockname())) == 4
    assert other.recv(10) == b"data"


@pytest.mark.parametrize("data", ["text", None, 5], ids=repr)
def test_sendto_of_what_is_no_buffer(loop, ends, data):
    with pytest.raises(TypeError, match="^a bytes-like object is required, not "):
        run(loop, loop.sock_sendto(ends[0], data, ends[1].getsockname()))


@pytest.mark.parametrize("address", [None, 5, "text", (), ("127.0.0.1",), ("127.0.0.1", "port")], ids=repr)
def test_sendto_a_bad_address(loop, ends, address):
    with pytest.raises(TypeError):
        run(loop, loop.sock_sendto(ends[0], b"data", address))


def test_sendto_a_port_out_of_range(loop, ends):
    with pytest.raises(OverflowError, match="^sendto\\(\\): port must be 0-65535.$"):
        run(loop, loop.sock_sendto(ends[0], b"data", ("127.0.0.1", 65536)))


def test_sendto_of_too_much(loop, ends):
    with pytest.raises(OSError) as raised:
        run(loop, loop.sock_sendto(ends[0], bytes(100_000), ends[1].getsockname()))
    assert raised.value.errno == errno.EMSGSIZE


def test_recvfrom_gets_the_refusal_of_an_earlier_send(loop, ends):
    one, other = ends
    address = other.getsockname()
    other.close()
    one.connect(address)
    one.send(b"nobody listens")
    with pytest.raises(ConnectionRefusedError):
        run(loop, loop.sock_recvfrom(one, 10))


def test_sendto_waits_for_room(loop, tmp_path):
    path = os.fspath(tmp_path / "receiver")
    with (
        datagram_socket(socket.AF_UNIX, path) as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one,
    ):
        one.setblocking(False)
        count = 0
        try:
            while True:
                one.sendto(b"filling", path)
                count += 1
        except BlockingIOError:
            pass

        async def main():
            sending = loop.create_task(loop.sock_sendto(one, b"last", path))
            await asyncio.sleep(0.001)
            assert not sending.done()
            for _ in range(count):
                assert (await loop.sock_recvfrom(receiver, 10))[0] == b"filling"
            assert await sending == 4
            return (await loop.sock_recvfrom(receiver, 10))[0]

        assert run(loop, main()) == b"last"
        assert loop.remove_writer(one) is False


def test_sendto_cancelled_while_waiting(loop, tmp_path):
    path = os.fspath(tmp_path / "receiver")
    with datagram_socket(socket.AF_UNIX, path), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        try:
            while True:
                one.sendto(b"filling", path)
        except BlockingIOError:
            pass

        async def main():
            sending = loop.create_task(loop.sock_sendto(one, b"last", path))
            await asyncio.sleep(0.001)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await asyncio.sleep(0)
            assert loop.remove_writer(one) is False

        run(loop, main())


def test_unix_datagrams_without_an_address(loop):
    """A peer that is not bound has the address None."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.setblocking(False)
        other.send(b"data")
        assert run(loop, loop.sock_recvfrom(one, 10)) == (b"data", None)


def test_datagrams_over_ipv6(loop):
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with (
        datagram_socket(socket.AF_INET6, ("::1", 0)) as one,
        datagram_socket(socket.AF_INET6, ("::1", 0)) as other,
    ):
        assert run(loop, loop.sock_sendto(one, b"six", other.getsockname())) == 3
        assert run(loop, loop.sock_recvfrom(other, 10)) == (b"six", one.getsockname())


def test_echo_of_many_datagrams(loop, ends):
    one, other = ends

    async def echo():
        for _ in range(100):
            data, address = await loop.sock_recvfrom(other, 100)
            await loop.sock_sendto(other, data, address)

    async def main():
        server = loop.create_task(echo())
        for index in range(100):
            await loop.sock_sendto(one, b"%d" % index, other.getsockname())
            data, address = await loop.sock_recvfrom(one, 100)
            assert int(data) == index and address == other.getsockname()
        await server

    run(loop, main())
