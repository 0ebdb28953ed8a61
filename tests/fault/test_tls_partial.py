"""System calls that transfer less than asked, or fail for no reason, under TLS: the stream stays whole."""

import hashlib
import random
from pathlib import Path

import pytest
from faults import FAULTS, faulty_environment

TRAFFIC = """
import sys
sys.path.insert(0, FOLDER)
import hashlib, random, socket
from tls import NAME, client_context, server_context

DATA = random.Random(2).randbytes(SIZE)
CONTEXTS = [(server_context(version), client_context(version)) for version in ("TLSv1.2", "TLSv1.3")]

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
    def pause_writing(self):
        self.transport.pause_reading()
    def resume_writing(self):
        self.transport.resume_reading()
    def connection_lost(self, exc):
        assert exc is None

class Client(asyncio.BufferedProtocol):
    def __init__(self, loop):
        self.buffer, self.received, self.ended = bytearray(10_000), bytearray(), loop.create_future()
    def connection_made(self, transport):
        self.transport = transport
    def send(self):
        for start in range(0, len(DATA), 20_000):
            self.transport.writelines([DATA[start:start + 10], DATA[start + 10:start + 5_000]])
            self.transport.write(DATA[start + 5_000:start + 20_000])
    def get_buffer(self, sizehint):
        return memoryview(self.buffer)  # of a bytearray asyncio would fill a copy
    def buffer_updated(self, nbytes):
        self.received += self.buffer[:nbytes]
        if len(self.received) == len(DATA):
            self.transport.close()
    def connection_lost(self, exc):
        self.ended.set_result(exc)

async def connect(loop, address, context):
    '''One by ssl=, one by start_tls().'''
    _, client = await loop.create_connection(lambda: Client(loop), *address, ssl=context, server_hostname=NAME)
    client.send()
    plain, other = await loop.create_connection(lambda: Client(loop), *address)
    other.transport = await loop.start_tls(plain, other, context, server_hostname=NAME)
    other.send()
    return [client, other]

async def main():
    loop = asyncio.get_running_loop()
    for server_context, client_context in CONTEXTS:
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context)
        for client in await connect(loop, server.sockets[0].getsockname(), client_context):
            assert await client.ended is None
            print(hashlib.sha256(client.received).hexdigest())
        server.close()
        await server.wait_closed()

loop = new_event_loop()
loop.run_until_complete(asyncio.wait_for(main(), 50))
loop.close()
"""


@pytest.mark.parametrize("way", ["direct", "python"])
@pytest.mark.parametrize("fault", FAULTS)
def test_traffic_with_faults(impl, run_script, shim, tmp_path, fault, way):
    if impl.name == "asyncio" and way == "python":
        pytest.skip("the same as the other")
    size = 2_000 if fault == "bytes" else 300_000
    source = TRAFFIC.replace("FOLDER", repr(str(Path(__file__).parents[1]))).replace("SIZE", str(size))
    log = tmp_path / "faults"
    environment = faulty_environment(shim, fault, log)
    result = run_script(source, env={**environment, "FASTLOOP_TLS": "" if way == "direct" else way})
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.split() == [hashlib.sha256(random.Random(2).randbytes(size)).hexdigest()] * 4
    assert int(log.read_text()) > 50
