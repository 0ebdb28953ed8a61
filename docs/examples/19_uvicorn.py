"""An ASGI application served by uvicorn, which is told by name where its loop comes from.  Needs the package uvicorn.

From the command line it would be:  uvicorn module:app --loop _loop:new_event_loop
"""

import asyncio
import socket
import threading
import urllib.request

import uvicorn


async def app(scope, receive, send):
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    await asyncio.sleep(0)
    answer = b"%s %s with %d bytes\n" % (scope["method"].encode(), scope["path"].encode(), len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": answer})


def ask(port):
    """What a client, here in a thread of its own, gets to see."""
    for path, data in ("/", None), ("/upload", b"x" * 1_000_000):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=30) as response:
            print(response.status, response.headers["server"], response.read())
    server.should_exit = True


config = uvicorn.Config(app, loop="_loop:new_event_loop", lifespan="off", log_level="warning")
server = uvicorn.Server(config)
with socket.create_server(("127.0.0.1", 0)) as listening:
    client = threading.Thread(target=ask, args=(listening.getsockname()[1],))
    client.start()
    server.run(sockets=[listening])
    client.join()
print("stopped")
