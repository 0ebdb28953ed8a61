"""SystemExit and KeyboardInterrupt on their way out of a run, when more than one thing goes wrong."""

import asyncio
import socket
import threading

import pytest
from support.net import Recorder, run_until, unix_pair


class ClosingSocket(socket.socket):
    """Calls `on_close` before it closes."""

    def close(self):
        on_close, self.on_close = self.on_close, None
        super().close()
        if on_close is not None:
            on_close()


def connect(loop, protocol, on_close):
    """A transport whose socket calls on_close() when it is closed, and the socket at the other end."""
    left, peer = unix_pair()
    sock = ClosingSocket(fileno=left.detach())
    sock.setblocking(False)
    sock.on_close = on_close
    transport, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=sock))
    return transport, peer


def raising(exc):
    def raise_it(*_args):
        raise exc

    return raise_it


@pytest.fixture
def closed_by_force(impl):
    """For a transport whose socket's close() raises."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's transport takes itself for unclosed then, and says so at any later time")


@pytest.mark.usefixtures("closed_by_force")
def test_the_second_exception_has_the_first_as_its_context(loop):
    first, second = SystemExit("connection_lost()"), KeyboardInterrupt("close()")
    transport, peer = connect(loop, Recorder(connection_lost=raising(first)), raising(second))
    with peer:
        loop.call_soon(transport.abort)
        with pytest.raises(KeyboardInterrupt) as caught:
            loop.run_forever()
        assert caught.value is second
        assert second.__context__ is first


@pytest.mark.usefixtures("closed_by_force")
def test_chain_of_contexts_that_is_a_circle(loop):
    first, other = SystemExit("connection_lost()"), ValueError()
    first.__context__, other.__context__ = other, first
    second = KeyboardInterrupt("close()")
    transport, peer = connect(loop, Recorder(connection_lost=raising(first)), raising(second))
    with peer:
        loop.call_soon(transport.abort)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()


def test_the_rest_of_the_work_is_done_in_the_next_run(loop):
    transport, peer = connect(loop, Recorder(connection_lost=raising(SystemExit())), None)
    done = []
    with peer:
        loop.call_soon(transport.abort)
        loop.call_soon(done.append, 1)
        with pytest.raises(SystemExit):
            loop.run_forever()
        run_until(loop, lambda: done)
        assert transport.get_extra_info("socket").fileno() == -1


def test_exit_of_the_loop_while_another_thread_writes(loop):
    paused, lost = threading.Event(), threading.Event()

    def pause_writing():
        paused.set()
        lost.wait(10)

    protocol = Recorder(pause_writing=pause_writing)
    written, other_peer = connect(loop, protocol, None)
    written.set_write_buffer_limits(high=0)
    raised = []

    def write():
        try:
            written.write(b"x" * (1 << 22))
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=write)

    def let_the_thread_end():
        lost.set()
        thread.join(10)

    ended, peer = connect(loop, Recorder(connection_lost=raising(SystemExit("loop"))), let_the_thread_end)
    with peer, other_peer:
        thread.start()
        assert paused.wait(10)
        loop.call_soon(ended.abort)
        with pytest.raises(SystemExit, match="loop"):
            loop.run_forever()
        assert not thread.is_alive()
        assert raised == []
        written.abort()
        run_until(loop, lambda: protocol.lost)


def test_what_another_threads_write_raises_is_raised_there(loop):
    protocol = Recorder(pause_writing=raising(KeyboardInterrupt("thread")))
    transport, peer = connect(loop, protocol, None)
    transport.set_write_buffer_limits(high=0)
    raised = []

    def write():
        try:
            transport.write(b"x" * (1 << 22))
        except BaseException as exc:
            raised.append(exc)

    async def wait_for_the_thread():
        await asyncio.to_thread(write)

    with peer:
        loop.run_until_complete(wait_for_the_thread())
        assert [type(exc) for exc in raised] == [KeyboardInterrupt]
        transport.abort()
        run_until(loop, lambda: protocol.lost)


DEEP_CHAIN = """
class RunsTheLoop:
    def __del__(self):
        loop.call_soon(loop.stop)
        loop.run_forever()


def leave():
    raise SystemExit


loop = new_event_loop()
loop.call_soon(leave)
chain = None
for i in range(200_000):
    chain = [chain, loop.call_at(0, bool)]
    if i == 120_000:
        chain = [chain, RunsTheLoop()]
try:
    loop.run_forever()  # the timers are due now
except SystemExit:
    pass
del chain
loop.close()
"""


def test_due_timers_whose_users_are_deallocated_while_they_run(run_script):
    finished = run_script(DEEP_CHAIN)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.usefixtures("closed_by_force")
def test_what_the_exception_handler_raises_has_all_before_it_in_its_contexts(loop):
    lost, closing, handling = KeyboardInterrupt("connection_lost()"), OSError("close()"), KeyError("handler")
    transport, peer = connect(loop, Recorder(connection_lost=raising(lost)), raising(closing))
    loop.call_exception_handler = raising(handling)
    with peer:
        loop.call_soon(transport.abort)
        with pytest.raises(KeyError) as caught:
            loop.run_forever()
        assert caught.value is handling
        assert handling.__context__ is closing and closing.__context__ is lost
    del loop.call_exception_handler
