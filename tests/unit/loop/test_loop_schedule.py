"""call_soon(), call_later(), call_at(): order, contexts, arguments and bad input."""

import asyncio
import contextvars
import sys
import time
import weakref

import pytest


def stop_later(loop, delay):
    loop.call_later(delay, loop.stop)
    loop.run_forever()


def test_call_soon_is_first_in_first_out(loop, turn):
    order = []
    for index in range(1000):
        loop.call_soon(order.append, index)
    turn()
    assert order == list(range(1000))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 20])
def test_arguments(loop, turn, count):
    seen = []
    arguments = tuple(range(count))
    loop.call_soon(lambda *args: seen.append(args), *arguments)
    loop.call_later(0, lambda *args: seen.append(args), *arguments)
    loop.call_soon_threadsafe(lambda *args: seen.append(args), *arguments)
    turn()
    assert seen == [arguments] * 3


def test_callback_scheduled_by_a_callback_runs_in_the_next_turn(loop, turn):
    order = []
    loop.call_soon(lambda: loop.call_soon(order.append, "inner"))
    loop.call_soon(order.append, "outer")
    turn()
    assert order == ["outer"]
    turn()
    assert order == ["outer", "inner"]


def test_due_timers_come_after_ready_callbacks(loop, turn):
    order = []
    loop.call_later(0, order.append, "timer")
    loop.call_soon(order.append, "ready")
    turn()
    assert order == ["ready", "timer"]


def test_negative_delay_is_due_at_once(loop, turn):
    order = []
    loop.call_later(-1, order.append, "negative")
    loop.call_at(-1e9, order.append, "long ago")
    loop.call_later(-float("inf"), order.append, "infinitely long ago")
    turn()
    assert order == ["infinitely long ago", "long ago", "negative"]


def test_infinite_delay_never_fires(loop):
    order = []
    loop.call_later(float("inf"), order.append, "never")
    loop.call_at(float("inf"), order.append, "never")
    loop.call_later(1e300, order.append, "never")
    stop_later(loop, 0.002)
    assert order == []


def test_timers_fire_by_deadline(loop):
    order = []
    now = loop.time()
    for delay in (5, 1, 4, 2, 3):
        loop.call_at(now + delay / 1000, order.append, delay)
    loop.call_at(now + 6 / 1000, loop.stop)
    loop.run_forever()
    assert order == [1, 2, 3, 4, 5]


def test_timer_never_fires_early(loop):
    late = []
    slack = time.get_clock_info("monotonic").resolution
    for delay in (0.0001, 0.0004, 0.001, 0.0015, 0.003):
        when = loop.time() + delay
        loop.call_at(when, lambda when=when: late.append(loop.time() - when))
    stop_later(loop, 0.005)
    assert len(late) == 5 and min(late) >= -slack


def test_timers_of_equal_deadline_fire_as_scheduled():
    import fastloop

    loop = fastloop.new_event_loop()
    order = []
    when = loop.time() + 0.001
    for index in range(100):
        loop.call_at(when, order.append, index)
    loop.call_at(when, loop.stop)
    loop.run_forever()
    loop.close()
    assert order == list(range(100))


def test_timer_scheduled_by_a_timer(loop):
    order = []

    def first():
        order.append("first")
        loop.call_later(0, order.append, "second")
        loop.call_later(0.001, loop.stop)

    loop.call_later(0.001, first)
    loop.run_forever()
    assert order == ["first", "second"]


def test_due_timer_scheduled_in_a_turn_waits_for_the_next(loop, turn):
    order = []
    loop.call_soon(loop.call_later, 0, order.append, "timer")
    turn()
    assert order == []
    turn()
    assert order == ["timer"]


def test_cancelled_timers_do_not_fire(loop):
    order = []
    handles = [loop.call_later(0.001, order.append, index) for index in range(500)]
    for handle in handles[1::2]:
        handle.cancel()
    stop_later(loop, 0.003)
    assert sorted(order) == list(range(0, 500, 2))


def test_timer_cancelled_in_the_turn_it_is_due(loop, turn):
    order = []
    timer = loop.call_later(0, order.append, "timer")
    loop.call_soon(timer.cancel)
    turn()
    turn()
    assert order == []


def test_many_timers_cancelled(loop):
    """Far more cancelled timers than live ones: they are purged, and the live ones keep their order."""
    order = []
    now = loop.time()
    live = []
    for index in range(5000):
        handle = loop.call_at(now + 1000 + index, print)
        if index % 100:
            handle.cancel()
        else:
            live.append(handle)
    for index in (3, 1, 2):
        loop.call_at(now + index / 1000, order.append, index)
    stop_later(loop, 0.005)
    assert order == [1, 2, 3]
    assert not any(handle.cancelled() for handle in live)


def test_call_later_returns_its_deadline(loop):
    before = loop.time()
    handle = loop.call_later(10, print)
    assert before + 10 <= handle.when() <= loop.time() + 10
    assert loop.call_at(1234.5, print).when() == 1234.5


@pytest.mark.parametrize("schedule", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_context(loop, turn, schedule):
    variable = contextvars.ContextVar("variable", default="unset")
    context = contextvars.copy_context()
    context.run(variable.set, "given")
    when = {"call_later": (0,), "call_at": (0,)}.get(schedule, ())
    seen = []

    def callback():
        seen.append(variable.get())
        variable.set("changed by the callback")

    variable.set("at scheduling")
    getattr(loop, schedule)(*when, callback)
    getattr(loop, schedule)(*when, callback, context=context)
    variable.set("after scheduling")
    turn()
    assert sorted(seen) == ["at scheduling", "given"]
    assert context[variable] == "changed by the callback" and variable.get() == "after scheduling"


def test_context_none_means_a_copy(loop, turn):
    variable = contextvars.ContextVar("variable")
    variable.set("copied")
    seen = []
    loop.call_soon(lambda: seen.append(variable.get()), context=None)
    turn()
    assert seen == ["copied"]


def test_context_that_is_already_entered(loop, turn, reported):
    context = contextvars.copy_context()
    loop.call_soon(lambda: loop.call_soon(context.run, turn_inside, context=context), context=context)

    def turn_inside():
        raise AssertionError("entered twice")

    turn()
    turn()
    [error] = [context["exception"] for context in reported]
    assert type(error) is RuntimeError and "is already entered" in str(error)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda loop: loop.call_later(None, print), "delay must not be None"),
        (lambda loop: loop.call_at(None, print), "when cannot be None"),
    ],
    ids=["call_later", "call_at"],
)
def test_no_time(loop, call, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        call(loop)


@pytest.mark.parametrize("delay", ["text", 1j, object(), []], ids=repr)
def test_delay_that_is_no_number(loop, delay):
    """asyncio finds some of these out only when it compares deadlines."""
    loop.call_later(3600, print)
    with pytest.raises(TypeError):
        loop.call_later(delay, print)


@pytest.mark.parametrize("when", ["text", 1j, object(), []], ids=repr)
def test_deadline_that_is_no_number(loop, when):
    loop.call_later(3600, print)
    with pytest.raises(TypeError):
        loop.call_at(when, print)


def test_delay_too_large_for_a_float(loop):
    with pytest.raises(OverflowError, match="^int too large to convert to float$"):
        loop.call_later(10**400, print)


@pytest.mark.parametrize("schedule", ["call_later", "call_at"])
def test_nan(impl, loop, schedule):
    """A NaN is a ValueError, at once or at the latest when the loop polls; it never waits for ever."""
    if impl.name == "asyncio" and sys.version_info < (3, 13):
        pytest.skip("asyncio before Python 3.13 takes a NaN for zero")
    with pytest.raises(ValueError, match="NaN"):
        getattr(loop, schedule)(float("nan"), print)
        loop.run_forever()


def test_delay_of_other_numeric_types(loop, turn):
    from fractions import Fraction

    class Real:
        def __float__(self):
            return 0.0

        def __radd__(self, other):
            return other

    order = []
    loop.call_later(True - 1, order.append, "bool")
    loop.call_later(Fraction(-1, 2), order.append, "fraction")
    loop.call_later(Real(), order.append, "real")
    turn()
    assert sorted(order) == ["bool", "fraction", "real"]


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.call_soon(),
        lambda loop: loop.call_soon_threadsafe(),
        lambda loop: loop.call_later(),
        lambda loop: loop.call_later(0),
        lambda loop: loop.call_at(0),
        lambda loop: loop.call_soon(print, nonsense=1),
        lambda loop: loop.call_later(0, print, nonsense=1),
    ],
)
def test_wrong_arguments(loop, call):
    with pytest.raises(TypeError, match="missing|required|unexpected keyword|takes"):
        call(loop)


def test_callback_as_keyword(loop, turn):
    order = []
    loop.call_soon(callback=lambda: order.append("soon"))
    loop.call_later(delay=0, callback=lambda: order.append("later"))
    loop.call_at(when=0, callback=lambda: order.append("at"))
    loop.call_soon_threadsafe(callback=lambda: order.append("threadsafe"))
    turn()
    assert sorted(order) == ["at", "later", "soon", "threadsafe"]


@pytest.mark.parametrize("value", [5, None, "text"])
def test_non_callable_is_reported_when_called(loop, turn, reported, value):
    loop.call_soon(value)
    loop.call_later(0, value)
    turn()
    message = f"'{type(value).__name__}' object is not callable"
    assert [str(context["exception"]) for context in reported] == [message] * 2


SCHEDULE = {
    "call_soon": lambda loop, callback: loop.call_soon(callback),
    "call_soon_threadsafe": lambda loop, callback: loop.call_soon_threadsafe(callback),
    "call_at": lambda loop, callback: loop.call_at(0, callback),
    "call_later": lambda loop, callback: loop.call_later(0, callback),
}


@pytest.mark.parametrize("name", SCHEDULE)
def test_non_callable_in_debug_mode(loop, name):
    loop.set_debug(True)
    shown = "call_at" if name == "call_later" else name
    with pytest.raises(TypeError, match=rf"^a callable object was expected by {shown}\(\), got 5$"):
        SCHEDULE[name](loop, 5)


@pytest.mark.parametrize("name", SCHEDULE)
def test_coroutine_as_callback_in_debug_mode(loop, name):
    async def coroutine_function():
        pass

    loop.set_debug(True)
    shown = "call_at" if name == "call_later" else name
    coro = coroutine_function()
    for value in (coroutine_function, coro):
        with pytest.raises(TypeError, match=rf"^coroutines cannot be used with {shown}\(\)$"):
            SCHEDULE[name](loop, value)
    coro.close()


def test_arguments_are_released_after_the_call(loop, turn):
    class Argument:
        pass

    argument = Argument()
    reference = weakref.ref(argument)
    handle = loop.call_soon(lambda _: None, argument)
    del argument
    turn()
    assert not handle.cancelled()
    del handle
    assert reference() is None


def test_sleep_of_zero_and_less_yields_once(loop):
    order = []

    async def main():
        for delay in (0, -1, 0.0):
            loop.call_soon(order.append, delay)
            await asyncio.sleep(delay)
            order.append("woken")

    loop.run_until_complete(main())
    assert order == [0, "woken", -1, "woken", 0.0, "woken"]


def test_busy_loop_still_sees_its_timers(loop):
    fired = []
    loop.call_later(0.002, fired.append, True)

    def spin():
        if not fired:
            loop.call_soon(spin)
        else:
            loop.stop()

    loop.call_soon(spin)
    loop.run_forever()
    assert fired


def test_deadline_of_call_later_under_a_clock_of_ones_own(impl):
    """A subclass may set the clock: deadlines are counted from its time()."""

    class Shifted(impl.Loop):
        def time(self):
            return super().time() - 1000

    loop = Shifted()
    handle = loop.call_later(5, print)
    assert handle.when() - loop.time() == pytest.approx(5, abs=0.5)
    assert loop.run_until_complete(asyncio.sleep(0.001, "fired")) == "fired"
    loop.close()


def test_clock_that_is_ahead(impl):
    """Deadlines of a clock that is ahead of the kernel's are still reached."""

    class Ahead(impl.Loop):
        def time(self):
            return super().time() + 1000

    loop = Ahead()
    loop.call_later(20, loop.stop).cancel()
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    loop.close()


@pytest.mark.skipif(sys.flags.optimize > 0, reason="the callback is an assert")
def test_failing_assertion_is_reported(loop, turn, reported):
    def callback():
        assert not loop.is_running(), "running"

    loop.call_soon(callback)
    turn()
    [context] = reported
    assert type(context["exception"]) is AssertionError
