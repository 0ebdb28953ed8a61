"""connect_read_pipe(), and what it has in common with connect_write_pipe(): pipes, FIFOs, sockets, terminals."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import re
import socket
from unittest import mock

import pytest
from support.net import Recorder, open_fds, reset, run, run_until
from support.pipe_ends import KINDS, LARGE, ends_of, pipe_ends

pytestmark = pytest.mark.usefixtures("no_child_left")
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def ends(loop, tmp_path):
    with ends_of(loop, tmp_path) as make:
        yield make


# -- the transports


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
@every_kind
def test_transport(ends, kind, writing):
    end = ends(kind, writing)
    assert isinstance(end.transport, asyncio.WriteTransport if writing else asyncio.ReadTransport)
    assert end.protocol.calls == [("connection_made", end.transport)]
    assert end.transport.get_extra_info("pipe") is end.file
    assert end.transport.get_extra_info("nothing", 7) == 7
    assert end.transport.get_protocol() is end.protocol
    assert end.transport.is_closing() is False
    assert os.get_blocking(end.file.fileno()) is False
    end.transport.attribute = "anything"
    assert re.fullmatch(rf"<\w*PipeTransport fd={end.file.fileno()} .*>", repr(end.transport))
    end.transport.close()
    assert end.transport.is_closing() is True
    assert re.match(rf"<\w*PipeTransport closing fd={end.file.fileno()} .*>", repr(end.transport))
    assert not end.protocol.lost
    end.run_until_lost()
    assert end.protocol.reason is None
    assert re.match(r"<\w*PipeTransport closed ", repr(end.transport))
    end.transport.close()


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
def test_what_is_no_pipe(loop, tmp_path, writing):
    """It is not closed: the caller still owns it."""
    message = {
        False: "^Pipe transport is for pipes/sockets only.$",
        True: "^Pipe transport is only for pipes, sockets and character devices$",
    }[writing]
    connect = loop.connect_write_pipe if writing else loop.connect_read_pipe
    with open(tmp_path / "file", "wb") as file:
        with pytest.raises(ValueError, match=message):
            run(loop, connect(Recorder, file))
        assert not file.closed
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ValueError, match=message):
        run(loop, connect(Recorder, mock.Mock(fileno=lambda: folder)))
    os.close(folder)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # asyncio's own, of __del__()
@pytest.mark.parametrize("name", ["connect_read_pipe", "connect_write_pipe"])
def test_what_is_no_file(loop, name):
    connect = getattr(loop, name)
    read, write = os.pipe()
    os.close(write)
    with open(read, "rb", 0) as file:
        pass
    with pytest.raises(ValueError, match="closed"):
        run(loop, connect(Recorder, file))
    with pytest.raises(OSError) as caught:
        run(loop, connect(Recorder, mock.Mock(fileno=lambda: read)))
    assert caught.value.errno == errno.EBADF
    del caught
    gc.collect()


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
def test_protocol_factory_that_raises(loop, tmp_path, writing):
    connect = loop.connect_write_pipe if writing else loop.connect_read_pipe
    for file in pipe_ends(tmp_path):
        with pytest.raises(ZeroDivisionError):
            run(loop, connect(lambda: 1 / 0, file))
        assert not file.closed
        file.close()


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
def test_cancelled_connect(loop, tmp_path, writing):
    """The transport is closed, and with it the file."""
    read, write = pipe_ends(tmp_path)
    protocol = Recorder()

    async def main():
        connect = loop.connect_write_pipe if writing else loop.connect_read_pipe
        task = asyncio.ensure_future(connect(lambda: protocol, write if writing else read))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not protocol.lost:
            await asyncio.sleep(0)

    run(loop, main())
    assert protocol.names in (["connection_made", "connection_lost"], ["connection_lost"])
    for file, closed in ((read, not writing), (write, writing)):
        assert file.closed is closed
        file.close()


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
def test_unclosed_transport(loop, tmp_path, writing):
    """It warns, and closes the file."""
    file, far = pipe_ends(tmp_path)
    if writing:
        file, far = far, file
    connect = loop.connect_write_pipe if writing else loop.connect_read_pipe
    transport, protocol = run(loop, connect(Recorder, file))
    loop.close()
    protocol.__dict__.clear()
    del protocol
    message = rf"unclosed transport <\w*PipeTransport fd={file.fileno()} "
    with pytest.warns(ResourceWarning, match=message):
        del transport
    assert file.closed
    far.close()


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
@pytest.mark.parametrize("name", ["connection_made", "connection_lost"])
def test_callback_that_raises(ends, reported, writing, name):
    """It is reported; the transport goes on, and its file is closed in the end."""

    def fail(*args):
        raise ZeroDivisionError

    end = ends("pipe", writing, **{name: fail})
    assert end.protocol.names == ["connection_made"]
    if writing:
        end.transport.write(b"written")
        assert end.read_until(lambda data: len(data) == 7) == b"written"
    else:
        end.far.write(b"read")
        run_until(end.loop, lambda: end.protocol.received)
    end.transport.close()
    end.run_until_lost()
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
@every_kind
def test_close_in_connection_made(ends, kind, writing):
    def close(transport):
        transport.close()

    end = ends(kind, writing, connection_made=close)
    end.run_until_lost()
    assert end.protocol.calls[1:] == [("connection_lost", None)]


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
def test_set_protocol(ends, writing):
    end = ends("pipe", writing)
    second = Recorder()
    first, end.protocol = end.protocol, second
    end.transport.set_protocol(second)
    assert end.transport.get_protocol() is second
    if not writing:
        end.far.write(b"for the second")
        run_until(end.loop, lambda: second.received)
        assert second.received == b"for the second"
    end.transport.close()
    end.run_until_lost()
    assert first.names == ["connection_made"]


@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
def test_close_in_connection_lost(ends, writing):
    end = ends("pipe", writing, connection_lost=lambda exc: end.transport.close())
    end.far.close()
    end.run_until_lost()


# -- reading


@every_kind
def test_reading_to_the_end(ends, kind):
    end = ends(kind)
    end.far.write(b"some ")
    run_until(end.loop, lambda: len(end.protocol.received) == 5)
    end.far.write(b"words")
    end.far.close()
    end.run_until_lost()
    assert end.protocol.received == b"some words"
    if kind == "terminal":  # has no end: to read it fails
        assert end.protocol.reason.errno == errno.EIO
        assert "eof_received" not in end.protocol.names
    else:
        assert end.protocol.names[-2:] == ["eof_received", "connection_lost"]
        assert end.protocol.reason is None


def test_failure_of_a_terminal_is_not_reported(ends, reported):
    end = ends("terminal")
    end.far.close()
    end.run_until_lost()
    assert reported == []


@every_kind
def test_reading_much(ends, kind):
    end = ends(kind)
    data = LARGE[: 100000 if kind == "terminal" else None]
    sent = 0

    def step():
        nonlocal sent
        sent += end.far.write(data[sent : sent + (1 << 18)])
        return len(end.protocol.received) == len(data)

    run_until(end.loop, step)
    assert end.protocol.received == data
    assert max(len(call[1]) for call in end.protocol.calls[1:]) <= 1 << 18
    assert all(type(call[1]) is bytes for call in end.protocol.calls[1:])


@every_kind
def test_pause_and_resume(ends, kind):
    end = ends(kind)
    assert end.transport.is_reading() is True
    end.transport.resume_reading()
    for _ in range(2):
        end.transport.pause_reading()
        assert end.transport.is_reading() is False
    end.far.write(b"later")
    end.far.close()
    for _ in range(5):
        run(end.loop, asyncio.sleep(0))
    assert end.protocol.names == ["connection_made"]
    end.transport.resume_reading()
    assert end.transport.is_reading() is True
    end.run_until_lost()
    assert end.protocol.received == b"later"
    assert end.transport.is_reading() is False


def test_pause_in_connection_made(ends):
    end = ends(connection_made=lambda transport: transport.pause_reading())
    end.far.write(b"early")
    for _ in range(5):
        run(end.loop, asyncio.sleep(0))
    assert end.protocol.names == ["connection_made"]
    end.transport.resume_reading()
    run_until(end.loop, lambda: end.protocol.received)


def test_pause_in_data_received(ends):
    end = ends(data_received=lambda data: end.transport.pause_reading())
    end.far.write(b"1")
    run_until(end.loop, lambda: end.protocol.received)
    end.far.write(b"2")
    end.far.close()
    for _ in range(5):
        run(end.loop, asyncio.sleep(0))
    assert end.protocol.received == b"1"
    end.transport.resume_reading()
    run_until(end.loop, lambda: end.protocol.received == b"12")
    assert not end.protocol.lost
    end.transport.resume_reading()
    end.run_until_lost()


@every_kind
def test_close_while_paused(ends, kind):
    end = ends(kind)
    end.transport.pause_reading()
    end.far.write(b"unread")
    run(end.loop, asyncio.sleep(0))
    end.transport.close()
    end.transport.resume_reading()
    end.transport.pause_reading()
    assert end.transport.is_reading() is False
    end.run_until_lost()
    assert end.protocol.names == ["connection_made", "connection_lost"]


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
def test_close_while_reading(ends, name):
    end = ends(**{name: lambda *args: end.transport.close()})
    end.far.write(b"first")
    run_until(end.loop, lambda: end.protocol.received)
    with contextlib.suppress(BrokenPipeError):
        end.far.write(b"second")
    end.far.close()
    end.run_until_lost()
    assert end.protocol.received == {"data_received": b"first", "eof_received": b"firstsecond"}[name]
    assert end.protocol.reason is None


def test_nothing_is_read_after_close(ends):
    end = ends()
    end.far.write(b"too late")
    end.transport.close()
    end.run_until_lost()
    assert end.protocol.names == ["connection_made", "connection_lost"]


def test_eof_received_cannot_keep_it_open(ends):
    end = ends("socket", eof_received=lambda: True)
    end.far.close()
    end.run_until_lost()
    assert end.protocol.names == ["connection_made", "eof_received", "connection_lost"]


def test_data_received_that_raises(ends, reported):
    """It is reported and reading goes on."""
    failures = [ZeroDivisionError, KeyError]

    def fail(data):
        raise failures.pop()

    end = ends(data_received=fail)
    for size in (1, 2):
        end.far.write(b"x")
        run_until(end.loop, lambda size=size: len(end.protocol.received) == size)
    assert [type(context["exception"]) for context in reported] == [KeyError, ZeroDivisionError]
    assert not end.transport.is_closing()


def test_eof_received_that_raises(ends, reported):
    end = ends(eof_received=lambda: 1 / 0)
    end.far.close()
    end.run_until_lost()
    assert end.protocol.reason is None
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]


def test_reading_fails(loop, reported):
    """It is reported, and told to the protocol."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        sock, _ = server.accept()
    protocol = Recorder()
    transport, _ = run(loop, loop.connect_read_pipe(lambda: protocol, sock))
    reset(far)
    run_until(loop, lambda: protocol.lost)
    assert isinstance(protocol.reason, ConnectionResetError)
    [context] = reported
    assert context["message"] == "Fatal read error on pipe transport"
    assert context["exception"] is protocol.reason
    assert (context["transport"], context["protocol"]) == (transport, protocol)
    assert sock.fileno() == -1


def test_debug_messages_of_reading(ends, loop, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    loop.slow_callback_duration = 10
    end = ends()
    fd = end.file.fileno()
    end.transport.pause_reading()
    end.transport.resume_reading()
    end.far.close()
    end.run_until_lost()
    text = caplog.text
    assert re.search(rf"<\w*PipeTransport fd={fd} .*> was closed by peer", text)
    assert f"Read pipe {fd} connected: (<" in text


def test_debug_messages_of_pausing(ends, loop, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    end = ends()
    end.transport.pause_reading()
    end.transport.resume_reading()
    for message in ("pauses reading", "resumes reading"):
        assert re.search(rf"<\w*PipeTransport fd={end.file.fileno()} .*> {message}", caplog.text)


# -- both


def test_both_ways_through_one_socket(loop):
    """A socket may be given twice, as two files."""
    left, right = socket.socketpair()
    reading, writing = Recorder(), Recorder()
    run(loop, loop.connect_read_pipe(lambda: reading, left.dup()))
    left.close()
    writer, _ = run(loop, loop.connect_write_pipe(lambda: writing, right))
    writer.write(LARGE)
    writer.close()
    run_until(loop, lambda: reading.lost)
    assert reading.received == LARGE
    run_until(loop, lambda: writing.lost)


def test_from_loop_to_loop(loop, tmp_path):
    """Reader and writer in one loop, the writer with flow control, the reader pausing now and then."""

    def pause(data):
        transport.pause_reading()
        loop.call_soon(transport.resume_reading)

    async def main():
        for start in range(0, len(LARGE), 10000):
            sender.write(LARGE[start : start + 10000])
            while writing.names.count("pause_writing") > writing.names.count("resume_writing"):
                await asyncio.sleep(0)
        sender.write_eof()
        while not reading.lost:
            await asyncio.sleep(0)

    reading, writing = Recorder(data_received=pause), Recorder()
    read, write = pipe_ends(tmp_path)
    transport, _ = run(loop, loop.connect_read_pipe(lambda: reading, read))
    sender, _ = run(loop, loop.connect_write_pipe(lambda: writing, write))
    run(loop, main())
    assert reading.received == LARGE
    assert writing.lost


def test_streams_over_pipes(loop, tmp_path):
    """As people connect their standard streams."""

    async def main():
        read, write = pipe_ends(tmp_path)
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), read)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, write)
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        writer.write(b"line\n" + LARGE)
        draining = asyncio.ensure_future(writer.drain())
        assert await reader.readline() == b"line\n"
        assert await reader.readexactly(len(LARGE)) == LARGE
        await draining
        writer.close()
        assert await reader.read() == b""
        await asyncio.sleep(0)

    run(loop, main())


def test_many_pipes(loop, tmp_path):
    """All descriptors are given back."""
    before = open_fds()
    protocols = []
    for number in range(100):
        read, write = pipe_ends(tmp_path)
        _, reading = run(loop, loop.connect_read_pipe(Recorder, read))
        transport, writing = run(loop, loop.connect_write_pipe(Recorder, write))
        protocols += [reading, writing]
        transport.write(b"%d" % number)
        transport.close()
    run_until(loop, lambda: all(protocol.lost for protocol in protocols))
    assert [int(protocol.received) for protocol in protocols[::2]] == list(range(100))
    run(loop, asyncio.sleep(0))
    assert open_fds() == before
