"""The sock_* family on streams: receiving and sending, and what all its members refuse."""

import array
import asyncio
import errno
import inspect
import io
import os
import socket
import ssl

import pytest
from support.net import fill, receive_exactly, run, tcp_socket


def test_recv_of_what_is_there(loop, pair):
    left, right = pair
    right.send(b"hello")
    assert run(loop, loop.sock_recv(left, 100)) == b"hello"


def test_recv_waits(loop, pair):
    left, right = pair
    loop.call_later(0.005, right.send, b"late")
    assert run(loop, loop.sock_recv(left, 100)) == b"late"


def test_recv_takes_no_more_than_asked(loop, pair):
    left, right = pair
    right.send(b"hello")
    assert run(loop, loop.sock_recv(left, 2)) == b"he"
    assert run(loop, loop.sock_recv(left, 0)) == b""
    assert run(loop, loop.sock_recv(left, 100)) == b"llo"


def test_recv_at_the_end(loop, pair):
    left, right = pair
    right.close()
    assert run(loop, loop.sock_recv(left, 100)) == b""
    assert run(loop, loop.sock_recv(left, 100)) == b""


def test_recv_of_nothing_does_not_wait(loop, pair):
    assert run(loop, loop.sock_recv(pair[0], 0)) == b""


def test_recv_of_a_negative_count(loop, pair):
    with pytest.raises(ValueError, match="^negative buffersize in recv$"):
        run(loop, loop.sock_recv(pair[0], -1))


@pytest.mark.parametrize(
    "make", [bytearray, lambda size: memoryview(bytearray(size))], ids=["bytearray", "view"]
)
def test_recv_into(loop, pair, make):
    left, right = pair
    buffer = make(10)
    loop.call_later(0.001, right.send, b"hello")
    assert run(loop, loop.sock_recv_into(left, buffer)) == 5
    assert bytes(buffer) == b"hello" + bytes(5)
    right.send(b"more")
    assert run(loop, loop.sock_recv_into(left, buffer)) == 4
    assert bytes(buffer) == b"moreo" + bytes(5)


def test_recv_into_an_empty_buffer(loop, pair):
    assert run(loop, loop.sock_recv_into(pair[0], bytearray())) == 0


@pytest.mark.parametrize("buffer", [b"read-only", "text", None, 5], ids=repr)
def test_recv_into_what_cannot_be_written(loop, pair, buffer):
    with pytest.raises(TypeError):
        run(loop, loop.sock_recv_into(pair[0], buffer))


def test_recv_error(loop, listener):
    with pytest.raises(OSError) as raised:
        run(loop, loop.sock_recv(listener, 10))
    assert raised.value.errno == errno.ENOTCONN


def test_sendall(loop, pair):
    left, right = pair
    assert run(loop, loop.sock_sendall(left, b"hello")) is None
    assert right.recv(100) == b"hello"


@pytest.mark.parametrize(
    "data",
    [b"bytes", bytearray(b"bytearray"), memoryview(b"a view")[2:], array.array("B", b"array")],
    ids=lambda data: type(data).__name__,
)
def test_sendall_of_buffers(loop, pair, data):
    run(loop, loop.sock_sendall(pair[0], data))
    assert pair[1].recv(100) == bytes(data)


@pytest.mark.parametrize("size", [3, 500_000])
def test_sendall_of_wide_items(impl, loop, pair, size):
    if impl.name == "asyncio":
        pytest.skip("asyncio counts items where the kernel counts bytes, and never ends")
    left, right = pair
    data = array.array("q", range(size))

    async def main():
        sending = loop.create_task(loop.sock_sendall(left, data))
        received = await receive_exactly(loop, right, 8 * size)
        await sending
        return received

    assert run(loop, main()) == data.tobytes()


def test_sendall_of_nothing(loop, pair):
    assert run(loop, loop.sock_sendall(pair[0], b"")) is None
    with pytest.raises(BlockingIOError):
        pair[1].recv(1)


@pytest.mark.parametrize("data", ["text", 5, None, [1]], ids=repr)
def test_sendall_of_what_is_no_buffer(loop, pair, data):
    with pytest.raises(TypeError, match="^a bytes-like object is required, not "):
        run(loop, loop.sock_sendall(pair[0], data))


def test_sendall_of_a_view_with_gaps(loop, pair):
    with pytest.raises(BufferError):
        run(loop, loop.sock_sendall(pair[0], memoryview(b"abcdef")[::2]))


def test_large_sendall_with_a_slow_reader(loop, pair):
    left, right = pair
    data = os.urandom(1_000_000) * 4

    async def read_slowly():
        received = bytearray()
        while len(received) < len(data):
            received += await loop.sock_recv(right, 50_000)
            await asyncio.sleep(0.0001)
        return received

    async def main():
        _, received = await asyncio.gather(loop.sock_sendall(left, data), read_slowly())
        return received

    assert run(loop, main()) == data


def test_sendall_holds_its_buffer(loop, pair):
    left, right = pair
    data = bytearray(4_000_000)

    async def main():
        sending = loop.create_task(loop.sock_sendall(left, data))
        await asyncio.sleep(0.001)
        with pytest.raises(BufferError):
            data.clear()
        await receive_exactly(loop, right, 4_000_000)
        await sending

    run(loop, main())
    data.clear()


def test_sendall_to_a_peer_that_goes_away(loop, pair):
    left, right = pair

    async def main():
        sending = loop.create_task(loop.sock_sendall(left, bytes(4_000_000)))
        await asyncio.sleep(0.001)
        right.close()
        with pytest.raises(ConnectionError):
            await sending

    run(loop, main())
    assert loop.remove_writer(left) is False


def test_both_directions_at_once(loop, pair):
    left, right = pair
    data = bytes(2_000_000)

    async def main():
        await asyncio.gather(
            loop.sock_sendall(left, data),
            loop.sock_sendall(right, data),
            receive_exactly(loop, left, len(data)),
            receive_exactly(loop, right, len(data)),
        )

    run(loop, main())


WAITING = {
    "sock_recv": lambda loop, sock: loop.sock_recv(sock, 10),
    "sock_recv_into": lambda loop, sock: loop.sock_recv_into(sock, bytearray(10)),
    "sock_recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 10),
    "sock_recvfrom_into": lambda loop, sock: loop.sock_recvfrom_into(sock, bytearray(10)),
    "sock_sendall": lambda loop, sock: loop.sock_sendall(sock, b"data"),
}


@pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)
def test_cancel_while_waiting(loop, pair, wait):
    left, right = pair
    filled = fill(left)

    async def main():
        task = loop.create_task(wait(loop, left))
        await asyncio.sleep(0.001)
        assert not task.done()
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        await asyncio.sleep(0)
        assert loop.remove_reader(left) is False and loop.remove_writer(left) is False
        await loop.sock_sendall(right, b"again")
        assert await loop.sock_recv(left, 10) == b"again"
        await receive_exactly(loop, right, filled)

    run(loop, main())


def test_timeout_while_waiting(loop, pair):
    left, right = pair

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(left, 10), 0.001)
        await loop.sock_sendall(right, b"kept")
        return await loop.sock_recv(left, 10)

    assert run(loop, main()) == b"kept"


def test_cancel_after_the_socket_is_closed(loop, pair):
    left, _ = pair

    async def main():
        task = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0.001)
        left.close()
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(loop, main())


def test_many_readers_of_many_sockets(loop):
    pairs = [socket.socketpair() for _ in range(100)]
    for sock in sum(pairs, ()):
        sock.setblocking(False)

    async def echo(left, right, index):
        receiving = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0)
        await loop.sock_sendall(right, b"%d" % index)
        return int(await receiving)

    async def main():
        return await asyncio.gather(*(echo(*pair, index) for index, pair in enumerate(pairs)))

    assert run(loop, main()) == list(range(100))
    for sock in sum(pairs, ()):
        sock.close()


def test_calls_are_coroutines(loop, pair):
    left, right = pair
    coro = loop.sock_recv(left, 10)
    assert asyncio.iscoroutine(coro) and inspect.isawaitable(coro)
    right.send(b"task")
    assert loop.run_until_complete(loop.create_task(coro)) == b"task"


def test_call_does_nothing_until_awaited(loop, pair):
    left, right = pair
    coro = loop.sock_sendall(left, b"data")
    with pytest.raises(BlockingIOError):
        right.recv(10)
    run(loop, coro)
    assert right.recv(10) == b"data"


ANY = {
    **WAITING,
    "sock_sendto": lambda loop, sock: loop.sock_sendto(sock, b"data", ("127.0.0.1", 1)),
    "sock_connect": lambda loop, sock: loop.sock_connect(sock, ("127.0.0.1", 1)),
    "sock_accept": lambda loop, sock: loop.sock_accept(sock),
    "sock_sendfile": lambda loop, sock: loop.sock_sendfile(sock, io.BytesIO()),
}


@pytest.mark.parametrize("call", ANY.values(), ids=ANY)
def test_blocking_socket_in_debug_mode(loop, call):
    loop.set_debug(True)
    for timeout in (None, 1.5):
        with socket.socket() as sock:
            sock.settimeout(timeout)
            with pytest.raises(ValueError, match="^the socket must be non-blocking$"):
                run(loop, call(loop, sock))


@pytest.mark.parametrize("call", ANY.values(), ids=ANY)
def test_ssl_socket_is_refused(loop, call):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sock = context.wrap_socket(tcp_socket(), server_hostname="x", do_handshake_on_connect=False)
    with sock, pytest.raises(TypeError, match="^Socket cannot be of type SSLSocket$"):
        run(loop, call(loop, sock))


@pytest.mark.parametrize("call", [ANY[name] for name in ANY if name != "sock_sendfile"])
def test_closed_socket(loop, call):
    sock = tcp_socket()
    sock.close()
    with pytest.raises(OSError, match=r"^\[Errno 9\] Bad file descriptor$"):
        run(loop, call(loop, sock))


@pytest.mark.parametrize("call", ANY.values(), ids=ANY)
@pytest.mark.parametrize("value", [5, None, "text"])
def test_what_is_no_socket(loop, call, value):
    with pytest.raises(AttributeError):
        run(loop, call(loop, value))
