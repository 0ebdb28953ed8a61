"""add_reader(), add_writer() and their removal, on descriptors of every kind and in every state."""

import asyncio
import fcntl
import io
import os
import socket
import tempfile
import time

import pytest
from support.net import run_until


def test_reader_is_called_when_readable(loop, turn, pair):
    left, right = pair
    seen = []
    assert loop.add_reader(left, lambda *args: seen.append((args, left.recv(10))), 1, 2) is None
    turn()
    assert seen == []
    right.send(b"x")
    turn()
    assert seen == [((1, 2), b"x")]
    turn()
    assert len(seen) == 1
    assert loop.remove_reader(left) is True


def test_reader_is_called_as_long_as_it_is_readable(loop, turn, pair):
    left, right = pair
    seen = []
    loop.add_reader(left, seen.append, "readable")
    right.send(b"x")
    turn(3)
    assert seen == ["readable"] * 3
    loop.remove_reader(left)


def test_writer_is_called_when_writable(loop, turn, pair):
    left, _ = pair
    seen = []
    assert loop.add_writer(left, seen.append, "writable") is None
    turn()
    assert seen == ["writable"]
    assert loop.remove_writer(left) is True
    turn()
    assert seen == ["writable"]


def test_arguments_by_keyword(loop, pair):
    left, _ = pair
    loop.add_reader(fd=left, callback=print)
    loop.add_writer(fd=left, callback=print)
    assert loop.remove_reader(fd=left) is True and loop.remove_writer(fd=left) is True


def test_writer_waits_for_room(loop, turn, pair):
    left, right = pair
    try:
        while True:
            left.send(b"x" * 65536)
    except BlockingIOError:
        pass
    seen = []
    loop.add_writer(left, seen.append, "writable")
    turn()
    assert seen == []
    while not seen:
        right.recv(65536)
        turn()
    loop.remove_writer(left)


def test_reader_and_writer_of_one_descriptor(loop, turn, pair):
    left, right = pair
    seen = []
    loop.add_reader(left, seen.append, "r")
    loop.add_writer(left, seen.append, "w")
    right.send(b"x")
    turn()
    assert seen == ["r", "w"]
    assert loop.remove_reader(left) is True
    turn()
    assert seen == ["r", "w", "w"]
    loop.add_reader(left, seen.append, "r2")
    assert loop.remove_writer(left) is True
    turn()
    assert seen == ["r", "w", "w", "r2"]
    assert loop.remove_reader(left) is True


def test_replacing(loop, turn, pair):
    left, right = pair
    seen = []
    right.send(b"x")
    loop.add_reader(left, seen.append, "old reader")
    loop.add_writer(left, seen.append, "old writer")
    loop.add_reader(left, seen.append, "new reader")
    loop.add_writer(left, seen.append, "new writer")
    turn()
    assert seen == ["new reader", "new writer"]
    loop.remove_reader(left)
    loop.remove_writer(left)


def test_replaced_in_the_turn_it_is_ready(loop, turn, pair):
    left, right = pair
    seen = []

    def replace():
        loop.add_reader(left, seen.append, "new")

    right.send(b"x")
    loop.add_writer(right, lambda: None)
    loop.add_reader(left, seen.append, "old")
    loop.call_soon(replace)
    turn()
    turn()
    assert "old" not in seen and "new" in seen
    loop.remove_reader(left)
    loop.remove_writer(right)


def test_removing_what_was_not_added(loop, pair):
    left, _ = pair
    assert loop.remove_reader(left) is False
    assert loop.remove_writer(left) is False
    loop.add_reader(left, print)
    assert loop.remove_writer(left) is False
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(left) is False


def test_removed_by_its_own_callback(loop, turn, pair):
    left, right = pair
    seen = []
    loop.add_reader(left, lambda: seen.append(loop.remove_reader(left)))
    right.send(b"x")
    turn()
    turn()
    assert seen == [True]


def test_removed_by_a_callback_of_the_same_turn(loop, turn, pair):
    """Both ends are readable; whichever runs first removes the other, which must not run any more."""
    left, right = pair
    seen = []

    def reader(me, other):
        seen.append(me)
        loop.remove_reader(other)

    loop.add_reader(left, reader, left, right)
    loop.add_reader(right, reader, right, left)
    left.send(b"x")
    right.send(b"x")
    turn()
    assert len(seen) == 1
    turn()
    assert seen == seen[:1] * 2
    loop.remove_reader(seen[0])


def test_added_by_a_callback(loop, turn, pair):
    left, right = pair
    seen = []
    right.send(b"x")
    loop.call_soon(loop.add_reader, left, seen.append, "added")
    turn()
    turn()
    assert seen == ["added"]
    loop.remove_reader(left)


def test_error_of_a_reader_is_reported_each_time(loop, turn, pair, reported):
    left, right = pair
    loop.add_reader(left, lambda: 1 / 0)
    right.send(b"x")
    turn()
    turn()
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError] * 2
    loop.remove_reader(left)


def test_exit_exception_of_a_reader(loop, turn, pair):
    left, right = pair
    order = []

    def leave():
        loop.remove_reader(left)
        raise SystemExit

    loop.add_reader(left, leave)
    right.send(b"x")
    loop.call_later(0, order.append, "kept")
    with pytest.raises(SystemExit):
        loop.run_forever()
    turn()
    assert order == ["kept"]


@pytest.mark.parametrize("kind", ["descriptor", "socket", "file", "object"])
def test_what_names_a_descriptor(loop, turn, pair, kind):
    left, right = pair

    class HasFileno:
        def fileno(self):
            return left.fileno()

    file = io.FileIO(left.fileno(), closefd=False)
    named = {"descriptor": left.fileno(), "socket": left, "file": file, "object": HasFileno()}[kind]
    seen = []
    right.send(b"x")
    loop.add_reader(named, seen.append, "r")
    turn()
    assert seen == ["r"]
    assert loop.remove_reader(left.fileno()) is True
    loop.add_writer(left.fileno(), print)
    assert loop.remove_writer(named) is True
    file.close()


METHODS = {
    "add_reader": lambda loop, fd: loop.add_reader(fd, print),
    "add_writer": lambda loop, fd: loop.add_writer(fd, print),
    "remove_reader": lambda loop, fd: loop.remove_reader(fd),
    "remove_writer": lambda loop, fd: loop.remove_writer(fd),
}


@pytest.mark.parametrize("call", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    "fd", [None, "text", 1.5, object(), []], ids=["None", "str", "float", "object", "list"]
)
def test_what_names_no_descriptor(loop, call, fd):
    with pytest.raises(ValueError) as raised:
        call(loop, fd)
    assert str(raised.value) == f"Invalid file object: {fd!r}"


@pytest.mark.parametrize("call", METHODS.values(), ids=METHODS)
def test_fileno_that_is_no_number(loop, call):
    class HasFileno:
        def fileno(self):
            return "text"

        def __repr__(self):
            return "named"

    with pytest.raises(ValueError, match="^Invalid file object: named$"):
        call(loop, HasFileno())


@pytest.mark.parametrize("call", METHODS.values(), ids=METHODS)
def test_negative_descriptor(loop, call):
    with pytest.raises(ValueError, match="^Invalid file descriptor: -1$"):
        call(loop, -1)


@pytest.mark.parametrize("call", METHODS.values(), ids=METHODS)
def test_closed_socket(loop, call):
    sock = socket.socket()
    sock.close()
    with pytest.raises(ValueError, match="^Invalid file descriptor: -1$"):
        call(loop, sock)


@pytest.mark.parametrize("add", ["add_reader", "add_writer"])
def test_descriptor_that_is_not_open(loop, add):
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    with pytest.raises(OSError) as raised:
        getattr(loop, add)(fd, print)
    assert str(raised.value) == "[Errno 9] Bad file descriptor"
    assert loop.remove_reader(fd) is False


@pytest.mark.parametrize("add", ["add_reader", "add_writer"])
def test_regular_file(loop, turn, add):
    with tempfile.TemporaryFile() as file:
        with pytest.raises(PermissionError, match=r"^\[Errno 1\] Operation not permitted$"):
            getattr(loop, add)(file, print)
        assert loop.remove_reader(file) is False and loop.remove_writer(file) is False
    turn()


@pytest.mark.parametrize("add", ["add_reader", "add_writer"])
def test_callback_is_needed(loop, pair, add):
    with pytest.raises(TypeError, match="missing|required|takes"):
        getattr(loop, add)(pair[0])


def test_non_callable_is_reported_when_called(loop, turn, pair, reported):
    left, _ = pair
    loop.add_writer(left, 5)
    turn()
    loop.remove_writer(left)
    assert str(reported[0]["exception"]) == "'int' object is not callable"


@pytest.mark.parametrize("kind", ["socket", "pipe"])
def test_reader_sees_the_hangup(loop, turn, pair, kind):
    left, right = pair
    reader, writer = (left.fileno(), None) if kind == "socket" else os.pipe()
    seen = []
    loop.add_reader(reader, lambda: seen.append(os.read(reader, 10)))
    if kind == "socket":
        right.close()
    else:
        os.close(writer)
    turn()
    assert seen == [b""]
    loop.remove_reader(reader)
    if kind == "pipe":
        os.close(reader)


def test_writer_sees_the_hangup(loop, turn):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 65536)
    except BlockingIOError:
        pass
    seen = []
    loop.add_writer(writer, seen.append, "broken")
    turn()
    assert seen == []
    os.close(reader)
    turn()
    assert seen == ["broken"]
    loop.remove_writer(writer)
    os.close(writer)


def test_descriptor_closed_under_the_loop(loop, turn):
    """The kernel forgets a closed descriptor; the loop does not break, and a removal says what was there."""
    reader, writer = os.pipe()
    seen = []
    loop.add_reader(reader, seen.append, "r")
    os.write(writer, b"x")
    os.close(reader)
    turn()
    assert seen == []
    assert loop.remove_reader(reader) is True
    assert loop.remove_reader(reader) is False
    os.close(writer)


def test_number_used_again_after_a_close(loop, turn):
    """The number of a closed descriptor comes back for a new one: the new registration must work."""
    reader, writer = os.pipe()
    loop.add_reader(reader, print)
    os.close(reader)
    os.close(writer)
    assert loop.remove_reader(reader) is True
    again, writer = os.pipe()
    assert again == reader
    seen = []
    loop.add_reader(again, seen.append, "new")
    os.write(writer, b"x")
    turn()
    assert seen == ["new"]
    loop.remove_reader(again)
    os.close(again)
    os.close(writer)


def test_duplicate_descriptors(loop, turn):
    """Two numbers of one open file are watched apart."""
    reader, writer = os.pipe()
    duplicate = os.dup(reader)
    seen = []
    loop.add_reader(reader, seen.append, "original")
    loop.add_reader(duplicate, seen.append, "duplicate")
    os.write(writer, b"x")
    turn()
    assert sorted(seen) == ["duplicate", "original"]
    loop.remove_reader(reader)
    os.close(reader)
    turn()
    assert seen[2:] == ["duplicate"]
    loop.remove_reader(duplicate)
    os.close(duplicate)
    os.close(writer)


def test_number_used_again_while_a_duplicate_lives(impl, loop, turn):
    """The kernel still reports the old file under the number that a new one has now."""
    if impl.name == "asyncio":
        pytest.skip("asyncio modifies a registration that is no longer there, and fails")
    reader, writer = os.pipe()
    duplicate = os.dup(reader)
    seen = []
    loop.add_reader(reader, seen.append, "old")
    os.write(writer, b"x")
    os.close(reader)
    again, other = os.pipe()
    assert again == reader
    loop.add_reader(again, seen.append, "new")
    turn(3)
    assert seen == []
    os.write(other, b"x")
    turn()
    assert seen == ["new"]
    loop.remove_reader(again)
    for descriptor in (again, other, writer, duplicate):
        os.close(descriptor)


def test_closed_descriptor_with_a_duplicate_does_not_keep_the_loop_busy(impl, loop):
    """Nobody wants its events any more, and the loop cannot unregister it: it must not spin."""
    if impl.name == "asyncio":
        pytest.skip("asyncio spins")
    reader, writer = os.pipe()
    duplicate = os.dup(reader)
    loop.add_reader(reader, print)
    os.close(reader)
    os.write(writer, b"x")
    assert loop.remove_reader(reader) is True
    before = time.process_time()
    loop.run_until_complete(asyncio.sleep(0.1))
    assert time.process_time() - before < 0.05
    os.close(writer)
    os.close(duplicate)


def test_high_descriptor(loop, turn):
    reader, writer = os.pipe()
    high = fcntl.fcntl(reader, fcntl.F_DUPFD, 800)
    seen = []
    loop.add_reader(high, seen.append, "high")
    os.write(writer, b"x")
    turn()
    assert seen == ["high"]
    assert loop.remove_reader(high) is True
    for descriptor in (reader, writer, high):
        os.close(descriptor)


def test_close_of_the_loop_removes_all(loop, pair):
    left, right = pair
    loop.add_reader(left, print)
    loop.add_writer(right, print)
    loop.close()
    assert loop.remove_reader(left) is False and loop.remove_writer(right) is False
    left.send(b"x")
    assert right.recv(1) == b"x"


def test_callback_keeps_its_context(loop, turn, pair):
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")
    left, right = pair
    seen = []
    variable.set("at registration")
    loop.add_reader(left, lambda: seen.append(variable.get()))
    variable.set("later")
    right.send(b"x")
    turn()
    assert seen == ["at registration"]
    loop.remove_reader(left)


def test_many_descriptors(loop, turn):
    pipes = [os.pipe() for _ in range(300)]
    seen = []
    for reader, _ in pipes:
        loop.add_reader(reader, lambda fd=reader: seen.append((fd, os.read(fd, 1))))
    for _, writer in pipes:
        os.write(writer, b"x")
    run_until(loop, lambda: len(seen) == len(pipes))
    assert sorted(seen) == sorted((reader, b"x") for reader, _ in pipes)
    for reader, writer in pipes:
        assert loop.remove_reader(reader) is True
        os.close(reader)
        os.close(writer)
