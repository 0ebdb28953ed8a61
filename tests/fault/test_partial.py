"""System calls that transfer less than asked, or fail for no reason: the stream stays whole."""

import random
import signal

import pytest
from faults import FAULTS, check_traffic
from support.net import Recorder, receive_all, run


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


@pytest.mark.parametrize("fault", FAULTS)
def test_traffic_with_faults(run_script, shim, tmp_path, fault):
    path = str(tmp_path / "socket")
    check_traffic(run_script, shim, fault, tmp_path / "faults", "over_sockets", 6, path)


@pytest.mark.parametrize("fault", FAULTS)
def test_files_with_faults(run_script, shim, tmp_path, fault):
    path = str(tmp_path / "file")
    check_traffic(run_script, shim, fault, tmp_path / "faults", "files", 2, path)


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
