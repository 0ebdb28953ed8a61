"""fork() in a callback: the parent's loop goes on as if nothing had happened, whatever the child does."""

import pytest

PROGRAM = """
import os, sys, threading, traceback

loop = new_event_loop()
reader, writer = os.pipe()
order = []

def fork():
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    order.append(os.waitstatus_to_exitcode(status))
    os.write(writer, b"x")

def readable():
    order.append(os.read(reader, 1))
    threading.Timer(0.01, loop.call_soon_threadsafe, (finished,)).start()

def finished():
    order.append("woken by a thread")
    loop.call_later(0.001, loop.stop)

def child():
    CHILD

loop.add_reader(reader, readable)
loop.call_soon(fork)
loop.run_forever()
loop.remove_reader(reader)
loop.close()
print(order)
"""

AS_EXPECTED = "[0, b'x', 'woken by a thread']\n"

NEW_LOOP = """
    async def main():
        read, write = os.pipe()
        future = own.create_future()
        own.add_reader(read, lambda: own.remove_reader(read) and future.set_result("readable"))
        own.call_later(0.001, os.write, write, b"x")
        assert await future == "readable"
    own = new_event_loop()
    own.run_until_complete(main())
    own.close()
"""


def run(run_script, child):
    result = run_script(PROGRAM.replace("CHILD", child))
    assert result.stderr == ""
    return result.stdout


def test_child_exits(run_script):
    assert run(run_script, "pass") == AS_EXPECTED


def test_child_runs_a_loop_of_its_own(run_script):
    assert run(run_script, NEW_LOOP) == AS_EXPECTED


def skip_stock(impl):
    if impl.name == "asyncio":
        pytest.skip(
            "asyncio's child removes what the parent has registered with the epoll instance they share"
        )


def test_child_closes_the_loop(impl, run_script):
    skip_stock(impl)
    child = """
    try:
        loop.close()
    except RuntimeError:
        pass
"""
    assert run(run_script, child) == AS_EXPECTED


def test_child_removes_a_reader(impl, run_script):
    skip_stock(impl)
    child = """
    try:
        loop.remove_reader(reader)
    except RuntimeError:
        pass
"""
    assert run(run_script, child) == AS_EXPECTED


def test_child_cannot_use_the_loop(impl, run_script):
    skip_stock(impl)
    child = """
    for use in (loop.run_forever, lambda: loop.call_soon(print), lambda: loop.add_reader(reader, print)):
        try:
            use()
        except RuntimeError:
            pass
        else:
            raise AssertionError("the child can use its parent's loop")
"""
    assert run(run_script, child) == AS_EXPECTED


def test_child_drops_the_loop(impl, run_script):
    skip_stock(impl)
    child = """
    import gc
    global loop
    del loop
    gc.collect()
"""
    assert run(run_script, child) == AS_EXPECTED
