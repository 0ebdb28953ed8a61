"""Memory that runs out while connections are made, used and closed: an exception, never a crash."""

import importlib.util

import pytest

TRAFFIC = """
import gc, os, socket, warnings
import _testcapi
from fastloop import _fastloop
warnings.simplefilter("ignore")

class Recorder(asyncio.Protocol):
    lost = 0
    def data_received(self, data):
        self.transport.write(data)
    def connection_made(self, transport):
        self.transport = transport
    def connection_lost(self, exc):
        self.lost += 1

class Buffered(asyncio.BufferedProtocol):
    lost = 0
    def __init__(self):
        self.buffer = bytearray(1000)
    def get_buffer(self, sizehint):
        return self.buffer
    def buffer_updated(self, nbytes):
        self.transport.writelines([memoryview(self.buffer)[:nbytes], b"more"])
    def connection_made(self, transport):
        self.transport = transport
    def connection_lost(self, exc):
        self.lost += 1

def turn(loop):
    loop.stop()
    loop.run_forever()

def make(loop, protocol):
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    transport, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=left))
    return transport, left, right

def receive_and_answer(loop, transport, right):
    right.send(b"some data")
    turn(loop)

# Made in time: without memory CPython's bytearray() itself frees what was never filled in.
MUCH, MORE = bytearray(100_000), bytearray(300_000)

def write_much(loop, transport, right):
    transport.write(b"x" * 10)
    transport.writelines([b"y" * 1000, MUCH])
    transport.write(MORE)
    turn(loop)

def pause_and_end(loop, transport, right):
    transport.pause_reading()
    transport.resume_reading()
    right.shutdown(socket.SHUT_WR)
    turn(loop)
    turn(loop)

def ask(loop, transport, right):
    repr(transport)
    transport.get_extra_info("socket")
    transport.get_extra_info("peername")
    transport.set_write_buffer_limits(1000)

def close(loop, transport, right):
    transport.close()
    turn(loop)

failures = 0

def attempt(what, args, first, last):
    global failures
    _testcapi.set_nomemory(first, last)
    try:
        what(*args)
    except MemoryError:
        failures += 1
    except BaseException:
        pass
    finally:
        _testcapi.remove_mem_hooks()
        asyncio._set_running_loop(None)  # up to Python 3.11 this itself takes memory at the end of a run

def life(loop, protocol_type, what, first, last):
    '''One connection, with allocations `first` to `last` failing in the middle of it.'''
    protocol = protocol_type()
    transport, left, right = make(loop, protocol)
    attempt(what, (loop, transport, right), first, last)
    transport.abort()
    for _ in range(10):
        turn(loop)
        if protocol.lost:
            break
    assert protocol.lost == 1, (what.__name__, first, protocol.lost)
    right.close()
    assert left.fileno() == -1, (what.__name__, first)

def connect(loop, sock, protocol):
    '''Little Python code runs here: some Pythons crash by themselves when they cannot make a function.'''
    _fastloop.StreamTransport(loop, sock, protocol)
    turn(loop)
    turn(loop)

def birth(loop, first):
    '''A transport that may not come to be.'''
    protocol = Recorder()
    left, right = socket.socketpair()
    left.setblocking(False)
    attempt(connect, (loop, left, protocol), first, first + 1)
    for _ in range(2):
        turn(loop)
    if "transport" in vars(protocol):
        protocol.transport.abort()
        turn(loop)
        assert protocol.lost == 1, first
        del protocol.transport
    left.close()
    right.close()

def serve(loop, server, first):
    '''A client that may be turned away; the next is served.'''
    with socket.create_connection(server.sockets[0].getsockname()):
        attempt(turn, (loop,), first, first + 1)
        for _ in range(3):
            turn(loop)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.send(b"x")
        client.setblocking(False)
        assert loop.run_until_complete(asyncio.wait_for(loop.sock_recv(client, 10), 5)) == b"x", first
    for _ in range(4):
        turn(loop)

def descriptors():
    return len(os.listdir("/proc/self/fd"))

before = descriptors()
loop = new_event_loop()
loop.set_exception_handler(lambda loop, context: None)
for protocol_type in (Recorder, Buffered):
    for what in (receive_and_answer, write_much, pause_and_end, ask, close):
        for first in range(1, 60):
            life(loop, protocol_type, what, first, first + 1)
        for first in range(1, 30, 2):
            life(loop, protocol_type, what, first, first + 20)
assert failures > 50, failures
for first in range(1, 80):
    birth(loop, first)
server = loop.run_until_complete(loop.create_server(Recorder, "127.0.0.1", 0))
for first in range(1, 80):
    serve(loop, server, first)
server.close()
loop.run_until_complete(asyncio.wait_for(server.wait_closed(), 5))
gc.collect()
loop.close()
gc.collect()
assert descriptors() == before
print("alive")
"""


def test_allocations_that_fail(impl, run_script):
    """Each allocation of a call in turn; afterwards the transport can be aborted, and its end comes once."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's Python code may be left halfway at any allocation")
    if importlib.util.find_spec("_testcapi") is None:
        pytest.skip("this Python has no _testcapi")
    result = run_script(TRAFFIC)
    assert (result.stdout, result.stderr, result.returncode) == ("alive\n", "", 0)
