"""Sockets through the loop's sock_* methods, no transport involved."""

import asyncio
import socket


def bench_sock_pair_pingpong(measure_coroutine, loop):
    """A small message goes to the other end of a socket pair and comes back."""
    rounds, message = 10_000, b"x" * 64

    async def main():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)

        async def echo():
            for _ in range(rounds):
                await loop.sock_sendall(theirs, await loop.sock_recv(theirs, 256))

        with ours, theirs:
            echoing = asyncio.create_task(echo())
            for _ in range(rounds):
                await loop.sock_sendall(ours, message)
                assert await loop.sock_recv(ours, 256) == message
            await echoing

    measure_coroutine(rounds, main)
