"""Handle and TimerHandle: cancelling, describing, comparing, and what they keep alive."""

import asyncio
import contextvars
import gc
import re
import socket
import sys
import weakref

import pytest

KINDS = {
    "call_soon": lambda loop, *args: loop.call_soon(*args),
    "call_soon_threadsafe": lambda loop, *args: loop.call_soon_threadsafe(*args),
    "call_later": lambda loop, *args: loop.call_later(0, *args),
    "call_at": lambda loop, *args: loop.call_at(0, *args),
}


@pytest.fixture(params=KINDS)
def schedule(request):
    return KINDS[request.param]


def named_callback(*args):
    pass


def test_types(loop, schedule):
    handle = schedule(loop, named_callback)
    assert isinstance(handle, asyncio.Handle)
    assert not handle.cancelled()
    handle.cancel()


def test_type_of_timers(loop):
    for timer in (loop.call_later(0, named_callback), loop.call_at(0, named_callback)):
        assert isinstance(timer, asyncio.TimerHandle)
        timer.cancel()
    assert not isinstance(loop.call_soon(named_callback), asyncio.TimerHandle)


def test_cancel(loop, turn, schedule):
    called = []
    handle = schedule(loop, called.append, 1)
    assert handle.cancel() is None
    assert handle.cancelled()
    handle.cancel()
    turn()
    assert called == [] and handle.cancelled()


def test_cancel_after_the_call(loop, turn, schedule):
    called = []
    handle = schedule(loop, called.append, 1)
    turn()
    assert called == [1] and not handle.cancelled()
    handle.cancel()
    assert handle.cancelled()
    turn()
    assert called == [1]


def test_cancel_from_the_callback_itself(loop, turn, schedule):
    handles = []
    handles.append(schedule(loop, lambda: handles[0].cancel()))
    turn()
    assert handles[0].cancelled()


def test_cancel_after_close(loop, schedule):
    handle = schedule(loop, named_callback)
    loop.close()
    handle.cancel()
    assert handle.cancelled()


def test_cancel_in_the_same_turn(loop, turn):
    called = []
    loop.call_soon(lambda: victim.cancel())
    victim = loop.call_soon(called.append, 1)
    turn()
    assert called == []


class Argument:
    pass


def test_cancel_releases_callback_and_arguments(loop, schedule):
    argument, callback = Argument(), Argument()
    references = [weakref.ref(argument), weakref.ref(callback)]
    handle = schedule(loop, callback, argument)
    del argument, callback
    assert all(reference() for reference in references)
    handle.cancel()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_queued_handle_keeps_its_arguments(loop, turn, schedule):
    seen = []
    argument = Argument()
    reference = weakref.ref(argument)
    schedule(loop, seen.append, argument)
    del argument
    gc.collect()
    assert reference() is not None
    turn()
    assert seen == [reference()]


def test_weak_references(loop, turn, schedule):
    handle = schedule(loop, named_callback)
    reference = weakref.ref(handle)
    assert reference() is handle
    del handle
    turn()
    gc.collect()
    assert reference() is None


def test_weak_reference_hands_out_a_queued_handle(loop, turn, schedule):
    """Also when it was the only one that was left, and then the handle is kept again."""
    argument = Argument()
    reference, argument_reference = (weakref.ref(kept) for kept in (schedule(loop, bool, argument), argument))
    del argument
    gc.collect()
    kept = reference()
    assert kept is not None
    gc.collect()
    turn()
    assert not kept.cancelled()
    del kept
    gc.collect()
    assert reference() is None and argument_reference() is None


def test_handle_given_up_while_it_runs(loop, turn, schedule):
    handles, seen = [], []

    def give_up(argument):
        reference = weakref.ref(handles.pop())
        gc.collect()
        seen.append(argument)
        references.append(reference)

    references = []
    handles.append(schedule(loop, give_up, "argument"))
    turn()
    gc.collect()
    assert seen == ["argument"] and references[0]() is None


def test_handle_dropped_and_then_given_to_the_exception_handler(loop, turn, reported, schedule):
    """It lets go of its argument when it has run, as one that was kept from the beginning does."""
    argument = Argument()
    reference = weakref.ref(argument)

    def fail(argument):
        raise LookupError

    schedule(loop, fail, argument)
    del argument
    turn()
    handle = reported[0]["handle"]
    reported[0].pop("exception").__traceback__ = None
    gc.collect()
    assert isinstance(handle, asyncio.Handle)
    if "fastloop" in type(loop).__module__:
        assert reference() is None and handle._loop is None


def test_current_handle_kept(loop, turn):
    """In debug mode the loop shows the handle that runs; whoever keeps it keeps no argument, but its description."""
    loop.set_debug(True)
    kept = []
    argument = Argument()
    reference = weakref.ref(argument)
    loop.call_soon(lambda _: kept.append(loop._current_handle), argument)
    del argument
    turn()
    gc.collect()
    assert repr(kept[0]).startswith("<Handle ")
    if "fastloop" in type(loop).__module__:
        assert reference() is None and kept[0]._loop is None


def test_handle_cancelled_by_its_own_destruction(loop, turn):
    """What is dropped when a handle gives up its callback drops the last reference to the handle."""

    class Dropping:
        def __call__(self):
            pass

        def __del__(self):
            handles.clear()

    handles = [loop.call_soon(Dropping())]
    reference = weakref.ref(handles[0])
    turn()
    gc.collect()
    handles.clear()
    gc.collect()
    assert reference() is None


def test_loop_dropped_while_a_reader_is_queued(impl):
    """The callback of add_reader() is in the watch table and in the queue, and in a cycle with the loop."""
    left, right = socket.socketpair()
    loop = impl.new_event_loop()
    reference = weakref.ref(loop)

    def called(loop):
        loop.stop()

    with left, right:
        loop.add_reader(left, called, loop)
        loop.call_soon(loop.stop)
        right.send(b"x")
        loop.run_forever()
        gc.collect()
        assert reference() is loop
        loop.close()
        del loop
        gc.collect()
        assert reference() is None


def test_handle_keeps_its_loop_alive_only_while_it_lives(impl):
    loop = impl.new_event_loop()
    handle = loop.call_soon(named_callback)
    reference = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    handle.cancel()
    del handle
    gc.collect()
    assert reference() is None


def test_cycle_through_a_handle_is_collected(loop):
    argument = Argument()
    argument.handle = loop.call_later(3600, named_callback, argument)
    reference = weakref.ref(argument)
    loop.close()
    del argument
    gc.collect()
    assert reference() is None


def test_when(loop):
    assert loop.call_at(123.25, named_callback).when() == 123.25
    timer = loop.call_later(10, named_callback)
    timer.cancel()
    assert timer.when() > loop.time() + 5
    assert not hasattr(loop.call_soon(named_callback), "when")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Handle.get_context() is new in Python 3.12")
def test_get_context(loop, schedule):
    variable = contextvars.ContextVar("variable")
    variable.set("copied")
    handle = schedule(loop, named_callback)
    assert handle.get_context()[variable] == "copied"
    context = contextvars.copy_context()
    assert loop.call_soon(named_callback, context=context).get_context() is context


def place(function):
    code = function.__code__
    return re.escape(f"{code.co_filename}:{code.co_firstlineno}")


def test_repr(loop, turn):
    at = rf"named_callback\(\) at {place(named_callback)}"
    handle = loop.call_soon(named_callback)
    assert re.fullmatch(rf"<Handle {at}>", repr(handle))
    turn()
    assert re.fullmatch(rf"<Handle {at}>", repr(handle))
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"


def test_repr_of_a_timer(loop):
    at = rf"named_callback\(\) at {place(named_callback)}"
    timer = loop.call_at(123.25, named_callback)
    assert re.fullmatch(rf"<TimerHandle when=123\.25 {at}>", repr(timer))
    timer.cancel()
    assert repr(timer) == "<TimerHandle cancelled when=123.25>"


def test_repr_shows_arguments_in_debug_mode(loop, turn):
    shown = loop.call_soon(named_callback, 1, "secret")
    if sys.version_info >= (3, 13):
        assert "named_callback() at" in repr(shown) and "secret" not in repr(shown)
    else:
        assert "named_callback(1, 'secret') at" in repr(shown)
    loop.set_debug(True)
    assert "named_callback(1, 'secret') at" in repr(loop.call_soon(named_callback, 1, "secret"))


def test_repr_in_debug_mode_outlives_cancel(loop):
    loop.set_debug(True)
    handle = loop.call_soon(named_callback)
    before = repr(handle)
    assert re.search(r" created at .*test_handles\.py:\d+>$", before)
    handle.cancel()
    assert "named_callback() at" in repr(handle) and repr(handle).startswith("<Handle cancelled ")


@pytest.mark.parametrize(
    "callback, shown",
    [
        (len, "len()"),
        ([].append, "list.append()"),
        (lambda: None, "<lambda>()"),
        (Argument, "Argument"),
    ],
    ids=["builtin", "method", "lambda", "class"],
)
def test_repr_of_various_callbacks(loop, callback, shown):
    assert shown in repr(loop.call_soon(callback))


def test_hash_and_identity_of_handles(loop):
    first, second = loop.call_soon(named_callback), loop.call_soon(named_callback)
    assert first != second
    assert len({first, second}) == 2
    with pytest.raises(TypeError, match="^'<' not supported between instances of 'Handle' and 'Handle'$"):
        first < second  # noqa: B015


def test_timers_compare_by_deadline(loop):
    early, late = loop.call_at(10, named_callback), loop.call_at(20, named_callback)
    assert early < late and early <= late and late > early and late >= early
    assert not late < early and not late <= early and not early > late and not early >= late
    assert early != late and sorted([late, early]) == [early, late]


def test_equal_timers(loop):
    first, second = loop.call_at(10, named_callback, 1), loop.call_at(10, named_callback, 1)
    assert first == second
    assert first <= second and first >= second and not first < second and not first > second
    assert hash(first) == hash(second) == hash(10.0)


def test_timers_of_one_deadline_that_differ(loop):
    first = loop.call_at(10, named_callback, 1)
    for other in (loop.call_at(10, named_callback, 2), loop.call_at(10, print, 1)):
        assert first != other
        assert not first < other and not first <= other and not first >= other
    cancelled = loop.call_at(10, named_callback, 1)
    cancelled.cancel()
    assert first != cancelled


@pytest.mark.parametrize("other", [10, None, "text", object()], ids=repr)
def test_timers_and_other_objects(loop, other):
    timer = loop.call_at(10, named_callback)
    assert timer != other
    assert timer.__lt__(other) is NotImplemented and timer.__eq__(other) is NotImplemented
    with pytest.raises(TypeError, match="not supported between instances"):
        timer < other  # noqa: B015


def test_timer_against_a_plain_handle(loop):
    timer, handle = loop.call_at(10, named_callback), loop.call_soon(named_callback)
    assert timer != handle
    with pytest.raises(TypeError, match="'<' not supported between instances of 'TimerHandle' and"):
        timer < handle  # noqa: B015


def test_compares_with_a_timer_of_another_loop(impl, loop):
    other = impl.new_event_loop()
    assert loop.call_at(1, named_callback) < other.call_at(2, named_callback)
    other.close()


def test_private_names(loop):
    handle = loop.call_soon(named_callback, 1, 2)
    assert handle._callback is named_callback and handle._args == (1, 2)
    assert handle._cancelled is False and handle._loop is loop
    handle.cancel()
    assert handle._callback is None and handle._args is None and handle._cancelled is True


def test_many_handles_come_and_go(loop, turn):
    """More handles than any freelist holds, cancelled and called in turn."""
    called = []
    for _ in range(3):
        handles = [loop.call_soon(called.append, index) for index in range(2000)]
        for handle in handles[::2]:
            handle.cancel()
        turn()
    assert called == list(range(1, 2000, 2)) * 3
