"""get_event_loop() and run_until_complete(): the older way, with a loop that is kept and closed by hand."""

import asyncio

from _loop import new_event_loop


async def add(a, b):
    await asyncio.sleep(0)
    # Inside a coroutine get_event_loop() is the running loop.
    assert asyncio.get_event_loop() is asyncio.get_running_loop()
    return a + b


async def fail():
    raise LookupError("nothing here")


asyncio.set_event_loop(new_event_loop())
loop = asyncio.get_event_loop()

# The same loop may run many things, one after the other.
print("coroutine:", loop.run_until_complete(add(1, 2)))

task = loop.create_task(add(3, 4))
print("task:", loop.run_until_complete(task), task.done())

future = loop.create_future()
loop.call_soon(future.set_result, "set by a callback")
print("future:", loop.run_until_complete(future))

try:
    loop.run_until_complete(fail())
except LookupError as error:
    print("raised:", error)

# What is left over from one run goes on in the next.
background = loop.create_task(add(5, 6))
print("done before the next run:", background.done())
loop.run_until_complete(asyncio.sleep(0.01))
print("done after the next run:", background.done(), background.result())

# run_forever() returns when something calls stop().
loop.call_soon(print, "a callback")
loop.call_soon(loop.stop)
loop.run_forever()

print("running:", loop.is_running(), "closed:", loop.is_closed())
loop.close()
asyncio.set_event_loop(None)
print("running:", loop.is_running(), "closed:", loop.is_closed())

coro = add(7, 8)
try:
    loop.run_until_complete(coro)
except RuntimeError as error:
    print("RuntimeError:", error)
coro.close()
