"""What the garbage collector must be able to free: cycles through futures, tasks, handles and loops."""

import asyncio
import contextvars
import gc
import weakref

import pytest


def make_cycle_through_callback(loop, item):
    future = loop.create_future()
    future.add_done_callback(lambda _: item)
    item.future = future


def make_cycle_through_result(loop, item):
    future = loop.create_future()
    future.set_result(item)
    item.future = future


def make_cycle_through_done_task(loop, item):
    async def body():
        return item

    item.task = loop.create_task(body())
    loop.run_until_complete(item.task)


def make_cycle_through_waiting_task(loop, item):
    async def body():
        item.future = loop.create_future()
        asyncio.current_task()._log_destroy_pending = False
        item.task = asyncio.current_task()
        await item.future

    loop.create_task(body())
    loop.run_until_complete(asyncio.sleep(0))


def make_cycle_through_context(loop, item):
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, item)
    future = loop.create_future()
    future.add_done_callback(print, context=context)
    item.future = future


def make_cycle_through_handle(loop, item):
    item.handle = loop.call_soon(lambda: item)
    loop.run_until_complete(asyncio.sleep(0))


def make_cycle_through_iterator(loop, item):
    item.future = loop.create_future()
    item.iterator = item.future.__await__()
    item.future.add_done_callback(lambda _: item.iterator)


CYCLES = {
    "callback": make_cycle_through_callback,
    "result": make_cycle_through_result,
    "done task": make_cycle_through_done_task,
    "waiting task": make_cycle_through_waiting_task,
    "context": make_cycle_through_context,
    "handle": make_cycle_through_handle,
    "iterator": make_cycle_through_iterator,
}


@pytest.mark.parametrize("make", CYCLES.values(), ids=CYCLES)
def test_cycles_are_collected(loop, make):
    class Item:
        pass

    item = Item()
    reference = weakref.ref(item)
    make(loop, item)
    del item
    gc.collect()
    assert reference() is None


def test_cycle_through_the_loop_is_collected(impl):
    """A closed loop that only what it holds refers to goes away, with handlers, factories and attributes."""

    class Special(impl.Loop):
        pass

    loop = Special()
    loop.me = loop
    loop.set_exception_handler(lambda *_, held=loop: held)
    loop.set_task_factory(lambda *_, held=loop, **__: held)
    loop.call_later(3600, print, loop)
    reference = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert reference() is None


def test_done_task_releases_its_frame(loop):
    class Local:
        pass

    references = []

    async def main():
        local = Local()
        references.append(weakref.ref(local))

    task = loop.create_task(main())
    loop.run_until_complete(task)
    assert references[0]() is None and task.done()
