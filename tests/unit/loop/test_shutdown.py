"""The interpreter ends, or modules go, while loops, tasks and threads are still there: quietly, and by itself."""

import pytest

SETUP = """
import gc, os, socket, sys, threading, warnings
warnings.simplefilter("ignore")
loop = new_event_loop()

async def sleeps():
    await asyncio.sleep(3600)

def turn():
    loop.stop()
    loop.run_forever()
"""

LEFT_BEHIND = {
    "open loop": "",
    "ready callbacks": "loop.call_soon(print, 'never'); loop.call_soon_threadsafe(print, 'never')",
    "timers": "handles = [loop.call_later(3600 + i, print, 'never') for i in range(1000)]",
    "pending task": """
task = loop.create_task(sleeps())
turn()
task._log_destroy_pending = False
""",
    "task not started": """
task = loop.create_task(sleeps())
task._log_destroy_pending = False
""",
    "cycle through a task": """
class Node: pass
node = Node()
node.task = loop.create_task(sleeps())
node.task.add_done_callback(lambda _: node)
node.task._log_destroy_pending = False
turn()
""",
    "watched descriptor": """
reader, writer = os.pipe()
loop.add_reader(reader, print)
""",
    "waiting socket": """
left, right = socket.socketpair()
left.setblocking(False)
task = loop.create_task(loop.sock_recv(left, 10))
task._log_destroy_pending = False
turn()
""",
    "signal handler": "loop.add_signal_handler(10, print)",
    "executor": "loop.run_until_complete(loop.run_in_executor(None, int))",
    "half-run asynchronous generator": """
async def numbers():
    yield 1
generator = numbers()
loop.run_until_complete(anext(generator))
""",
    "subclass with a cycle": """
class Special(type(loop)): pass
other = Special()
other.me = other
""",
    "loop left by an exit": """
try:
    loop.call_soon(sys.exit, 3)
    loop.run_forever()
except SystemExit:
    pass
""",
    "thread that schedules": """
def schedule():
    while True:
        try:
            loop.call_soon_threadsafe(int)
        except RuntimeError:
            break
threading.Thread(target=schedule, daemon=True).start()
turn()
""",
    "finaliser that uses the loop": """
class Late:
    def __del__(self):
        loop.create_future().cancel()
        try:
            loop.call_soon(int)
        except RuntimeError:
            pass
late = Late()
loop.late = late
""",
}


@pytest.mark.parametrize("program", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_interpreter_ends(run_script, program):
    result = run_script(SETUP + program)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_exit_inside_a_callback(run_script):
    result = run_script(SETUP + "loop.call_soon(sys.exit, 3)\nloop.run_forever()")
    assert (result.returncode, result.stderr) == (3, "")


def test_exit_inside_a_task(run_script):
    result = run_script(SETUP + "async def leaves(): sys.exit(4)\nloop.run_until_complete(leaves())")
    assert (result.returncode, result.stderr) == (4, "")


def test_loop_that_is_run_at_exit(run_script):
    program = """
import atexit
atexit.register(lambda: (loop.run_until_complete(asyncio.sleep(0.001)), print("ran"), loop.close()))
"""
    assert run_script(SETUP + program).stdout == "ran\n"


def test_exception_never_retrieved_at_exit(run_script):
    """What is lost at the very end is still reported, or at least does no harm."""
    program = """
future = loop.create_future()
future.set_exception(LookupError("never retrieved"))
"""
    assert run_script(SETUP + program).returncode == 0


def test_module_imported_again(impl, run_script):
    if impl.name == "asyncio":
        pytest.skip("concerns the extension module")
    program = """
import fastloop
for name in [name for name in sys.modules if name.startswith("fastloop")]:
    del sys.modules[name]
import fastloop as again
gc.collect()
for factory in (fastloop.new_event_loop, again.new_event_loop):
    made = factory()
    assert made.run_until_complete(asyncio.sleep(0.001, "ran")) == "ran"
    made.close()
assert loop.run_until_complete(asyncio.sleep(0.001, "old")) == "old"
loop.close()
print("done")
"""
    result = run_script(SETUP + program)
    assert (result.stdout, result.stderr) == ("done\n", "")
