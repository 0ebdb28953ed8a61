"""TLS connections with what they use taken away, replaced or kept: their loop, context, descriptor and protocol."""

import asyncio
import contextlib
import gc
import socket
import ssl
import sys
import time
import weakref

import pytest
from support.net import TIMEOUT, Recorder, receive, run
from support.subinterpreters import RUN_IN_NEW_INTERPRETER
from support.tls import NAME, TlsEnds, authority, certificate, client_context

BIG = bytes(5_000_000)


# The loop.


def test_time_of_the_loops_own(impl):
    """Timeouts are by loop.time().  Once they were by the monotonic clock, and each handshake timed out at once."""

    class Loop(impl.Loop):
        def time(self):
            return time.time()

    loop = Loop()
    tls = TlsEnds(loop)
    connection = tls.connect(server_side=True)
    connection.send(b"data")
    connection.transport.close()
    connection.run(connection.peer.shutdown())
    connection.run_until_lost()
    assert connection.protocol.reason is None
    tls.end()
    loop.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_close_after_the_loop_was_closed(loop, tls):
    """It raises, and the closed loop keeps nothing alive."""
    connection = tls.connect(server_side=True)
    transport = weakref.ref(connection.transport)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        connection.transport.close()
    with contextlib.suppress(RuntimeError):
        connection.transport.abort()
    tls.protocols.clear()
    del connection
    gc.collect()
    assert transport() is None


class Clinging(Recorder):
    """Uses its transport once more when it is freed."""

    def __del__(self):
        transport = self.transport
        if transport is None:
            return
        for method, *args in (
            ("write", b"data"),
            ("writelines", [BIG[:100_000]]),
            ("get_write_buffer_size",),
            ("get_extra_info", "peercert"),
            ("resume_reading",),
            ("close",),
            ("abort",),
        ):
            with contextlib.suppress(RuntimeError):
                getattr(transport, method)(*args)


def leave_unread(connection):
    connection.transport.pause_reading()
    connection.run(connection.peer.write(b"data"))


STATES = {
    "open": lambda connection: None,
    "just written": lambda connection: connection.transport.write(b"data"),
    "full": lambda connection: connection.transport.write(BIG),
    "closing": lambda connection: connection.transport.close(),
    "full and closing": lambda connection: (connection.transport.write(BIG), connection.transport.close()),
    "paused": leave_unread,
    "aborted": lambda connection: connection.transport.abort(),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("state", STATES)
def test_all_is_freed_with_the_loop(impl, state):
    """Of a connection that the loop was closed with, whatever its protocol does at its own end."""
    if impl.name == "asyncio":
        pytest.skip("asyncio leaves registrations and descriptors behind")
    loop = impl.new_event_loop()
    ends = TlsEnds(loop)
    connection = ends.connect(Clinging(), server_side=True, kind="unix", sndbuf=4096)
    STATES[state](connection)
    alive = [weakref.ref(each) for each in (loop, connection.protocol, connection.transport)]
    right = connection.peer.sock
    loop.close()
    del loop, ends, connection
    for _ in range(3):  # what __del__() uses may have to wait for the next time
        gc.collect()
    assert [reference() for reference in alive] == [None] * 3
    right.settimeout(TIMEOUT)
    with contextlib.suppress(ConnectionResetError):
        while right.recv(1 << 20):  # to the end, which comes once the other descriptor is closed
            pass
    right.close()


@pytest.mark.parametrize("way", ["the peer has left", "enough is kept"])
def test_unclosed_with_reading_paused(impl, tls, turn, way):
    """When the loop reads no more it does not keep a transport that nobody can resume; its descriptor is closed."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's transport and its protocols refer to each other, and the selector to them")
    connection = tls.connect(server_side=True)
    if way == "enough is kept":
        connection.transport.set_read_buffer_limits(0)
    leave_unread(connection)
    if way == "the peer has left":
        connection.peer.sock.shutdown(socket.SHUT_WR)
    turn(5)
    tls.protocols.clear()
    transport = weakref.ref(connection.transport)
    del connection
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        gc.collect()
    assert transport() is None


SUBINTERPRETER_WORK = """
import asyncio, os, socket, ssl, fastloop
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(CHAIN)
client = ssl.create_default_context(cafile=TRUST)

class Counter(asyncio.Protocol):
    count = 0
    def connection_made(self, transport):
        self.lost = asyncio.get_running_loop().create_future()
    def data_received(self, data):
        self.count += len(data)
    def connection_lost(self, exc):
        self.lost.set_result(exc)

async def main():
    loop = asyncio.get_running_loop()
    for _ in range(5):
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        (ours, one), (theirs, other) = await asyncio.gather(
            loop.connect_accepted_socket(Counter, left, ssl=server),
            loop.create_connection(Counter, sock=right, ssl=client, server_hostname=NAME))
        ours.write(bytes(300_000))
        theirs.writelines([bytes(1000)] * 100)
        while other.count < 300_000 or one.count < 100_000:
            await asyncio.sleep(0)
        ours.close()
        assert await one.lost is None and await other.lost is None

loop = fastloop.new_event_loop()
loop.run_until_complete(asyncio.wait_for(main(), 20))
loop.close()
os.write(1, b"done\\n")
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="as in test_subinterpreters.py")
def test_in_two_subinterpreters_at_once(impl, run_script, tmp_path):
    if impl.name == "asyncio":
        pytest.skip("about fastloop's module")
    chain, trust = tmp_path / "chain.pem", tmp_path / "trust.pem"
    certificate("right").private_key_and_cert_chain_pem.write_to_path(str(chain))
    authority().cert_pem.write_to_path(str(trust))
    work = f"CHAIN, TRUST, NAME = {str(chain)!r}, {str(trust)!r}, {NAME!r}\n{SUBINTERPRETER_WORK}"
    program = f"""{RUN_IN_NEW_INTERPRETER[min(sys.version_info[:2], (3, 14))]}
import threading
threads = [threading.Thread(target=run, args=({work!r},)) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    result = run_script(program)
    assert (result.stdout, result.stderr) == ("done\n" * 2, "")


# The context, and the layer inside.


def test_a_context_that_makes_no_object(loop, tls):
    """The protocol never hears of the connection.  Once it could have got the plain one."""

    class Context(ssl.SSLContext):
        def wrap_bio(self, *args, **options):
            raise MemoryError

    left, right = tls.sockets()
    protocol = Recorder()
    with pytest.raises(MemoryError):
        run(loop, tls.make(left, protocol, ssl=Context(ssl.PROTOCOL_TLS_CLIENT)))
    with contextlib.suppress(OSError):
        right.send(b"plaintext")
    run(loop, asyncio.sleep(0))
    run(loop, asyncio.sleep(0))
    assert protocol.calls == []
    left.close()


def new_layer():
    from fastloop import _fastloop

    return _fastloop.TLSLayer(client_context(), False, NAME, 5.0, 5.0)


def layers():
    return [each for each in gc.get_objects() if type(each).__name__ == "TLSLayer"]


def test_a_layer_is_not_seen_before_it_is_whole(impl, loop, tls):
    """What wrap_bio() of a context's subclass finds among the collector's objects can be used."""
    if impl.name == "asyncio":
        pytest.skip("about fastloop's module")
    transport, protocol, _ = tls.plain()
    before = len(layers())
    seen = []

    class Context(ssl.SSLContext):
        def wrap_bio(self, *args, **options):
            seen.append(len(layers()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(loop, tls.start(transport, protocol, context=Context(ssl.PROTOCOL_TLS_CLIENT)))
    assert seen == [before] and len(layers()) == before


@pytest.mark.skipif(sys.version_info < (3, 12), reason="classes can have buffers since Python 3.12")
def test_a_layer_in_the_middle_of_another_ones_start(impl, tls, turn):
    """The second is refused, and none leaks."""
    if impl.name == "asyncio":
        pytest.skip("about fastloop's module")
    transport, _, _ = tls.plain()
    before = len(layers())

    class Received:
        def __init__(self, transport):
            self.transport = transport

        def __buffer__(self, flags):
            new_layer().start(self.transport)
            return memoryview(b"")

    with pytest.raises(TypeError, match="a plain StreamTransport is required"):
        new_layer().start(transport, None, Received(transport))
    assert len(layers()) == before + 1
    transport.abort()
    turn(5)
    del transport
    tls.protocols.clear()
    gc.collect()
    assert len(layers()) == before


# The descriptor.


def test_a_descriptor_that_waits_for_close_notify_is_the_transports(loop, tls, turn):
    """Once add_reader() took it away, and connection_lost() came with the timeout only."""
    connection = tls.connect(server_side=True)
    number = connection.transport.get_extra_info("socket").fileno()
    connection.transport.close()
    turn(2)
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(RuntimeError, match="is used by transport"):
            method(number, print)
    connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert connection.protocol.reason is None


def end_output(connection):
    connection.peer.sock.shutdown(socket.SHUT_WR)


def send_records(connection, *records):
    connection.peer.sock.send(b"".join(records))


def full(connection):
    connection.transport.write(BIG)
    connection.run(asyncio.sleep(0))


def full_and_closing(connection):
    full(connection)
    connection.transport.close()
    end_output(connection)


def full_after_close_notify(connection):
    full(connection)
    send_records(connection, connection.peer.close_notify())
    connection.run(asyncio.sleep(0))
    end_output(connection)


def full_after_eof(connection):
    full(connection)
    end_output(connection)


def full_and_paused(connection):
    connection.transport.pause_reading()
    full_after_eof(connection)


def paused_before_the_end(connection):
    connection.transport.pause_reading()
    peer = connection.peer
    send_records(connection, peer.encrypt(b"data"), peer.close_notify())
    end_output(connection)


def paused_with_records_left(connection):
    connection.protocol.on["data_received"] = lambda data: connection.transport.pause_reading()
    peer = connection.peer
    send_records(connection, *(peer.encrypt(bytes(9000)) for _ in range(3)), peer.close_notify())
    end_output(connection)


def closing_with_half_a_record(connection):
    connection.transport.close()
    send_records(connection, b"\x17\x03\x03\x10\x00part")


IDLE = [
    full_and_closing,
    full_after_close_notify,
    full_after_eof,
    full_and_paused,
    paused_before_the_end,
    paused_with_records_left,
    closing_with_half_a_record,
]


@pytest.mark.parametrize("state", IDLE)
def test_waiting_takes_no_time(loop, tls, state):
    """A descriptor is readable, and nobody is to read it now, or nothing has come of what was read."""
    connection = tls.connect(server_side=True, kind="unix", sndbuf=4096, ssl_shutdown_timeout=30)
    state(connection)
    loop.run_until_complete(asyncio.sleep(0.01))
    before = time.process_time()
    loop.run_until_complete(asyncio.sleep(0.05))
    assert time.process_time() - before < 0.025


# What is asked of a transport that does something else.


def test_extra_info_first_asked_for_after_a_failure(tls):
    """Once the SSLObject said that its handshake was not done."""
    seen = {}
    protocol = Recorder()
    connection = tls.connect(protocol)

    def ask(exc):
        for key in ("peercert", "cipher", "compression"):
            seen[key] = connection.transport.get_extra_info(key)

    protocol.on["connection_lost"] = ask
    send_records(connection, b"\x55" * 50)
    connection.run_until_lost()
    assert isinstance(protocol.reason, ssl.SSLError)
    assert ("DNS", NAME) in seen["peercert"]["subjectAltName"]
    assert seen["cipher"] == connection.peer.ssl_object.cipher() and seen["compression"] is None


def test_writelines_of_what_closes_the_transport(tls):
    """It is written in vain.  Once it went behind the close_notify, and that was an error."""
    connection = tls.connect(server_side=True)

    def lines():
        connection.transport.close()
        yield b"too late"

    connection.transport.writelines(lines())
    assert connection.run(connection.peer.read_to_end()) == b""
    connection.run(connection.peer.send_close_notify())
    connection.run_until_lost()
    assert connection.protocol.reason is None


def test_start_tls_in_the_middle_of_sendfile(impl, loop, tls, tmp_path):
    """It is refused.  Once the ClientHello went into the middle of the file."""
    if impl.name == "asyncio":
        pytest.skip("asyncio refuses it and ends the connection, but then sendfile() waits for ever")
    path = tmp_path / "file"
    path.write_bytes(b"f" * 2_000_000)
    transport, protocol, right = tls.plain(kind="unix", sndbuf=4096)
    received = bytearray()

    async def main(file):
        sending = loop.create_task(loop.sendfile(transport, file, fallback=False))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            await tls.start(transport, protocol)
        while not sending.done():
            received.extend(receive(right))
            await asyncio.sleep(0)
        return await sending

    with open(path, "rb") as file:
        assert run(loop, main(file)) == 2_000_000
    received += receive(right)
    assert received == b"f" * 2_000_000
