"""Fixtures shared by all tests: one implementation after the other, and a fresh loop of it."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Implementation:
    """An event loop package under test: asyncio, which pins a behaviour, or fastloop, which must match it."""

    name: str
    new_event_loop: Callable[[], asyncio.AbstractEventLoop]
    Loop: type
    Future: type
    Task: type
    run: Callable


def implementation(name: str) -> Implementation:
    if name == "asyncio":
        loop_type = asyncio.SelectorEventLoop
        return Implementation(name, loop_type, loop_type, asyncio.Future, asyncio.Task, asyncio.run)
    # Imported late, so that the tests of other implementations and of other folders run without a build.
    import fastloop

    return Implementation(
        name, fastloop.new_event_loop, fastloop.Loop, fastloop.Future, fastloop.Task, fastloop.run
    )


@pytest.fixture(params=["asyncio", "fastloop"])
def impl(request):
    """The implementation under test. `pytest -k asyncio` selects the tests that need no build of fastloop."""
    return implementation(request.param)


@pytest.fixture
def loop(impl):
    """A fresh loop of `impl`, closed afterwards; no event loop policy is involved."""
    loop = impl.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def turn(loop):
    """A function that runs exactly one turn of `loop`: one poll, then what was ready."""

    def run_one_turn():
        loop.stop()
        loop.run_forever()

    return run_one_turn


@pytest.fixture
def reported(loop):
    """The list of contexts that `loop` has given to its exception handler."""
    contexts = []
    loop.set_exception_handler(lambda _loop, context: contexts.append(context))
    return contexts


@pytest.fixture
def run_script(impl):
    """A function that runs Python source in a fresh process, where `new_event_loop` is that of `impl`."""

    def run(source: str, **options) -> subprocess.CompletedProcess:
        factory = {
            "asyncio": "from asyncio import SelectorEventLoop as new_event_loop",
            "fastloop": "from fastloop import new_event_loop",
        }
        program = f"import asyncio\n{factory[impl.name]}\n{source}"
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run([sys.executable, "-c", program], check=False, **options)

    return run
