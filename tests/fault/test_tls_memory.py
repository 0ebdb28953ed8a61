"""TLS by the thousand, forked, without memory, and with descriptors taken away: what it took it gives back."""

import errno
import importlib.util
import json
import os

import pytest
from hostile import WAYS, each_role

# -- a thousand -----------------------------------------------------------------------------------------


def test_a_thousand_connections(impl, environment, run_program):
    """They are there at once, then half of them are reset, some in the middle of their handshake, and all is given back.

    An SSL of OpenSSL alone holds more than 10,000 bytes, and each connection consists of a dozen blocks of Python's
    allocator: what stays is far less than one of the four kinds of clients leaves if it is not freed. asyncio shows that
    it is noise.
    """
    count = 1000 if impl.name == "fastloop" else 200
    found = json.loads(run_program(environment, "tls_thousand.py", impl.name, count, count))
    assert found["peak"]["descriptors"] == count
    assert found["left"]["descriptors"] == 0
    assert found["left"]["blocks"] < 1000
    assert found["left"]["resident"] < 2_000_000


# -- forks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("child", ["exit_at_once", "leave", "close_everything", "write_more"])
def test_fork_while_serving(impl, environment, run_script, child):
    """The child takes nothing from the connections and adds nothing to them."""
    if impl.name == "asyncio" and child != "exit_at_once":
        pytest.skip("asyncio's child changes the registrations it shares with its parent, and writes")
    result = run_script(
        f"from forks import serve\nserve(new_event_loop(), {child!r}, tls=True)", env=environment
    )
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.splitlines()[-1] == "served"


# -- descriptors closed under the transport -------------------------------------------------------------


@pytest.fixture
def close_number(impl):
    """A function that closes the descriptor of a transport by its number."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's registrations and its own clean-up fail when the number is closed")
    return lambda transport: os.close(transport.get_extra_info("socket").fileno())


@pytest.mark.parametrize("size", [1, 1_000_000])
@each_role
def test_write_to_a_closed_number(meet, turn, reported, server_side, close_number, size):
    meeting = meet(server_side)
    transport = meeting.shake_hands()
    close_number(transport)
    transport.write(bytes(size))
    meeting.run_until_lost()
    turn(2)
    assert meeting.protocol.names.count("connection_lost") == 1
    assert meeting.protocol.reason.errno == errno.EBADF
    reported.clear()


@pytest.mark.parametrize("method", ["close", "abort"])
@each_role
def test_end_of_a_closed_number(meet, turn, reported, server_side, close_number, method):
    """The close_notify that cannot be sent is a reason; the descriptor cannot be closed again, which is reported."""
    meeting = meet(server_side, ssl_shutdown_timeout=0.05)
    transport = meeting.shake_hands()
    close_number(transport)
    getattr(transport, method)()
    meeting.run_until_lost()
    turn(3)
    assert meeting.protocol.names == ["connection_made", "connection_lost"]
    if method == "abort":
        assert meeting.protocol.reason is None
    else:
        assert meeting.protocol.reason.errno == errno.EBADF
    assert [context["exception"].errno for context in reported] in ([], [errno.EBADF])
    reported.clear()


@pytest.mark.parametrize("way", WAYS)
@each_role
def test_number_closed_during_the_handshake(meet, turn, reported, server_side, way, close_number):
    meeting = meet(server_side, way, ssl_handshake_timeout=0.05)
    meeting.run(meeting.begun.wait())
    os.close(meeting.sock.fileno())
    with pytest.raises(OSError) as info:
        meeting.run(meeting.making)
    assert isinstance(info.value, ConnectionAbortedError) or info.value.errno == errno.EBADF
    turn(3)
    assert [context["exception"].errno for context in reported] in ([], [errno.EBADF])
    reported.clear()


# -- allocations that fail ------------------------------------------------------------------------------


def test_allocations_that_fail(impl, environment, run_program):
    """Each allocation of a step in turn; afterwards the transport can be aborted, and its end comes once."""
    if impl.name == "asyncio":
        pytest.skip("asyncio's Python code may be left halfway at any allocation")
    if importlib.util.find_spec("_testcapi") is None:
        pytest.skip("this Python has no _testcapi")
    assert run_program(environment, "tls_nomemory.py") == "alive\n"


# -- left behind ----------------------------------------------------------------------------------------

LEFT_BEHIND = """
import gc, os, socket, sys, warnings
from hostile import Meeting
warnings.simplefilter("ignore", ResourceWarning)

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def meet(loop, server_side, stage):
    meeting = Meeting(loop, server_side, "start_tls" if stage == "upgrading" else "connect")
    meeting.turn()
    if stage in ("shaking hands", "upgrading"):
        meeting.turn(3)
        return meeting
    transport = meeting.shake_hands()
    if stage == "writing":
        transport.write(bytes(10_000_000))
    if stage == "paused":
        transport.pause_reading()
        meeting.run(meeting.peer.write(b"unread"))
    if stage == "closing":
        transport.write(bytes(10_000_000))
        transport.close()
    return meeting

before = descriptors()
loop = new_event_loop()
loop.set_exception_handler(lambda loop, context: None)
meetings = [
    meet(loop, server_side, stage)
    for server_side in (True, False)
    for stage in ("shaking hands", "upgrading", "idle", "writing", "paused", "closing")
]
END
print("alive", flush=True)
"""

CLOSE_THE_LOOP = """
for meeting in meetings:
    meeting.making.cancel()
    meeting.peer.close()
loop.run_until_complete(asyncio.sleep(0.01))
loop.close()
transports = [meeting.protocol.transport for meeting in meetings if meeting.protocol.transport]
for transport in transports:
    for call in (transport.close, transport.abort, transport.resume_reading, lambda: transport.write(b"late")):
        try:
            call()
        except RuntimeError:
            pass
del transports, transport, meeting, meetings, loop, call
gc.collect()
assert descriptors() == before, (descriptors(), before)
"""
DROP_ALL = """
loop.close()
del meetings, loop
gc.collect()
"""


@pytest.mark.parametrize(
    "end", [CLOSE_THE_LOOP, DROP_ALL, ""], ids=["loop closed", "dropped", "interpreter ends"]
)
def test_left_behind(impl, environment, run_script, end):
    """A loop closed, or a process ended, in the middle of every stage."""
    if impl.name == "asyncio":
        pytest.skip("asyncio complains of much, and keeps some of it")
    result = run_script(LEFT_BEHIND.replace("END", end), env=environment)
    assert (result.stdout, result.returncode) == ("alive\n", 0)
    errors = [line for line in result.stderr.splitlines() if "destroyed" not in line and "task:" not in line]
    assert errors == [] or end == DROP_ALL  # tasks that find their loop closed say so
