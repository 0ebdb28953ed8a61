"""Signal handlers of the loop, Python's own handlers, and the wakeup descriptor."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest


@pytest.fixture(autouse=True)
def unchanged_signals():
    """No test may leave a handler or a wakeup descriptor behind."""
    watched = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGTERM)
    before = [signal.getsignal(number) for number in watched]
    yield
    after = [signal.getsignal(number) for number in watched]
    for number, handler in zip(watched, before, strict=True):
        signal.signal(number, handler)
    assert signal.set_wakeup_fd(-1) == -1
    assert after == before


def test_handler_is_called_in_the_loop(loop):
    seen = []

    def handler(*args):
        seen.append((args, asyncio.get_running_loop() is loop, asyncio.current_task()))
        loop.stop()

    assert loop.add_signal_handler(signal.SIGUSR1, handler, 1, 2) is None
    loop.call_soon(signal.raise_signal, signal.SIGUSR1)
    loop.run_forever()
    assert seen == [((1, 2), True, None)]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_signal_wakes_a_loop_that_waits(loop):
    """The loop has no timer: without the wake-up it would wait for ever."""
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    killer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    killer.start()
    loop.run_forever()
    killer.join()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_signal_before_the_loop_runs(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    signal.raise_signal(signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_several_signals(loop):
    seen = []
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        loop.add_signal_handler(number, seen.append, number)
        loop.call_soon(signal.raise_signal, number)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert seen == [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM]
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        assert loop.remove_signal_handler(number) is True


def test_replacing_a_handler(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "old")
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "new")
    loop.call_soon(signal.raise_signal, signal.SIGUSR1)
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    assert seen == ["new"]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_handler_removed_before_the_loop_sees_the_signal(loop, turn):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "called")
    signal.raise_signal(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGUSR1)
    turn()
    assert seen == []


def test_error_of_a_handler_is_reported(loop, reported):
    loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
    loop.call_soon(signal.raise_signal, signal.SIGUSR1)
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    [context] = reported
    assert type(context["exception"]) is ZeroDivisionError


def test_exit_exception_of_a_handler(loop):
    def leave():
        raise SystemExit(7)

    loop.add_signal_handler(signal.SIGUSR1, leave)
    loop.call_soon(signal.raise_signal, signal.SIGUSR1)
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_sigint_handler(loop):
    seen = []

    def handler():
        seen.append("interrupted")
        loop.stop()

    loop.add_signal_handler(signal.SIGINT, handler)
    loop.call_soon(signal.raise_signal, signal.SIGINT)
    loop.run_forever()
    assert seen == ["interrupted"]
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sigchld_handler(loop):
    """A handler for SIGCHLD is like any other, and the child can still be waited for."""
    seen = []

    def handler():
        seen.append("child")
        loop.stop()

    loop.add_signal_handler(signal.SIGCHLD, handler)
    with subprocess.Popen([sys.executable, "-Sc", "raise SystemExit(3)"]) as child:
        loop.run_forever()
        assert seen == ["child"] and child.wait(10) == 3
    loop.remove_signal_handler(signal.SIGCHLD)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_signal_that_cannot_be_caught(loop, number):
    with pytest.raises(RuntimeError, match=f"^sig {int(number)} cannot be caught$"):
        loop.add_signal_handler(number, print)
    assert loop.remove_signal_handler(number) is False


@pytest.mark.parametrize("number", [0, -1, 32, signal.NSIG, 1000])
def test_number_that_is_no_signal(loop, number):
    for call in (lambda: loop.add_signal_handler(number, print), lambda: loop.remove_signal_handler(number)):
        with pytest.raises(ValueError, match=f"^invalid signal number {int(number)}$"):
            call()


@pytest.mark.parametrize("number", ["text", None, 1.0, object], ids=repr)
def test_signal_of_the_wrong_type(loop, number):
    for call in (lambda: loop.add_signal_handler(number, print), lambda: loop.remove_signal_handler(number)):
        with pytest.raises(TypeError) as raised:
            call()
        assert str(raised.value) == f"sig must be an int, not {number!r}"


def test_coroutine_as_handler(loop):
    async def coroutine_function():
        pass

    coro = coroutine_function()
    for value in (coroutine_function, coro):
        with pytest.raises(TypeError, match=r"^coroutines cannot be used with add_signal_handler\(\)$"):
            loop.add_signal_handler(signal.SIGUSR1, value)
    coro.close()


def test_non_callable_is_reported_when_called(loop, reported):
    loop.add_signal_handler(signal.SIGUSR1, 5)
    loop.call_soon(signal.raise_signal, signal.SIGUSR1)
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert str(reported[0]["exception"]) == "'int' object is not callable"


def test_add_outside_the_main_thread(impl):
    errors = []

    def run():
        loop = impl.new_event_loop()
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except RuntimeError as error:
            errors.append(str(error))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == ["set_wakeup_fd only works in main thread of the main interpreter"]


def test_loop_in_another_thread_leaves_the_signals_alone(impl):
    def run():
        loop = impl.new_event_loop()
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert signal.set_wakeup_fd(-1) == -1


def test_close_removes_the_handlers(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGINT, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_plain_handler_runs_while_the_loop_waits(loop):
    """A handler of signal.signal() needs no help of the loop, even while the loop waits for nothing else."""
    before = signal.signal(signal.SIGUSR1, lambda number, frame: loop.call_soon_threadsafe(loop.stop))
    killer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    killer.start()
    loop.run_forever()
    killer.join()
    signal.signal(signal.SIGUSR1, before)


def test_plain_handler_that_stops_the_loop(loop):
    loop.call_later(0.05, loop.call_soon, print)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: loop.stop())
    killer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
    killer.start()
    loop.run_forever()
    killer.join()
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "busy"])
def test_plain_handler_that_raises(loop, busy):
    class Raised(Exception):
        pass

    def handler(number, frame):
        raise Raised

    def spin():
        loop.call_soon(spin)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    reported = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]) or loop.stop())
    if busy:
        loop.call_soon(spin)
    escaped = []
    try:
        loop.run_forever()
    except Raised as error:
        escaped.append(error)
    signal.signal(signal.SIGALRM, before)
    # Where the signal strikes decides: inside a callback it is reported, elsewhere it leaves the loop.
    assert [type(error) for error in escaped + reported] == [Raised]


def test_interrupted_waits_go_on(loop):
    """Signals interrupt the loop's waiting again and again; nothing fires early, and nothing is lost."""
    strikes = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: strikes.append(number))
    left, right = socket.socketpair()
    left.setblocking(False)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        started = loop.time()
        loop.call_later(0.03, right.send, b"late")
        assert loop.run_until_complete(loop.sock_recv(left, 10)) == b"late"
        assert loop.time() - started >= 0.03 and len(strikes) > 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        left.close()
        right.close()


@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "busy"])
def test_keyboard_interrupt(loop, turn, busy):
    def spin():
        loop.call_soon(spin)

    if busy:
        loop.call_soon(spin)
    killer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    killer.join()
    assert not loop.is_running()
    turn()


def test_wakeup_descriptor_is_only_set_while_needed(loop):
    loop.run_until_complete(asyncio.sleep(0))
    assert signal.set_wakeup_fd(-1) == -1
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    loop.remove_signal_handler(signal.SIGUSR1)
    descriptor = signal.set_wakeup_fd(-1)
    assert descriptor >= 0
    signal.set_wakeup_fd(descriptor)
    loop.remove_signal_handler(signal.SIGUSR2)
    assert signal.set_wakeup_fd(-1) == -1


def test_burst_of_signals(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)

    def burst():
        for _ in range(100):
            signal.raise_signal(signal.SIGUSR1)

    loop.call_soon(burst)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert 1 <= len(seen) <= 100
