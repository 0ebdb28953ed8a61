"""A process that forks while it serves: the child leaves the connections alone, the parent goes on."""

import pytest

SERVE = """
import gc, os, socket, sys, warnings
warnings.simplefilter("ignore")

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data + b"!")
        if data == b"fork":
            fork(self)

def exit_at_once(protocol):
    os._exit(0)

def leave(protocol):
    '''Through all that the interpreter does at its end.'''
    sys.exit(0)

def close_everything(protocol):
    for method in ("close", "abort"):
        try:
            getattr(protocol.transport, method)()
        except RuntimeError:
            pass
    protocol.transport = None
    gc.collect()
    os._exit(0)

def run_another_loop(protocol):
    '''What a child of multiprocessing does.'''
    asyncio._set_running_loop(None)
    left, right = socket.socketpair()
    async def main(loop):
        left.setblocking(False)
        transport, _ = await loop.create_connection(Echo, sock=left)
        right.send(b"x")
        while not select.select([right], [], [], 0)[0]:
            await asyncio.sleep(0)
        assert right.recv(10) == b"x!"
        transport.close()
        await asyncio.sleep(0)
    import select
    loop = new_event_loop()
    loop.run_until_complete(main(loop))
    loop.close()
    os._exit(0)

def fork(protocol):
    child = os.fork()
    if child == 0:
        try:
            CHILD(protocol)
        except SystemExit:
            raise
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0

async def main(loop):
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    clients = []
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        clients.append(client)
    async def ask(client, question):
        await loop.sock_sendall(client, question)
        return await loop.sock_recv(client, 100)
    for client in clients:
        assert await ask(client, b"before") == b"before!"
    for _ in range(2):
        assert await ask(clients[1], b"fork") == b"fork!"
        for client in clients:
            assert await ask(client, b"after") == b"after!"
    with socket.create_connection(server.sockets[0].getsockname()) as late:
        late.setblocking(False)
        assert await ask(late, b"late") == b"late!"
    for client in clients:
        client.close()
    server.close()
    await server.wait_closed()

loop = new_event_loop()
try:
    loop.run_until_complete(asyncio.wait_for(main(loop), 20))
    loop.run_until_complete(asyncio.sleep(0.01))
finally:
    loop.close()
print("served")
"""


@pytest.mark.parametrize("child", ["exit_at_once", "leave", "close_everything", "run_another_loop"])
def test_fork_while_serving(impl, run_script, child):
    """What was written before the fork is sent once."""
    if impl.name == "asyncio" and child != "exit_at_once":
        pytest.skip("asyncio's child changes the registrations it shares with its parent")
    result = run_script(SERVE.replace("CHILD", child))
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.splitlines()[-1] == "served"


def test_fork_behind_data_that_waits(run_script):
    """Neither process sends it twice."""
    result = run_script("""
import os, socket

async def main(loop):
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
    data = bytes(range(256)) * 10_000
    transport.write(data)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    transport.write(b"after")
    transport.close()
    received = bytearray()
    while chunk := await loop.sock_recv(right, 1 << 20):
        received += chunk
    assert received == data + b"after"
    right.close()
    print("whole")

loop = new_event_loop()
loop.run_until_complete(asyncio.wait_for(main(loop), 20))
loop.close()
""")
    assert (result.stdout, result.stderr, result.returncode) == ("whole\n", "", 0)
