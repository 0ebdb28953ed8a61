"""Connections by the thousand: what they took, they give back."""

import pytest

CHURN = """
import gc, os, resource, socket

PAGE = resource.getpagesize()

class Echo(asyncio.Protocol):
    made = lost = 0
    def connection_made(self, transport):
        self.transport = transport
        Echo.made += 1
    def data_received(self, data):
        self.transport.write(data)
    def connection_lost(self, exc):
        assert exc is None
        Echo.lost += 1

class Client(asyncio.BufferedProtocol):
    def __init__(self, ended):
        self.buffer, self.ended, self.count = bytearray(100), ended, 0
    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"question")
    def get_buffer(self, sizehint):
        return self.buffer
    def buffer_updated(self, nbytes):
        self.count += nbytes
        if self.count == 8:
            self.transport.close()
    def connection_lost(self, exc):
        assert exc is None
        self.ended.set_result(bytes(self.buffer[:self.count]))

async def batch(loop, listener, count):
    ended = []
    for _ in range(count):
        sock = socket.socket(listener.family)
        sock.setblocking(False)
        await loop.sock_connect(sock, listener.getsockname())
        future = loop.create_future()
        transport, _ = await loop.create_connection(lambda: Client(future), sock=sock)
        transport.get_extra_info("peername")
        ended.append(future)
    assert await asyncio.gather(*ended) == [b"question"] * count
    while Echo.lost < Echo.made:
        await asyncio.sleep(0)

async def connect(loop, listener, count):
    for _ in range(count // 100):
        await batch(loop, listener, 100)

def resident():
    gc.collect()
    with open("/proc/self/statm") as status:
        return int(status.read().split()[1]) * PAGE

def descriptors():
    return len(os.listdir("/proc/self/fd"))

async def main(loop):
    with socket.socket(socket.FAMILY) as listener:
        listener.bind(("127.0.0.1", 0) if listener.family == socket.AF_INET else PATH)
        server = await loop.create_server(Echo, sock=listener)
        await connect(loop, listener, WARM_UP)
        before = resident(), descriptors()
        await connect(loop, listener, COUNT)
        after = resident(), descriptors()
        assert after[1] == before[1], (before, after)
        server.close()
        await server.wait_closed()
    print(Echo.lost, after[0] - before[0])

before = descriptors()
loop = new_event_loop()
loop.run_until_complete(asyncio.wait_for(main(loop), 100))
loop.close()
assert descriptors() == before
"""


@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX"])
def test_ten_thousand_connections(impl, run_script, tmp_path, family):
    """In batches of a hundred; a leak of 100 bytes for each end of a connection would be seen."""
    warm_up, count = (2000, 10_000) if impl.name == "fastloop" else (500, 500)
    settings = {"FAMILY": family, "PATH": repr(str(tmp_path / "socket")), "WARM_UP": warm_up, "COUNT": count}
    source = CHURN
    for name, value in settings.items():
        source = source.replace(name, str(value))
    result = run_script(source, timeout=110)
    assert (result.stderr, result.returncode) == ("", 0)
    served, grown = map(int, result.stdout.split())
    assert served == warm_up + count
    if impl.name == "fastloop":
        assert grown < 50 * count
