"""The iterator behind `await future` (numbered semantic 25), driven by hand."""

import warnings

import pytest

# throw() with a type and a value is deprecated since 3.12, and must keep working.
pytestmark = pytest.mark.filterwarnings("ignore:the .*signature of throw:DeprecationWarning")


def started(future):
    iterator = future.__await__()
    assert next(iterator) is future
    return iterator


def test_25_iterator_yields_the_future_and_marks_it(loop):
    future = loop.create_future()
    assert future._asyncio_future_blocking is False
    iterator = started(future)
    assert future._asyncio_future_blocking is True
    assert iter(iterator) is iterator
    future.cancel()


def test_25_iter_is_await(loop):
    future = loop.create_future()
    assert type(iter(future)) is type(future.__await__())


def test_25_send_returns_the_result_as_stop_iteration(loop):
    future = loop.create_future()
    iterator = future.__await__()
    assert iterator.send(None) is future
    future.set_result("value")
    with pytest.raises(StopIteration) as raised:
        iterator.send("ignored")
    assert raised.value.value == "value"


@pytest.mark.parametrize("value", [(1, 2), (), StopIteration(5), None], ids=repr)
def test_25_result_comes_out_unchanged(loop, value):
    """A tuple or an exception as a result must not be taken apart as StopIteration's arguments."""
    future = loop.create_future()
    future.set_result(value)
    with pytest.raises(StopIteration) as raised:
        next(future.__await__())
    assert raised.value.value is value


def test_25_next_before_completion_is_refused(loop):
    iterator = started(loop.create_future())
    with pytest.raises(RuntimeError, match=r"^await wasn't used with future$"):
        next(iterator)


def test_25_next_raises_the_exception(loop):
    future = loop.create_future()
    iterator = started(future)
    future.set_exception(ValueError("set"))
    with pytest.raises(ValueError, match="set"):
        next(iterator)


def test_25_throw_raises_what_is_thrown(loop):
    future = loop.create_future()
    error = ValueError("thrown")
    with pytest.raises(ValueError) as raised:
        started(future).throw(error)
    assert raised.value is error
    assert not future.done()


def test_25_throw_a_class(loop):
    with pytest.raises(ValueError):
        started(loop.create_future()).throw(ValueError)


def test_25_throw_a_class_and_a_value(loop):
    with pytest.raises(ValueError, match="value"):
        started(loop.create_future()).throw(ValueError, "value")


def test_25_throw_a_class_and_an_instance(loop):
    error = ValueError("instance")
    with pytest.raises(ValueError) as raised:
        started(loop.create_future()).throw(ValueError, error)
    assert raised.value is error


def test_25_throw_with_a_traceback(loop):
    try:
        raise LookupError
    except LookupError as error:
        trace = error.__traceback__
    with pytest.raises(ValueError) as raised:
        started(loop.create_future()).throw(ValueError, ValueError("x"), trace)
    tracebacks = []
    step = raised.value.__traceback__
    while step:
        tracebacks.append(step)
        step = step.tb_next
    assert trace in tracebacks


@pytest.mark.parametrize("value", [3, "text", int, None, object], ids=repr)
def test_25_throw_what_cannot_be_raised(loop, value):
    iterator = started(loop.create_future())
    with pytest.raises(TypeError, match=r"^exceptions must be classes deriving BaseException or instances"):
        iterator.throw(value)


def test_25_throw_an_instance_and_a_value(loop):
    iterator = started(loop.create_future())
    with pytest.raises(TypeError, match=r"^instance exception may not have a separate value$"):
        iterator.throw(ValueError("x"), "y")


def test_25_throw_a_bad_traceback(loop):
    iterator = started(loop.create_future())
    with pytest.raises(TypeError, match=r"^throw\(\) third argument must be a traceback"):
        iterator.throw(ValueError, None, "not a traceback")


def test_25_throw_ends_the_iterator(loop):
    iterator = started(loop.create_future())
    with pytest.raises(ValueError):
        iterator.throw(ValueError())
    with pytest.raises(StopIteration):
        next(iterator)


def test_25_close_ends_the_iterator(loop):
    future = loop.create_future()
    iterator = started(future)
    assert iterator.close() is None
    assert iterator.close() is None
    assert not future.done()
    with pytest.raises(StopIteration):
        next(iterator)


def test_25_close_before_start(loop):
    iterator = loop.create_future().__await__()
    iterator.close()
    with pytest.raises(StopIteration):
        next(iterator)


def test_25_iterator_takes_part_in_yield_from(loop):
    future = loop.create_future()

    def delegating():
        return (yield from future)

    generator = delegating()
    assert next(generator) is future
    future.set_result(7)
    with pytest.raises(StopIteration) as raised:
        generator.send(None)
    assert raised.value.value == 7


def test_25_coroutine_closed_while_it_awaits(loop):
    future = loop.create_future()
    cleaned = []

    async def body():
        try:
            await future
        finally:
            cleaned.append(True)

    coro = body()
    assert coro.send(None) is future
    coro.close()
    assert cleaned == [True] and not future.done()


def test_25_throw_without_warning(loop):
    """A coroutine forwards throw() to the iterator with one argument: nothing is deprecated about that."""
    future = loop.create_future()

    async def body():
        await future

    coro = body()
    coro.send(None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="inside"):
            coro.throw(ValueError("inside"))
