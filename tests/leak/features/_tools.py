"""What features are made of: registration, small callbacks and coroutines, sockets, loops."""

import asyncio
import contextlib
import socket
import sys

FEATURES = {}


def feature(function=None, *, since=(3, 11)):
    """Decorator: registers the function as a feature, on Pythons of this version and later."""

    def register(function):
        if sys.version_info >= since:
            FEATURES[function.__name__] = function
        return function

    return register(function) if function else register


class Oops(Exception):
    """What failing callbacks, coroutines and futures raise here."""


def nothing(*args):
    pass


def fail(*args):
    raise Oops(args)


async def value(result=None):
    await asyncio.sleep(0)
    return result


async def failing():
    await asyncio.sleep(0)
    raise Oops


async def await_(awaitable):
    return await awaitable


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def cancelled(awaitable):
    """Cancel it once it waits, and see it end so."""
    task = asyncio.ensure_future(awaitable)
    await turns()
    task.cancel("enough")
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


def run_one_turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


@contextlib.contextmanager
def socket_pair():
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


@contextlib.contextmanager
def datagram_pair():
    with socket.socket(type=socket.SOCK_DGRAM) as left, socket.socket(type=socket.SOCK_DGRAM) as right:
        for sock in (left, right):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        yield left, right


@contextlib.contextmanager
def listener():
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


@contextlib.contextmanager
def fresh_loop(env, new=None):
    loop = (new or env.new_event_loop)()
    try:
        yield loop
    finally:
        loop.close()
