"""A detector of blocking calls sees nothing in what a loop does for its user, as on asyncio's loop.

blockbuster replaces functions that may block, os.stat() and os.read() among them, by ones that raise when they are called in a
running loop.  Those that asyncio calls it knows by file and function; what fastloop does is in other files.
"""

import asyncio
import io
import os
import pathlib
import socket
import subprocess
import sys

import blockbuster
import pytest
from support.net import receive_all, run

DATA = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def detector():
    with blockbuster.blockbuster_ctx() as detector:
        # Of no interest here, and threading takes locks in files of its own.
        detector.functions["threading.Lock.acquire"].deactivate()
        detector.functions["threading.Lock.acquire_lock"].deactivate()
        yield detector


@pytest.fixture
def file(tmp_path):
    (tmp_path / "data").write_bytes(DATA)
    with open(tmp_path / "data", "rb") as file:
        yield file


def test_the_detector_works(loop):
    async def main():
        with pytest.raises(blockbuster.BlockingError):
            os.stat("/")

    run(loop, main())


def test_sock_sendfile(loop, tcp_pair, file):
    left, right = tcp_pair

    async def main():
        receiving = loop.create_task(receive_all(loop, right))
        assert await loop.sock_sendfile(left, file, fallback=False) == len(DATA)
        left.shutdown(socket.SHUT_WR)
        assert await receiving == DATA

    run(loop, main())


@pytest.mark.parametrize("kind", ["file", "object"])
def test_sendfile(loop, tcp_pair, file, kind):
    left, right = tcp_pair

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        receiving = loop.create_task(receive_all(loop, right))
        source = file if kind == "file" else io.BytesIO(DATA)
        assert await loop.sendfile(transport, source) == len(DATA)
        transport.close()
        assert await receiving == DATA
        await loop.shutdown_default_executor()

    run(loop, main())


@pytest.mark.parametrize("stale", [False, True], ids=["new", "stale"])
def test_create_unix_server(impl, loop, tmp_path, stale):
    if impl.name == "asyncio" and stale:
        pytest.skip("blockbuster knows nothing of asyncio's os.remove()")
    path = str(tmp_path / "socket")
    if stale:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)

    async def main():
        server = await loop.create_unix_server(asyncio.Protocol, path)
        server.close()
        await server.wait_closed()

    run(loop, main())
    if sys.version_info >= (3, 13):
        assert not pathlib.Path(path).exists()


OPTIONS = [
    {},
    {"cwd": "/"},
    {"env": {"NAME": "value"}},
    {"close_fds": False},
    {"start_new_session": True},
    {"process_group": 0},
    {"umask": 0o22},
    {"restore_signals": False},
    {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT},
    {"preexec_fn": lambda: None},
]
if os.getuid() == 0:
    OPTIONS.append({"user": 1, "group": 2, "extra_groups": [3]})


@pytest.mark.parametrize("program", ["true", "/bin/true"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "none")
def test_children(loop, program, options):
    async def main():
        child = await asyncio.create_subprocess_exec(program, **options)
        await child.communicate()
        child = await asyncio.create_subprocess_shell(program, **options)
        await child.communicate()

    run(loop, main())


@pytest.mark.parametrize("options", [{}, {"cwd": "/no/such/folder"}], ids=["program", "folder"])
def test_children_that_do_not_start(loop, options):
    async def main():
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/no/such/program", **options)

    run(loop, main())
