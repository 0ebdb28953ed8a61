"""An aiohttp client that fetches from an aiohttp server by HTTPS.  Needs the packages aiohttp and trustme."""

import asyncio
import ssl

import aiohttp
import trustme
from _loop import run
from aiohttp import web

authority = trustme.CA()
server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("localhost", "127.0.0.1").configure_cert(server_context)
client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
authority.configure_trust(client_context)


async def measure(request):
    """Takes the upload as it comes, without keeping it."""
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    return web.json_response({"received": size, "scheme": request.scheme})


async def download(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for letter in b"abc":
        await response.write(bytes([letter]) * 1_000_000)
    await response.write_eof()
    return response


async def count(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_json(message.json() + 1)
    return socket


async def fetch_all(session):
    async def upload(size):
        async with session.post("/measure", data=bytes(size)) as response:
            return await response.json()

    print(await asyncio.gather(*map(upload, [1, 100_000, 10_000_000])))

    async with session.get("/download") as response:
        body = await response.read()
        print(len(body), body[:3], body[-3:])

    async with session.ws_connect("/count") as socket:
        for number in 1, 41:
            await socket.send_json(number)
            print(await socket.receive_json())


async def main():
    app = web.Application()
    app.add_routes([web.post("/measure", measure), web.get("/download", download), web.get("/count", count)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    connector = aiohttp.TCPConnector(ssl=client_context)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        await fetch_all(session)
    async with aiohttp.ClientSession(url) as session:
        try:
            await session.get("/download")
        except aiohttp.ClientConnectorCertificateError as error:
            print(type(error.certificate_error).__name__)
    await runner.cleanup()


run(main())
