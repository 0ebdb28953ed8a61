"""What the callbacks of a connection find around them: context variables, the running loop, no current task."""

import asyncio
import contextvars
import socket
import sys

import pytest
from support.net import BufferedRecorder, Recorder, receive, run, run_until, unix_pair

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")

CALLS = {
    Recorder: ["connection_made", "data_received", "eof_received", "connection_lost"],
    BufferedRecorder: ["connection_made", "get_buffer", "buffer_updated", "eof_received", "connection_lost"],
}
EVERY_CALL = [(protocol_type, name) for protocol_type, names in CALLS.items() for name in names]
WRITING = ["pause_writing", "resume_writing"]


def noting(protocol_type, names, note):
    """A protocol that calls `note(name)` in each of its calls `names`, whose eof_received() keeps the connection."""

    def act(name):
        def noted(*_):
            note(name)
            return None if name == "get_buffer" else name == "eof_received"

        return noted

    return protocol_type(**{name: act(name) for name in names})


async def live(loop, protocol):
    """Connect `protocol` and have it go through all its calls."""
    left, right = unix_pair()
    transport, _ = await loop.create_connection(lambda: protocol, sock=left)
    right.send(b"x")
    while not protocol.received:
        await asyncio.sleep(0)
    right.shutdown(socket.SHUT_WR)
    while "eof_received" not in protocol.names:
        await asyncio.sleep(0)
    transport.write(bytes(1_000_000))
    while transport.get_write_buffer_size():
        receive(right)
        await asyncio.sleep(0)
    transport.close()
    while not protocol.lost:
        await asyncio.sleep(0)
    right.close()


@pytest.mark.parametrize("protocol_type", CALLS)
def test_context_of_who_connected(loop, protocol_type):
    """Every call sees the variables as they were for whoever made the connection."""
    seen = {}
    protocol = noting(
        protocol_type, CALLS[protocol_type] + WRITING, lambda name: seen.setdefault(name, VARIABLE.get())
    )

    async def main():
        VARIABLE.set("of the maker")
        await live(loop, protocol)

    run(loop, main())
    assert seen == dict.fromkeys(CALLS[protocol_type] + WRITING, "of the maker")


def test_variables_set_later_by_the_maker_are_not_seen(loop):
    seen = []

    async def main():
        left, right = unix_pair()
        VARIABLE.set("before")
        protocol = Recorder(data_received=lambda _: seen.append(VARIABLE.get()))
        transport, _ = await loop.create_connection(lambda: protocol, sock=left)
        VARIABLE.set("after")
        right.send(b"x")
        while not seen:
            await asyncio.sleep(0)
        transport.close()
        await asyncio.sleep(0)
        right.close()

    run(loop, main())
    assert seen == ["before"]


@pytest.mark.parametrize("protocol_type", CALLS)
def test_variables_set_in_calls_do_not_leave_the_connection(loop, protocol_type):
    protocol = noting(protocol_type, CALLS[protocol_type], VARIABLE.set)

    async def main():
        VARIABLE.set("of the maker")
        await live(loop, protocol)
        assert VARIABLE.get() == "of the maker"

    run(loop, main())
    assert VARIABLE.get() == "unset"


def test_variables_set_in_one_call_are_seen_in_the_next(loop):
    """A connection reads in one context."""
    seen = []

    def note(name):
        seen.append(VARIABLE.get())
        VARIABLE.set(seen[-1] + "+")

    async def main():
        left, right = unix_pair()
        protocol = noting(Recorder, ["data_received"], note)
        VARIABLE.set("+")
        transport, _ = await loop.create_connection(lambda: protocol, sock=left)
        for count in range(1, 4):
            right.send(b"x")
            while len(seen) < count:
                await asyncio.sleep(0)
        transport.close()
        await asyncio.sleep(0)
        right.close()

    run(loop, main())
    assert seen == ["+", "++", "+++"]


def test_a_connection_has_one_context(impl, loop):
    if impl.name == "asyncio" and sys.version_info < (3, 15):
        pytest.skip("asyncio before Python 3.15 copies the context several times")
    seen = []

    def note(name):
        seen.append(VARIABLE.get())
        VARIABLE.set(name)

    async def main():
        VARIABLE.set("maker")
        await live(loop, noting(Recorder, CALLS[Recorder], note))

    run(loop, main())
    assert seen == ["maker", "connection_made", "data_received", "eof_received"]


def test_two_connections_have_two_contexts(loop):
    seen = {}

    async def main():
        for number in range(2):

            def note(name, number=number):
                seen[number, name] = VARIABLE.get()
                VARIABLE.set(number)

            await live(loop, noting(Recorder, CALLS[Recorder], note))

    run(loop, main())
    assert seen[0, "connection_made"] == seen[1, "connection_made"] == "unset"


@pytest.mark.parametrize("protocol_type, name", EVERY_CALL)
def test_no_task_is_current(loop, protocol_type, name):
    seen = []
    protocol = noting(protocol_type, [name], lambda _: seen.append(asyncio.current_task()))
    run(loop, live(loop, protocol))
    assert seen and set(seen) == {None}


@pytest.mark.parametrize("protocol_type, name", EVERY_CALL)
def test_loop_is_the_running_loop(loop, protocol_type, name):
    seen = []
    protocol = noting(protocol_type, [name], lambda _: seen.append(asyncio.get_running_loop()))
    run(loop, live(loop, protocol))
    assert seen and set(seen) == {loop}


def test_the_writers_task_is_current_when_it_pauses(loop):
    """pause_writing() is part of the write() that a task calls."""
    seen = {}
    protocol = noting(
        Recorder,
        ["pause_writing", "eof_received"],
        lambda name: seen.setdefault(name, asyncio.current_task()),
    )

    async def main():
        task = asyncio.current_task()
        await live(loop, protocol)
        return task

    task = loop.create_task(main())
    run_until(loop, task.done)
    assert seen == {"pause_writing": task, "eof_received": None}


def test_tasks_made_in_a_call_inherit_its_context(loop):
    seen = []

    async def child():
        seen.append(VARIABLE.get())

    async def main():
        tasks = []
        VARIABLE.set("of the maker")
        protocol = noting(Recorder, ["data_received"], lambda _: tasks.append(loop.create_task(child())))
        await live(loop, protocol)
        await asyncio.gather(*tasks)

    run(loop, main())
    assert seen == ["of the maker"]


def test_exception_handler_sees_no_task(loop):
    seen = []
    loop.set_exception_handler(lambda _loop, context: seen.append(asyncio.current_task()))

    def fail(*_):
        raise ZeroDivisionError

    async def main():
        left, right = unix_pair()
        protocol = Recorder(data_received=fail)
        await loop.create_connection(lambda: protocol, sock=left)
        right.send(b"x")
        while not protocol.lost:
            await asyncio.sleep(0)
        right.close()

    run(loop, main())
    assert seen == [None]
