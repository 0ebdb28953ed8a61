"""Futures, tasks and loops extended in Python, and what their overridden methods decide."""

import asyncio
import gc
import weakref

import pytest


async def value(result=None):
    return result


async def waits(future):
    return await future


def test_subclass_of_future_with_attributes(impl, loop):
    class Promise(impl.Future):
        def __init__(self, label, *, loop):
            super().__init__(loop=loop)
            self.label = label

    promise = Promise("x", loop=loop)
    assert promise.label == "x"
    promise.set_result(1)
    assert loop.run_until_complete(promise) == 1


@pytest.mark.parametrize("kind", ["Future", "Task"])
def test_subclass_with_slots(impl, loop, kind):
    namespace = {"__slots__": ("label", "other")}
    subclass = type("Slotted", (getattr(impl, kind),), namespace)
    thing = subclass(loop=loop) if kind == "Future" else subclass(value(), loop=loop)
    thing.label = thing
    assert not hasattr(thing, "other")
    loop.run_until_complete(value())
    reference = weakref.ref(thing)
    del thing
    gc.collect()
    assert reference() is None


def test_subclass_that_overrides_cancel(impl, loop, turn):
    asked = []

    class Promise(impl.Future):
        def cancel(self, msg=None):
            asked.append(msg)
            return super().cancel(msg)

    promise = Promise(loop=loop)
    task = loop.create_task(waits(promise))
    turn()
    task.cancel("through the override")
    assert asked == ["through the override"] and promise.cancelled()
    turn()
    assert task.cancelled()


def test_subclass_that_overrides_add_done_callback(impl, loop, turn):
    calls = []

    class Promise(impl.Future):
        def add_done_callback(self, callback, *, context=None):
            calls.append((callable(callback), context is not None))
            super().add_done_callback(callback, context=context)

    promise = Promise(loop=loop)
    task = loop.create_task(waits(promise))
    turn()
    assert calls == [(True, True)]
    promise.set_result("done")
    assert loop.run_until_complete(task) == "done"


def test_subclass_that_overrides_result(impl, loop, turn):
    """The wake-up looks at result(), and the coroutine gets what the iterator says."""

    class Promise(impl.Future):
        def result(self):
            raise LookupError("overridden")

    promise = Promise(loop=loop)
    task = loop.create_task(waits(promise))
    turn()
    promise.set_result("hidden")
    with pytest.raises(LookupError, match="overridden"):
        loop.run_until_complete(task)


def test_subclass_that_overrides_get_loop(impl, loop, turn):
    other = impl.new_event_loop()

    class Promise(impl.Future):
        def get_loop(self):
            return other

    task = loop.create_task(waits(Promise(loop=loop)))
    with pytest.raises(RuntimeError, match="attached to a different loop$"):
        loop.run_until_complete(task)
    other.close()


def test_subclass_that_overrides_await(impl, loop):
    class Promise(impl.Future):
        def __await__(self):
            yield
            return "overridden"

    assert loop.run_until_complete(loop.create_task(waits(Promise(loop=loop)))) == "overridden"


def test_subclass_of_task(impl, loop):
    log = []

    class Job(impl.Task):
        def __init__(self, coro, **kwargs):
            super().__init__(coro, **kwargs)
            self.log = log

        def cancel(self, msg=None):
            self.log.append(msg)
            return super().cancel(msg)

    async def main():
        job = Job(asyncio.sleep(3600), loop=loop)
        assert job in asyncio.all_tasks()
        await asyncio.sleep(0)
        job.cancel("job")
        with pytest.raises(asyncio.CancelledError):
            await job

    loop.run_until_complete(main())
    assert log == ["job"]


def test_task_of_a_subclass_is_the_current_one(impl, loop):
    class Job(impl.Task):
        pass

    async def main():
        return asyncio.current_task()

    job = Job(main(), loop=loop)
    assert loop.run_until_complete(job) is job


def test_subclass_of_loop(impl):
    class Special(impl.Loop):
        def __init__(self, label):
            super().__init__()
            self.label = label

        def close(self):
            self.label = "closed"
            super().close()

    loop = Special("open")
    assert loop.label == "open" and loop.run_until_complete(value(1)) == 1
    loop.close()
    assert loop.label == "closed" and loop.is_closed()


def test_loop_is_referenced_weakly_and_hashable(impl):
    loop = impl.new_event_loop()
    reference = weakref.ref(loop)
    assert {loop: 1}[loop] == 1
    loop.close()
    del loop
    gc.collect()
    assert reference() is None
