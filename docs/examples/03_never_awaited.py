"""A coroutine object that nobody awaits never runs; Python warns when it is thrown away."""

from _loop import run


async def save(record):
    print("saving", record)


async def main():
    # A mistake: the call makes a coroutine object, and the statement throws it away.
    # "RuntimeWarning: coroutine 'save' was never awaited" appears on stderr.
    save("lost")

    await save("kept")

    # Made but not wanted after all: close() says so, and there is no warning.
    unwanted = save("unwanted")
    unwanted.close()


run(main())
