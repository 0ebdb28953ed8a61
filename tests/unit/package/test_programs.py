"""Programs that are told by a name or a factory to run on fastloop do so: uvicorn and aiohttp, as docs/usage.md says."""

import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

APPLICATION = """
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = repr(type(asyncio.get_running_loop())).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

AIOHTTP = """
import asyncio
import socket
import sys
from aiohttp import web
import fastloop

async def loop_type(request):
    return web.Response(text=repr(type(asyncio.get_running_loop())))

app = web.Application()
app.router.add_get("/", loop_type)
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), loop=fastloop.new_event_loop(), print=None)
"""


@contextmanager
def serving(folder, *command):
    """The URL of a server started by `python COMMAND FD`, where FD is a listening socket; it has to end by SIGINT."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = listening.fileno()
        server = subprocess.Popen(
            [sys.executable, *command, str(descriptor)],
            cwd=folder,
            env=environment,
            pass_fds=[descriptor],
            stderr=subprocess.PIPE,
            text=True,
        )
        port = listening.getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/"
        server.send_signal(2)
        _, complaints = server.communicate(timeout=30)
        assert server.returncode in (0, -2), complaints
        assert complaints == ""
    finally:
        server.kill()
        server.communicate()


def get(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read().decode()


def test_uvicorn_takes_the_loop_by_name(tmp_path):
    (tmp_path / "application.py").write_text(APPLICATION)
    options = ["--loop", "fastloop:new_event_loop", "--lifespan", "off", "--log-level", "warning"]
    with serving(tmp_path, "-m", "uvicorn", "application:app", *options, "--fd") as url:
        assert get(url) == "<class 'fastloop._loop.Loop'>"
        assert get(url) == "<class 'fastloop._loop.Loop'>"


def test_aiohttp_takes_a_loop(tmp_path):
    (tmp_path / "program.py").write_text(AIOHTTP)
    with serving(tmp_path, "program.py") as url:
        assert get(url) == "<class 'fastloop._loop.Loop'>"
        assert get(url) == "<class 'fastloop._loop.Loop'>"
