"""run() and asyncio.Runner: starting, finishing, cleaning up, and Ctrl-C."""

import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
import time
import unittest

import pytest


@pytest.fixture
def runner(impl):
    with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
        yield runner


async def value(result=None):
    return result


def test_run_returns_the_result(impl):
    assert impl.run(value(5)) == 5


def test_run_raises_the_exception(impl):
    async def main():
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        impl.run(main())


def test_run_uses_a_loop_of_its_own_and_closes_it(impl):
    async def main():
        return asyncio.get_running_loop(), asyncio.get_event_loop()

    first, also_first = impl.run(main())
    second, _ = impl.run(main())
    assert first is also_first and first is not second
    assert first.is_closed() and second.is_closed()
    if impl.name != "asyncio":
        assert isinstance(first, impl.Loop)


@pytest.mark.parametrize("debug, expected", [(True, True), (False, False), (None, False)])
def test_run_sets_debug(impl, debug, expected):
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert impl.run(main(), debug=debug) is expected


def test_run_with_a_loop_factory(impl):
    if impl.name == "asyncio" and sys.version_info < (3, 12):
        pytest.skip("asyncio.run() takes loop_factory since Python 3.12")

    class Special(impl.Loop):
        pass

    async def main():
        return type(asyncio.get_running_loop())

    assert impl.run(main(), loop_factory=Special) is Special


def test_run_inside_a_running_loop(impl):
    coro = value()

    async def main():
        with pytest.raises(RuntimeError, match=r"run\(\) cannot be called from a running event loop$"):
            impl.run(coro)
        coro.close()
        return asyncio.current_task() is not None

    assert impl.run(main())


@pytest.mark.parametrize("argument", [5, None, value, "text"], ids=["int", "None", "function", "str"])
def test_run_of_what_cannot_be_awaited(impl, argument):
    error = TypeError if sys.version_info >= (3, 14) else ValueError
    with pytest.raises(error, match="coroutine"):
        impl.run(argument)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="run() takes any awaitable since Python 3.14")
def test_run_of_an_awaitable(impl):
    class Awaitable:
        def __await__(self):
            yield
            return "awaited"

    assert impl.run(Awaitable()) == "awaited"


def test_run_positional_and_unknown_arguments(impl):
    for call in (lambda coro: impl.run(coro, True), lambda coro: impl.run(coro, nonsense=1)):
        coro = value()
        with pytest.raises(TypeError):
            call(coro)
        coro.close()


def test_run_cancels_what_is_left(impl):
    log = []

    async def straggler():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    async def main():
        asyncio.get_running_loop().straggler = asyncio.create_task(straggler())
        await asyncio.sleep(0)

    impl.run(main())
    assert log == ["cancelled"]


def test_run_reports_stragglers_that_fail(impl):
    reported = []

    async def straggler():
        try:
            await asyncio.sleep(3600)
        finally:
            raise LookupError("late")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        loop.straggler = asyncio.create_task(straggler())
        await asyncio.sleep(0)

    impl.run(main())
    [context] = reported
    assert context["message"] == "unhandled exception during asyncio.run() shutdown"
    assert type(context["exception"]) is LookupError


def test_run_closes_asyncgens_and_executor(impl):
    log = []

    async def numbers():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            log.append("generator closed")

    async def main():
        asyncio.get_running_loop().kept = numbers()
        await anext(asyncio.get_running_loop().kept)
        return await asyncio.to_thread(threading.current_thread)

    thread = impl.run(main())
    assert log == ["generator closed"] and not thread.is_alive()


def test_runner_keeps_loop_and_context(runner):
    variable = contextvars.ContextVar("variable", default=0)

    async def main():
        variable.set(variable.get() + 1)
        return asyncio.get_running_loop(), variable.get()

    first_loop, first = runner.run(main())
    second_loop, second = runner.run(main())
    assert first_loop is second_loop is runner.get_loop()
    assert (first, second) == (1, 2) and variable.get() == 0


def test_runner_with_a_context(runner):
    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 7)

    async def main():
        return variable.get()

    assert runner.run(main(), context=context) == 7


def test_runner_after_close(impl):
    runner = asyncio.Runner(loop_factory=impl.new_event_loop)
    runner.run(value())
    runner.close()
    with pytest.raises(RuntimeError, match="^Runner is closed$"):
        runner.get_loop()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="unittest takes loop_factory since Python 3.13")
def test_isolated_test_case(impl):
    """unittest's test case runs its loop in debug mode, through a runner of its own."""
    seen = []

    class Case(unittest.IsolatedAsyncioTestCase):
        loop_factory = staticmethod(impl.new_event_loop)

        async def asyncSetUp(self):
            seen.append("set up")

        async def test(self):
            self.addAsyncCleanup(asyncio.sleep, 0)
            await asyncio.sleep(0)
            seen.append(type(asyncio.get_running_loop()))

    result = unittest.TestResult()
    Case("test").run(result)
    assert not result.errors and not result.failures
    assert seen[0] == "set up" and issubclass(seen[1], impl.Loop)


def test_keyboard_interrupt_in_the_main_task(impl):
    async def main():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        impl.run(main())


def test_interrupt_cancels_the_main_task_once(impl):
    log = []

    async def main():
        asyncio.get_running_loop().call_later(0.005, signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            log.append(asyncio.current_task().cancelling())
            raise

    with pytest.raises(KeyboardInterrupt):
        impl.run(main())
    assert log == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupt_that_the_main_task_survives(impl):
    async def main():
        asyncio.get_running_loop().call_later(0.005, signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "survived"

    assert impl.run(main()) == "survived"


PROGRAM = """
async def main():
    try:
        print("ready", flush=True)
        BODY
    finally:
        print("cleaned up", flush=True)

try:
    run(main())
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""

IMPORTS = {
    "asyncio": "import asyncio, sys\nfrom asyncio import run\n",
    "fastloop": "import asyncio, sys\nfrom fastloop import run\n",
}

BODIES = {
    "waiting": "await asyncio.Event().wait()",
    "sleeping": "await asyncio.sleep(3600)",
    "busy": "while True: await asyncio.sleep(0)",
    "selfish": "while True: pass",
    "stubborn": """try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("ready", flush=True)
        await asyncio.Event().wait()""",
}


@pytest.mark.parametrize("body", BODIES)
def test_ctrl_c(impl, body):
    """One Ctrl-C ends a task that can be cancelled; one that cannot takes a second."""
    program = IMPORTS[impl.name] + PROGRAM.replace("BODY", BODIES[body])
    times = 2 if body in ("selfish", "stubborn") else 1
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    killer = threading.Timer(30, process.kill)
    killer.start()
    with process:
        for index in range(times):
            if index == 0 or body == "stubborn":
                assert process.stdout.readline() == "ready\n"
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "cleaned up\nKeyboardInterrupt\n"
    killer.cancel()
    assert process.returncode == 0
