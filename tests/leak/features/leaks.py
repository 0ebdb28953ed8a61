"""Leaks on purpose, which must be found."""

import os

LEAKS = {}
_kept = []


def leak(function):
    LEAKS[function.__name__] = function


@leak
def leak_of_objects(env):
    _kept.append(env.loop.create_future())


@leak
def leak_of_blocks(env):
    _kept.append(env.loop.time())  # a float: the garbage collector does not know it


@leak
def leak_of_heap(env):
    _kept.append(bytes(1000))  # too large for Python's allocator


@leak
def leak_of_descriptors(env):
    os.dup(0)


@leak
def leak_of_references(env):
    _kept.append(env)
