"""How a connection ends: closed, aborted, by an exception, with the loop."""

import asyncio
import gc
import socket
import sys
import warnings

import pytest
from support.net import BufferedRecorder, Recorder, at_end, receive, run, run_until, unix_pair


class Failure(Exception):
    pass


class DeepFailure(BaseException):
    pass


def ended(connection, turn, *names):
    """The calls so far are `names` between connection_made and the only connection_lost, and stay so."""
    turn(2)
    found = [name for name in connection.protocol.names if name != "get_buffer"]
    return found == ["connection_made", *names, "connection_lost"]


# close() and abort()


@pytest.mark.parametrize("method", ["close", "abort"])
def test_connection_lost_comes_in_the_next_turn(connection, turn, method):
    assert connection.transport.is_closing() is False
    assert getattr(connection.transport, method)() is None
    assert connection.transport.is_closing() is True
    assert not connection.protocol.lost and not at_end(connection.peer)
    turn()
    assert connection.protocol.reason is None
    assert connection.transport.is_closing() is True and at_end(connection.peer)


@pytest.mark.parametrize("first", ["close", "abort", "_force_close"])
@pytest.mark.parametrize("second", ["close", "abort", "_force_close"])
def test_any_two_ends(connection, turn, first, second):
    arguments = {"_force_close": [Failure()]}
    for method in (first, second):
        getattr(connection.transport, method)(*arguments.get(method, []))
    assert ended(connection, turn)
    getattr(connection.transport, second)(*arguments.get(second, []))
    assert ended(connection, turn)
    assert type(connection.protocol.reason) is (Failure if first == "_force_close" else type(None))


def test_close_sends_what_waits(connection):
    written = connection.fill()
    connection.transport.close()
    assert not connection.protocol.lost
    assert len(connection.read_to_end()) == written
    connection.run_until_lost()
    assert connection.protocol.reason is None
    assert connection.protocol.names[1:] == ["pause_writing", "resume_writing", "connection_lost"]


def test_abort_after_close(connection, turn):
    """It ends the waiting."""
    connection.fill()
    connection.transport.close()
    turn()
    assert not connection.protocol.lost
    connection.transport.abort()
    assert ended(connection, turn, "pause_writing")
    assert connection.protocol.reason is None


def test_close_while_reading_is_paused(connection, turn):
    connection.transport.pause_reading()
    connection.peer.send(b"x")
    connection.transport.close()
    assert ended(connection, turn)


def test_nothing_is_received_after_close(connection, turn):
    connection.peer.send(b"x")
    connection.transport.close()
    assert ended(connection, turn)
    assert connection.protocol.received == b""


def test_nothing_is_received_while_close_sends(connection, turn):
    filled = connection.fill()
    connection.transport.close()
    connection.peer.send(b"x")
    turn(3)
    assert connection.protocol.received == b""
    received = b""
    while len(received) < filled:
        received += receive(connection.peer)
        turn()
    assert ended(connection, turn, "pause_writing", "resume_writing")


def test_peer_is_gone_while_close_sends(connection, turn):
    connection.fill()
    connection.transport.close()
    connection.peer.close()
    connection.run_until_lost()
    assert isinstance(connection.protocol.reason, BrokenPipeError | ConnectionResetError)


def test_descriptor_is_open_during_connection_lost(loop, turn):
    left, right = unix_pair()
    seen = []
    protocol = Recorder(connection_lost=lambda _: seen.append(left.fileno()))
    transport, _ = run(loop, loop.create_connection(lambda: protocol, sock=left))
    transport.close()
    turn()
    assert seen[0] >= 0 and left.fileno() == -1
    right.close()


def test_close_by_another_callback_of_the_turn(loop, connection, turn):
    """The event that has been polled already finds a closed transport."""
    connection.peer.send(b"x")
    loop.call_soon(connection.transport.close)
    assert ended(connection, turn)
    assert connection.protocol.received == b""


@pytest.mark.parametrize("method", ["close", "abort"])
def test_two_connections_end_each_other(connect, turn, method):
    one, other = connect(), connect()
    one.protocol.on["data_received"] = lambda _: getattr(other.transport, method)()
    other.protocol.on["data_received"] = lambda _: getattr(one.transport, method)()
    one.peer.send(b"x")
    other.peer.send(b"x")
    turn()
    assert sorted([bytes(one.protocol.received), bytes(other.protocol.received)]) == [b"", b"x"]
    turn(2)
    assert one.protocol.lost != other.protocol.lost


CALLS = {
    "connection_made": Recorder,
    "data_received": Recorder,
    "eof_received": Recorder,
    "connection_lost": Recorder,
    "get_buffer": BufferedRecorder,
    "buffer_updated": BufferedRecorder,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("method", ["close", "abort"])
def test_end_in_each_callback(loop, connect, turn, reported, name, method):
    protocol = CALLS[name]()
    protocol.on[name] = lambda *_: getattr(protocol.transport, method)()
    connection = connect(protocol)
    if name != "connection_made":
        connection.peer.send(b"x")
        turn()
    connection.peer.close()
    connection.run_until_lost()
    turn()
    assert protocol.names.count("connection_lost") == 1 and protocol.reason is None
    assert protocol.names[-1] == "connection_lost" and name in protocol.names
    assert connection.transport.get_extra_info("socket").fileno() == -1 and reported == []


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
@pytest.mark.parametrize("method", ["close", "abort"])
def test_end_in_each_callback_of_writing(impl, connect, turn, reported, name, method):
    if impl.name == "asyncio" and name == "resume_writing" and sys.version_info < (3, 14):
        pytest.skip("asyncio before Python 3.14 goes on to use the socket that is gone")
    protocol = Recorder()
    protocol.on[name] = lambda: getattr(protocol.transport, method)()
    connection = connect(protocol)
    connection.fill_kernel()
    connection.transport.write(bytes(100_000))
    connection.read_to_end()
    connection.run_until_lost()
    assert protocol.names.count("connection_lost") == 1 and protocol.reason is None and reported == []


def test_close_in_connection_made_still_connects(loop):
    """create_connection() returns a transport that is closed already."""
    left, right = unix_pair()
    protocol = Recorder(connection_made=lambda transport: transport.close())
    transport, _ = run(loop, loop.create_connection(lambda: protocol, sock=left))
    assert transport.is_closing()
    run_until(loop, lambda: protocol.lost)
    assert protocol.names == ["connection_made", "connection_lost"]
    right.close()


# Exceptions.


def provoke(connection, turn, name):
    """Have the protocol called."""
    if name == "eof_received":
        connection.peer.shutdown(socket.SHUT_WR)
    elif name == "connection_lost":
        connection.transport.close()
    elif name in ("pause_writing", "resume_writing"):
        connection.fill_kernel()
        connection.transport.write(bytes(100_000))
        connection.drain()
    else:
        connection.peer.send(b"x")
    turn()


READING = ["data_received", "eof_received", "get_buffer", "buffer_updated"]


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("exception", [Failure, DeepFailure, asyncio.CancelledError, GeneratorExit])
def test_exception_while_reading(connect, turn, reported, name, exception):
    """It is reported, and ends the connection."""

    def fail(*_):
        raise exception

    connection = connect(CALLS[name](**{name: fail}))
    provoke(connection, turn, name)
    assert connection.transport.is_closing()
    turn()
    [context] = reported
    assert context["message"] == f"Fatal error: protocol.{name}() call failed."
    assert context["transport"] is connection.transport and context["protocol"] is connection.protocol
    assert type(context["exception"]) is exception and set(context) == {
        "message",
        "exception",
        "transport",
        "protocol",
    }
    assert connection.protocol.reason is context["exception"]
    assert at_end(connection.peer)


@pytest.mark.parametrize("name", READING)
def test_oserror_while_reading(connect, turn, reported, name):
    """It is taken for the connection's, of which only the protocol hears."""

    def fail(*_):
        raise OSError(5, "not the connection's")

    connection = connect(CALLS[name](**{name: fail}))
    provoke(connection, turn, name)
    turn()
    assert reported == [] and connection.protocol.reason.args == (5, "not the connection's")


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
@pytest.mark.parametrize("exception", [Failure, DeepFailure, OSError])
def test_exception_while_writing(connect, turn, reported, name, exception):
    """It is reported; the connection goes on."""

    def fail():
        raise exception

    connection = connect(Recorder(**{name: fail}))
    provoke(connection, turn, name)
    [context] = reported
    assert context["message"] == f"protocol.{name}() failed"
    assert context["transport"] is connection.transport and context["protocol"] is connection.protocol
    assert type(context["exception"]) is exception
    assert not connection.transport.is_closing()
    assert connection.protocol.names[1:] == ["pause_writing", "resume_writing"]


@pytest.mark.parametrize("exception", [Failure, DeepFailure, OSError])
def test_exception_in_connection_made(connect, turn, reported, exception):
    """It is reported; the connection goes on."""

    def fail(_):
        raise exception

    connection = connect(Recorder(connection_made=fail))
    [context] = reported
    assert "connection_made" in context["message"] and type(context["exception"]) is exception
    connection.peer.send(b"x")
    turn()
    assert connection.protocol.received == b"x" and not connection.transport.is_closing()


@pytest.mark.parametrize("exception", [Failure, DeepFailure, OSError])
def test_exception_in_connection_lost(connect, turn, reported, exception):
    """It is reported; the descriptor is closed all the same."""

    def fail(_):
        raise exception

    connection = connect(Recorder(connection_lost=fail))
    connection.transport.close()
    turn()
    [context] = reported
    assert "connection_lost" in context["message"] and type(context["exception"]) is exception
    assert connection.transport.get_extra_info("socket").fileno() == -1 and at_end(connection.peer)
    assert connection.transport.get_protocol() is None


@pytest.mark.parametrize("name", ["connection_lost", "data_received", "eof_received"])
def test_missing_method(connection, turn, reported, name):
    """A protocol that lacks a method fails like one whose method raises."""
    connection.transport.set_protocol(object())
    provoke(connection, turn, name)
    turn()
    assert isinstance(reported[0]["exception"], AttributeError)


@pytest.mark.parametrize("name", [*READING, "pause_writing", "resume_writing", "connection_lost"])
@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_exception_that_ends_the_run(loop, connect, turn, reported, name, exception):
    """run_forever() passes it on; the loop and the connection can go on."""
    protocol = CALLS.get(name, Recorder)()

    def fail(*_):
        protocol.on.clear()
        raise exception

    protocol.on[name] = fail
    connection = connect(protocol)
    loop.call_soon(provoke_inside, connection, name)
    giving_up = loop.call_later(10, loop.stop)
    with pytest.raises(exception):
        loop.run_forever()
    giving_up.cancel()
    assert reported == []
    connection.peer.close()
    connection.transport.close()
    run_until(loop, lambda: protocol.lost)
    assert connection.protocol.names.count("connection_lost") == 1


def provoke_inside(connection, name):
    """Have the protocol called, by the running loop."""
    if name in ("pause_writing", "resume_writing"):
        connection.fill_kernel()
        connection.transport.write(bytes(100_000))
        receive(connection.peer)
        connection.loop.call_soon(receive, connection.peer)
    else:
        provoke(connection, lambda: None, name)


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_exception_in_connection_made_that_ends_the_run(loop, turn, exception):
    left, right = unix_pair()

    def fail(_):
        raise exception

    protocol = Recorder(connection_made=fail)
    connecting = loop.create_task(loop.create_connection(lambda: protocol, sock=left))
    with pytest.raises(exception):
        loop.run_until_complete(connecting)
    transport, _ = run(loop, connecting)
    right.send(b"x")
    turn()
    assert protocol.received == b"x"
    transport.abort()
    turn()
    right.close()


def test_report_that_fails(loop, connect, turn):
    """Whatever the exception handler does, connection_lost() comes."""

    def fail(*_):
        raise Failure

    loop.set_exception_handler(fail)
    connection = connect(Recorder(data_received=fail))
    connection.peer.send(b"x")
    assert ended(connection, turn, "data_received")


def test_exception_handler_that_closes(loop, connect, turn):
    loop.set_exception_handler(lambda _loop, context: context["transport"].abort())

    def fail(*_):
        raise Failure

    connection = connect(Recorder(data_received=fail))
    connection.peer.send(b"x")
    assert ended(connection, turn, "data_received")


def test_fatal_error(connection, turn, reported):
    """What asyncio's own modules call on a transport."""
    failure = Failure()
    connection.transport._fatal_error(failure, "It failed")
    assert ended(connection, turn)
    [context] = reported
    assert (context["message"], context["exception"]) == ("It failed", failure)
    assert (context["transport"], context["protocol"]) == (connection.transport, connection.protocol)
    assert connection.protocol.reason is failure


def test_fatal_error_of_the_connection(connection, turn, reported):
    connection.transport._fatal_error(BrokenPipeError())
    assert ended(connection, turn)
    assert reported == [] and isinstance(connection.protocol.reason, BrokenPipeError)


def test_fatal_error_has_a_message(connection, turn, reported):
    connection.transport._fatal_error(Failure())
    turn()
    assert reported[0]["message"] == "Fatal error on transport"


# The loop ends first.


def drop(kept):
    """Empty a list and have the collector free what was in it."""
    kept.clear()
    gc.collect()


@pytest.mark.parametrize("method", ["close", "abort"])
def test_end_after_the_loop(loop, method):
    left, right = unix_pair()
    protocol = Recorder()
    kept = [run(loop, loop.create_connection(lambda: protocol, sock=left))[0]]
    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        getattr(kept[0], method)()
    getattr(kept[0], method)()
    assert protocol.names == ["connection_made"]
    protocol.transport = None
    protocol.calls.clear()
    with pytest.warns(ResourceWarning, match="^unclosed transport"):
        drop(kept)
    assert left.fileno() == -1 and at_end(right)
    right.close()


def test_loop_closed_before_connection_lost(loop):
    """The closed transport still has to give its descriptor back."""
    left, right = unix_pair()
    kept = [run(loop, loop.create_connection(Recorder, sock=left))[0]]
    kept[0].close()
    loop.close()
    with pytest.warns(ResourceWarning, match="^unclosed transport .* closing "):
        drop(kept)
    assert left.fileno() == -1
    right.close()


def test_loop_closed_with_data_that_waits(loop, connect):
    connection = connect()
    filled = connection.fill_kernel()
    connection.transport.write(b"never sent")
    peer = connection.peer.dup()
    kept = [connection.transport]
    loop.close()
    connection.protocol.transport = connection.transport = None
    connection.protocol.calls.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drop(kept)
    assert len(receive(peer)) == filled
    peer.close()


def test_methods_after_the_loop(loop):
    """Nothing crashes."""
    left, right = unix_pair()
    transport, _ = run(loop, loop.create_connection(Recorder, sock=left))
    loop.close()
    transport.pause_reading()
    assert not transport.is_reading() and not transport.is_closing()
    assert transport.get_write_buffer_size() == 0
    assert transport.get_write_buffer_limits() == (16384, 65536)
    assert repr(transport)
    for method, *args in [("resume_reading",), ("write", b"x"), ("write", bytes(1_000_000)), ("write_eof",)]:
        try:
            getattr(transport, method)(*args)
        except RuntimeError as error:
            assert str(error) == "Event loop is closed"
    right.close()
    kept = [transport]
    del transport
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drop(kept)


def test_methods_after_the_end(connection, turn):
    """A closed transport can still be asked."""
    transport = connection.transport
    transport.close()
    turn()
    transport.pause_reading()
    transport.resume_reading()
    transport.write(b"x")
    transport.write_eof()
    transport.set_write_buffer_limits(10)
    assert transport.can_write_eof() is True
    assert transport.get_write_buffer_limits() == (2, 10)
    assert transport.get_write_buffer_size() == 0
    assert not transport.is_reading() and transport.is_closing()


def test_connections_of_a_loop_that_is_dropped(impl):
    """A loop that was closed can be freed with the transports it had."""
    loop = impl.new_event_loop()
    pairs = [unix_pair() for _ in range(10)]
    for left, _ in pairs:
        run(loop, loop.create_connection(Recorder, sock=left))
    loop.close()
    kept = [loop]
    del loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drop(kept)
    assert [left.fileno() for left, _ in pairs] == [-1] * 10
    for _, right in pairs:
        right.close()


# Streams, which are made of this.


def test_wait_closed(loop):
    left, right = unix_pair()

    async def main():
        _, writer = await asyncio.open_connection(sock=left)
        writer.write(b"x")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    run(loop, main())
    assert right.recv(10) == b"x" and at_end(right)
    right.close()


@pytest.mark.filterwarnings(
    "ignore:unclosed transport:ResourceWarning"
)  # asyncio's cannot be closed any more
@pytest.mark.parametrize("ending", ["close", "abort"])
def test_another_thread_in_debug_mode(impl, loop, ending):
    """It is told that it must not, and nothing has happened."""
    left, right = unix_pair()
    protocol = Recorder()
    transport, _ = run(loop, loop.create_connection(lambda: protocol, sock=left))
    loop.set_debug(True)
    with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
        run(loop, asyncio.to_thread(getattr(transport, ending)))
    if impl.name == "fastloop":
        assert not transport.is_closing()
        transport.close()
        run_until(loop, lambda: protocol.lost)
    left.close()
    right.close()
    protocol.transport = transport = None
    gc.collect()


def test_connection_lost_does_not_overtake_what_was_scheduled_before_abort(loop, pair):
    """The transport's readiness is queued already, behind the callback that aborts it."""
    left, right = pair
    calls = []
    protocol = Recorder(connection_lost=lambda _: calls.append("connection_lost()"))
    transport, _ = run(loop, loop.create_connection(lambda: protocol, sock=left))

    def abort():
        loop.call_soon(calls.append, "before")
        transport.abort()
        loop.call_soon(calls.append, "behind")

    right.send(b"x")
    loop.call_soon(abort)
    run_until(loop, lambda: len(calls) == 3)
    assert calls == ["before", "connection_lost()", "behind"]
