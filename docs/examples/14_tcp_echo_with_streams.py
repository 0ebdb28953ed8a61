"""A TCP server that echoes lines, and several clients at once, with asyncio's streams."""

import asyncio

from _loop import run


async def echo(reader, writer):
    """Serves one connection. Each has a task of its own, so that one slow client holds up no other."""
    async for line in reader:
        writer.write(line.upper())
        # Waits while the client reads more slowly than we write.
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def client(port, name, lines):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for line in lines:
        writer.write(f"{name} says {line}\n".encode())
        answers.append((await reader.readline()).decode().rstrip())
    # We have nothing more to send, but can still receive.
    writer.write_eof()
    rest = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answers, rest


async def main():
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        names = "Ada", "Edsger", "Grace"
        results = await asyncio.gather(*[client(port, name, ["hello", "goodbye"]) for name in names])
    for answers, rest in results:
        print(*answers, f"then {rest!r}", sep=" | ")
    print("serving:", server.is_serving())


run(main())
