"""A process that forks while it serves: the child leaves the connections alone, the parent goes on."""

import pytest


@pytest.mark.parametrize("child", ["exit_at_once", "leave", "close_everything", "run_another_loop"])
def test_fork_while_serving(impl, run_script, child):
    """What was written before the fork is sent once."""
    if impl.name == "asyncio" and child != "exit_at_once":
        pytest.skip("asyncio's child changes the registrations it shares with its parent")
    result = run_script(f"from forks import serve\nserve(new_event_loop(), {child!r})")
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.splitlines()[-1] == "served"


def test_fork_behind_data_that_waits(run_script):
    """Neither process sends it twice."""
    result = run_script("""
import os, socket

async def main(loop):
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
    data = bytes(range(256)) * 10_000
    transport.write(data)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    transport.write(b"after")
    transport.close()
    received = bytearray()
    while chunk := await loop.sock_recv(right, 1 << 20):
        received += chunk
    assert received == data + b"after"
    right.close()
    print("whole")

loop = new_event_loop()
loop.run_until_complete(asyncio.wait_for(main(loop), 20))
loop.close()
""")
    assert (result.stdout, result.stderr, result.returncode) == ("whole\n", "", 0)
