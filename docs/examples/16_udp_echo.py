"""UDP: an endpoint that sends every datagram back, and one that asks."""

import asyncio

from _loop import run


class Endpoint(asyncio.DatagramProtocol):
    def __init__(self):
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        self.closed.set_result(exc)


class Echo(Endpoint):
    def datagram_received(self, data, addr):
        self.transport.sendto(data[::-1], addr)


class Questioner(Endpoint):
    def __init__(self):
        super().__init__()
        self.answers = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.answers.put_nowait(data)

    def error_received(self, exc):
        # Such as the answer of the other host that nobody listens on the port.
        self.answers.put_nowait(exc)


async def main():
    loop = asyncio.get_running_loop()
    server, echo = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    client, questioner = await loop.create_datagram_endpoint(Questioner, remote_addr=address)

    for question in b"stressed", b"live", b"drawer":
        client.sendto(question)
        # A datagram may get lost, so a real program waits no longer than it must.
        async with asyncio.timeout(10):
            print(question, "->", await questioner.answers.get())

    server.close()
    print("connection lost:", await echo.closed)
    client.sendto(b"anyone there?")
    print(repr(await questioner.answers.get()))
    client.close()
    print("connection lost:", await questioner.closed)


run(main())
