"""A first coroutine: calling it runs nothing, the event loop runs it."""

from _loop import run


async def greet():
    print("hello from the coroutine")


# The call only makes a coroutine object. Not one line of the body has run yet.
coro = greet()
print("made a", type(coro).__name__)

# The loop starts the body and returns when it has come to its end.
run(coro)
print("the loop has finished")
