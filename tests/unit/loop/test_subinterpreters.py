"""Two subinterpreters, each with a loop of its own, beside that of the main interpreter."""

import sys

import pytest
from support.subinterpreters import RUN_IN_NEW_INTERPRETER

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="modules are only prepared for subinterpreters since Python 3.12"
)

WORK = """
import asyncio, os, socket
IMPORT
async def main():
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    receiving = loop.create_task(loop.sock_recv(left, 10))
    await asyncio.sleep(0.001)
    await loop.sock_sendall(right, b"hello")
    assert await receiving == b"hello"
    values = await asyncio.gather(*(asyncio.sleep(0.001, index) for index in range(10)))
    left.close()
    right.close()
    return sum(values)
loop = new_event_loop()
for _ in range(5):
    assert loop.run_until_complete(main()) == 45
loop.close()
os.write(1, b"done\\n")
"""


@pytest.fixture
def run_program(impl, run_script):
    """Run a program that can use run(source) for new interpreters, and WORK for something to do."""
    version = min(sys.version_info[:2], (3, 14))
    imports = {
        "asyncio": "from asyncio import SelectorEventLoop as new_event_loop",
        "fastloop": "from fastloop import new_event_loop",
    }
    work = WORK.replace("IMPORT", imports[impl.name])

    def run(program):
        result = run_script(f"{RUN_IN_NEW_INTERPRETER[version]}\nWORK = {work!r}\n{program}")
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout.splitlines()

    return run


def test_one_after_the_other(run_program):
    assert run_program("run(WORK); run(WORK)") == ["done"] * 2


def test_beside_the_main_interpreter(run_program):
    assert run_program("exec(WORK); run(WORK); exec(WORK)") == ["done"] * 3


def test_two_at_once(run_program):
    program = """
import threading
threads = [threading.Thread(target=run, args=(WORK,)) for _ in range(2)]
for thread in threads:
    thread.start()
exec(WORK)
for thread in threads:
    thread.join()
"""
    assert run_program(program) == ["done"] * 3


def test_interpreter_ends_with_an_open_loop(run_program):
    program = """
import warnings
run("import warnings; warnings.simplefilter('ignore')" + WORK.replace("loop.close()", ""))
"""
    assert run_program(program) == ["done"]


# Everything that borrows something from the module, in cycles with it, so that the collector frees all of it together at
# the interpreter's end, in whatever order.
CYCLES = """
import sys
from asyncio import Future, Task
if new_event_loop.__module__.startswith("fastloop"):
    from fastloop import Future, Task
import warnings
warnings.simplefilter("ignore")
class FutureSubclass(Future):
    pass
class TaskSubclass(Task):
    pass
async def wait(future):
    await future
def of(other, future_type, task_type):
    future = future_type(loop=other)
    done = future_type(loop=other)
    done.set_result(future)
    failed = future_type(loop=other)
    failed.set_exception(LookupError())
    task = task_type(wait(future), loop=other)
    task._log_destroy_pending = False
    return [future, done, failed, task, iter(future), iter(done), future_type.__new__(future_type)]
kept = []
kept += [kept, sys.modules, Future, Task]
for make in (new_event_loop, asyncio.SelectorEventLoop):
    other = make()
    for future_type in (Future, FutureSubclass):
        for task_type in (Task, TaskSubclass):
            found = of(other, future_type, task_type)
            for future in found[:4]:
                future.kept = kept
            kept += [other, other.call_soon(print, kept), other.call_later(100, print, kept), *found]
            other.run_until_complete(asyncio.sleep(0))
    left, right = socket.socketpair()
    left.setblocking(False)
    kept += [left, right, other.sock_recv(left, 1)]
    receiving = other.create_task(other.sock_recv(left, 1))
    receiving._log_destroy_pending = False
    kept.append(receiving)
    other.run_until_complete(asyncio.sleep(0))
sys.modules[Future.__module__.split(".")[0]].kept = kept
del kept, found, other, make, future, future_type, task_type, receiving, left, right
"""


@pytest.mark.parametrize("main", [True, False], ids=["main", "subinterpreter"])
def test_interpreter_ends_with_cycles_through_the_module(run_program, main):
    program = f"work = WORK + {CYCLES!r}\n" + ("exec(work, {})" if main else "run(work)")
    assert run_program(program) == ["done"]


def test_signals_belong_to_the_main_interpreter(run_program):
    source = """
try:
    loop.add_signal_handler(10, print)
except RuntimeError as error:
    assert str(error) == "set_wakeup_fd only works in main thread of the main interpreter", error
else:
    raise AssertionError("a signal handler in a subinterpreter")
loop.close()
"""
    assert run_program(f"run(WORK.replace('loop.close()', {source!r}))") == ["done"]
