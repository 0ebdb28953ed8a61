"""fastloop.Loop: the loop written in C, and what is called too rarely to be in C."""

from __future__ import annotations

import asyncio
import operator
import os
import types
import warnings
import weakref

from . import (
    _asyncgens,
    _connect,
    _datagrams,
    _errors,
    _executor,
    _fastloop,
    _resolve,
    _sendfile,
    _servers,
    _signals,
    _sockets,
    _subprocess,
    _tasks,
    _tls,
)

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import AsyncGenerator, Callable
    from typing import Any

_tasks.introduce()
os.register_at_fork(after_in_child=_fastloop._after_fork_in_child)


def _kept_in(component: str, name: str) -> property:
    """Return an attribute of the loop whose value one of its components keeps, under another name."""

    def set_value(loop: Loop, value: object) -> None:
        setattr(getattr(loop, component), name, value)

    return property(operator.attrgetter(f"{component}.{name}"), set_value)


class Loop(_fastloop.BaseLoop, asyncio.AbstractEventLoop):
    """An event loop with asyncio's interface.  POSIX only.

    fastloop.new_event_loop() makes one; it may be subclassed.
    """

    def __init__(self) -> None:
        self._exception_handler: Callable[..., object] | None = None
        self._asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._asyncgens_shutdown_called = False
        self._executor = _executor.DefaultExecutor()
        self._signals = _signals.SignalHandlers()
        self._children = _subprocess.Children()

    def close(self) -> None:
        """Close the loop; its default executor is told to shut down, but not waited for.

        Everything that is scheduled is dropped, signal handlers are removed.  Closing twice does
        nothing.  Raises RuntimeError if the loop is running.
        """
        was_closed = self.is_closed()
        super().close()
        if not was_closed:
            self._executor.close()
            self._signals.close(self)
            self._children.close()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if not self.is_closed():
            _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
            if not self.is_running():
                self.close()

    # Scheduling, tasks, readers and writers, and most methods of sockets are those of BaseLoop.

    # -- exceptions that nobody catches, and the complaints of debug mode
    get_exception_handler = _errors.get_exception_handler
    set_exception_handler = _errors.set_exception_handler
    default_exception_handler = _errors.default_exception_handler
    call_exception_handler = _errors.call_exception_handler
    _check_callback = _errors.check_callback

    # -- threads
    run_in_executor = _executor.run_in_executor
    set_default_executor = _executor.set_default_executor  # type: ignore[assignment]
    shutdown_default_executor = _executor.shutdown_default_executor

    # -- asynchronous generators
    shutdown_asyncgens = _asyncgens.shutdown_asyncgens
    _asyncgen_firstiter_hook = _asyncgens.firstiter_hook
    _asyncgen_finalizer_hook = _asyncgens.finalizer_hook

    # -- signals
    add_signal_handler = _signals.add_signal_handler
    remove_signal_handler = _signals.remove_signal_handler

    # -- names and addresses
    getaddrinfo = _resolve.getaddrinfo
    getnameinfo = _resolve.getnameinfo
    _ensure_resolved = _resolve.ensure_resolved

    # -- connections, pipes and servers
    create_connection = _connect.create_connection
    create_unix_connection = _connect.create_unix_connection
    connect_accepted_socket = _connect.connect_accepted_socket
    connect_read_pipe = _connect.connect_read_pipe
    connect_write_pipe = _connect.connect_write_pipe
    create_server = _servers.create_server  # type: ignore[assignment]
    create_unix_server = _servers.create_unix_server  # type: ignore[assignment]
    create_datagram_endpoint = _datagrams.create_datagram_endpoint  # type: ignore[assignment]
    start_tls = _tls.start_tls  # type: ignore[assignment]

    # -- files
    sendfile = _sendfile.sendfile
    _sendfile_native = _sendfile.sendfile_native
    _sendfile_fallback = _sendfile.sendfile_fallback

    # -- sockets
    sock_connect = _sockets.sock_connect
    sock_sendfile = _sockets.sock_sendfile
    _sock_sendfile_native = _sockets.sock_sendfile_native

    # -- children
    subprocess_exec = _subprocess.subprocess_exec
    subprocess_shell = _subprocess.subprocess_shell
    _make_subprocess_transport = _subprocess.make_subprocess_transport

    # -- attributes that asyncio's own loops have
    _default_executor = _kept_in("_executor", "pool")
    _executor_shutdown_called = _kept_in("_executor", "was_shut_down")
    _signal_handlers = _kept_in("_signals", "handlers")


def _adopt_methods() -> None:
    """Have the functions of other files bear the names under which the class has them.

    These stand in warnings and tracebacks of coroutines, in help() and in pickles.
    """
    for name, method in vars(Loop).items():
        if isinstance(method, types.FunctionType):
            method.__name__ = name
            method.__qualname__ = f"{Loop.__qualname__}.{name}"
            method.__module__ = Loop.__module__
            # The type of self goes without saying, as in any class.
            method.__annotations__ = {k: v for k, v in method.__annotations__.items() if k != "self"}


_adopt_methods()
