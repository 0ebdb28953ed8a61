"""What the garbage collector must be able to free: cycles through futures, tasks, handles and loops."""

import asyncio
import contextvars
import gc
import socket
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


def drop_with_a_handle_that_was_referred_to_weakly(loop):
    handle = loop.call_soon(loop.stop)
    reference = weakref.ref(handle)
    del handle
    del reference


def drop_with_a_reader_whose_callback_was_reported(loop):
    reader, writer = socket.socketpair()
    with reader, writer:

        def fail():
            loop.stop()
            raise ZeroDivisionError

        writer.send(b"x")
        loop.set_exception_handler(lambda *_: None)
        loop.add_reader(reader, fail)
        loop.run_forever()


DROPS = [drop_with_a_handle_that_was_referred_to_weakly, drop_with_a_reader_whose_callback_was_reported]


@pytest.mark.parametrize("use", DROPS)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_loop_that_is_dropped_open_is_collected(impl, use):
    loop = impl.new_event_loop()
    reference = weakref.ref(loop)
    use(loop)
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


# A second copy of the module, as a subinterpreter would have one, and futures of a foreign loop in a cycle with it.
MODULE_AMONG_GARBAGE = """
import gc, importlib.machinery, importlib.util, weakref
from fastloop import _fastloop

def load():
    loader = importlib.machinery.ExtensionFileLoader("_fastloop", _fastloop.__file__)
    spec = importlib.util.spec_from_file_location("_fastloop", _fastloop.__file__, loader=loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module

async def wait(future):
    await future

def make(future_type, task_type, loop, kept):
    future, done = future_type(loop=loop), future_type(loop=loop)
    future.add_done_callback(kept.append)
    done.set_result(kept)
    task = task_type(wait(future), loop=loop)
    task._log_destroy_pending = False
    blank = future_type.__new__(future_type)
    future.kept = blank.kept = kept
    return [future, done, iter(future), iter(done), task, blank]

def fill(module, loop):
    future_subclass = type("FutureSubclass", (module.Future,), {})
    task_subclass = type("TaskSubclass", (module.Task,), {})
    kept = [module]
    kept += [kept, *make(module.Future, module.Task, loop, kept), *make(future_subclass, task_subclass, loop, kept)]
    return weakref.ref(module)

loop = asyncio.SelectorEventLoop()
reference = fill(load(), loop)
loop.run_until_complete(asyncio.sleep(0))
gc.collect()
assert reference() is None
loop.close()
"""


def test_module_is_freed_together_with_its_futures(impl, run_script):
    if impl.name == "asyncio":
        pytest.skip("one module for all")
    result = run_script(MODULE_AMONG_GARBAGE)
    assert (result.returncode, result.stderr) == (0, "")
