"""create_task() and task factories by version, overridden methods, and mixing with asyncio's own types."""

import asyncio
import contextvars
import gc
import sys
from unittest import mock

import pytest

# Python 3.13.3 passed the name to the factory, 3.13.4 took that back, and 3.14 does it for good.
NAME_REACHES_THE_FACTORY = sys.version_info >= (3, 14) or sys.version_info[:3] == (3, 13, 3)


async def value(result=None):
    return result


def test_create_task(impl, loop):
    task = loop.create_task(value(1))
    assert type(task) is impl.Task and task.get_loop() is loop
    assert loop.run_until_complete(task) == 1


def test_create_task_name_and_context(loop):
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, "given")

    async def main():
        return asyncio.current_task().get_name(), variable.get()

    assert loop.run_until_complete(loop.create_task(main(), name="n", context=context)) == ("n", "given")


@pytest.mark.parametrize("argument", [5, None, "text", value], ids=["int", "None", "str", "function"])
def test_create_task_of_what_is_no_coroutine(loop, argument):
    with pytest.raises(TypeError) as raised:
        loop.create_task(argument)
    assert str(raised.value) == f"a coroutine was expected, got {argument!r}"


def test_create_task_of_a_future(loop):
    with pytest.raises(TypeError, match=r"^a coroutine was expected, got <Future pending>$"):
        loop.create_task(loop.create_future())


def test_create_task_with_an_unknown_keyword(loop):
    coro = value()
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'nonsense'"):
        loop.create_task(coro, nonsense=1)
    with pytest.raises(TypeError):
        loop.create_task(coro, "positional name")
    coro.close()


@pytest.mark.skipif(sys.version_info < (3, 15), reason="the context is checked since Python 3.15")
def test_create_task_with_a_bad_context(loop):
    coro = value()
    with pytest.raises(TypeError, match="^a contextvars.Context was expected, got int$"):
        loop.create_task(coro, context=5)
    coro.close()


def recording(loop, calls):
    """Install a task factory that records the keywords it is given."""
    type_of_task = type(loop.create_task(value()))

    def factory(loop, coro, **kwargs):
        calls.append(kwargs)
        return type_of_task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    return factory


def test_task_factory_is_set_and_unset(loop):
    assert loop.get_task_factory() is None
    factory = recording(loop, [])
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    loop.run_until_complete(asyncio.sleep(0))


def test_task_factory_that_is_not_callable(loop):
    with pytest.raises(TypeError, match="^task factory must be a callable or None$"):
        loop.set_task_factory(5)


def test_task_factory_without_keywords(loop):
    """A factory of two parameters is enough as long as no keyword is given."""

    def factory(loop, coro):
        return asyncio.Task(coro, loop=loop)

    loop.set_task_factory(factory)
    assert type(loop.create_task(value())) is asyncio.Task
    assert loop.run_until_complete(value("made")) == "made"


def test_task_factory_receives_the_keywords_of_this_python(loop):
    calls = []
    recording(loop, calls)
    context = contextvars.copy_context()

    async def main():
        await loop.create_task(value())
        await loop.create_task(value(), context=context)
        named = loop.create_task(value(), name="named")
        both = loop.create_task(value(), name="both", context=context)
        assert named.get_name() == "named" and both.get_name() == "both"
        await named
        await both

    loop.run_until_complete(main())
    if NAME_REACHES_THE_FACTORY:
        assert calls[1:] == [
            {},
            {"context": context},
            {"name": "named"},
            {"name": "both", "context": context},
        ]
    else:
        assert calls[1:] == [{}, {"context": context}, {}, {"context": context}]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="every keyword reaches the factory since Python 3.14")
def test_task_factory_receives_any_keyword(loop):
    calls = []
    loop.set_task_factory(lambda loop, coro, **kwargs: calls.append(kwargs) or coro.close())
    assert loop.create_task(value(), anything=1, eager_start=None) is None
    assert calls == [{"anything": 1, "eager_start": None}]


def test_task_factory_result_is_returned(loop):
    future = loop.create_future()

    class Named(type(future)):
        def set_name(self, name):
            self.name = name

    made = Named(loop=loop)

    def factory(loop, coro, **kwargs):
        coro.close()
        return made

    loop.set_task_factory(factory)
    assert loop.create_task(value()) is made


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_eager_task_factory_as_it_comes(loop):
    """Keywords that this Python does not pass to a factory must not appear, or asyncio's own breaks."""
    loop.set_task_factory(asyncio.eager_task_factory)

    async def main():
        tasks = [
            loop.create_task(value(1)),
            asyncio.create_task(value(2), name="named"),
            asyncio.create_task(asyncio.sleep(0, 3), context=contextvars.copy_context()),
        ]
        assert [task.done() for task in tasks] == [True, True, False]
        assert tasks[1].get_name() == "named"
        return await asyncio.gather(*tasks)

    assert loop.run_until_complete(main()) == [1, 2, 3]


def test_all_tasks(impl, loop):
    other = impl.new_event_loop()

    async def main():
        tasks = {loop.create_task(asyncio.sleep(0)) for _ in range(3)}
        tasks.add(asyncio.Task(asyncio.sleep(0), loop=loop))
        foreign = other.create_task(asyncio.sleep(0))
        assert asyncio.all_tasks() == asyncio.all_tasks(loop) == tasks | {asyncio.current_task()}
        assert asyncio.all_tasks(other) == {foreign}
        await asyncio.gather(*tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return foreign

    foreign = loop.run_until_complete(main())
    assert asyncio.all_tasks(loop) == set()
    other.run_until_complete(foreign)
    other.close()


def test_all_tasks_while_a_task_of_a_subclass_is_deallocated(impl, loop):
    """What its slots refer to dies before the task itself, and may ask which tasks there are."""
    seen = []

    class Asking:
        def __del__(self):
            seen.append(asyncio.all_tasks(loop))

    class Slotted(impl.Task):
        __slots__ = ("asking",)

    coro = asyncio.sleep(0)
    task = Slotted(coro, loop=loop)
    task.asking = Asking()
    task._log_destroy_pending = False
    loop.close()
    del task
    gc.collect()
    assert seen == [set()]
    coro.close()


def test_all_tasks_without_a_loop():
    with pytest.raises(RuntimeError, match="^no running event loop$"):
        asyncio.all_tasks()


def test_overridden_create_task_is_used_by_helpers(impl):
    seen = []

    class Counting(impl.Loop):
        def create_task(self, coro, **kwargs):
            seen.append(coro.__name__)
            return super().create_task(coro, **kwargs)

    async def main():
        await asyncio.create_task(value())
        await asyncio.gather(value(), value())
        await asyncio.ensure_future(value())

    loop = Counting()
    loop.run_until_complete(main())
    loop.close()
    assert seen == ["main", "value", "value", "value", "value"]


def test_overridden_call_soon_sees_steps_wakeups_and_done_callbacks(impl):
    calls = []

    class Counting(impl.Loop):
        def call_soon(self, callback, *args, context=None):
            calls.append((callback, args, context))
            return super().call_soon(callback, *args, context=context)

    def done(_):
        pass

    loop = Counting()
    future = loop.create_future()

    async def main():
        await future
        await asyncio.sleep(0)
        return "result"

    context = contextvars.copy_context()
    task = loop.create_task(main(), context=context)
    loop.call_soon(future.set_result, 7)
    task.add_done_callback(done)
    assert loop.run_until_complete(task) == "result"
    loop.close()
    step, set_result, wakeup, after_sleep, task_done = calls[:5]
    assert all(callable(callback) for callback, _, _ in calls)
    assert step[1:] == ((), context) and after_sleep[1:] == ((), context)
    assert set_result[:2] == (future.set_result, (7,))
    assert wakeup[1:] == ((future,), context)
    assert task_done[:2] == (done, (task,))


def test_overridden_call_soon_that_drops_a_step(impl):
    """The override decides: a step it does not pass on does not run."""

    class Dropping(impl.Loop):
        dropping = False

        def call_soon(self, callback, *args, context=None):
            if not self.dropping:
                return super().call_soon(callback, *args, context=context)

    loop = Dropping()
    loop.dropping = True
    task = loop.create_task(value())
    task._log_destroy_pending = False
    loop.dropping = False
    loop.run_until_complete(asyncio.sleep(0))
    assert not task.done()
    task.get_coro().close()
    loop.close()


def test_overridden_call_soon_that_raises(impl):
    class Refusing(impl.Loop):
        def call_soon(self, callback, *args, context=None):
            raise LookupError("refused")

    loop = Refusing()
    coro = value()
    with pytest.raises(LookupError, match="refused"):
        loop.create_task(coro)
    future = loop.create_future()
    future.add_done_callback(print)
    with pytest.raises(LookupError, match="refused"):
        future.set_result(None)
    coro.close()
    loop.close()


def test_step_given_to_an_overridden_call_soon(impl):
    """The callable that steps a task tells its task, as debuggers and schedulers expect."""
    owners = []

    class Looking(impl.Loop):
        def call_soon(self, callback, *args, context=None):
            owners.append(getattr(callback, "__self__", None))
            return super().call_soon(callback, *args, context=context)

    loop = Looking()
    task = loop.create_task(value())
    loop.run_until_complete(task)
    loop.close()
    assert owners[0] is task


def test_overridden_call_later_and_call_at(impl):
    calls = []

    class Counting(impl.Loop):
        def call_later(self, delay, callback, *args, context=None):
            calls.append(("call_later", delay))
            return super().call_later(delay, callback, *args, context=context)

        def call_at(self, when, callback, *args, context=None):
            calls.append(("call_at", None))
            return super().call_at(when, callback, *args, context=context)

    loop = Counting()
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    assert calls == [("call_later", 0.001), ("call_at", None)]


def test_overridden_create_future(impl):
    class Promise(impl.Future):
        pass

    class Promising(impl.Loop):
        def create_future(self):
            return Promise(loop=self)

    async def main():
        asyncio.get_running_loop().call_soon(lambda: None)
        task = asyncio.ensure_future(asyncio.sleep(0.001))
        await asyncio.sleep(0)
        return task, type(task._fut_waiter)

    loop = Promising()
    task, type_of_waiter = loop.run_until_complete(main())
    loop.run_until_complete(task)
    loop.close()
    assert type_of_waiter is Promise


def test_attributes_of_a_loop(loop):
    loop.anything = 5
    assert loop.anything == 5
    del loop.anything
    assert not hasattr(loop, "anything")
    with mock.patch.object(loop, "time", return_value=12.5):
        assert loop.time() == 12.5
    assert loop.time() != 12.5


def mixing(maker, waiter, loop):
    """`waiter` makes tasks that await a future and a task that `maker` made."""
    future = maker.Future(loop=loop)
    task = maker.Task(asyncio.sleep(0, "from the task"), loop=loop)

    async def waits():
        return await future, await task

    loop.call_soon(future.set_result, "from the future")
    return waiter.Task(waits(), loop=loop)


def test_own_tasks_await_stock_futures(impl, loop):
    expected = ("from the future", "from the task")
    assert loop.run_until_complete(mixing(asyncio, impl, loop)) == expected


def test_stock_tasks_await_own_futures(impl, loop):
    expected = ("from the future", "from the task")
    assert loop.run_until_complete(mixing(impl, asyncio, loop)) == expected


@pytest.mark.parametrize("reverse", [False, True], ids=["own awaits stock", "stock awaits own"])
def test_mixture_under_the_stock_loop(impl, reverse):
    loop = asyncio.SelectorEventLoop()
    maker, waiter = (impl, asyncio) if reverse else (asyncio, impl)
    expected = ("from the future", "from the task")
    assert loop.run_until_complete(mixing(maker, waiter, loop)) == expected
    loop.close()


def test_cancellation_crosses_between_the_kinds(impl, loop):
    for outer, inner in ((asyncio, impl), (impl, asyncio)):
        nap = inner.Task(asyncio.sleep(3600), loop=loop)

        async def waits(nap=nap):
            await nap

        task = outer.Task(waits(), loop=loop)
        loop.call_later(0.001, task.cancel, "crossed")
        with pytest.raises(asyncio.CancelledError, match="crossed"):
            loop.run_until_complete(task)
        assert nap.cancelled()


def test_helpers_take_a_mixture(impl, loop):
    async def main():
        things = [
            asyncio.Task(asyncio.sleep(0.001, 1), loop=loop),
            impl.Task(asyncio.sleep(0.001, 2), loop=loop),
        ]
        future = impl.Future(loop=loop)
        loop.call_soon(future.set_result, 3)
        done, pending = await asyncio.wait(things)
        assert done == set(things) and not pending
        return await asyncio.gather(*things, asyncio.shield(future), asyncio.wait_for(value(4), 1))

    assert loop.run_until_complete(main()) == [1, 2, 3, 4]


def test_future_made_without_a_loop_belongs_to_the_running_one(impl, loop):
    async def main():
        task = impl.Task(value())
        assert impl.Future().get_loop() is task.get_loop() is loop
        await task

    loop.run_until_complete(main())
