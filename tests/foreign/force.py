"""Makes the loop under test the loop that asyncio makes, and counts what the tests take of it.

The count lives in shared memory, so that a loop made in a forked child is seen too; for suites that start
processes of other kinds there is a ledger.
"""

import asyncio
import importlib
import mmap
import struct

under_test = None  # set by install()


class UnderTest:
    """The loop, Task and Future under test; `used` says how often tests made or asked for one."""

    def __init__(self, name):
        self.module = importlib.import_module(name)
        self.Loop = asyncio.SelectorEventLoop if name == "asyncio" else self.module.Loop
        self.Task, self.Future = self.module.Task, self.module.Future
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


class Ledger:
    """A file that gets a line "PACKAGE TYPE" for each loop made: by whomever, in whichever process."""

    def __init__(self, path):
        self.path = path

    def watch(self, package, base):
        """From now on enter each loop made of `base`, the loop of that package, or of a subclass."""
        original = base.__init__

        def init(loop, *args, **kwargs):
            with open(self.path, "ab", buffering=0) as file:
                file.write(f"{package} {type(loop).__module__}.{type(loop).__qualname__}\n".encode())
            original(loop, *args, **kwargs)

        base.__init__ = init


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


def install(name, ledger=None):
    """Force `name` ("asyncio" or "fastloop") on this process and return its UnderTest, also kept in under_test."""
    global under_test
    under_test = UnderTest(name)
    if ledger is not None:
        Ledger(ledger).watch("asyncio", asyncio.base_events.BaseEventLoop)
        if name != "asyncio":
            Ledger(ledger).watch(name, under_test.Loop)
    policy = asyncio.unix_events._UnixDefaultEventLoopPolicy
    policy._loop_factory = staticmethod(under_test.new_loop)
    stand_in = LoopClassStandIn(under_test)
    asyncio.SelectorEventLoop = stand_in
    if hasattr(asyncio, "EventLoop"):
        asyncio.EventLoop = stand_in
    return under_test
