"""What a peer receives: what was written, all of it, in order, and in time."""

import array
import asyncio
import collections
import os
import signal
import socket
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.net import Recorder, at_end, receive, receive_all, receive_exactly, run, run_until, write_soon
from support.properties import checked

OLD_WRITELINES = (3, 12) <= sys.version_info < (3, 14)


def without_old_asyncio(impl, reason):
    """Skip where asyncio's own writelines(), new in Python 3.12, had yet to be mended."""
    if impl.name == "asyncio" and OLD_WRITELINES:
        pytest.skip(f"asyncio before Python 3.14: {reason}")


class Bytes(bytes):
    pass


class ByteArray(bytearray):
    pass


# What may be written.


@pytest.mark.parametrize(
    "data",
    [
        b"data",
        bytearray(b"data"),
        memoryview(b"data"),
        memoryview(bytearray(b"data")),
        memoryview(b" data ")[1:5],
        memoryview(array.array("B", b"data")),
        memoryview(array.array("H", b"data")),
        memoryview(b"data").cast("B", (2, 2)),
        Bytes(b"data"),
        ByteArray(b"data"),
    ],
    ids=lambda data: f"{type(data).__name__}{getattr(data, 'format', '')}{getattr(data, 'ndim', '')}",
)
def test_write(connection, data):
    assert connection.transport.write(data) is None
    assert connection.peer.recv(100) == b"data"


@pytest.mark.parametrize(
    "data", ["text", 1, None, [b"x"], (b"x",), array.array("B", b"x"), object(), 1.5, range(3)]
)
def test_write_of_the_wrong_type(connection, turn, data):
    message = rf"^data argument must be a bytes.* not '{type(data).__name__}'$"
    for _ in ["open", "closed"]:
        with pytest.raises(TypeError, match=message):
            connection.transport.write(data)
        connection.transport.close()
        turn()
    assert receive(connection.peer) == b""


def test_writing_nothing(connection, turn):
    for nothing in (b"", bytearray(), memoryview(b"")):
        connection.transport.write(nothing)
    turn()
    assert connection.transport.get_write_buffer_size() == 0 and receive(connection.peer) == b""
    connection.fill_kernel()
    connection.transport.write(b"")
    assert connection.transport.get_write_buffer_size() == 0
    connection.transport.write(b"some")
    connection.transport.write(b"")
    assert connection.transport.get_write_buffer_size() == 4


def test_view_that_is_not_contiguous(impl, connection, turn, reported):
    """The kernel wants its bytes in a row: asyncio gives the connection up, fastloop puts them in a row."""
    connection.transport.write(memoryview(b"d-a-t-a-")[::2])
    turn()
    turn()
    if impl.name == "asyncio":
        [context] = reported
        assert context["message"] == "Fatal write error on socket transport"
        assert isinstance(connection.protocol.reason, BufferError)
    else:
        assert connection.peer.recv(100) == b"data" and reported == []


@pytest.mark.parametrize("outside", [True, False], ids=["outside", "in a callback"])
@pytest.mark.parametrize("size", [10, 1000, 20_000, 100_000])
def test_data_changed_after_it_was_sent(loop, connection, turn, outside, size):
    """What write() was given may be used again at once."""
    data = bytearray(b"a" * size)

    def write():
        connection.transport.write(data)
        data[:] = b"b" * size
        connection.transport.write(memoryview(data))
        data[:] = b"c" * size
        data.clear()

    if outside:
        write()
    else:
        loop.call_soon(write)
        turn()
    assert run(loop, receive_exactly(loop, connection.peer, 2 * size)) == b"a" * size + b"b" * size


@pytest.mark.parametrize("size", [10, 1000, 20_000, 200_000])
def test_data_changed_while_it_waits(impl, connection, size):
    if impl.name == "asyncio" and sys.version_info >= (3, 12):
        pytest.skip("asyncio since Python 3.12 sends what is there when its turn comes")
    filled = connection.fill_kernel()
    data = bytearray(b"a" * size)
    connection.transport.write(data)
    data[:] = b"b" * size
    connection.transport.writelines([data, memoryview(data)])
    data[:] = b"c" * size
    data.clear()
    assert connection.drain() == b"x" * filled + b"a" * size + b"b" * size * 2


def test_larger_items_that_wait(impl, connection):
    if impl.name == "asyncio":
        pytest.skip("asyncio counts items where the kernel counts bytes")
    filled = connection.fill_kernel()
    data = array.array("I", range(100_000))
    connection.transport.write(memoryview(data))
    assert connection.transport.get_write_buffer_size() == 400_000
    assert connection.drain()[filled:] == data.tobytes()


def test_written_data_is_given_back(loop, turn, connection):
    """Nothing is kept of what has left."""
    data = os.urandom(100_000)
    before = sys.getrefcount(data)
    connection.fill_kernel()
    connection.transport.write(data)
    connection.transport.write(data)
    connection.drain()
    turn()
    assert sys.getrefcount(data) == before


# writelines()


@pytest.mark.parametrize(
    "make",
    [list, tuple, iter, collections.deque, dict.fromkeys, lambda lines: (line for line in lines)],
    ids=["list", "tuple", "iterator", "deque", "dict", "generator"],
)
def test_writelines(connection, make):
    assert connection.transport.writelines(make([b"one ", b"two ", b"three"])) is None
    assert connection.peer.recv(100) == b"one two three"


def test_writelines_of_all_types(connection):
    lines = [
        b"a",
        bytearray(b"b"),
        memoryview(b"c"),
        memoryview(bytearray(b"d")),
        Bytes(b"e"),
        ByteArray(b"f"),
    ]
    connection.transport.writelines(lines)
    assert connection.peer.recv(100) == b"abcdef"


@pytest.mark.parametrize("lines", [[], (), iter([]), [b""], [b"", bytearray()], iter([b""])], ids=repr)
def test_writelines_of_nothing(impl, connection, turn, lines):
    without_old_asyncio(impl, "empty lines end in an assertion or stay for ever")
    connection.transport.writelines(lines)
    turn()
    assert connection.transport.get_write_buffer_size() == 0 and receive(connection.peer) == b""
    connection.transport.write(b"x")
    assert connection.peer.recv(100) == b"x"


@pytest.mark.parametrize("lines", [[b"", b"a", b"", b"b"], [b"a", b"", b"b", b""], [b"", b"", b"ab"]])
def test_writelines_with_empty_lines(impl, connection, turn, lines):
    without_old_asyncio(impl, "empty lines stay for ever")
    connection.transport.writelines(lines)
    turn()
    assert connection.peer.recv(100) == b"ab"
    assert connection.transport.get_write_buffer_size() == 0


@pytest.mark.parametrize("line", ["text", 1, 2.5, [b"x"], object()])
def test_writelines_of_the_wrong_type(connection, line):
    with pytest.raises(TypeError):
        connection.transport.writelines([line])
    with pytest.raises(TypeError):
        connection.transport.writelines([b"ok", line])
    assert not connection.transport.is_closing()


@pytest.mark.parametrize("lines", [1, object(), b"abc", 1.5])
def test_writelines_of_no_iterable_of_bytes(connection, lines):
    with pytest.raises(TypeError):
        connection.transport.writelines(lines)
    assert not connection.transport.is_closing() and receive(connection.peer) == b""


def test_writelines_of_a_generator_that_raises(connection, turn):
    def lines():
        yield b"first"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        connection.transport.writelines(lines())
    assert not connection.transport.is_closing()


def test_writelines_of_a_generator_that_closes(connection, turn):
    def lines():
        yield b"first"
        connection.transport.abort()
        yield b"second"

    connection.transport.writelines(lines())
    turn()
    turn()
    assert connection.protocol.lost and connection.protocol.reason is None


@pytest.mark.parametrize("count", [2, 15, 16, 17, 1023, 1024, 1025, 3000])
def test_many_lines(connection, count):
    """More than the kernel takes in one call."""
    lines = [b"%d," % number for number in range(count)]
    connection.transport.writelines(lines)
    assert connection.drain() == b"".join(lines)


def test_lines_behind_what_waits(connection):
    filled = connection.fill_kernel()
    connection.transport.write(b"first ")
    connection.transport.writelines([b"second ", b"third "])
    connection.transport.write(b"fourth")
    assert connection.transport.get_write_buffer_size() == 25
    assert connection.drain()[filled:] == b"first second third fourth"


def test_large_lines(connection):
    lines = [bytes([number]) * 100_000 for number in range(20)]
    connection.transport.writelines(lines)
    assert connection.drain() == b"".join(lines)


# Order.


def test_order_of_small_and_large_writes(loop, connection):
    sizes = [1, 100_000, 2, 70_000, 3, 1_000_000, 1, 1, 1, 4096, 16384, 65536, 5]
    pieces = [bytes([number + 1]) * size for number, size in enumerate(sizes)]

    expected = write_soon(loop, connection.transport, pieces)
    assert run(loop, receive_exactly(loop, connection.peer, sum(sizes))) == expected


def test_many_small_writes(loop, connection):
    pieces = [b"%d," % number for number in range(5000)]

    expected = write_soon(loop, connection.transport, pieces)
    assert run(loop, receive_exactly(loop, connection.peer, len(expected))) == expected


# In time.


def by_thread(loop, write):
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(write,))
    thread.start()
    thread.join()


def by_task(loop, write):
    async def step():
        write()

    return loop.create_task(step())


def by_later_step(loop, write):
    async def steps():
        await asyncio.sleep(0)
        write()
        await asyncio.sleep(1000)

    return loop.create_task(steps())


def by_future(loop, write):
    future = loop.create_future()
    future.add_done_callback(lambda _: write())
    future.set_result(None)


def by_executor(loop, write):
    loop.run_in_executor(None, int).add_done_callback(lambda _: write())


def by_failing_callback(loop, write):
    def fail():
        write()
        raise ZeroDivisionError

    loop.set_exception_handler(lambda *_: None)
    loop.call_soon(fail)


class Finalized:
    """Calls `write` when it is freed."""

    def __init__(self, write):
        self.write = write

    def __del__(self):
        self.write()


def by_finalizer_of_an_argument(loop, write):
    loop.call_soon(lambda _: None, Finalized(write))


def by_finalizer_of_a_cancelled_handle(loop, write):
    loop.call_soon(lambda _: None, Finalized(write)).cancel()
    loop.call_later(0.001, lambda _: None, Finalized(list))


def by_finalizer_of_a_result(loop, write):
    async def result():
        return Finalized(write)

    return loop.create_task(result()).add_done_callback(lambda _: None)


def by_finalizer_of_an_event(loop, write):
    """It goes while the loop deals with a descriptor."""
    left, right = socket.socketpair()

    class Reader(Finalized):
        def __call__(self):
            loop.remove_reader(left)
            left.close()
            right.close()

    loop.add_reader(left, Reader(write))
    right.send(b"x")


def by_exception_handler(loop, write):
    def fail():
        raise ZeroDivisionError

    loop.set_exception_handler(lambda *_: write())
    loop.call_soon(fail)


def by_pause_in_a_task(loop, write):
    """From the code of an awaitable that is neither a future nor a coroutine."""

    class Awaitable:
        def __await__(self):
            yield
            write()

    async def step():
        await Awaitable()

    return loop.create_task(step())


WAYS = {
    "finalizer of an argument": by_finalizer_of_an_argument,
    "finalizer of a cancelled handle": by_finalizer_of_a_cancelled_handle,
    "finalizer of a result": by_finalizer_of_a_result,
    "finalizer of an event": by_finalizer_of_an_event,
    "exception handler": by_exception_handler,
    "awaitable": by_pause_in_a_task,
    "call_soon": lambda loop, write: loop.call_soon(write),
    "call_later": lambda loop, write: loop.call_later(0, write),
    "call_at": lambda loop, write: loop.call_at(loop.time() + 0.002, write),
    "thread": by_thread,
    "task": by_task,
    "later step": by_later_step,
    "future": by_future,
    "executor": by_executor,
    "failing callback": by_failing_callback,
}


@pytest.mark.parametrize("way", WAYS)
def test_write_leaves_before_the_loop_blocks(loop, connection, way):
    """The loop has nothing else to do than to wait for what the peer receives."""

    async def main():
        receiving = loop.create_task(receive_exactly(loop, connection.peer, 8))
        await asyncio.sleep(0)
        kept = WAYS[way](loop, lambda: [connection.transport.write(piece) for piece in (b"some", b"data")])
        received = await receiving
        if isinstance(kept, asyncio.Task):
            kept.cancel()
        return received

    assert run(loop, main()) == b"somedata"


def test_write_by_a_signal_handler(loop, connection):
    async def main():
        loop.add_signal_handler(signal.SIGUSR1, connection.transport.write, b"signal")
        os.kill(os.getpid(), signal.SIGUSR1)
        received = await receive_exactly(loop, connection.peer, 6)
        loop.remove_signal_handler(signal.SIGUSR1)
        return received

    assert run(loop, main()) == b"signal"


def test_write_by_a_handler_of_the_interpreters(loop, connection):
    """signal.signal() and no add_signal_handler(): it runs while the loop waits."""
    before = signal.signal(signal.SIGALRM, lambda *_: connection.transport.write(b"signal"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert run(loop, receive_exactly(loop, connection.peer, 6)) == b"signal"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_write_by_another_thread(loop, connection):
    """It is a mistake, but asyncio's peer receives it."""
    thread = threading.Timer(0.01, connection.transport.write, [b"thread"])
    thread.start()
    assert run(loop, receive_exactly(loop, connection.peer, 6)) == b"thread"
    thread.join()


def test_write_by_a_reader(loop, pair, connection):
    async def main():
        def read():
            connection.transport.write(pair[0].recv(10))

        loop.add_reader(pair[0], read)
        pair[1].send(b"read")
        received = await receive_exactly(loop, connection.peer, 4)
        loop.remove_reader(pair[0])
        return received

    assert run(loop, main()) == b"read"


@pytest.mark.parametrize("name", ["connection_made", "data_received", "eof_received", "connection_lost"])
def test_write_by_the_protocol_of_another(loop, connect, name):
    one = connect()
    other = connect(Recorder(**{name: lambda *_: one.transport.write(b"heard")}))
    other.peer.send(b"x")
    other.peer.shutdown(socket.SHUT_WR)
    assert run(loop, receive_exactly(loop, one.peer, 5)) == b"heard"


@pytest.mark.parametrize("name", ["connection_made", "data_received"])
def test_write_by_the_protocol_itself(loop, connect, name):
    protocol = Recorder(**{name: lambda *_: protocol.transport.write(b"answer")})
    connection = connect(protocol)
    connection.peer.send(b"x")
    assert run(loop, receive_exactly(loop, connection.peer, 6)) == b"answer"


def test_write_in_eof_received_leaves_before_the_close(loop, connect):
    protocol = Recorder(eof_received=lambda: protocol.transport.write(b"goodbye"))
    connection = connect(protocol)
    connection.peer.shutdown(socket.SHUT_WR)
    assert connection.read_to_end() == b"goodbye"


def test_write_outside_of_the_loop_leaves_at_once(connection):
    connection.transport.write(b"at once")
    assert connection.peer.recv(100) == b"at once"
    connection.transport.writelines([b"at ", b"once"])
    assert connection.peer.recv(100) == b"at once"


def test_write_has_left_when_the_loop_stops(loop, connection):
    loop.call_soon(connection.transport.write, b"one")
    loop.call_soon(loop.stop)
    loop.call_soon(connection.transport.write, b"two")
    loop.run_forever()
    assert connection.peer.recv(100) == b"onetwo"


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_write_has_left_when_an_exception_ends_the_run(loop, connection, exception):
    def write_and_raise():
        connection.transport.write(b"last words")
        raise exception

    loop.call_soon(write_and_raise)
    with pytest.raises(exception):
        loop.run_forever()
    assert connection.peer.recv(100) == b"last words"


def test_write_has_left_when_the_task_is_done(loop, connection):
    async def main():
        connection.transport.write(b"last")

    run(loop, main())
    assert connection.peer.recv(100) == b"last"


def test_writes_of_one_callback_to_many(loop, connect, turn):
    connections = [connect() for _ in range(20)]

    def write():
        for number in range(3):
            for connection in connections:
                connection.transport.write(b"%d" % number)

    loop.call_soon(write)
    turn()
    assert [receive(connection.peer) for connection in connections] == [b"012"] * 20


def test_nodelay(connect):
    sock = connect(kind="tcp").transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


# Half-close.


def test_write_eof(connection):
    transport = connection.transport
    assert transport.can_write_eof() is True
    transport.write(b"data")
    assert not at_end(connection.peer)
    assert transport.write_eof() is None
    assert connection.peer.recv(100) == b"data" and at_end(connection.peer)
    assert not transport.is_closing()
    transport.write_eof()


def test_write_after_write_eof(connection, turn):
    connection.transport.write_eof()
    for data in (b"x", b""):
        with pytest.raises(RuntimeError, match=r"^Cannot call write\(\) after write_eof\(\)$"):
            connection.transport.write(data)
    for lines in ([b"x"], [], iter([b"x"])):
        with pytest.raises(RuntimeError, match=r"^Cannot call write(lines)?\(\) after write_eof\(\)$"):
            connection.transport.writelines(lines)
    connection.transport.close()
    turn()
    with pytest.raises(RuntimeError, match="after write_eof"):
        connection.transport.write(b"x")


def test_write_eof_behind_what_waits(connection):
    filled = connection.fill_kernel()
    connection.transport.write(b"y" * 100_000)
    connection.transport.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        connection.transport.write(b"x")
    assert not connection.transport.is_closing()
    assert connection.read_to_end()[filled:] == b"y" * 100_000
    assert not connection.transport.is_closing() and not connection.protocol.lost


def test_write_eof_in_the_callback_that_writes(loop, connection):
    def write():
        connection.transport.write(b"some ")
        connection.transport.write(b"data")
        connection.transport.write_eof()

    loop.call_soon(write)
    assert connection.read_to_end() == b"some data"
    connection.peer.send(b"answer")
    run_until(loop, lambda: connection.protocol.received)
    assert connection.protocol.received == b"answer"


def test_write_eof_and_close(loop, connection):
    filled = connection.fill_kernel()
    connection.transport.write(b"data")
    connection.transport.write_eof()
    connection.transport.close()
    assert connection.read_to_end()[filled:] == b"data"
    connection.run_until_lost()
    assert connection.protocol.reason is None


def test_write_eof_of_a_closing_transport(connection, turn):
    connection.transport.close()
    connection.transport.write_eof()
    turn()
    connection.transport.write_eof()
    connection.transport.write(b"silently dropped")
    assert connection.protocol.reason is None


# The end.


def test_write_after_close_is_dropped(loop, connection):
    def write():
        connection.transport.write(b"before")
        connection.transport.close()
        connection.transport.write(b"after")

    loop.call_soon(write)
    assert connection.read_to_end() == b"before"


def test_writelines_after_close_are_dropped(impl, loop, connection):
    without_old_asyncio(impl, "writelines() fails on a closed transport")

    def write():
        connection.transport.writelines([b"be", b"fore"])
        connection.transport.close()
        connection.transport.writelines([b"after"])

    loop.call_soon(write)
    assert connection.read_to_end() == b"before"


def test_abort_drops_only_what_waits(loop, connection):
    """What the kernel would have taken at once has left before abort()."""

    def write():
        connection.transport.write(b"sent")
        connection.transport.write(b" before")
        connection.transport.abort()
        connection.transport.write(b"after")

    loop.call_soon(write)
    assert connection.read_to_end() == b"sent before"
    connection.run_until_lost()
    assert connection.protocol.reason is None


def test_abort_drops_what_waits(connection):
    filled = connection.fill_kernel()
    connection.transport.write(b"dropped")
    connection.transport.abort()
    assert connection.read_to_end() == b"x" * filled


def test_writes_after_the_end_are_logged(impl, connection, turn, caplog):
    """The first are silent, since a protocol may not have heard yet."""
    connection.transport.abort()
    turn()
    for _ in range(10):
        connection.transport.write(b"x")
    assert [record.getMessage() for record in caplog.records] == ["socket.send() raised exception."] * 6
    without_old_asyncio(impl, "writelines() fails on a closed transport")
    connection.transport.writelines([b"x"])
    assert len(caplog.records) == 7


def test_sendfile_in_progress(connection):
    """What loop.sendfile() does to a transport while it runs."""
    waiter = connection.transport._make_empty_waiter()
    assert waiter.done()
    with pytest.raises(RuntimeError, match="^unable to write; sendfile is in progress$"):
        connection.transport.write(b"x")
    with pytest.raises(RuntimeError, match="^unable to write(lines)?; sendfile is in progress$"):
        connection.transport.writelines([b"x"])
    with pytest.raises(RuntimeError, match="^Empty waiter is already set$"):
        connection.transport._make_empty_waiter()
    connection.transport._reset_empty_waiter()
    connection.transport.write(b"x")
    assert connection.peer.recv(10) == b"x"


def test_sendfile_waits_for_what_was_written(loop, connection):
    filled = connection.fill_kernel()
    connection.transport.write(b"data")
    waiter = connection.transport._make_empty_waiter()
    assert not waiter.done()
    assert connection.drain()[filled:] == b"data"
    run(loop, waiter)
    connection.transport._reset_empty_waiter()


def test_sendfile_hears_of_the_end(loop, connection, turn):
    connection.fill_kernel()
    connection.transport.write(b"data")
    waiter = connection.transport._make_empty_waiter()
    connection.transport.abort()
    turn()
    assert isinstance(waiter.exception(), ConnectionError)


# Any order of all this.

WRITES = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 5000)),
    st.tuples(st.just("write"), st.integers(0, 200_000)),
    st.tuples(st.just("writelines"), st.lists(st.integers(0, 3000), max_size=5)),
    st.tuples(st.just("in_callback"), st.lists(st.integers(0, 3000), max_size=5)),
    st.tuples(st.just("turns"), st.integers(1, 3)),
    st.tuples(st.just("receive"), st.integers(1, 100_000)),
    st.tuples(st.just("limit"), st.integers(0, 100_000)),
)
KINDS = [bytes, bytearray, memoryview]


class Script:
    """Does to a connection what hypothesis has made up."""

    def __init__(self, connection, turn):
        self.connection = connection
        self.transport = connection.transport
        self.turn = turn
        self.written = bytearray()
        self.received = bytearray()

    def piece(self, size):
        data = bytes((len(self.written) + number) % 251 for number in range(min(size, 2000)))
        data = data * (size // 2000) + data[: size - 2000 * (size // 2000)] if size > 2000 else data
        self.written += data
        return KINDS[len(self.written) % 3](data)

    def write(self, size):
        self.transport.write(self.piece(size))

    def writelines(self, sizes):
        lines = [self.piece(size) for size in sizes if size]
        if lines:
            self.transport.writelines(lines)

    def in_callback(self, sizes):
        pieces = [self.piece(size) for size in sizes]
        self.connection.loop.call_soon(lambda: [self.transport.write(piece) for piece in pieces])
        self.turn()

    def turns(self, count):
        for _ in range(count):
            self.turn()

    def receive(self, size):
        if not at_end(self.connection.peer):
            try:
                self.received += self.connection.peer.recv(size)
            except BlockingIOError:
                pass

    def limit(self, high):
        self.transport.set_write_buffer_limits(high)


@pytest.mark.parametrize("last", ["close", "write_eof"])
@checked(40)
@given(steps=st.lists(WRITES, max_size=20))
def test_stream_arrives_unchanged(connect, turn, last, steps):
    connection = connect(sndbuf=1)
    script = Script(connection, turn)
    for action, argument in steps:
        getattr(script, action)(argument)
    getattr(connection.transport, last)()
    script.received += run(connection.loop, receive_all(connection.loop, connection.peer))
    assert script.received == script.written
    names = connection.protocol.names
    assert names.count("pause_writing") - names.count("resume_writing") in (0, 1)
    connection.transport.close()
    connection.run_until_lost()
    assert connection.protocol.reason is None
    connection.peer.close()
