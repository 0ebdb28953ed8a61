"""Child processes: input and output through pipes, an exit status awaited, a child that takes too long."""

import asyncio
import sys

from _loop import run


async def to_upper_case():
    """communicate() writes and reads at the same time, so neither side's pipe can block the other."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.exit(3)",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate(b"shout\n" * 100_000)
    print("  received", len(output), "bytes:", output[:12], "- status", child.returncode)


async def line_by_line():
    """A conversation through the pipes of a shell command."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(
        "while read line; do echo got $line; done; echo bye >&2", stdin=pipe, stdout=pipe, stderr=pipe
    )
    for word in b"one", b"two":
        child.stdin.write(word + b"\n")
        print(" ", await child.stdout.readline())
    child.stdin.close()
    print(" ", await child.stderr.read(), "- status", await child.wait())


async def three_at_once():
    async def status_of(number):
        child = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number}")
        return await child.wait()

    print("  statuses:", await asyncio.gather(*map(status_of, range(3))))


async def too_slow():
    child = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        await asyncio.wait_for(child.wait(), 0.05)
    except TimeoutError:
        print("  too slow: terminated")
        child.terminate()
    print("  status", await child.wait(), "- a negative one is the number of the signal")


async def main():
    for example in to_upper_case, line_by_line, three_at_once, too_slow:
        print(example.__name__)
        await example()


run(main())
