"""A coroutine driven by hand with send(), throw() and close(): what an event loop does inside."""

import asyncio
import inspect

from _loop import run


class Ask:
    """Awaiting this hands `question` to whoever drives the coroutine, and returns the answer."""

    def __init__(self, question):
        self.question = question

    def __await__(self):
        return (yield self.question)


async def interview():
    name = await Ask("name?")
    try:
        age = await Ask("age?")
    except ValueError as error:
        print("  inside: caught", error)
        age = "unknown"
    return f"{name}, {age}"


async def careful():
    try:
        await Ask("ready?")
    finally:
        print("  inside: cleaning up")


print("send")
coro = interview()
print(" ", inspect.getcoroutinestate(coro))
print("  asks", coro.send(None))  # The first send must be None: there is no await yet to take a value.
print(" ", inspect.getcoroutinestate(coro))
print("  asks", coro.send("Ada"))
try:
    coro.send(36)
except StopIteration as stop:  # The return value travels in the exception.
    print("  returned", stop.value)
print(" ", inspect.getcoroutinestate(coro))

print("throw")
coro = interview()
coro.send(None)
coro.send("Ada")
try:
    coro.throw(ValueError("not telling"))
except StopIteration as stop:
    print("  returned", stop.value)

print("close")
coro = careful()
coro.send(None)
coro.close()  # Raises GeneratorExit at the await; `finally` runs.
print(" ", inspect.getcoroutinestate(coro))

print("misuse")
coro = interview()
try:
    coro.send("too early")
except TypeError as error:
    print("  TypeError:", error)
coro.close()
try:
    coro.send(None)
except RuntimeError as error:
    print("  RuntimeError:", error)

print("begun by hand, finished by the loop")


async def two_turns():
    await asyncio.sleep(0)  # A bare yield inside: the driver gets None and may simply come back.
    print("  second part")
    await asyncio.sleep(0)
    return "done"


coro = two_turns()
print("  yielded", coro.send(None))
print("  run returned", run(coro))
