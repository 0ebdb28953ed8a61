"""Allocations that fail in the middle of TLS, each one in turn: an exception, never a crash, and always an end.

Each of the `STEPS` of a connection's life is tried with one allocation after the other failing in it, and with twenty in
a row; whatever came of it, the transport can be aborted and its end comes once.  Python's allocator fails, OpenSSL's does
not.  Prints "alive".
"""

import asyncio
import gc
import os
import socket
import ssl
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import _testcapi

import fastloop
from fastloop import _fastloop
from support.net import run_turns
from support.tls import NAME, RawPeer, client_context, make_transport, server_context

warnings.simplefilter("ignore")


class Recorder(asyncio.Protocol):
    lost = 0
    received = 0
    transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += len(data)
        self.transport.write(data)

    def connection_lost(self, exc):
        self.lost += 1


class Buffered(asyncio.BufferedProtocol):
    lost = 0
    received = 0
    transport = None

    def __init__(self):
        self.buffer = bytearray(1000)

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.received += nbytes
        self.transport.writelines([memoryview(self.buffer)[:nbytes], b"more"])

    def connection_lost(self, exc):
        self.lost += 1


CONTEXTS = {True: server_context(), False: client_context()}
# Made in time: without memory CPython's bytearray() itself frees what was never filled in.
MUCH, MORE = bytearray(100_000), bytearray(300_000)


class Life:
    """A connection, one of whose steps has to do without some allocations."""

    def __init__(self, loop, protocol_type, server_side):
        self.loop, self.protocol, self.server_side = loop, protocol_type(), server_side
        self.left, self.sock = socket.socketpair()
        self.left.setblocking(False)
        self.sock.setblocking(False)
        self.peer = RawPeer(None, self.sock, CONTEXTS[not server_side], not server_side)

    def create(self):
        context = CONTEXTS[self.server_side]
        return make_transport(self.loop, lambda: self.protocol, self.left, self.server_side, ssl=context)

    def turn(self):
        run_turns(self.loop)

    def exchange(self):
        """Have the peer take what we sent and answer it."""
        try:
            self.peer.incoming.write(self.sock.recv(1 << 20))
        except OSError:
            pass
        for step in (self.peer.ssl_object.do_handshake, self.peer.ssl_object.read):
            try:
                step()
            except ssl.SSLError:
                pass
        try:
            self.sock.send(self.peer.collect())
        except OSError:
            pass

    def connect(self, fail):
        """Shake hands; in each turn of ours `fail` calls turn()."""
        making = self.loop.create_task(self.create())
        for _ in range(20):
            self.exchange()
            fail(self.turn)
            if making.done():
                self.exchange()
                break
        return making

    def receive(self):
        self.turn()

    def write(self):
        self.protocol.transport.write(b"x" * 10)
        self.protocol.transport.writelines([b"y" * 1000, MUCH])
        self.protocol.transport.write(MORE)
        self.turn()

    def pause(self):
        self.protocol.transport.pause_reading()
        self.turn()
        self.protocol.transport.resume_reading()
        self.turn()

    def ask(self):
        transport = self.protocol.transport
        repr(transport)
        for name in ("socket", "ssl_object", "peercert", "cipher", "compression", "sslcontext"):
            transport.get_extra_info(name)
        transport.set_write_buffer_limits(1000)
        transport.get_write_buffer_size()

    def close(self):
        self.protocol.transport.close()
        self.turn()
        self.exchange()
        self.turn()

    def end(self):
        """Whatever has happened: abort, and look."""
        transport = self.protocol.transport
        if transport is not None:
            transport.abort()
        for _ in range(10):
            self.turn()
            if self.protocol.lost or transport is None:
                break
        assert self.protocol.lost == (transport is not None), (self.protocol.lost, transport)
        self.sock.close()


STEPS = [Life.receive, Life.write, Life.pause, Life.ask, Life.close]
failures = 0


def attempt(step, first, last):
    """Call a step with allocations `first` to `last` failing in it."""
    global failures
    failed = False
    _testcapi.set_nomemory(first, last)
    try:
        step()
    except BaseException as error:
        failed = isinstance(error, MemoryError)
    finally:
        _testcapi.remove_mem_hooks()
        asyncio._set_running_loop(None)  # up to Python 3.11 this itself takes memory at the end of a run
    failures += failed


def try_step(loop, protocol_type, server_side, step, first, last):
    life = Life(loop, protocol_type, server_side)
    making = life.connect(lambda turn: turn())
    making.result()
    life.peer.ssl_object.write(b"some data")
    life.exchange()
    attempt(lambda: step(life), first, last)
    life.end()
    assert life.left.fileno() == -1, (step.__name__, first)


def try_handshake(loop, server_side, number, first, last):
    """The allocations fail in that turn of the handshake."""
    life = Life(loop, Recorder, server_side)
    turns = iter(range(100))
    making = life.connect(lambda turn: attempt(turn, first, last) if next(turns) == number else turn())
    made = making.done() and making.exception() is None
    making.cancel()
    for _ in range(3):
        life.turn()
    if not made and life.protocol.transport is None:
        life.left.close()
    life.end()
    assert life.left.fileno() == -1, (number, first)


def make(life):
    """Little Python code runs here: some Pythons crash by themselves when they cannot make a function."""
    server_side = life.server_side
    layer = _fastloop.TLSLayer(CONTEXTS[server_side], server_side, None if server_side else NAME, 60.0, 30.0)
    layer.open(life.loop, life.left, life.protocol)
    life.turn()


def try_birth(loop, server_side, first):
    """A transport that may not come to be."""
    life = Life(loop, Recorder, server_side)
    attempt(lambda: make(life), first, first + 1)
    life.peer.close()
    for _ in range(3):
        life.turn()
    life.left.close()


def note_unraisable(unraisable):
    """A MemoryError that nobody can take is as it should be."""
    if unraisable.exc_type is not MemoryError:
        sys.__unraisablehook__(unraisable)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def main():
    sys.unraisablehook = note_unraisable
    loop = fastloop.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    before = descriptors()
    for server_side, protocol_type in ((True, Recorder), (False, Buffered)):
        for step in STEPS:
            for first in range(1, 60):
                try_step(loop, protocol_type, server_side, step, first, first + 1)
            for first in range(1, 30, 2):
                try_step(loop, protocol_type, server_side, step, first, first + 20)
        for first in range(1, 120):
            try_birth(loop, server_side, first)
        for number in range(1, 4):
            for first in range(1, 80):
                try_handshake(loop, server_side, number, first, first + 1)
    assert failures > 50, failures
    gc.collect()
    assert descriptors() == before, (descriptors(), before)
    loop.close()
    print("alive")


main()
