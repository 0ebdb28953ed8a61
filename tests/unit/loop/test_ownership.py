"""Objects that user code drops, replaces or keeps while the loop uses them."""

import asyncio
import functools
import os
import socket
import sys
import time

import pytest


async def value(result=None):
    return result


@pytest.mark.parametrize("number", [10_000_000, 2**30, 2**31 - 1])
def test_descriptor_far_out_of_range(loop, number):
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(number, print)


def test_task_factory_that_removes_itself(loop):
    def make():
        @functools.lru_cache
        def factory(loop, coro, **kwargs):
            loop.set_task_factory(None)
            return asyncio.Task(coro, loop=loop, **kwargs)

        return factory

    loop.set_task_factory(make())
    assert loop.run_until_complete(loop.create_task(value(3))) == 3


class KeepingSocket(socket.socket):
    """Keeps what it is told to send."""

    def send(self, data, *flags):
        self.kept = data
        return super().send(data, *flags)


def test_socket_that_keeps_what_it_sends(loop):
    left, receiver = socket.socketpair()
    with KeepingSocket(fileno=left.detach()) as sender, receiver:
        sender.setblocking(False)
        loop.run_until_complete(loop.sock_sendall(sender, bytearray(b"secret")))
        assert bytes(sender.kept) == b"secret"
        assert receiver.recv(10) == b"secret"


def test_run_of_a_handle_inside_a_task_leaves_the_task_current(loop):
    async def main():
        handle = loop.call_later(100, bool)
        handle._run()
        handle.cancel()
        return asyncio.current_task()

    task = loop.create_task(main())
    assert loop.run_until_complete(task) is task


def test_timer_due_exactly_at_an_overridden_time(impl):
    class Clock(impl.Loop):
        now = 0.1 + 0.2

        def time(self):
            return self.now

    loop = Clock()
    fired = []
    loop.call_at(0.1 + 0.2, fired.append, "due")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert fired == ["due"]


def test_debug_mode_error_of_add_reader_survives(loop, tmp_path):
    loop.set_debug(True)
    with open(tmp_path / "file", "w") as file, pytest.raises(PermissionError):
        loop.add_reader(file, print)


def test_second_await_of_a_socket_operation_leaves_the_first(loop):
    left, right = socket.socketpair()

    async def wait(operation):
        return await operation

    async def main():
        operation = loop.sock_recv(left, 10)
        first = loop.create_task(wait(operation))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="^coroutine is being awaited already$"):
            await operation
        right.send(b"data")
        return await first

    with left, right:
        left.setblocking(False)
        assert loop.run_until_complete(main()) == b"data"


def test_cancelled_sendfile_stays_cancelled_when_its_file_is_closed(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(4_000_000))
    left, right = socket.socketpair(socket.AF_UNIX)
    left.setblocking(False)

    async def main(file):
        task = loop.create_task(loop.sock_sendfile(left, file))
        await asyncio.sleep(0.01)
        task.cancel()
        file.close()
        await asyncio.wait([task])
        return task.cancelled()

    with left, right, open(path, "rb") as file:
        assert loop.run_until_complete(main(file))


def test_number_taken_by_another_socket_after_a_receive(loop):
    """The registration kept for the first socket must not stand for the second."""
    numbers = []
    for _ in range(3):
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            numbers.append(left.fileno())
            task = loop.create_task(asyncio.wait_for(loop.sock_recv(left, 10), 5))
            loop.call_later(0.001, right.send, b"x")
            assert loop.run_until_complete(task) == b"x"
    assert len(set(numbers)) == 1


def test_duplicate_of_a_closed_socket_does_not_keep_the_loop_busy(impl, loop):
    if impl.name == "asyncio":
        pytest.skip("asyncio keeps no registration")
    left, right = socket.socketpair()
    left.setblocking(False)
    loop.call_later(0.001, right.send, b"x")
    assert loop.run_until_complete(loop.sock_recv(left, 10)) == b"x"
    duplicate = os.dup(left.fileno())
    left.close()
    right.send(b"y")
    before = time.process_time()
    loop.run_until_complete(asyncio.sleep(0.1))
    assert time.process_time() - before < 0.05
    os.close(duplicate)
    right.close()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="handles wait for their callbacks since Python 3.14")
def test_thread_safe_handle_that_cancels_itself(loop):
    seen = []
    handle = loop.call_soon_threadsafe(lambda: seen.append(handle.cancel()))
    handle._run()
    assert seen == [None] and handle.cancelled()
