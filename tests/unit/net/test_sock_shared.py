"""One socket in several hands: tasks, readers, loops, duplicates, and numbers that come again."""

import asyncio
import socket
import time

import pytest
from support.net import run


def test_second_reader_takes_over(loop, pair):
    """Two tasks reading one socket are a mistake: as with add_reader(), the later one replaces the first."""
    left, right = pair

    async def main():
        first = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0.001)
        second = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0.001)
        first.cancel()
        await asyncio.sleep(0.001)
        right.send(b"data")
        assert await second == b"data"
        assert first.cancelled()

    run(loop, main())


def test_reader_gives_way_to_a_receive(loop, pair):
    """A receive that waits replaces the reader of add_reader(), as a second add_reader() would."""
    left, right = pair
    seen = []
    loop.add_reader(left, seen.append, "reader")

    async def main():
        receiving = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0.001)
        right.send(b"data")
        return await receiving

    assert run(loop, main()) == b"data"
    right.send(b"more")
    run(loop, asyncio.sleep(0.001))
    assert seen == [] and loop.remove_reader(left) is False


def test_receive_gives_way_to_a_reader(loop, pair):
    left, right = pair
    seen = []

    async def main():
        receiving = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0.001)
        loop.add_reader(left, lambda: seen.append(left.recv(10)))
        right.send(b"data")
        await asyncio.sleep(0.001)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        right.send(b"more")
        await asyncio.sleep(0.001)

    run(loop, main())
    assert seen == [b"data", b"more"] and loop.remove_reader(left) is True


def test_reader_removed_under_a_receive(loop, pair):
    left, right = pair

    async def main():
        receiving = loop.create_task(loop.sock_recv(left, 10))
        await asyncio.sleep(0.001)
        assert loop.remove_reader(left) is True
        right.send(b"data")
        await asyncio.sleep(0.001)
        assert not receiving.done()
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        return await loop.sock_recv(left, 10)

    assert run(loop, main()) == b"data"


def test_nothing_is_watched_after_a_receive(loop, pair):
    left, right = pair
    loop.call_later(0.001, right.send, b"data")
    assert run(loop, loop.sock_recv(left, 10)) == b"data"
    assert loop.remove_reader(left) is False and loop.remove_writer(left) is False


def test_data_nobody_waits_for_does_not_keep_the_loop_busy(loop, pair):
    left, right = pair
    loop.call_later(0.001, right.send, b"data")
    assert run(loop, loop.sock_recv(left, 10)) == b"data"
    right.send(b"more")
    before = time.process_time()
    run(loop, asyncio.sleep(0.1))
    assert time.process_time() - before < 0.05
    assert run(loop, loop.sock_recv(left, 10)) == b"more"


def test_socket_closed_with_a_living_duplicate_after_a_receive(loop, pair):
    left, right = pair
    loop.call_later(0.001, right.send, b"data")
    assert run(loop, loop.sock_recv(left, 10)) == b"data"
    with left.dup():
        left.close()
        right.send(b"more")
        before = time.process_time()
        run(loop, asyncio.sleep(0.1))
        assert time.process_time() - before < 0.05


def test_numbers_of_closed_sockets_come_again(loop):
    async def exchange(index):
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            receiving = loop.create_task(loop.sock_recv(left, 10))
            await asyncio.sleep(0)
            await loop.sock_sendall(right, b"%d" % index)
            assert int(await receiving) == index
            if index % 2:
                await loop.sock_sendall(right, b"left behind")

    async def main():
        for index in range(300):
            await exchange(index)

    run(loop, main())


def test_receives_of_two_loops(impl, loop, pair):
    """One socket used by one loop after the other."""
    left, right = pair
    other = impl.new_event_loop()
    for index in range(4):
        using = (loop, other)[index % 2]
        using.call_later(0.001, right.send, b"%d" % index)
        assert run(using, using.sock_recv(left, 10)) == b"%d" % index
    other.close()
