"""Random lives of TLS connections, and what must hold of each of them.

    tls_lives.py SEED COUNT

Prints a JSON object for each life: its "trace", which is to be the same in whichever way data passes, and what is
"broken".  A life is made of random steps of both ends; it begins in the middle of the handshake or after it, and ends
with a close that the peer answers, or as it comes.
"""

import asyncio
import functools
import gc
import json
import logging
import random
import socket
import ssl
import sys
import weakref
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import fastloop
from support.net import BufferedRecorder, Recorder, run_turns, unix_pair
from support.tls import VERSIONS, RawPeer, context_for, make_transport, start_tls

SIZES = [1, 5, 100, 1000, 16384, 16385, 40_000]  # bytes of data
BULK = [200_000, 600_000, 1_500_000]
PIECES = [1, 7, 100, 5000, 1 << 20, 1 << 20]  # bytes of records
CALLS = ["connection_made", "connection_lost", "data_received", "get_buffer", "buffer_updated"]
CALLS += ["eof_received", "pause_writing", "resume_writing"]
OWN = {"write": 10, "write_bulk": 2, "writelines": 2, "pause": 2, "resume": 4, "switch": 2, "limit": 2}
OWN |= {"close": 0.6, "abort": 0.3}  # how often each happens, compared with the others
LONG = 600  # seconds: no timeout is to strike
STEPS = 40  # at most

shared_context = functools.cache(context_for)


@functools.cache
def stream():
    """What either end sends, from its beginning on: no two places in it look alike."""
    return random.Random(1).randbytes(12_000_000)


class Peer(RawPeer):
    """The other end: records wait in `pending` until they are let go, a few bytes or all of them."""

    def __init__(self, sock, context, server_side, watch):
        super().__init__(None, sock, context, server_side)
        self.watch = watch
        self.pending = bytearray()
        self.written = self.read_bytes = 0
        self.connected = self.notified = self.told = False  # told: by a close_notify of ours
        self.ended = self.failed = self.gone = False

    def attempt(self, step, *args):
        """The result, or None if it wants input or fails."""
        try:
            return step(*args)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            self.told = True
        except OSError as error:
            self.failed = True
            self.watch.note("peer", getattr(error, "reason", None))
        return None

    def shake_hands(self):
        if not self.connected:
            self.attempt(self.ssl_object.do_handshake)
            self.connected = self.ssl_object.version() is not None
        self.pending += self.collect()

    def let_go(self, count=1 << 20):
        """Send some of what is pending."""
        if self.ended or self.gone:
            return
        try:
            del self.pending[: self.sock.send(self.pending[:count])]
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True

    def take(self, count=1 << 20):
        """Receive so many bytes at most and look into what has come."""
        if self.gone:
            return
        try:
            self.feed(self.sock.recv(count))
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True
        self.shake_hands()
        if self.connected:
            self.look()

    def look(self):
        while (data := self.attempt(self.ssl_object.read, 1 << 16)) is not None:
            if not data:
                self.told = True
                break
            self.watch.require(
                data == stream()[self.read_bytes : self.read_bytes + len(data)], "wrong data at the peer"
            )
            self.read_bytes += len(data)
        self.pending += self.collect()

    def add(self, size):
        if self.connected and not self.notified and not self.failed:
            data = stream()[self.written : self.written + size]
            self.written += self.attempt(self.ssl_object.write, data) or 0
            self.pending += self.collect()

    def notify(self):
        if self.connected and not self.notified and not self.failed:
            self.notified = True
            self.pending += self.close_notify_if_possible()

    def close_notify_if_possible(self):
        self.attempt(self.ssl_object.unwrap)
        return self.collect()

    def lie(self, size):
        self.failed = True
        self.pending += bytes(size)

    def end(self):
        if not self.gone and not self.ended:
            self.ended = True
            self.failed |= bool(self.pending)
            self.sock.shutdown(socket.SHUT_WR)

    def leave(self):
        self.gone = True
        self.sock.close()


class Watch:
    """What protocols were called, in order; `broken` says what they should not have been."""

    def __init__(self):
        self.trace, self.broken = [], []
        self.states = set()
        self.received = 0

    def note(self, *what):
        self.trace.append(what)

    def require(self, condition, otherwise):
        if not condition:
            self.broken.append(otherwise)

    def called(self, number, name, args):
        rule = getattr(self, name, None)
        self.require("connection_lost" not in self.states, f"{name}() after connection_lost()")
        self.require("connection_made" in self.states or name == "connection_made", f"{name}() too early")
        if name.startswith(("connection", "eof")):
            self.require(name not in self.states, f"{name}() twice")
        self.states.add(name)
        if rule is not None:
            rule(*args)
        if name not in ("data_received", "get_buffer", "buffer_updated"):
            self.note(number, name, *(type(arg).__name__ for arg in args if name == "connection_lost"))

    def data_received(self, data):
        self.require(data and "eof_received" not in self.states, "data after the end")
        self.require(data == stream()[self.received : self.received + len(data)], "wrong data")
        self.received += len(data)

    def pause_writing(self):
        self.require("paused" not in self.states, "paused twice")
        self.states.add("paused")

    def resume_writing(self):
        self.require("paused" in self.states, "resumed without a pause")
        self.states.discard("paused")


class Life:
    """One connection: our end, the peer, and the dice."""

    def __init__(self, loop, seed):
        self.loop, self.dice = loop, random.Random(seed)
        self.watch = Watch()
        self.server_side = self.dice.random() < 0.5
        self.version = self.dice.choice(list(VERSIONS))
        self.left, sock = unix_pair()
        context = shared_context(not self.server_side, self.version)
        self.peer = Peer(sock, context, not self.server_side, self.watch)
        self.transport = None
        self.protocols = []
        self.written = 0
        self.allowed = 60  # reactions
        self.within = []  # which calls we are in
        self.closed = self.aborted = self.reading_paused = False
        self.reactions = self.choose_reactions()
        loop.set_exception_handler(self.reported)
        self.upgrade = self.dice.random() < 0.5
        self.making = loop.create_task(self.make())

    def reported(self, loop, context):
        self.watch.broken.append(f"reported: {context['message']} {context.get('exception')!r}")

    def choose_reactions(self):
        if self.dice.random() < 0.4:
            return {}
        calls = self.dice.sample(
            [name for name in CALLS if name != "buffer_updated"], self.dice.randint(1, 3)
        )
        return {name: [self.choose() for _ in range(self.dice.randint(1, 3))] for name in calls}

    def choose(self):
        [action] = self.dice.choices(list(OWN), OWN.values())
        return action, self.dice.choice(BULK if action == "write_bulk" else SIZES)

    # -- our end

    async def make(self):
        options = {"ssl_handshake_timeout": LONG, "ssl_shutdown_timeout": LONG}
        context = shared_context(self.server_side, self.version)
        protocol = self.new_protocol()
        if self.upgrade:
            plain, _ = await self.loop.create_connection(lambda: protocol, sock=self.left)
            return await start_tls(self.loop, plain, protocol, context, self.server_side, **options)
        making = make_transport(
            self.loop, lambda: protocol, self.left, self.server_side, ssl=context, **options
        )
        return (await making)[0]

    @property
    def made(self):
        return self.making.done() and not self.making.cancelled() and self.making.exception() is None

    @property
    def lost(self):
        return "connection_lost" in self.watch.states

    def new_protocol(self):
        number = len(self.protocols)
        buffer_size = self.dice.choice([None, None, 1, 100, 5000, 65_536, 300_000])
        protocol = Recorder() if buffer_size is None else BufferedRecorder(buffer_size)
        for name in CALLS:
            protocol.on[name] = functools.partial(self.called, protocol, number, name)
        self.protocols.append(protocol)
        return protocol

    def called(self, protocol, number, name, *args):
        if name == "connection_made":
            [self.transport] = args
        if name == "buffer_updated":
            self.watch.data_received(bytes(memoryview(protocol.buffer)[: args[0]]))
        self.watch.called(number, name, args)
        self.within.append(name)
        for action in self.reactions.get("data_received" if name == "buffer_updated" else name, []):
            self.allowed -= 1
            if len(self.within) <= 3 and self.allowed > 0:
                self.act(*action)
        self.within.pop()

    def act(self, action, size):
        if self.transport is not None and not self.lost:
            getattr(self, action)(size)

    def write(self, size, how=None):
        data = stream()[self.written : self.written + size]
        if self.transport.is_closing():
            self.transport.write(b"in vain")
        elif self.made or not self.upgrade:
            self.written += len(data)
            (how or self.transport.write)(data)

    write_bulk = write

    def writelines(self, size):
        def write(data):
            self.transport.writelines([data[: size // 2], bytearray(data[size // 2 :])])

        self.write(size, write)

    def close(self, _):
        self.closed = True
        self.transport.close()

    def abort(self, _):
        self.closed = self.aborted = True
        self.transport.abort()

    def pause(self, _):
        self.reading_paused = True
        self.transport.pause_reading()

    def resume(self, _):
        self.reading_paused = False
        self.transport.resume_reading()

    def switch(self, _):
        if self.made or not self.upgrade:
            self.transport.set_protocol(self.new_protocol())

    def limit(self, size):
        self.transport.set_write_buffer_limits(size)

    # -- the course of it

    def turn(self, times=1):
        run_turns(self.loop, times)

    def step(self):
        dice = self.dice
        chosen = dice.choices(
            [
                self.act_now,
                self.act_in_a_callback,
                self.peer.take,
                self.peer.let_go,
                self.peer.add,
                self.peer.notify,
            ]
            + [self.peer.end, self.peer.leave, self.peer.lie],
            [30, 6, 16, 16, 12, 3, 1, 0.5, 0.5],
        )[0]
        if chosen in (self.peer.take, self.peer.let_go):
            chosen(dice.choice(PIECES))
        elif chosen in (self.peer.add, self.peer.lie):
            chosen(dice.choice(SIZES))
        else:
            chosen()

    def act_now(self):
        self.act(*self.choose())

    def act_in_a_callback(self):
        actions = [self.choose() for _ in range(self.dice.randint(2, 5))]
        self.loop.call_soon(lambda: [self.act(*action) for action in actions])

    def exchange(self):
        """Until neither end has anything left to do."""
        before = None
        while before != (before := (*self.state(), len(self.peer.pending))):
            self.peer.let_go()
            self.turn(2)
            self.peer.take()
            self.turn(2)

    def state(self):
        closing = self.transport and self.transport.is_closing()
        counts = (self.watch.received, self.peer.read_bytes, self.peer.told)
        return (closing, self.making.done(), self.lost, *counts)

    def run(self):
        self.turn(4)
        if self.dice.random() < 0.8:
            self.exchange()
        for _ in range(self.dice.randint(3, STEPS)):
            self.step()
            self.turn(4)
            self.watch.note(*self.state())
        self.reactions = {}
        if self.dice.random() < 0.7:
            self.close_gracefully()
        self.end()

    def close_gracefully(self):
        if self.transport is not None and not self.lost:
            self.act("resume", 0)
        self.exchange()
        healthy = not (self.peer.failed or self.peer.gone or self.aborted or self.peer.ended) and self.made
        if healthy and not self.closed:
            self.watch.require(self.watch.received == self.peer.written, "not all was received")
        if healthy and not self.peer.notified:
            self.watch.require(self.peer.read_bytes == self.written, "not all was sent")
        self.act("close", 0)
        self.exchange()
        self.peer.notify()
        self.exchange()
        self.watch.require(not healthy or (self.lost and self.peer.told), "the end was not agreed on")

    def end(self):
        self.peer.leave()
        self.turn(6)
        self.act("abort", 0)
        self.making.cancel()
        self.turn(6)
        error = None if self.making.cancelled() else self.making.exception()
        self.watch.note(type(error).__name__, getattr(error, "reason", None))
        self.watch.require(error is None or isinstance(error, OSError), f"made with {error!r}")
        self.watch.require(self.lost or self.transport is None, "connection_lost() was not called")
        self.watch.require(self.left.fileno() == -1, "the socket is open")
        self.watch.require(
            self.transport is None or not self.transport.get_write_buffer_size(), "bytes are left"
        )
        self.loop.set_exception_handler(None)
        self.turn()


def main(first, count):
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # writing in vain
    loop = fastloop.new_event_loop()
    protocols = []
    for seed in range(first, first + count):
        life = Life(loop, seed)
        life.run()
        protocols += map(weakref.ref, life.protocols)
        print(json.dumps({"trace": life.watch.trace, "broken": life.watch.broken}), flush=True)
    del life
    gc.collect()
    assert [ref() for ref in protocols if ref() is not None] == []
    assert not asyncio.all_tasks(loop)
    loop.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
