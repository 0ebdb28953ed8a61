"""A class with send(), throw() and close() is a coroutine as good as one made by `async def`."""

import asyncio
from collections.abc import Coroutine

from _loop import run


class Countdown:
    """Gives way to the loop `turns` times, then returns its name."""

    def __init__(self, name, turns):
        self.name = name
        self.turns = turns

    def send(self, value):
        if self.turns == 0:
            raise StopIteration(self.name)
        print(f"  {self.name}: {self.turns}")
        # What send() returns goes to the loop; None means "just come back in the next turn".
        self.turns -= 1

    def throw(self, kind, value=None, traceback=None):
        error = kind if value is None else value
        print(f"  {self.name}: thrown {type(error).__name__}")
        raise error

    def close(self):
        print(f"  {self.name}: closed")

    # `await` asks for an iterator; next() of this one is send(None).
    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)


async def main():
    print("awaited")
    print("  returned", await Countdown("a", 2))

    print("given to create_task, two at once")
    tasks = [asyncio.create_task(Countdown("b", 2)), asyncio.create_task(Countdown("c", 3))]
    print("  returned", [await task for task in tasks])

    print("cancelled")
    task = asyncio.create_task(Countdown("d", 1000))
    await asyncio.sleep(0)
    task.cancel("enough")
    try:
        await task
    except asyncio.CancelledError as error:
        print("  task cancelled:", task.cancelled(), error.args)


# No base class is needed: the methods are what counts.
print("is a Coroutine:", isinstance(Countdown("x", 0), Coroutine))

run(main())

print("given to run")
print("  returned", run(Countdown("e", 2)))

# Nobody has to finish a coroutine. close() ends it early.
Countdown("f", 3).close()
