"""System calls that transfer less than asked, or fail for no reason: the stream stays whole."""

import hashlib
import random
import signal

import pytest
from faults import FAULTS, faulty_environment
from net import Recorder, receive_all, run


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("call", ["write", "writelines", "mixed"])
def test_tiny_send_buffer(loop, connect, kind, call):
    """The kernel takes the stream in small pieces, whatever it was written in."""
    rng = random.Random(call)
    connection = connect(kind=kind, sndbuf=1)
    written = bytearray()
    pieces = [rng.randbytes(rng.choice([1, 10, 1000, 5000, 50_000])) for _ in range(60)]

    async def write():
        for number, piece in enumerate(pieces):
            written.extend(piece)
            if call == "write" or (call == "mixed" and number % 2):
                connection.transport.write(piece)
            else:
                half = len(piece) // 2
                connection.transport.writelines(
                    [piece[:half] or piece, bytearray(piece[half:])] if half else [piece]
                )
        connection.transport.close()

    writing = loop.create_task(write())
    assert run(loop, receive_all(loop, connection.peer)) == written
    connection.run_until_lost()
    assert writing.done() and connection.protocol.reason is None


# With a library in between.


TRAFFIC = """
import hashlib, random, socket

DATA = random.Random(2).randbytes(SIZE)

class Echo(asyncio.Protocol):
    lost = 0
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
        Echo.lost += 1

class Client(asyncio.BufferedProtocol):
    def __init__(self, loop):
        self.buffer, self.received, self.ended = bytearray(10_000), bytearray(), loop.create_future()
    def connection_made(self, transport):
        self.transport = transport
        for start in range(0, len(DATA), 20_000):
            transport.writelines([DATA[start:start + 10], DATA[start + 10:start + 5_000]])
            transport.write(DATA[start + 5_000:start + 20_000])
        transport.write_eof()
    def get_buffer(self, sizehint):
        return self.buffer
    def buffer_updated(self, nbytes):
        self.received += self.buffer[:nbytes]
    def connection_lost(self, exc):
        self.ended.set_result(exc)

async def main(path):
    loop = asyncio.get_running_loop()
    for family in (socket.AF_INET, socket.AF_UNIX):
        with socket.socket(family) as listener:
            listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else path)
            server = await loop.create_server(Echo, sock=listener)
            clients = []
            for _ in range(3):
                sock = socket.socket(family)
                sock.setblocking(False)
                await loop.sock_connect(sock, listener.getsockname())
                clients.append((await loop.create_connection(lambda: Client(loop), sock=sock))[1])
            for client in clients:
                assert await client.ended is None
                print(hashlib.sha256(client.received).hexdigest())
            server.close()
            await server.wait_closed()

loop = new_event_loop()
loop.run_until_complete(asyncio.wait_for(main(PATH), 50))
loop.close()
assert Echo.lost == 6
"""


@pytest.mark.parametrize("fault", FAULTS)
def test_traffic_with_faults(run_script, shim, tmp_path, fault):
    size = 2_000 if fault == "bytes" else 300_000
    source = TRAFFIC.replace("PATH", repr(str(tmp_path / "socket"))).replace("SIZE", str(size))
    log = tmp_path / "faults"
    result = run_script(source, env=faulty_environment(shim, fault, log))
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.split() == [hashlib.sha256(random.Random(2).randbytes(size)).hexdigest()] * 6
    assert int(log.read_text()) > 50


def test_signals_in_between(loop, connect):
    """A signal a millisecond, each with a handler: waits and transfers are interrupted all the time."""
    seen = []
    data = random.Random(3).randbytes(1 << 20)
    connection = connect(Recorder(), kind="tcp", sndbuf=1)
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        connection.transport.write(data)
        connection.transport.close()
        assert run(loop, receive_all(loop, connection.peer)) == data
        connection.run_until_lost()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen and connection.protocol.reason is None
