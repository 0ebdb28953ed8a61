"""fastloop.Loop as its users see it: what its methods are called, and which names of asyncio's loops it has."""

import asyncio
import contextlib
import inspect
import pickle
import pydoc
import re
import signal
import socket
import tempfile
import types

import pytest
from fastloop import Loop

METHODS = sorted(name for name, value in vars(Loop).items() if isinstance(value, types.FunctionType))
PUBLIC = sorted(name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_"))


def test_a_coroutine_that_nobody_awaits_has_the_name_of_its_class(impl, loop):
    expected = "create_connection' was never awaited"
    if impl.name == "fastloop":
        expected = f"^coroutine 'Loop.{expected}"
    with pytest.warns(RuntimeWarning, match=expected):
        loop.create_connection(asyncio.Protocol)


def test_the_class_has_two_bases():
    assert [base.__name__ for base in Loop.__mro__] == ["Loop", "BaseLoop", "AbstractEventLoop", "object"]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_called_what_the_class_calls_it(name):
    method = getattr(Loop, name)
    assert (method.__module__, method.__qualname__) == (Loop.__module__, f"Loop.{name}")
    assert method.__name__ == name
    assert pickle.loads(pickle.dumps(method)) is method


@pytest.mark.parametrize("name", PUBLIC)
def test_asyncios_methods_are_there_with_a_signature_and_a_docstring(name):
    method = getattr(Loop, name)
    assert method is not getattr(asyncio.AbstractEventLoop, name)
    assert str(inspect.signature(method)).startswith(("(self", "($self"))
    assert inspect.getdoc(method)


def test_help_shows_methods_and_no_aliases():
    text = pydoc.plain(pydoc.render_doc(Loop))
    for name in METHODS:
        if not name.startswith("_"):
            assert re.search(rf" {name}\([\s|]*self[,)]", text), name
    assert "Methods inherited from fastloop._fastloop.BaseLoop" in text
    assert not re.search(r"^ \|  \w+ = \w+\(", text, re.MULTILINE)


# -- names that libraries and suites look for in asyncio's own loops


async def iterate_forever():
    while True:
        yield


def test_the_default_executor(impl, loop):
    assert loop._default_executor is None and loop._executor_shutdown_called is False
    loop.run_until_complete(loop.run_in_executor(None, int))
    threads = loop._default_executor
    assert threads.submit(int).result() == 0
    loop.run_until_complete(loop.shutdown_default_executor())
    assert loop._default_executor is threads and loop._executor_shutdown_called is True


def test_an_executor_set_by_its_private_name(impl, loop):
    threads = loop._default_executor = impl.new_event_loop
    assert loop._default_executor is threads
    loop._default_executor = None
    loop.run_until_complete(loop.run_in_executor(None, int))


def test_the_asynchronous_generators(impl, loop):
    async def main():
        generator = iterate_forever()
        await anext(generator)
        assert list(loop._asyncgens) == [generator] and loop._asyncgens_shutdown_called is False
        await loop.shutdown_asyncgens()

    loop.run_until_complete(main())
    assert list(loop._asyncgens) == [] and loop._asyncgens_shutdown_called is True


def test_the_signal_handlers(impl, loop):
    assert loop._signal_handlers == {}
    loop.add_signal_handler(signal.SIGUSR1, int)
    assert list(loop._signal_handlers) == [signal.SIGUSR1]
    loop.close()
    assert loop._signal_handlers == {}


def test_whether_it_is_closed(impl):
    loop = impl.new_event_loop()
    assert loop._closed is False
    loop.close()
    assert loop._closed is True


# Overridden methods, which the loop itself calls.


def recording(impl, name, called):
    """A loop whose method `name` notes that it was called."""

    def method(self, *args, **kwargs):
        called.append(name)
        return getattr(impl.Loop, name)(self, *args, **kwargs)

    return type("Recording", (impl.Loop,), {name: method})()


async def look_up(loop):
    await loop.getaddrinfo("127.0.0.1", 1)


async def connect_to_nobody(loop):
    with contextlib.suppress(OSError):
        await loop.create_connection(asyncio.Protocol, "localhost", 1)


async def serve(loop):
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    server.close()


async def start_child(loop):
    transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "/bin/true")
    while transport.get_returncode() is None:
        await asyncio.sleep(0.001)
    transport.close()


async def handle_signal(loop):
    loop.add_signal_handler(signal.SIGUSR1, int)


async def report(loop):
    loop.call_exception_handler({"message": "a test"})


async def send_file(loop):
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file:
        ours.setblocking(False)
        await loop.sock_sendfile(ours, file)


async def iterate(loop):
    await anext(iterate_forever())


@pytest.mark.parametrize(
    "name, main",
    [
        ("run_in_executor", look_up),
        ("getaddrinfo", connect_to_nobody),
        ("_ensure_resolved", serve),
        ("_make_subprocess_transport", start_child),
        ("remove_signal_handler", handle_signal),
        ("default_exception_handler", report),
        ("_sock_sendfile_native", send_file),
        ("_asyncgen_firstiter_hook", iterate),
        ("_asyncgen_finalizer_hook", iterate),
    ],
)
def test_an_overridden_method_is_called(impl, name, main, caplog):
    called = []
    loop = recording(impl, name, called)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main(loop))
    assert called == [name]
