"""Makes the loop under test the loop that asyncio makes, and counts what the tests take of it.

The count lives in shared memory, so that a loop made in a forked child is seen too.
"""

import asyncio
import importlib
import mmap
import struct


class UnderTest:
    """The loop, Task and Future under test; `used` says how often tests made or asked for one."""

    def __init__(self, name):
        if name == "asyncio":
            self.Loop, self.Task, self.Future = asyncio.SelectorEventLoop, asyncio.Task, asyncio.Future
        else:
            module = importlib.import_module(name)
            self.Loop, self.Task, self.Future = module.Loop, module.Task, module.Future
        self._shared = mmap.mmap(-1, 8)

    @property
    def used(self):
        return struct.unpack_from("q", self._shared)[0]

    def count(self):
        struct.pack_into("q", self._shared, 0, self.used + 1)

    def new_loop(self, *selector, **ignored):
        """Stand-in for asyncio's loop classes: a selector given to it has no meaning here."""
        for one in selector:
            if one is not None:
                one.close()
        self.count()
        return self.Loop()


class Counted:
    """Class attribute that counts each look at it: a test case's Task or Future under test."""

    def __init__(self, under_test, value):
        self.under_test = under_test
        self.value = value

    def __get__(self, instance, owner):
        self.under_test.count()
        return self.value


class LoopClassStandIn:
    """What test code sees as asyncio.SelectorEventLoop and asyncio.EventLoop."""

    def __init__(self, under_test):
        self._under_test = under_test

    def __call__(self, *args, **kwargs):
        return self._under_test.new_loop(*args, **kwargs)

    def __mro_entries__(self, bases):
        return (self._under_test.Loop,)

    def __instancecheck__(self, obj):
        return isinstance(obj, self._under_test.Loop)

    def __getattr__(self, name):
        return getattr(self._under_test.Loop, name)


def install(name):
    """Force `name` ("asyncio" or "fastloop") on this process and return its UnderTest."""
    under_test = UnderTest(name)
    policy = asyncio.unix_events._UnixDefaultEventLoopPolicy
    policy._loop_factory = staticmethod(under_test.new_loop)
    stand_in = LoopClassStandIn(under_test)
    asyncio.SelectorEventLoop = stand_in
    if hasattr(asyncio, "EventLoop"):
        asyncio.EventLoop = stand_in
    return under_test
