"""Whatever goes wrong in a test of this folder, no descriptor is left behind."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import net


@pytest.fixture(autouse=True)
def descriptors_come_back():
    before = net.open_fds()
    yield
    if net.open_fds() != before:
        gc.collect()
    assert net.open_fds() <= before


@pytest.fixture
def run_script(run_script):
    """As everywhere, but the source can import what this folder and the one above it hold."""
    here = Path(__file__).parent
    prelude = f"import sys\nsys.path[:0] = {[str(here), str(here.parent)]}\n"
    return lambda source, **options: run_script(prelude + source, **options)


@pytest.fixture
def run_program():
    """A function that runs a program of this folder, which must succeed in silence: what it prints."""

    def run(environment, name, *args):
        command = [sys.executable, Path(__file__).with_name(name), *map(str, args)]
        options = {"capture_output": True, "text": True, "timeout": 100}
        result = subprocess.run(command, env=environment, check=False, **options)
        assert (result.stderr, result.returncode) == ("", 0)
        return result.stdout

    return run


@pytest.fixture(params=["direct", "python"])
def environment(request, impl):
    """Environments for subprocesses in which fastloop passes TLS data in each of its two ways."""
    if impl.name == "asyncio" and request.param == "python":
        pytest.skip("the same as the other")
    return {**os.environ, "FASTLOOP_TLS": "" if request.param == "direct" else request.param}


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
