"""connect_write_pipe(): what arrives, flow control, a reader that goes away."""

import asyncio
import errno
import logging
import os
import pty
import re
import tty

import pytest
from support.net import Recorder, run, run_until
from support.pipe_ends import KINDS, LARGE, ends_of

pytestmark = pytest.mark.usefixtures("no_child_left")
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def ends(loop, tmp_path):
    with ends_of(loop, tmp_path) as make:
        yield make


@every_kind
def test_writing(ends, kind):
    end = ends(kind, writing=True)
    for data in (b"bytes ", bytearray(b"bytearray "), memoryview(b"memoryview "), b""):
        end.transport.write(data)
    end.transport.writelines([b"and ", bytearray(b"lines")])
    expected = b"bytes bytearray memoryview and lines"
    assert end.read_until(lambda data: len(data) >= len(expected)) == expected
    assert end.transport.get_write_buffer_size() == 0
    assert end.transport.can_write_eof() is True
    end.transport.write_eof()
    end.run_until_lost()
    assert end.protocol.reason is None
    assert end.far.at_end()


@every_kind
def test_writing_much(ends, kind):
    """Every byte that was accepted arrives before the end does."""
    end = ends(kind, writing=True)
    end.transport.write(LARGE)
    end.transport.write(b"end")
    assert end.transport.get_write_buffer_size() > 0
    end.transport.close()
    assert end.transport.is_closing()
    run(end.loop, asyncio.sleep(0))
    assert not end.protocol.lost
    data = end.read_until(lambda data: end.protocol.lost)
    assert data + end.far.read() == LARGE + b"end"
    assert end.far.at_end()
    end.run_until_lost()
    assert end.protocol.reason is None


@every_kind
def test_pausing_of_writing(ends, kind):
    end = ends(kind, writing=True)
    low, high = end.transport.get_write_buffer_limits()
    assert (low, high) == (16384, 65536)
    written = end.fill()
    assert end.transport.get_write_buffer_size() > high
    data = end.read_until(lambda data: "resume_writing" in end.protocol.names)
    assert end.transport.get_write_buffer_size() <= low
    data += end.read_until(lambda rest: len(data) + len(rest) == len(written))
    assert data == written
    assert end.protocol.names == ["connection_made", "pause_writing", "resume_writing"]


def test_limits_of_writing(ends):
    end = ends(writing=True)
    end.transport.set_write_buffer_limits(high=0)
    assert end.transport.get_write_buffer_limits() == (0, 0)
    end.transport.write(LARGE)
    assert end.protocol.names == ["connection_made", "pause_writing"]
    end.read_until(lambda data: len(data) == len(LARGE))
    assert end.protocol.names == ["connection_made", "pause_writing", "resume_writing"]
    with pytest.raises(ValueError, match="must be >= low"):
        end.transport.set_write_buffer_limits(high=1, low=2)


def test_mutable_data_may_change_after_write(ends):
    end = ends(writing=True)
    for size in (10, len(LARGE)):
        data = bytearray(LARGE[:size])
        end.transport.write(data)
        data[:] = bytes(size)
        assert end.read_until(lambda got, size=size: len(got) == size) == LARGE[:size]


def test_write_of_another_type(ends):
    end = ends(writing=True)
    for data in ("text", 7, None):
        with pytest.raises((AssertionError, TypeError)):
            end.transport.write(data)
    end.transport.write(b"bytes")
    assert end.read_until(lambda data: len(data) == 5) == b"bytes"


@pytest.mark.parametrize("name", ["close", "write_eof", "abort"])
def test_write_after_the_end(ends, caplog, name):
    """Nothing is written; after some attempts a warning is logged."""
    end = ends(writing=True)
    getattr(end.transport, name)()
    for _ in range(10):
        end.transport.write(b"ignored")
    end.transport.write_eof()
    assert "pipe closed by peer or os.write(pipe, data) raised exception." in caplog.messages
    end.run_until_lost()
    assert end.protocol.names == ["connection_made", "connection_lost"]
    assert end.far.at_end()


@every_kind
def test_abort_drops_what_is_left(ends, kind):
    end = ends(kind, writing=True)
    end.fill()
    end.transport.abort()
    assert end.transport.is_closing()
    assert end.transport.get_write_buffer_size() == 0
    assert not end.protocol.lost
    end.run_until_lost()
    assert end.protocol.reason is None


def test_abort_after_close(ends):
    """What close() would have written is dropped."""
    end = ends(writing=True)
    written = end.fill()
    end.transport.close()
    end.transport.abort()
    end.run_until_lost()
    assert end.protocol.reason is None
    assert len(end.far.read()) < len(written)
    assert end.far.at_end()


reported_by_kernel = pytest.mark.parametrize("kind", ["pipe", "fifo", "socket"])


@reported_by_kernel
def test_reader_goes_away(ends, kind):
    """It is noticed though nothing is written."""
    end = ends(kind, writing=True)
    end.far.close()
    end.run_until_lost()
    assert end.protocol.names == ["connection_made", "connection_lost"]
    assert end.protocol.reason is None


@reported_by_kernel
def test_reader_goes_away_with_data_left(ends, reported, kind):
    end = ends(kind, writing=True)
    end.fill()
    end.far.close()
    end.run_until_lost()
    assert isinstance(end.protocol.reason, (BrokenPipeError, ConnectionResetError))
    assert end.transport.get_write_buffer_size() == 0
    assert reported == []


@reported_by_kernel
def test_reader_goes_away_with_data_left_after_close(ends, reported, kind):
    end = ends(kind, writing=True)
    end.fill()
    end.transport.close()
    end.far.close()
    end.run_until_lost()
    assert isinstance(end.protocol.reason, (BrokenPipeError, ConnectionResetError))
    assert reported == []


@reported_by_kernel
def test_write_to_a_reader_that_went_away(ends, reported, kind):
    """Before the loop has noticed."""
    end = ends(kind, writing=True)
    end.far.close()
    end.transport.write(b"into the void")
    end.run_until_lost()
    assert isinstance(end.protocol.reason, (BrokenPipeError, type(None)))
    assert reported == []


def test_socket_is_closed_when_it_can_be_read(ends):
    """A writer does not read: whatever arrives counts as the end."""
    end = ends("socket", writing=True)
    end.far.write(b"unexpected")
    end.run_until_lost()
    assert end.protocol.names == ["connection_made", "connection_lost"]
    assert end.protocol.reason is None


@pytest.mark.parametrize("name", ["close", "write_eof", "abort"])
def test_end_in_pause_writing(ends, name):
    end = ends(writing=True, pause_writing=lambda: getattr(end.transport, name)())
    written = end.fill()
    data = end.read_until(lambda data: end.protocol.lost) + end.far.read()
    end.run_until_lost()
    assert end.protocol.reason is None
    assert data == written if name != "abort" else len(data) < len(written)


def test_end_in_resume_writing(ends):
    end = ends(writing=True, resume_writing=lambda: end.transport.write_eof())
    written = end.fill()
    data = end.read_until(lambda data: end.protocol.lost) + end.far.read()
    end.run_until_lost()
    assert data == written


def test_write_in_resume_writing(ends):
    end = ends(writing=True, resume_writing=lambda: end.transport.write(b"more"))
    written = end.fill()
    expected = written + b"more"
    assert end.read_until(lambda data: len(data) == len(expected)) == expected


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
def test_flow_control_that_raises(ends, reported, name):
    """It is reported, and nothing is lost."""
    end = ends(writing=True, **{name: lambda: 1 / 0})
    written = end.fill()
    data = end.read_until(lambda data: len(data) == len(written))
    assert data == written
    [context] = reported
    assert context["message"] == f"protocol.{name}() failed"
    assert isinstance(context["exception"], ZeroDivisionError)
    assert context["transport"] is end.transport


def test_character_device(loop):
    """/dev/null takes everything and is never watched."""
    file = os.fdopen(os.open(os.devnull, os.O_WRONLY), "wb", 0)
    protocol = Recorder()
    transport, _ = run(loop, loop.connect_write_pipe(lambda: protocol, file))
    transport.write(LARGE)
    run(loop, asyncio.sleep(0))
    assert transport.get_write_buffer_size() == 0
    transport.close()
    run_until(loop, lambda: protocol.lost)
    assert protocol.reason is None
    assert file.closed


def test_device_without_a_reader_goes_on(loop):
    """Nothing tells of a terminal whose control side is closed, until a write fails."""
    control, user = pty.openpty()
    tty.setraw(user)
    protocol = Recorder()
    file = os.fdopen(user, "wb", 0)
    transport, _ = run(loop, loop.connect_write_pipe(lambda: protocol, file))
    os.close(control)
    for _ in range(3):
        run(loop, asyncio.sleep(0))
    assert not protocol.lost
    transport.write(b"x")
    run_until(loop, lambda: protocol.lost)
    assert protocol.reason.errno == errno.EIO


def test_debug_messages_of_writing(ends, loop, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    loop.set_debug(True)
    loop.slow_callback_duration = 10
    end = ends(writing=True)
    fd = end.file.fileno()
    end.far.close()
    end.run_until_lost()
    assert re.search(rf"<\w*PipeTransport fd={fd} .*> was closed by peer", caplog.text)
    assert f"Write pipe {fd} connected: (<" in caplog.text
