"""Exceptions out of callbacks, the exception handler, KeyboardInterrupt and SystemExit."""

import asyncio
import contextvars
import logging
import sys

import pytest


def fail():
    raise ZeroDivisionError("failed")


def test_exception_of_a_callback_is_reported(loop, turn, reported):
    order = []
    handle = loop.call_soon(fail)
    loop.call_soon(order.append, "next")
    turn()
    [context] = reported
    assert set(context) == {"message", "exception", "handle"}
    assert context["message"].startswith("Exception in callback fail() at ")
    assert type(context["exception"]) is ZeroDivisionError and context["handle"] is handle
    assert order == ["next"]


def test_exception_of_a_timer_is_reported(loop, turn, reported):
    handle = loop.call_later(0, fail)
    turn()
    assert reported[0]["handle"] is handle


def test_exception_of_a_done_callback_is_reported(loop, turn, reported):
    future = loop.create_future()
    future.add_done_callback(lambda _: fail())
    future.set_result(None)
    turn()
    [context] = reported
    assert type(context["exception"]) is ZeroDivisionError
    assert "<lambda>" in context["message"] and isinstance(context["handle"], asyncio.Handle)


def test_base_exception_of_a_callback_is_reported(loop, turn, reported):
    class Odd(BaseException):
        pass

    def odd():
        raise Odd

    loop.call_soon(odd)
    loop.call_soon(cancelled)
    turn()
    assert [type(context["exception"]) for context in reported] == [Odd, asyncio.CancelledError]


def cancelled():
    raise asyncio.CancelledError


def test_handler_is_set_and_unset(loop):
    def handler(loop, context):
        pass

    assert loop.get_exception_handler() is None
    assert loop.set_exception_handler(handler) is None
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


def test_handler_that_is_not_callable(loop):
    with pytest.raises(TypeError, match="^A callable object or None is expected, got 5$"):
        loop.set_exception_handler(5)


def test_handler_gets_the_context_unchanged(loop):
    seen = []
    context = {"message": "custom", "extra": 1}
    loop.set_exception_handler(lambda *args: seen.append(args))
    loop.call_exception_handler(context)
    [(given_loop, given_context)] = seen
    assert given_loop is loop and given_context is context


def test_default_handler_logs(loop, turn, caplog):
    loop.call_soon(fail)
    turn()
    [record] = caplog.records
    assert record.name == "asyncio" and record.levelno == logging.ERROR
    assert record.getMessage().startswith("Exception in callback fail() at ")
    assert "\nhandle: <Handle fail() at " in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


def test_default_handler_without_message(loop, caplog):
    loop.call_exception_handler({})
    assert caplog.records[0].getMessage() == "Unhandled exception in event loop"
    assert not caplog.records[0].exc_info


def test_default_handler_sorts_the_keys(loop, caplog):
    loop.call_exception_handler({"message": "m", "zebra": 1, "ant": "x"})
    assert caplog.records[0].getMessage() == "m\nant: 'x'\nzebra: 1"


def test_handler_that_raises(loop, turn, caplog):
    def handler(loop, context):
        raise LookupError("handler")

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    turn()
    [record] = caplog.records
    assert record.getMessage().startswith("Unhandled error in exception handler\ncontext: {")
    assert record.exc_info[0] is LookupError


def test_default_handler_that_raises(impl, caplog):
    class Broken(impl.Loop):
        def default_exception_handler(self, context):
            raise LookupError("default")

    loop = Broken()
    loop.call_exception_handler({"message": "first"})
    loop.set_exception_handler(lambda *_: fail())
    loop.call_exception_handler({"message": "second"})
    loop.close()
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "Exception in default exception handler"
    assert second == f"{first} while handling an unexpected error in custom exception handler"


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("source", ["callback", "timer", "done callback", "handler", "threadsafe"])
def test_exit_exceptions_leave_the_loop(loop, turn, source, exception):
    order = []

    def leave(*args):
        raise exception("leave")

    if source == "callback":
        loop.call_soon(leave)
    elif source == "threadsafe":
        loop.call_soon_threadsafe(leave)
    elif source == "timer":
        loop.call_later(0, leave)
    elif source == "done callback":
        future = loop.create_future()
        future.add_done_callback(leave)
        future.set_result(None)
    else:
        loop.set_exception_handler(leave)
        loop.call_soon(fail)
    loop.call_later(0, order.append, "kept")
    with pytest.raises(exception, match="leave"):
        loop.run_forever()
    assert order == [] and not loop.is_running()
    turn()
    assert order == ["kept"]


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_exit_exceptions_leave_the_default_handler(impl, exception):
    class Leaving(impl.Loop):
        def default_exception_handler(self, context):
            raise exception

    loop = Leaving()
    with pytest.raises(exception):
        loop.call_exception_handler({"message": "m"})
    loop.set_exception_handler(lambda *_: fail())
    with pytest.raises(exception):
        loop.call_exception_handler({"message": "m"})
    loop.close()


def test_exit_exception_keeps_the_rest_in_order(loop, turn):
    order = []

    def leave():
        raise SystemExit

    for index in range(3):
        loop.call_soon(order.append, index)
    loop.call_soon(leave)
    for index in range(3, 6):
        loop.call_soon(order.append, index)
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.call_soon(order.append, 6)
    turn()
    assert order == [0, 1, 2, 3, 4, 5, 6]


def test_exit_exception_of_many_callbacks(loop, turn):
    def leave(code):
        raise SystemExit(code)

    for code in range(3):
        loop.call_soon(leave, code)
    codes = []
    for _ in range(3):
        with pytest.raises(SystemExit) as raised:
            loop.run_forever()
        codes.append(raised.value.code)
    assert codes == [0, 1, 2]
    turn()


# Up to Python 3.11 the handler runs outside of the context of what failed.
RUNS_INSIDE = sys.version_info >= (3, 12)


@pytest.mark.parametrize("key", ["task", "future", "handle"])
def test_handler_runs_in_the_context_of_the_thing(loop, key):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []
    loop.set_exception_handler(lambda *_: seen.append(variable.get()))
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    task = loop.create_task(asyncio.sleep(0), context=context)
    handle = loop.call_soon(print, context=context)
    loop.call_exception_handler({"message": "m", key: handle if key == "handle" else task})
    handle.cancel()
    loop.run_until_complete(task)
    assert seen == ["inside" if RUNS_INSIDE else "unset"]


def test_handler_runs_in_the_context_of_the_callback(loop, turn):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []
    loop.set_exception_handler(lambda *_: seen.append(variable.get()))

    def callback():
        variable.set("set by the callback")
        fail()

    loop.call_soon(callback)
    turn()
    assert seen == ["set by the callback" if RUNS_INSIDE else "unset"]


def test_handler_finds_the_exception_being_handled(loop, turn):
    """A handler may log with logging.exception() or traceback.print_exc()."""
    seen = []
    loop.set_exception_handler(lambda _, context: seen.append(sys.exc_info()[1] is context["exception"]))
    loop.call_soon(fail)
    loop.call_later(0, fail)
    future = loop.create_future()
    future.add_done_callback(lambda _: fail())
    future.set_result(None)
    turn()
    assert seen == [True] * 3


def test_handler_that_raises_is_chained_to_the_first_error(loop, turn, caplog):
    def handler(loop, context):
        raise LookupError("handler")

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    turn()
    error = caplog.records[0].exc_info[1]
    assert type(error) is LookupError and type(error.__context__) is ZeroDivisionError


def test_overridden_call_exception_handler_is_used(impl):
    seen = []

    class Collecting(impl.Loop):
        def call_exception_handler(self, context):
            seen.append(context["message"])

    loop = Collecting()
    loop.call_soon(fail)
    future = loop.create_future()
    future.set_exception(LookupError())
    del future
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert seen[0] == "Future exception was never retrieved"
    assert seen[1].startswith("Exception in callback fail() at ")


def test_exception_keeps_its_traceback(loop, turn, reported):
    loop.call_soon(fail)
    turn()
    traceback = reported[0]["exception"].__traceback__
    while traceback.tb_next:
        traceback = traceback.tb_next
    assert traceback.tb_frame.f_code.co_name == "fail"


def test_exception_of_a_callback_that_cannot_be_described(loop, turn, reported):
    """asyncio lets the error of the description out of run_forever(); in any case nothing is lost."""

    class Unprintable:
        def __call__(self):
            fail()

        def __repr__(self):
            raise LookupError("repr")

    escaped = []
    loop.call_soon(Unprintable())
    try:
        turn()
    except LookupError as error:
        escaped.append(error)
    assert len(escaped) + len(reported) == 1
    assert loop.run_until_complete(asyncio.sleep(0, "alive")) == "alive"
