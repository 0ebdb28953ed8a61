"""asyncio.start_server() and start_unix_server(): StreamReader and StreamWriter on the transports of the loop."""

import asyncio
import contextlib
import gc
import os
import sys
import weakref

import pytest
from support.net import run

SINCE_312 = sys.version_info >= (3, 12)
LARGE = 20_000_000  # bytes, more than kernel and transport hold on the way


@pytest.fixture(params=["tcp", "unix"])
def start(request, tmp_path, monkeypatch):
    """A function like start_server() that takes no address, and one like open_connection() that takes the server."""

    class Start:
        async def server(self, callback, **options):
            if request.param == "tcp":
                return await asyncio.start_server(callback, "127.0.0.1", 0, **options)
            monkeypatch.chdir(tmp_path)
            return await asyncio.start_unix_server(callback, "socket", **options)

        async def client(self, server, **options):
            name = server.sockets[0].getsockname()
            if request.param == "tcp":
                return await asyncio.open_connection(*name, **options)
            return await asyncio.open_unix_connection(name, **options)

    return Start()


@contextlib.asynccontextmanager
async def conversation(start, callback, **options):
    """A client's reader and writer, connected to a server; both are closed afterwards."""
    server = await start.server(callback, **options)
    async with server:
        reader, writer = await start.client(server)
        try:
            yield reader, writer
        finally:
            await end(writer)
    await server.wait_closed()


async def end(writer):
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def settle():
    """Let the loop run so many turns that it must have polled, more than once."""
    for _ in range(200):
        await asyncio.sleep(0)


async def echo_lines(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    await end(writer)


# Reading and writing.


def test_lines(loop, start):
    async def main():
        async with conversation(start, echo_lines) as (reader, writer):
            for line in (b"one\n", b"two\n", b"x" * 10_000 + b"\n"):
                writer.write(line)
                await writer.drain()
                assert await reader.readline() == line.upper()
            writer.writelines([b"a\nb", b"\n", b"c\n"])
            assert [await reader.readline() for _ in range(3)] == [b"A\n", b"B\n", b"C\n"]
            writer.write(b"no end of line")
            writer.write_eof()
            assert await reader.read() == b"NO END OF LINE"
            assert reader.at_eof()

    run(loop, main())


def test_reader_is_iterable(loop, start):
    lines = []

    async def note(reader, writer):
        async for line in reader:
            lines.append(line)
        await end(writer)

    async def main():
        async with conversation(start, note) as (reader, writer):
            writer.write(b"1\n2\n3\nrest")
            writer.write_eof()
            assert await reader.read() == b""

    run(loop, main())
    assert lines == [b"1\n", b"2\n", b"3\n", b"rest"]


def test_readexactly_and_readuntil(loop, start):
    async def answer(reader, writer):
        assert await reader.readexactly(3) == b"abc"
        assert await reader.readuntil(b"--") == b"def--"
        assert await reader.readexactly(0) == b""
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(10)
        assert caught.value.partial == b"ghi"
        writer.write(b"fine")
        await end(writer)

    async def main():
        async with conversation(start, answer) as (reader, writer):
            for part in (b"ab", b"cde", b"f-", b"-ghi"):
                writer.write(part)
                await settle()
            writer.write_eof()
            assert await reader.read() == b"fine"

    run(loop, main())


def test_line_longer_than_the_limit(loop, start):
    """It is an error, and a second one goes on behind it."""

    async def answer(reader, writer):
        with pytest.raises(ValueError, match="chunk is longer than limit|chunk exceed the limit"):
            await reader.readline()
        assert await reader.readline() == b"short\n"
        writer.write(b"fine")
        await end(writer)

    async def main():
        async with conversation(start, answer, limit=100) as (reader, writer):
            writer.write(b"x" * 150 + b"\nshort\n")
            assert await reader.read() == b"fine"

    run(loop, main())


def test_large_amounts_both_ways(loop, start):
    """Echoed in chunks of any size, to the last byte, while both sides wait for each other."""
    data = os.urandom(1_000_000) * 5

    async def echo(reader, writer):
        while chunk := await reader.read(100_000):
            writer.write(chunk)
            await writer.drain()
        await end(writer)

    async def send(writer):
        for begin in range(0, len(data), 123_456):
            writer.write(data[begin : begin + 123_456])
            await writer.drain()
        writer.write_eof()

    async def main():
        async with conversation(start, echo) as (reader, writer):
            received, _ = await asyncio.gather(reader.read(), send(writer))
            assert received == data

    run(loop, main())


# Back-pressure.


def test_drain_waits_for_the_reader(loop, start):
    async def main():
        drained = asyncio.Event()

        async def pour(reader, writer):
            writer.write(bytes(LARGE))
            assert writer.transport.get_write_buffer_size() > 0
            await writer.drain()
            drained.set()
            await end(writer)

        async with conversation(start, pour) as (reader, _writer):
            await reader.readexactly(1)
            await settle()
            assert not drained.is_set()
            assert len(await reader.read()) == LARGE - 1
            await drained.wait()

    run(loop, main())


def test_reading_pauses_at_twice_the_limit(loop, start):
    """Until the reader is read, most of what the client sends stays with the client."""

    async def main():
        connected = loop.create_future()

        async def idle(reader, writer):
            connected.set_result((reader, writer))

        async with conversation(start, idle, limit=10_000) as (_, writer):
            reader, answers = await connected
            writer.write(bytes(LARGE))
            while answers.transport.is_reading():
                await asyncio.sleep(0)
            await settle()
            assert 20_000 < len(reader._buffer) < LARGE
            left = writer.transport.get_write_buffer_size()
            assert left > 0
            await settle()
            assert writer.transport.get_write_buffer_size() == left
            writer.write_eof()
            assert len(await reader.read()) == LARGE
            await end(answers)

    run(loop, main())


def test_drain_after_the_client_left(loop, start):
    """At first it is writing that fails, then drain() says so."""

    async def main():
        outcome = loop.create_future()

        async def pour(reader, writer):
            try:
                while True:
                    writer.write(bytes(100_000))
                    await writer.drain()
            except OSError as exc:
                outcome.set_result(type(exc))
            await end(writer)

        async with conversation(start, pour) as (reader, writer):
            await reader.readexactly(1)
            writer.transport.abort()
            assert await outcome in (ConnectionResetError, BrokenPipeError)

    run(loop, main())


def test_read_after_the_client_reset(loop, start):
    async def main():
        outcome = loop.create_future()

        async def wait(reader, writer):
            try:
                outcome.set_result(await reader.read())
            except OSError as exc:
                outcome.set_result(type(exc))
            await end(writer)

        async with conversation(start, wait) as (_reader, writer):
            writer.write(b"data")
            await settle()
            writer.transport.abort()
            assert await outcome in (b"data", ConnectionResetError)

    run(loop, main())


# Closing.


def test_half_close(loop, start):
    """The server answers after the client has sent its last byte."""

    async def answer(reader, writer):
        request = await reader.read()
        await settle()
        writer.write(b"%d" % len(request))
        await end(writer)

    async def main():
        async with conversation(start, answer) as (reader, writer):
            assert writer.can_write_eof()
            writer.write(b"x" * 1000)
            writer.write_eof()
            with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
                writer.write(b"more")
            assert await reader.read() == b"1000"

    run(loop, main())


def test_writer(loop, start):
    async def main():
        connected = loop.create_future()

        async def note(reader, writer):
            connected.set_result(writer)
            await reader.read()

        async with conversation(start, note) as (_, mine):
            writer = await connected
            assert isinstance(writer.transport, asyncio.Transport)
            assert writer.get_extra_info("sockname") == mine.get_extra_info("peername")
            assert not writer.is_closing()
            writer.write(b"last")
            writer.close()
            assert writer.is_closing()
            await writer.wait_closed()
            await writer.wait_closed()

    run(loop, main())


def test_close_sends_everything_first(loop, start):
    async def pour(reader, writer):
        writer.write(bytes(LARGE))
        writer.close()
        await writer.wait_closed()

    async def main():
        async with conversation(start, pour) as (reader, _):
            assert len(await reader.read()) == LARGE

    run(loop, main())


def test_wait_closed_of_the_server(loop, start):
    """From Python 3.12 on it waits for the client callbacks whose connections are open."""

    async def main():
        begun, ended = asyncio.Event(), asyncio.Event()

        async def serve(reader, writer):
            begun.set()
            await reader.read()
            await end(writer)
            ended.set()

        server = await start.server(serve)
        _, writer = await start.client(server)
        await begun.wait()
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        await settle()
        assert waiting.done() is not SINCE_312
        await end(writer)
        await waiting
        await ended.wait()

    run(loop, main())


# The client callback.


def test_plain_function_as_callback(loop, start):
    async def main():
        connected = loop.create_future()

        def callback(*args):
            connected.set_result(args)

        async with conversation(start, callback):
            reader, writer = await connected
            assert isinstance(reader, asyncio.StreamReader)
            assert isinstance(writer, asyncio.StreamWriter)
            assert await reader.read(0) == b""
            await end(writer)

    run(loop, main())


@pytest.mark.parametrize("kind", ["coroutine", "function"])
def test_exception_in_callback(loop, start, reported, kind):
    """It is reported, the server goes on; from Python 3.12 on the failed coroutine's connection is closed."""

    async def main():
        failures = [ZeroDivisionError("failed")]
        writers = []

        async def coroutine(reader, writer):
            if failures:
                writers.append(writer)
                raise failures.pop()
            await echo_lines(reader, writer)

        def function(reader, writer):
            writers.append(writer)
            raise failures.pop()

        async with conversation(start, coroutine if kind == "coroutine" else function) as (reader, _writer):
            while failures:
                await asyncio.sleep(0)
            await settle()
            if kind == "coroutine" and SINCE_312:
                assert await reader.read() == b""
            await end(writers.pop())

    run(loop, main())
    gc.collect()
    messages = {str(context["exception"]): context["message"] for context in reported}
    assert list(messages) == ["failed"]
    if kind == "coroutine" and SINCE_312:
        assert messages["failed"] == "Unhandled exception in client_connected_cb"
        assert isinstance(reported[0]["transport"], asyncio.Transport)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a defect of asyncio.streams up to some 3.12")
def test_cancelled_callback(loop, start, reported):
    """Cancellation is no error, and the connection is closed."""

    async def main():
        tasks = []

        async def wait(reader, writer):
            tasks.append((asyncio.current_task(), writer))
            await reader.read()

        async with conversation(start, wait) as (reader, _writer):
            while not tasks:
                await asyncio.sleep(0)
            task, answers = tasks.pop()
            task.cancel()
            await settle()
            assert task.cancelled()
            assert await reader.read() == b""
            await end(answers)

    run(loop, main())
    assert reported == []


def test_nothing_is_kept(loop, start):
    """Readers, writers and transports of past connections are freed without the collector."""

    async def main():
        seen = []

        async def serve(reader, writer):
            seen.append(weakref.ref(writer.transport))
            seen.append(weakref.ref(reader))
            await reader.read()
            await end(writer)

        async with await start.server(serve) as server:
            for _ in range(3):
                reader, writer = await start.client(server)
                writer.write_eof()
                await reader.read()
                await end(writer)
            await settle()
        return seen

    seen = run(loop, main())
    gc.collect()
    assert len(seen) == 6
    assert [ref() for ref in seen] == [None] * 6


def test_many_connections_at_once(loop, start):
    async def ask(server, number):
        reader, writer = await start.client(server)
        writer.write(b"line %d\n" % number)
        answer = await reader.readline()
        await end(writer)
        return answer

    async def main():
        async with await start.server(echo_lines) as server:
            return await asyncio.gather(*(ask(server, number) for number in range(50)))

    assert run(loop, main()) == [b"LINE %d\n" % number for number in range(50)]
