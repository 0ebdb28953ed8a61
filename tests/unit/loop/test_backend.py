"""What a loop asks of its backend: one that is driven by hand takes the place of the system's events and clock."""

import asyncio
import importlib.util
import logging
import os
import shlex
import socket
import subprocess
import sysconfig
import threading
from pathlib import Path

import fastloop
import pytest
from fastloop import _fastloop

REPOSITORY = Path(__file__).parents[3]
SECOND = 1_000_000_000
NO_LIMIT = -1


@pytest.fixture(scope="session")
def fake(tmp_path_factory):
    """The module fake_backend, which reaches into loops by the very headers that they were built with."""
    binary = tmp_path_factory.mktemp("fake_backend") / "fake_backend.so"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    subprocess.run(
        [
            *[
                compiler,
                "-std=c11",
                "-D_GNU_SOURCE",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-fPIC",
                "-shared",
            ],
            *[f"-I{REPOSITORY / 'src' / '_fastloop'}", f"-I{sysconfig.get_path('include')}"],
            *[REPOSITORY / "tests" / "c" / "fake_backend.c", "-o", binary],
        ],
        check=True,
    )
    spec = importlib.util.spec_from_file_location("fake_backend", binary)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.LOOP_SIZE == _fastloop.BaseLoop.__basicsize__
    return module


class World:
    """What happens to a loop while it waits: the next of the steps that the test has given, else only time passes."""

    def __init__(self, fake, loop):
        self.loop = loop
        self.steps = []
        self.timeouts = []
        self._fake = fake
        fake.install(loop, self._wait)

    def _wait(self, timeout):
        self.timeouts.append(timeout)
        if self.steps:
            self.steps.pop(0)()
        else:
            assert timeout != NO_LIMIT, "nothing will ever happen"
            self.advance(timeout)

    def advance(self, ns):
        self._fake.advance(self.loop, ns)

    def report(self, fd, ready):
        self._fake.report(self.loop, fd, ready)

    def wanted(self, fd):
        return self._fake.wanted(self.loop, fd)

    @property
    def wakes(self):
        return self._fake.wakes(self.loop)


@pytest.fixture
def world(fake):
    loop = fastloop.new_event_loop()
    yield World(fake, loop)
    loop.close()


@pytest.fixture
def pair():
    """A socket for the loop, and the one of its peer."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_repr_asks_the_backend_for_its_name(world):
    loop = world.loop
    assert repr(loop) == "<Loop running=False closed=False debug=False backend=fake>"
    loop.close()
    assert repr(loop) == "<Loop running=False closed=True debug=False backend=fake>"
    assert isinstance(loop.time(), float)


# -- the clock ---------------------------------------------------------------------------------------


def test_time_is_the_backends(world):
    before = world.loop.time()
    world.advance(1500 * SECOND)
    assert world.loop.time() == before + 1500


def test_timers_fire_by_the_backends_clock(world):
    loop, order = world.loop, []
    loop.call_later(3600, order.append, "hour")
    loop.call_later(60, order.append, "minute")
    loop.call_later(3600, loop.stop)
    loop.run_forever()
    assert order == ["minute", "hour"]
    assert loop.time() == 3600.0
    assert world.timeouts == [60 * SECOND, 3540 * SECOND]


def test_a_wait_that_ends_early_fires_no_timer(world):
    loop, fired = world.loop, []
    loop.call_later(10, lambda: (fired.append(loop.time()), loop.stop()))
    half = SECOND // 2
    world.steps = [lambda: world.advance(4 * SECOND), lambda: None, lambda: world.advance(6 * SECOND - half)]
    loop.run_forever()
    assert fired == [10.0]
    assert world.timeouts == [10 * SECOND, 6 * SECOND, 6 * SECOND, half]


def test_a_day_of_coroutines_takes_no_time(world):
    async def main():
        await asyncio.sleep(86400)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3600)
        return world.loop.time()

    assert world.loop.run_until_complete(main()) == 86400.0 + 3600.0


def test_slow_callbacks_are_measured_by_the_backends_clock(world, caplog):
    loop = world.loop
    loop.set_debug(True)
    loop.call_soon(world.advance, 7 * SECOND)
    loop.call_soon(loop.stop)
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_forever()
    assert [record.getMessage().endswith("took 7.000 seconds") for record in caplog.records] == [True]


# -- readiness ---------------------------------------------------------------------------------------


def test_readiness_reaches_readers_and_writers(world, pair, fake):
    ours, _ = pair
    loop, seen = world.loop, []
    loop.add_reader(ours, seen.append, "reader")
    loop.add_writer(ours, seen.append, "writer")
    assert world.wanted(ours.fileno()) == fake.READ | fake.WRITE
    world.steps = [
        lambda: world.report(ours.fileno(), fake.READ),
        lambda: world.report(ours.fileno(), fake.WRITE),
        lambda: world.report(ours.fileno(), fake.READ | fake.WRITE),
        loop.stop,
    ]
    loop.run_forever()
    assert seen == ["reader", "writer", "reader", "writer"]
    assert world.timeouts == [NO_LIMIT] * 4
    assert loop.remove_reader(ours)
    assert world.wanted(ours.fileno()) == fake.WRITE
    assert loop.remove_writer(ours)
    assert world.wanted(ours.fileno()) == 0


def test_a_sock_call_waits_for_readiness(world, pair, fake):
    ours, theirs = pair

    def arrive():
        theirs.send(b"data")
        world.report(ours.fileno(), fake.READ)

    world.steps = [lambda: theirs.send(b"unreported "), arrive]
    assert world.loop.run_until_complete(world.loop.sock_recv(ours, 100)) == b"unreported data"


class Recorder(asyncio.Protocol):
    def __init__(self):
        self.events = []

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def data_received(self, data):
        self.events.append(data)

    def eof_received(self):
        self.events.append("eof")

    def connection_lost(self, exc):
        self.events.append(exc)


def connect(world, sock):
    async def main():
        return await world.loop.connect_accepted_socket(Recorder, sock)

    return world.loop.run_until_complete(main())


def test_readiness_reaches_a_transport(world, pair, fake):
    ours, theirs = pair
    _, protocol = connect(world, ours)
    fd = ours.fileno()
    assert world.wanted(fd) == fake.READ
    theirs.send(b"one")
    world.steps = [lambda: world.report(fd, fake.READ), lambda: (theirs.send(b"two"), world.loop.stop())]
    world.loop.run_forever()
    assert protocol.events == ["made", b"one"]
    theirs.close()
    world.steps = [
        lambda: world.report(fd, fake.READ),
        lambda: world.report(fd, fake.READ),
    ]
    world.loop.call_later(1, world.loop.stop)
    world.loop.run_forever()
    assert protocol.events == ["made", b"one", b"two", "eof", None]
    assert world.wanted(fd) == 0


def test_a_transport_writes_on_when_told(world, pair, fake):
    ours, theirs = pair
    transport, _ = connect(world, ours)
    transport.write(b"x" * 10_000_000)
    assert world.wanted(ours.fileno()) == fake.READ | fake.WRITE
    received = 0

    def take():
        nonlocal received
        received += len(theirs.recv(10_000_000))
        world.report(ours.fileno(), fake.WRITE)

    def take_all():
        while transport.get_write_buffer_size() > 0:
            world.steps = [take, world.loop.stop]
            world.loop.run_forever()

    before = transport.get_write_buffer_size()
    world.steps = [world.loop.stop]
    world.loop.run_forever()
    assert transport.get_write_buffer_size() == before
    take_all()
    assert world.wanted(ours.fileno()) == fake.READ
    theirs.settimeout(10)
    while received < 10_000_000:
        received += len(theirs.recv(10_000_000))
    transport.abort()
    world.loop.call_later(1, world.loop.stop)
    world.loop.run_forever()


# -- waking ------------------------------------------------------------------------------------------


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def test_call_soon_threadsafe_ends_a_wait_once(world):
    loop, seen = world.loop, []

    def two_calls():
        loop.call_soon_threadsafe(seen.append, 1)
        loop.call_soon_threadsafe(seen.append, 2)

    world.steps = [
        lambda: in_thread(two_calls),
        lambda: in_thread(loop.call_soon_threadsafe, seen.append, 3),
        lambda: in_thread(loop.call_soon_threadsafe, loop.stop),
    ]
    loop.run_forever()
    assert seen == [1, 2, 3]
    assert world.wakes == 3


def test_a_loop_that_does_not_wait_is_not_woken(world):
    loop, seen = world.loop, []
    in_thread(loop.call_soon_threadsafe, seen.append, "before")
    loop.call_soon(in_thread, loop.call_soon_threadsafe, seen.append, "during")
    loop.call_soon(loop.call_soon_threadsafe, seen.append, "its own thread")
    loop.call_later(1, loop.stop)
    loop.run_forever()
    assert seen == ["before", "during", "its own thread"]
    assert world.wakes == 0
    assert world.timeouts == [SECOND]
