"""A server of a thousand TLS connections at once that go in different ways, and what it holds before and after.

    tls_thousand.py asyncio|fastloop WARM_UP COUNT

Prints a JSON object: how much more there is, after COUNT connections, of the process's memory and descriptors.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.net import reset
from support.tls import NAME, RawPeer, client_context, server_context

PAGE = resource.getpagesize()
TIMEOUT = 80  # seconds: a handshake takes milliseconds, but the machine may have other things to do


# -- the clients, in a process of their own so that they are not measured -------------------------------


class Client:
    """A blocking connection, and one of four ways to go."""

    def __init__(self, address, context, number):
        self.way = [self.close, self.reset, self.vanish, self.reset][number % 4]
        self.sock = socket.create_connection(address)
        if number % 4 == 3:
            self.begin(context)
        else:
            self.sock = context.wrap_socket(self.sock, server_hostname=NAME)
            assert self.sock.recv(5) == b"hello"

    def begin(self, context):
        """Half a handshake."""
        peer = RawPeer(None, None, context, False)
        try:
            peer.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            self.sock.sendall(peer.collect())
        self.sock.recv(1)

    def close(self):
        self.sock.unwrap().close()

    def reset(self):
        reset(self.sock)

    def vanish(self):
        """After some data, without a close_notify."""
        self.sock.sendall(bytes(100_000))
        self.sock.close()


def run_clients(port):
    """Obey numbers: that many clients connect, and go at the next line."""
    context = client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # each process has an authority of its own
    address = ("127.0.0.1", port)
    for line in sys.stdin:
        clients = [Client(address, context, number) for number in range(int(line))]
        print("connected", flush=True)
        sys.stdin.readline()
        for client in clients:
            client.way()


# -- the server -----------------------------------------------------------------------------------------


class Greeter(asyncio.Protocol):
    """One per connection; all are counted."""

    made = lost = received = 0

    def connection_made(self, transport):
        Greeter.made += 1
        transport.write(b"hello")

    def data_received(self, data):
        Greeter.received += len(data)

    def connection_lost(self, exc):
        Greeter.lost += 1


def account():
    """What this process holds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as status:
        resident = int(status.read().split()[1]) * PAGE
    return {
        "resident": resident,
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def tell(clients, line):
    clients.stdin.write(line.encode() + b"\n")
    clients.stdin.flush()


async def come_and_go(clients, count):
    """Have that many clients connect, all at once, and go; what the process held when all were there."""
    Greeter.made = Greeter.lost = Greeter.received = 0
    tasks = len(asyncio.all_tasks())
    tell(clients, str(count))
    assert await asyncio.to_thread(clients.stdout.readline) == b"connected\n"
    while Greeter.made < count - count // 4:
        await asyncio.sleep(0.001)
    peak = account()
    tell(clients, "go")
    while Greeter.lost < Greeter.made:
        await asyncio.sleep(0.001)
    assert Greeter.made == count - count // 4 and Greeter.received == count // 4 * 100_000
    while len(asyncio.all_tasks()) > tasks:  # one for each half handshake
        await asyncio.sleep(0.001)
    return peak


async def serve(warm_up, count):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Greeter, "127.0.0.1", 0, backlog=count, ssl=server_context())
    before_clients = account()["descriptors"]
    with clients_of(server.sockets[0].getsockname()[1]) as clients:
        await come_and_go(clients, warm_up)
        before = account()
        peak = await come_and_go(clients, count)
        after = account()
    server.close()
    await server.wait_closed()
    assert account()["descriptors"] == before_clients - 1
    return {
        "peak": {name: peak[name] - before[name] for name in before},
        "left": {name: after[name] - before[name] for name in before},
    }


@contextlib.contextmanager
def clients_of(port):
    """Their process, which does not outlive a server that fails."""
    command = [sys.executable, __file__, "clients", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as clients:
        try:
            yield clients
        except BaseException:
            clients.kill()
            raise


def main(name, *arguments):
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    if name == "clients":
        run_clients(*map(int, arguments))
        return
    if name == "asyncio":
        loop = asyncio.SelectorEventLoop()
    else:
        import fastloop

        loop = fastloop.new_event_loop()
    counts = map(int, arguments)
    print(json.dumps(loop.run_until_complete(asyncio.wait_for(serve(*counts), TIMEOUT))))
    loop.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
