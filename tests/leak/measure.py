"""Says what grows when a feature is used again and again: measure.py asyncio|fastloop FEATURE

Prints a JSON object, {} when nothing grows. The feature is used in rounds, each twice as long as the one before.
Caches and free lists settle, so one round without growth acquits; a leak grows with the length of the round.
Not a single object or file descriptor more may be there; memory that no object known to the garbage collector
accounts for, and references, may be one more for every ten uses: collecting cycles itself makes that noise.
"""

import asyncio
import collections
import ctypes
import gc
import importlib
import inspect
import json
import logging
import os
import resource
import sys
import warnings

from features import FEATURES, LEAKS

WARM_UP = 100  # uses whose growth does not count
ROUNDS = (100, 200, 400, 800)  # uses


class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd",
                     "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def load_mallinfo():
    """glibc's account of its heap: it sees the C code's own allocations, which Python's count does not."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is not None:
        mallinfo.restype = Mallinfo2
    return mallinfo


mallinfo = load_mallinfo()


def heap_bytes():
    if mallinfo is None:
        return 0
    info = mallinfo()
    return info.uordblks + info.hblkhd


NOISY = {
    "blocks of Python's allocator": sys.getallocatedblocks,
    "bytes of the C heap": heap_bytes,
    "references": getattr(sys, "gettotalrefcount", int),  # 0 unless this is a debug build
}
COUNTERS = {**NOISY, "file descriptors": lambda: len(os.listdir("/proc/self/fd"))}


class Census:
    """Counts of everything, at the last `take`. Taking it again needs no memory that it did not have before."""

    def __init__(self):
        self.types = collections.Counter()
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.take()

    def take(self):
        sys._clear_type_cache()  # it keeps the names that C code makes anew for each look-up of an attribute
        for _ in range(3):
            gc.collect()
        self.types.clear()
        for kind in map(type, gc.get_objects()):
            self.types[kind] += 1
        for name, count in COUNTERS.items():
            self.counts[name] = count()

    def growth_since(self, before, uses):
        growth = {name: count - before.counts[name] for name, count in self.counts.items()}
        for kind, count in self.types.items():
            growth[f"objects of {kind.__module__}.{kind.__qualname__}"] = count - before.types[kind]
        return {name: more for name, more in growth.items() if more > (uses // 10 if name in NOISY else 0)}


class Environment:
    """What features use: the implementation under test, subclasses of its classes, and one loop for all."""

    def __init__(self, name):
        module = importlib.import_module(name)
        self.Loop = asyncio.SelectorEventLoop if name == "asyncio" else module.Loop
        self.new_event_loop = self.Loop if name == "asyncio" else module.new_event_loop
        self.Future, self.Task, self.run = module.Future, module.Task, module.run
        self.FutureSubclass = type("FutureSubclass", (self.Future,), {})
        self.TaskSubclass = type("TaskSubclass", (self.Task,), {})
        self.LoopSubclass = type("LoopSubclass", (self.Loop,), {"call_soon": call_soon_of_subclass})
        self.loop = self.new_event_loop()


def call_soon_of_subclass(self, callback, *args, context=None):
    return super(type(self), self).call_soon(callback, *args, context=context)


def use(feature, env, times):
    asynchronous = inspect.iscoroutinefunction(feature)
    for _ in range(times):
        if asynchronous:
            env.loop.run_until_complete(feature(env))
        else:
            feature(env)


def measure(feature, env):
    """Growth in the longest round; empty as soon as there was a round without any."""
    use(feature, env, WARM_UP)
    before, after = Census(), Census()
    for uses in ROUNDS:
        before.take()
        use(feature, env, uses)
        after.take()
        growth = after.growth_since(before, uses)
        if not growth:
            break
    return growth


def main():
    # A leak of descriptors is to be measured, not to end in EMFILE.
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    warnings.simplefilter("ignore")
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    logging.getLogger("asyncio").propagate = False
    env = Environment(sys.argv[1])
    print(json.dumps(measure((FEATURES | LEAKS)[sys.argv[2]], env)))
    env.loop.close()


if __name__ == "__main__":
    main()
