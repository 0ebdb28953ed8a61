"""Sending over TLS when the peer is slow: limits, who is told to pause, how much waits; and files."""

import asyncio
import contextlib
import io

import pytest
from support.net import Recorder, check_limits, fail, run, run_until
from support.tls import each_side, each_version

KIB = 1024
BLOCK = bytes(range(256)) * 256  # 64 KiB
DATA = bytes(range(256)) * 4096


class Filled:
    """A connection that was written to until its protocol was paused; `written` bytes, all of them repeated BLOCKs."""

    def __init__(self, tls, protocol=None, limits=None, **options):
        self.connection = tls.connect(protocol, kind="unix", sndbuf=4096, **options)
        self.transport, self.protocol = self.connection.transport, self.connection.protocol
        if limits is not None:
            self.transport.set_write_buffer_limits(*limits)
        self.written = 0
        self.fill()

    def fill(self):
        """Write until pause_writing() is called."""
        before = self.protocol.names.count("pause_writing")
        while self.protocol.names.count("pause_writing") == before:
            assert self.written < 100 * len(BLOCK)
            self.transport.write(BLOCK)
            self.written += len(BLOCK)

    def drain(self):
        """Have the peer receive everything."""
        data = self.connection.run(self.connection.peer.read(self.written))
        assert data == BLOCK * (self.written // len(BLOCK))
        self.written = 0


# Limits.


def test_limits(tls):
    check_limits(tls.connect().transport, (128 * KIB, 512 * KIB))


@pytest.mark.parametrize("limits", [(1, 2), (-1, None), (None, -1), (5, -1)], ids=repr)
def test_unusable_limits(tls, limits):
    transport = tls.connect().transport
    with pytest.raises(ValueError, match=r"^high \(.*\) must be >= low \(.*\) must be >= 0$"):
        transport.set_write_buffer_limits(*limits)
    assert transport.get_write_buffer_limits() == (128 * KIB, 512 * KIB)


def test_limits_hold_for_the_connection(tls):
    """Less than the limit pauses nobody, whoever is slow; the kernel may take more than that besides."""
    connection = tls.connect(kind="unix", sndbuf=4096)
    for _ in range(7):
        connection.transport.write(BLOCK)
    assert connection.protocol.names == ["connection_made"]
    assert connection.run(connection.peer.read(7 * len(BLOCK))) == 7 * BLOCK
    assert connection.protocol.names == ["connection_made"]


# Pausing.


@each_version
@each_side
def test_pause_and_resume(tls, server_side):
    filled = Filled(tls, server_side=server_side)
    assert filled.protocol.names == ["connection_made", "pause_writing"]
    filled.drain()
    filled.connection.run_until(lambda: filled.protocol.names[-1] == "resume_writing")
    assert filled.protocol.names == ["connection_made", "pause_writing", "resume_writing"]
    assert filled.transport.get_write_buffer_size() == 0


def test_pause_and_resume_again(tls):
    filled = Filled(tls)
    for _ in range(3):
        filled.drain()
        filled.connection.run_until(lambda: filled.protocol.names[-1] == "resume_writing")
        filled.fill()
    assert filled.protocol.names[1:] == ["pause_writing", "resume_writing"] * 3 + ["pause_writing"]


def test_writing_on_while_paused(tls):
    """Nothing is refused, and nobody is told again."""
    filled = Filled(tls)
    for _ in range(20):
        filled.transport.write(BLOCK)
        filled.written += len(BLOCK)
    assert filled.protocol.names.count("pause_writing") == 1
    filled.drain()
    filled.connection.run_until(lambda: filled.protocol.names[-1] == "resume_writing")


def test_resumed_below_the_low_limit(tls):
    filled = Filled(tls, limits=(4 * len(BLOCK), len(BLOCK)))
    sizes = []
    filled.protocol.on["resume_writing"] = lambda: sizes.append(filled.transport.get_write_buffer_size())
    filled.drain()
    filled.connection.run_until(lambda: sizes)
    assert sizes[0] <= len(BLOCK)


def test_writing_in_resume_writing(tls):
    filled = Filled(tls)
    filled.protocol.on["resume_writing"] = lambda: filled.transport.write(b"resumed")
    filled.drain()
    assert filled.connection.run(filled.connection.peer.read(7)) == b"resumed"


def test_new_limits_while_data_waits(tls):
    connection = tls.connect(kind="unix", sndbuf=4096)
    for _ in range(7):
        connection.transport.write(BLOCK)
    waiting = connection.transport.get_write_buffer_size()
    assert 0 < waiting < 512 * KIB and connection.protocol.names == ["connection_made"]
    connection.transport.set_write_buffer_limits(1)
    connection.transport.write(b"x")
    assert connection.protocol.names == ["connection_made", "pause_writing"]
    assert connection.run(connection.peer.read(7 * len(BLOCK) + 1)) == 7 * BLOCK + b"x"
    connection.run_until(lambda: connection.protocol.names[-1] == "resume_writing")


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
def test_callbacks_that_fail(tls, reported, name):
    """It is reported, and the connection goes on."""
    filled = Filled(tls, Recorder(**{name: fail}))
    filled.drain()
    filled.connection.run_until(lambda: filled.protocol.names[-1] == "resume_writing")
    [context] = reported
    assert context["message"] == f"protocol.{name}() failed"
    assert isinstance(context["exception"], ZeroDivisionError)
    reported.clear()
    filled.connection.send(b"still there")


def test_limits_of_nothing(impl, tls):
    """Whatever waits pauses the protocol.  asyncio pauses it at once, with nothing to wait for."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's limit is reached with 0 bytes")
    connection = tls.connect(kind="unix", sndbuf=4096)
    connection.transport.set_write_buffer_limits(0)
    connection.transport.write(b"taken at once")
    assert connection.protocol.names == ["connection_made"]
    connection.transport.write(BLOCK)
    assert connection.protocol.names == ["connection_made", "pause_writing"]
    connection.run(connection.peer.read(13 + len(BLOCK)))
    connection.run_until(lambda: connection.protocol.names[-1] == "resume_writing")
    assert connection.transport.get_write_buffer_size() == 0


@each_side
def test_paused_in_connection_made(tls, server_side):
    """asyncio's layer hands its first write on, however long."""

    def write_twice(transport):
        transport.write(DATA)
        transport.write(DATA)

    protocol = Recorder(connection_made=write_twice)
    connection = tls.connect(protocol, server_side, kind="unix", sndbuf=4096)
    assert protocol.names == ["connection_made", "pause_writing"]
    assert connection.run(connection.peer.read(2 * len(DATA))) == 2 * DATA
    connection.run_until(lambda: protocol.names[-1] == "resume_writing")


@pytest.mark.parametrize("end", ["close", "abort"])
def test_ending_in_pause_writing(tls, end):
    protocol = Recorder()
    protocol.on["pause_writing"] = lambda: getattr(protocol.transport, end)()
    filled = Filled(tls, protocol)
    assert filled.transport.is_closing()
    if end == "close":
        assert len(filled.connection.run(filled.connection.peer.read_to_end())) == filled.written
        filled.connection.run(filled.connection.peer.send_close_notify())
    filled.connection.run_until_lost()
    assert protocol.reason is None and protocol.names.count("pause_writing") == 1


def test_size_of_what_waits(tls):
    filled = Filled(tls)
    assert 0 < filled.transport.get_write_buffer_size() <= filled.written + filled.written // 100
    filled.drain()
    filled.connection.run_until(lambda: not filled.transport.get_write_buffer_size())


def test_size_counts_what_the_kernel_has_not_taken(impl, tls):
    """All of it.  asyncio leaves out what the transport below its layer holds."""
    connection = tls.connect(kind="unix", sndbuf=4096)
    before = connection.peer.received
    connection.transport.write(DATA)
    connection.transport.write(DATA)
    size = connection.transport.get_write_buffer_size()
    if impl.name == "fastloop":
        assert size > 2 * len(DATA) - 50_000
    assert connection.run(connection.peer.read(2 * len(DATA))) == 2 * DATA
    assert size <= connection.peer.received - before
    assert connection.transport.get_write_buffer_size() == 0


def test_size_after_abort(tls):
    filled = Filled(tls)
    filled.transport.abort()
    filled.connection.run_until_lost()
    assert filled.transport.get_write_buffer_size() == 0


def test_drain_of_a_stream_writer(loop, tls):
    left, right = tls.sockets("unix", sndbuf=4096)

    def talk(sock):
        received = 0
        while chunk := sock.recv(1 << 16):
            received += len(chunk)
        sock.unwrap()
        return received

    peer = tls.thread(right, talk, server_side=True)

    async def main():
        _reader, writer = await asyncio.open_connection(sock=left, **tls.options(server_side=False))
        for _ in range(50):
            writer.write(BLOCK)
            await writer.drain()
            assert writer.transport.get_write_buffer_size() < 1200 * KIB
        writer.close()
        await writer.wait_closed()
        return await peer.wait()

    assert run(loop, main()) == 50 * len(BLOCK)


def test_two_connections_of_one_loop_do_not_wait_for_each_other(loop, tls):
    """Both write more than is taken before either reads."""
    server, client = tls.pair()
    protocols = [server.get_protocol(), client.get_protocol()]
    for transport in (server, client):
        for _ in range(4):
            transport.write(DATA)
    run_until(loop, lambda: all(len(protocol.received) == 4 * len(DATA) for protocol in protocols))
    assert all(protocol.received == 4 * DATA for protocol in protocols)


# Files.


@pytest.fixture(params=["file", "object"])
def file(request, tmp_path):
    """A file of the system, and an object in memory."""
    if request.param == "object":
        yield io.BytesIO(DATA)
    else:
        path = tmp_path / "file"
        path.write_bytes(DATA)
        with open(path, "rb") as file:
            yield file


@pytest.fixture
def shut_down_executor(loop):
    yield
    loop.run_until_complete(loop.shutdown_default_executor())


@each_side
@pytest.mark.usefixtures("shut_down_executor")
def test_sendfile(loop, tls, file, server_side):
    """In its place among what is written before and after."""
    connection = tls.connect(server_side=server_side)
    transport, peer = connection.transport, connection.peer

    async def main():
        transport.write(b"head")
        sending = loop.create_task(loop.sendfile(transport, file))
        received = await peer.read(4 + len(DATA))
        assert await sending == len(DATA)
        transport.write(b"tail")
        return received + await peer.read(4)

    assert run(loop, main()) == b"head" + DATA + b"tail"
    assert file.tell() == len(DATA)
    assert transport.get_protocol() is connection.protocol
    connection.send(b"the protocol is back")


@pytest.mark.usefixtures("shut_down_executor")
def test_sendfile_of_a_part(loop, tls, file):
    connection = tls.connect()

    async def main():
        sending = loop.create_task(loop.sendfile(connection.transport, file, 1000, 50_000))
        received = await connection.peer.read(50_000)
        assert await sending == 50_000
        return received

    assert run(loop, main()) == DATA[1000:51_000]
    assert file.tell() == 51_000


def test_sendfile_without_fallback(loop, tls, file):
    """The kernel cannot encrypt."""
    connection = tls.connect()
    message = "^fallback is disabled and native sendfile is not supported for transport"
    with pytest.raises(RuntimeError, match=message):
        run(loop, loop.sendfile(connection.transport, file, fallback=False))
    connection.send(b"still there")


def test_sendfile_over_a_closing_transport(loop, tls, file):
    connection = tls.connect()
    connection.transport.close()
    with pytest.raises(RuntimeError, match=r"^Transport is closing$"):
        run(loop, loop.sendfile(connection.transport, file))


@pytest.mark.usefixtures("shut_down_executor")
def test_sendfile_to_a_peer_that_leaves(impl, loop, tls, file):
    """asyncio: unless what was left of the file happened to be buffered by then."""
    connection = tls.connect(kind="unix", sndbuf=4096)

    async def main():
        sending = loop.create_task(loop.sendfile(connection.transport, file))
        await connection.peer.read(1)
        connection.peer.close()
        with (
            pytest.raises(ConnectionError)
            if impl.name == "fastloop"
            else contextlib.suppress(ConnectionError)
        ):
            await sending

    run(loop, main())
    connection.run_until_lost()
