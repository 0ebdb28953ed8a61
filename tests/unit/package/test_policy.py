"""What the package offers besides the loop: install(), the policy, names, and what is not there yet."""

import asyncio
import subprocess
import sys

import pytest

has_policies = pytest.mark.skipif(sys.version_info >= (3, 16), reason="Python 3.16 has no policies")


def output_of(program):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout


@has_policies
def test_install_makes_run_use_fastloop():
    program = """
import asyncio, fastloop
fastloop.install()
async def main():
    print(isinstance(asyncio.get_running_loop(), fastloop.Loop))
asyncio.run(main())
loop = asyncio.new_event_loop()
print(type(loop) is fastloop.Loop)
loop.close()
"""
    assert output_of(program) == "True\nTrue\n"


@has_policies
def test_policy_makes_loops():
    import fastloop

    policy = fastloop.EventLoopPolicy()
    loop = policy.new_event_loop()
    assert type(loop) is fastloop.Loop
    policy.set_event_loop(loop)
    assert policy.get_event_loop() is loop
    policy.set_event_loop(None)
    loop.close()


@has_policies
def test_get_event_loop_before_any_loop_exists():
    """As under asyncio's own policy: a loop up to Python 3.13, an error afterwards."""
    program = """
import asyncio, warnings
SETUP
warnings.simplefilter("ignore")
try:
    loop = asyncio.get_event_loop()
except RuntimeError as error:
    print(error)
else:
    print("made a loop")
    loop.close()
"""
    ours = output_of(program.replace("SETUP", "import fastloop; fastloop.install()"))
    assert ours == output_of(program.replace("SETUP", ""))


def test_import_leaves_asyncio_as_it_is():
    program = """
import asyncio, fastloop
async def main():
    return type(asyncio.get_running_loop()).__module__
print(asyncio.run(main()), asyncio.Task.__module__, asyncio.events._event_loop_policy is not None)
"""
    module, task, _ = output_of(program).split()
    assert module.startswith("asyncio.") and task == "_asyncio"


def test_public_names():
    import fastloop

    for name in fastloop.__all__:
        assert getattr(fastloop, name) is not None
    assert fastloop.__version__.count(".") >= 2
    with pytest.raises(AttributeError, match="^module 'fastloop' has no attribute 'nonsense'$"):
        fastloop.nonsense  # noqa: B018


def test_repr_names_the_backend():
    import fastloop

    loop = fastloop.new_event_loop()
    assert repr(loop) == "<Loop running=False closed=False debug=False backend=epoll>"
    loop.close()


def test_methods_are_those_of_an_abstract_event_loop():
    import fastloop

    loop = fastloop.new_event_loop()
    for name in dir(asyncio.AbstractEventLoop):
        if not name.startswith("_"):
            assert getattr(fastloop.Loop, name) is not getattr(asyncio.AbstractEventLoop, name), name
    loop.close()
