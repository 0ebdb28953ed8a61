"""How much waits to be sent, and when a protocol is told to pause writing and to go on."""

import sys

import pytest
from support.net import check_limits, receive


def test_write_buffer_size(connection):
    transport = connection.transport
    assert transport.get_write_buffer_size() == 0
    transport.write(b"x")
    assert transport.get_write_buffer_size() == 0
    connection.fill_kernel()
    sizes = []
    for piece in (b"12345", bytearray(10), memoryview(bytes(100))):
        transport.write(piece)
        sizes.append(transport.get_write_buffer_size())
    transport.writelines([b"1", b"22", b"333"])
    assert [*sizes, transport.get_write_buffer_size()] == [5, 15, 115, 121]
    connection.drain()
    assert transport.get_write_buffer_size() == 0


def test_write_buffer_size_in_a_callback(loop, connection, turn):
    """What the kernel would have taken at once does not count."""
    sizes = []

    def write():
        for _ in range(3):
            connection.transport.write(b"abc")
            sizes.append(connection.transport.get_write_buffer_size())

    loop.call_soon(write)
    turn()
    connection.fill_kernel()
    loop.call_soon(write)
    turn()
    assert sizes == [0, 0, 0, 3, 6, 9]


@pytest.mark.parametrize("method", ["abort", "close"])
def test_write_buffer_size_at_the_end(connection, turn, method):
    connection.fill_kernel()
    connection.transport.write(b"12345")
    getattr(connection.transport, method)()
    assert connection.transport.get_write_buffer_size() == {"abort": 0, "close": 5}[method]
    connection.read_to_end()
    connection.run_until_lost()
    assert connection.transport.get_write_buffer_size() == 0


# Limits.


def test_limits(connection):
    check_limits(connection.transport, (16384, 65536))


@pytest.mark.parametrize("high, low", [(1, 2), (-1, -1), (10, -1), (-10, None), (None, -4)])
def test_limits_that_make_no_sense(connection, high, low):
    with pytest.raises(ValueError, match=r"^high \(.*\) must be >= low \(.*\) must be >= 0$"):
        connection.transport.set_write_buffer_limits(high=high, low=low)
    assert connection.transport.get_write_buffer_limits() == (16384, 65536)


@pytest.mark.parametrize("high", ["1000", b"1", [1]])
def test_limits_of_the_wrong_type(connection, high):
    with pytest.raises(TypeError):
        connection.transport.set_write_buffer_limits(high)
    assert connection.transport.get_write_buffer_limits() == (16384, 65536)


def test_limits_of_a_closed_transport(connection, turn):
    connection.transport.close()
    turn()
    connection.transport.set_write_buffer_limits(10)
    assert connection.transport.get_write_buffer_limits() == (2, 10)


def test_paused_above_the_limit(connection):
    connection.transport.set_write_buffer_limits(high=1000, low=100)
    connection.fill_kernel()
    connection.transport.write(bytes(1000))
    assert connection.protocol.names == ["connection_made"]
    connection.transport.write(b"x")
    assert connection.protocol.names == ["connection_made", "pause_writing"]
    connection.transport.write(bytes(5000))
    connection.transport.writelines([bytes(5000)])
    connection.drain()
    assert connection.protocol.names == ["connection_made", "pause_writing", "resume_writing"]


@pytest.mark.parametrize("high", [0, 1, 10, 1000, 65536, 200_000])
def test_paused_in_the_callback_that_writes(loop, connection, turn, high):
    """pause_writing() is called by the write() that crosses the limit, not later."""
    transport, protocol = connection.transport, connection.protocol
    transport.set_write_buffer_limits(high=high)
    connection.fill_kernel()
    seen = []

    def write():
        size = 0
        while size <= high:
            seen.append(protocol.names.count("pause_writing"))
            piece = min(high + 1 - size, 50_000)
            transport.write(bytes(piece))
            size += piece
        seen.append(protocol.names.count("pause_writing"))

    loop.call_soon(write)
    turn()
    assert seen == [0] * (len(seen) - 1) + [1]


@pytest.mark.parametrize("high", [0, 10, 65536])
def test_not_paused_while_the_kernel_takes_it(loop, connection, turn, high):
    connection.transport.set_write_buffer_limits(high=high)

    def write():
        for _ in range(5):
            connection.transport.write(bytes(10_000))

    loop.call_soon(write)
    turn()
    assert connection.protocol.names == ["connection_made"]
    assert len(receive(connection.peer)) == 50_000


def test_writelines_pauses(impl, connection):
    if impl.name == "asyncio" and (3, 12) <= sys.version_info < (3, 14):
        pytest.skip("asyncio's own writelines(), new in Python 3.12, does not look at the limit before 3.14")
    connection.transport.set_write_buffer_limits(high=10)
    connection.fill_kernel()
    connection.transport.writelines([b"123456", b"123456"])
    assert connection.protocol.names[-1] == "pause_writing"


def test_new_limits_pause(connection):
    connection.fill_kernel()
    connection.transport.write(bytes(1000))
    connection.transport.set_write_buffer_limits(high=1000)
    assert connection.protocol.names == ["connection_made"]
    connection.transport.set_write_buffer_limits(high=999)
    assert connection.protocol.names == ["connection_made", "pause_writing"]
    connection.transport.set_write_buffer_limits(high=5000, low=5000)
    assert connection.protocol.names == ["connection_made", "pause_writing"]
    connection.drain()
    assert connection.protocol.names == ["connection_made", "pause_writing", "resume_writing"]


@pytest.mark.parametrize("low", [0, 1000, 50_000, 100_000])
def test_resumed_at_the_lower_limit(connect, turn, low):
    connection = connect(sndbuf=1)
    transport, protocol = connection.transport, connection.protocol
    sizes = []
    protocol.on["resume_writing"] = lambda: sizes.append(transport.get_write_buffer_size())
    transport.set_write_buffer_limits(high=100_000, low=low)
    transport.write(bytes(300_000))
    before = transport.get_write_buffer_size()
    while not sizes:
        before = transport.get_write_buffer_size()
        receive(connection.peer)
        turn()
    assert before > low >= sizes[0]
    assert protocol.names == ["connection_made", "pause_writing", "resume_writing"]
    connection.drain()
    assert len(sizes) == 1


def test_write_in_resume_writing(connection):
    """More is written whenever there is room: everything arrives, pauses and resumes take turns."""
    transport, protocol = connection.transport, connection.protocol
    written = connection.fill()

    def write_more():
        nonlocal written
        if written < 2_000_000:
            transport.write(b"x" * 150_000)
            written += 150_000

    protocol.on["resume_writing"] = write_more
    received = 0
    while protocol.names[-1] == "pause_writing":
        received += len(connection.drain())
    assert received == written
    assert protocol.names[1:] == ["pause_writing", "resume_writing"] * (len(protocol.names) // 2)


def test_write_in_pause_writing(connection):
    transport, protocol = connection.transport, connection.protocol
    protocol.on["pause_writing"] = lambda: transport.write(b"last")
    filled = connection.fill_kernel()
    transport.write(b"y" * 100_000)
    assert transport.get_write_buffer_size() == 100_004
    assert connection.drain()[filled:] == b"y" * 100_000 + b"last"
    assert protocol.names[1:] == ["pause_writing", "resume_writing"]


@pytest.mark.parametrize("high", [0, 65536])
def test_abort_in_pause_writing(connection, turn, high):
    """Nobody is told to go on with what is lost."""
    transport, protocol = connection.transport, connection.protocol
    protocol.on["pause_writing"] = transport.abort
    transport.set_write_buffer_limits(high=high)
    connection.fill_kernel()
    transport.write(b"y" * (high + 1))
    turn()
    assert protocol.names == ["connection_made", "pause_writing", "connection_lost"]


def test_close_in_pause_writing(connection):
    transport, protocol = connection.transport, connection.protocol
    protocol.on["pause_writing"] = transport.close
    filled = connection.fill_kernel()
    transport.write(b"y" * 100_000)
    assert transport.is_closing()
    assert len(connection.read_to_end()) == filled + 100_000
    connection.run_until_lost()
    assert protocol.names[1:] == ["pause_writing", "resume_writing", "connection_lost"]
