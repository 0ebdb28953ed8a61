"""A blocked read that another thread completes; meanwhile the loop goes on with other work."""

import asyncio
import os
import socket
import threading

from _loop import run


async def tick(reading, times):
    for i in range(times):
        await asyncio.sleep(0.01)
        print("  tick", i, "- still reading:", not reading.done())


async def read_of_socket():
    """The loop waits for the socket; a thread writes to the other end."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    go = threading.Event()

    def answer():
        go.wait()
        theirs.sendall(b"written by a thread")

    thread = threading.Thread(target=answer)
    thread.start()
    reading = asyncio.create_task(loop.sock_recv(ours, 100))
    await tick(reading, 2)
    go.set()
    print("  read:", await reading)
    thread.join()
    ours.close()
    theirs.close()


async def read_in_thread():
    """A read that can only block is made by a thread of the executor, and another thread writes."""
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    reading = loop.run_in_executor(None, os.read, read_end, 100)
    await tick(reading, 2)
    thread = threading.Thread(target=os.write, args=(write_end, b"read by a thread"))
    thread.start()
    print("  read:", await reading)
    thread.join()
    os.close(read_end)
    os.close(write_end)


async def future_of_thread():
    """A thread completes a future: only by call_soon_threadsafe(), which also wakes the sleeping loop."""
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(answer.set_result, "set from a thread"))
    loop.call_later(0.01, thread.start)
    print("  future:", await answer)
    thread.join()


async def main():
    for example in read_of_socket, read_in_thread, future_of_thread:
        print(example.__name__)
        await example()


run(main())
