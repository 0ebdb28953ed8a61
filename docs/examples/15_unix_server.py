"""A server on a Unix socket, written as a protocol: the loop calls it, it does not wait for anything."""

import asyncio
import os
import tempfile

from _loop import run


class Adder(asyncio.Protocol):
    """Answers each line of numbers with their sum; the loop makes one for each connection."""

    def connection_made(self, transport):
        self.transport = transport
        self.received = b""

    def data_received(self, data):
        # A piece of the stream: perhaps half a line, perhaps several.
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            self.transport.write(b"%d\n" % sum(map(int, line.split())))

    def eof_received(self):
        print("the client has sent everything")
        # None lets the transport close itself once what was written is sent.

    def connection_lost(self, exc):
        print("connection lost:", exc)


async def ask(path, *questions):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.writelines(questions)
    writer.write_eof()
    answers = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answers.split()


async def main():
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "adder.socket")
        async with await loop.create_unix_server(Adder, path):
            print(await ask(path, b"1 2 3\n4 ", b"5\n", b"6\n"))


run(main())
