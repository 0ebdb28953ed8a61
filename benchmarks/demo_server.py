"""An ordinary aiohttp application, served on the loop that is named.  demo_load.py knows what it must answer.

    python benchmarks/demo_server.py asyncio|fastloop [CERTIFICATE]

Prints the port that it serves on, and serves until its standard input ends: HTTP, or HTTPS with a certificate and its
key, which are in one PEM file.
"""

import asyncio
import ssl
import sys
import time

from aiohttp import web


async def add(request):
    first, second = int(request.match_info["first"]), int(request.match_info["second"])
    return web.json_response({"sum": first + second})


async def reverse(request):
    return web.Response(body=(await request.read())[::-1])


async def processor_time(request):
    """The seconds of processor time that this process has used."""
    return web.json_response(time.process_time())


async def main(certificate=None):
    app = web.Application()
    app.add_routes(
        [
            web.get("/add/{first}/{second}", add),
            web.post("/reverse", reverse),
            web.get("/processor_time", processor_time),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    from demo import FACTORIES

    with asyncio.Runner(loop_factory=FACTORIES[sys.argv[1]]) as runner:
        runner.run(main(*sys.argv[2:]))
