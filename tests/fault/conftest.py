"""Whatever goes wrong in a test of this folder, no descriptor is left behind."""

import gc

import net
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def descriptors_come_back():
    before = net.open_fds()
    yield
    if net.open_fds() != before:
        gc.collect()
    assert net.open_fds() <= before


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The path of the library made from shim.c."""
    from faults import make_shim

    return make_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def older_objects_rest():
    """gc.collect() is for what a test has made: looking at everything else takes longer than most tests."""
    # The first property test of a process makes hypothesis look for who refers to its random generator, which
    # it does not find among frozen objects.
    settings(max_examples=1, database=None)(given(st.none())(lambda _: None))()
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def meet(loop, older_objects_rest):
    """A function that begins a TLS handshake, with the arguments of `hostile.Meeting`.

    No trace of it may be left, unless a test sets `leaks` on the function.
    """
    from hostile import Meetings  # late, for the tests that run without the ssl module

    meetings = Meetings(loop)
    yield meetings
    meetings.end()
    assert meetings.leftovers() == [] or meetings.leaks


@pytest.fixture
def bystander(connect, turn):
    """Another connection of the loop, which lives on."""
    connection = connect()
    yield connection
    connection.peer.send(b"still")
    turn()
    connection.transport.write(b"there")
    turn()
    assert connection.protocol.received == b"still" and net.receive(connection.peer) == b"there"
