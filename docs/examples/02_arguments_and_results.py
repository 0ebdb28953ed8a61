"""Arguments go in by the call, the return value comes out of `await`, and an exception comes out the same way."""

from _loop import run


async def power(base, exponent=2):
    return base**exponent


async def divide(numerator, denominator):
    return numerator / denominator


async def main(name, *, times):
    print("main got", name, "and", times)

    print("3 squared:", await power(3))
    print("2 to the 10th:", await power(2, exponent=10))

    # An exception that a coroutine does not catch is raised in the one that awaits it.
    try:
        await divide(1, 0)
    except ZeroDivisionError as error:
        print("caught:", error)

    return name * times


# The return value of the outermost coroutine is the return value of run().
print("run returned", run(main("ab", times=3)))

# So is its exception.
try:
    run(divide(2, 0))
except ZeroDivisionError as error:
    print("run raised:", error)
