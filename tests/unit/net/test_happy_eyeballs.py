"""Several addresses at once: the order in which they are tried, when the next is begun, and what becomes of the rest."""

import asyncio
import contextlib
import socket
import sys

import pytest
from support.addresses import Busy, asyncio_since, needs_ipv6, refusal, refusing, resolve_to
from support.net import Recorder, open_fds, run, run_until

FOREVER = 3600  # seconds that no test waits for


@pytest.fixture
def busy():
    """An address that never answers."""
    with contextlib.closing(Busy()) as busy:
        yield busy.address


@pytest.fixture
def refused():
    """Three addresses where nobody listens."""
    with refusing(3) as addresses:
        yield addresses


def connects(loop, listener, delay, **kwargs):
    """Connect by name to the listener, and check that neither tasks nor descriptors stay behind."""
    before = open_fds()

    async def main():
        transport, protocol = await loop.create_connection(
            Recorder, "name.invalid", 1, happy_eyeballs_delay=delay, **kwargs
        )
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return transport, protocol

    transport, protocol = loop.run_until_complete(main())
    assert transport.get_extra_info("peername") == listener.getsockname()
    peer, address = listener.accept()
    assert address == transport.get_extra_info("sockname")
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert len(open_fds() - before) == 2
    peer.close()
    transport.close()
    run_until(loop, lambda: protocol.lost)
    assert open_fds() == before


# Who wins.


def test_first_address(loop, listener, refused):
    resolve_to(loop, listener.getsockname(), *refused)
    connects(loop, listener, FOREVER)


def test_next_begins_when_the_first_is_slow(loop, listener, busy):
    resolve_to(loop, busy, listener.getsockname())
    connects(loop, listener, 0.01)


def test_all_begin_at_once_without_delay(loop, listener, busy):
    resolve_to(loop, busy, busy, listener.getsockname())
    connects(loop, listener, 0)


def test_next_begins_when_the_first_has_failed(loop, listener, refused):
    resolve_to(loop, *refused, listener.getsockname(), refused[0])
    connects(loop, listener, FOREVER)


def test_failure_after_a_slow_address(loop, listener, busy, refused):
    resolve_to(loop, busy, refused[0], listener.getsockname())
    connects(loop, listener, 0.01)


def test_only_one_of_many_that_connect_is_kept(loop, listener):
    resolve_to(loop, *[listener.getsockname()] * 5)
    before = open_fds()

    async def main():
        transport, protocol = await loop.create_connection(
            Recorder, "name.invalid", 1, happy_eyeballs_delay=0
        )
        assert len(open_fds() - before) == 1
        transport.close()
        while not protocol.lost:
            await asyncio.sleep(0)

    run(loop, main())
    assert open_fds() == before


def test_literal_address(loop, listener):
    before = open_fds()
    transport, protocol = run(
        loop, loop.create_connection(Recorder, *listener.getsockname(), happy_eyeballs_delay=FOREVER)
    )
    transport.close()
    run_until(loop, lambda: protocol.lost)
    assert open_fds() == before


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_eager_tasks(impl, loop, listener, refused):
    asyncio_since(impl, 3, 14)
    loop.set_task_factory(asyncio.eager_task_factory)
    resolve_to(loop, *refused, listener.getsockname())
    connects(loop, listener, 0.01)


# Who fails.


def order_of_attempts(loop, refused, delay=None, **kwargs):
    """The numbers of the addresses, all of which refuse, in the order of the attempts."""
    before = open_fds()
    with pytest.raises(OSError) as raised:
        run(
            loop,
            loop.create_connection(Recorder, "name.invalid", 1, happy_eyeballs_delay=delay, **kwargs),
        )
    assert open_fds() == before
    text = str(raised.value)
    assert sorted(text.removeprefix("Multiple exceptions: ").split("[")[1:])
    places = [text.index(refusal(address)) for address in refused]
    return sorted(range(len(refused)), key=places.__getitem__)


@pytest.mark.parametrize("delay", [None, 0, FOREVER])
def test_failures_are_told_in_the_order_of_addresses(loop, refused, delay):
    resolve_to(loop, *refused)
    assert order_of_attempts(loop, refused, delay) == [0, 1, 2]


def test_wait_for_the_slow_one(impl, loop, refused):
    """When the last address has failed, those begun before may still connect: the wait goes on until cancelled."""
    asyncio_since(impl, 3, 14)
    with contextlib.closing(Busy()) as busy:
        resolve_to(loop, busy.address, *refused)
        before = open_fds()

        async def main():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(
                    loop.create_connection(Recorder, "name.invalid", 1, happy_eyeballs_delay=0), 0.05
                )
            assert asyncio.all_tasks() == {asyncio.current_task()}

        loop.run_until_complete(main())
        assert open_fds() == before


@pytest.mark.parametrize("delay", [0, 0.01, FOREVER])
def test_cancelled(impl, loop, busy, delay):
    asyncio_since(impl, 3, 12)
    resolve_to(loop, busy, busy)
    before = open_fds()
    attempts = 2 if delay < 1 else 1

    async def main():
        tasks = asyncio.all_tasks()
        connecting = loop.create_task(
            loop.create_connection(Recorder, "name.invalid", 1, happy_eyeballs_delay=delay)
        )
        while len(open_fds() - before) < attempts:
            await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert asyncio.all_tasks() == tasks

    run(loop, main())
    assert open_fds() == before


def test_what_is_no_oserror_is_raised(impl, loop, listener, busy):
    """asyncio raises a TimeoutError in its place."""
    if impl.name == "asyncio":
        pytest.skip("asyncio loses the exception")
    resolve_to(loop, busy, ("127.0.0.1", 70000), listener.getsockname())
    before = open_fds()
    with pytest.raises(OverflowError):
        run(loop, loop.create_connection(Recorder, "name.invalid", 1, happy_eyeballs_delay=0.01))
    assert open_fds() == before


# The order of addresses.


@pytest.fixture
def families():
    """Four addresses where nobody listens: two of IPv6, then two of IPv4."""
    with contextlib.ExitStack() as stack:
        addresses = []
        for _ in range(2):
            sock = stack.enter_context(socket.socket(socket.AF_INET6))
            sock.bind(("::1", 0))
            addresses.append(sock.getsockname())
        yield addresses + stack.enter_context(refusing(2))


@needs_ipv6
@pytest.mark.parametrize("delay", [None, 0, FOREVER])
@pytest.mark.parametrize(
    "interleave, order",
    [(0, [0, 1, 2, 3]), (1, [0, 2, 1, 3]), (2, [0, 1, 2, 3]), (3, [0, 1, 2, 3])],
)
def test_interleave(loop, families, delay, interleave, order):
    resolve_to(loop, *families)
    assert order_of_attempts(loop, families, delay, interleave=interleave) == order


@needs_ipv6
@pytest.mark.parametrize("delay, order", [(None, [0, 1, 2, 3]), (0, [0, 2, 1, 3])])
def test_happy_eyeballs_interleave_unless_told_otherwise(loop, families, delay, order):
    resolve_to(loop, *families)
    assert order_of_attempts(loop, families, delay) == order


@needs_ipv6
def test_interleave_after_two(loop, families):
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        addresses = [*families[:2], sock.getsockname(), *families[2:]]
        resolve_to(loop, *addresses)
        assert order_of_attempts(loop, addresses, interleave=2) == [0, 1, 3, 2, 4]
