"""An aiohttp client that fetches from an aiohttp server, both on one loop.  Needs the package aiohttp."""

import asyncio

import aiohttp
from _loop import new_event_loop
from aiohttp import web


async def greet(request):
    return web.json_response({"greeting": f"Hello, {request.match_info['name']}!"})


async def count(request):
    """Sends an answer piece by piece, as the pieces come to be."""
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(3):
        await response.write(f"{number}\n".encode())
        await asyncio.sleep(0.01)
    await response.write_eof()
    return response


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data[::-1])
    return socket


async def fetch_all(session):
    async def greeting(name):
        async with session.get(f"/greet/{name}") as response:
            return response.status, (await response.json())["greeting"]

    print(await asyncio.gather(*map(greeting, ["Ada", "Edsger", "Grace"])))

    async with session.get("/count") as response:
        print(await response.text())

    async with session.ws_connect("/echo") as socket:
        await socket.send_str("drawer")
        print(await socket.receive_str())

    async with session.get("/nowhere") as response:
        print(response.status, response.reason)


async def main():
    app = web.Application()
    app.add_routes([web.get("/greet/{name}", greet), web.get("/count", count), web.get("/echo", echo)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        await fetch_all(session)
    await runner.cleanup()


# Before Python 3.14, get_event_loop() makes a loop where there is none; from 3.14 on there must be one.
asyncio.set_event_loop(new_event_loop())
loop = asyncio.get_event_loop()
loop.run_until_complete(main())
loop.close()
