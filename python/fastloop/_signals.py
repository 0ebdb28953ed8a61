"""Signal handlers that run as callbacks of the loop."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import signal
import socket
import sys
import warnings
from inspect import iscoroutinefunction

from ._compat import logger

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import Callable
    from typing import Any, TypeVarTuple

    from ._loop import Loop

    _Ts = TypeVarTuple("_Ts")


class SignalHandlers:
    """A loop's signal handlers.

    The interpreter writes the number of each signal into a socket pair (an eventfd would refuse single
    bytes), the loop reads them and calls the handlers.  The pair exists as long as there are handlers.
    """

    def __init__(self) -> None:
        self.handlers: dict[int, tuple[Callable[..., object], tuple[Any, ...], contextvars.Context]] = {}
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def add(self, loop: Loop, sig: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Have the loop call callback(*args) when the signal arrives."""
        self._open_pair(loop)
        self.handlers[sig] = (callback, args, contextvars.copy_context())
        try:
            _install(sig, _do_nothing)
            signal.siginterrupt(sig, False)
        except BaseException:
            del self.handlers[sig]
            self._close_pair_if_idle(loop)
            raise

    def remove(self, loop: Loop, sig: int) -> bool:
        """Give the signal its default handling back; return whether it had a handler here."""
        if self.handlers.pop(sig, None) is None:
            return False
        _install(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        self._close_pair_if_idle(loop)
        return True

    def close(self, loop: Loop) -> None:
        """Remove all of them, from a loop that was closed."""
        if self.handlers and sys.is_finalizing():
            warnings.warn(
                f"Closing the loop {loop!r} on interpreter shutdown stage, skipping signal handlers removal",
                ResourceWarning,
                source=loop,
            )
            self.handlers.clear()
            return
        for sig in list(self.handlers):
            loop.remove_signal_handler(sig)

    def _open_pair(self, loop: Loop) -> None:
        """Have the interpreter tell the loop of signals.  Raises RuntimeError outside the main thread."""
        pair = self._pair or socket.socketpair()
        for end in pair:
            end.setblocking(False)
        try:
            signal.set_wakeup_fd(pair[1].fileno())
        except (ValueError, OSError) as exc:
            if self._pair is None:
                pair[0].close()
                pair[1].close()
            raise RuntimeError(str(exc)) from None
        if self._pair is None:
            self._pair = pair
            loop.add_reader(pair[0], self._read, loop, pair[0])

    def _close_pair_if_idle(self, loop: Loop) -> None:
        pair = self._pair
        if self.handlers or pair is None:
            return
        self._pair = None
        try:
            signal.set_wakeup_fd(-1)
        except (ValueError, OSError) as exc:
            logger.info("set_wakeup_fd(-1) failed: %s", exc)
        if not loop.is_closed():
            loop.remove_reader(pair[0])
        pair[0].close()
        pair[1].close()

    def _read(self, loop: Loop, sock: socket.socket) -> None:
        """Schedule the handlers of the signals that have arrived."""
        try:
            numbers = sock.recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        for number in numbers:
            if number in self.handlers:
                callback, args, context = self.handlers[number]
                loop.call_soon(callback, *args, context=context)


def add_signal_handler(self: Loop, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
    """Call callback(*args) in the loop when the signal arrives.  Only in the main thread.

    Raises TypeError for a coroutine, ValueError for an invalid number and RuntimeError for a signal
    that cannot be caught, in another thread, or if the loop is closed.
    """
    if asyncio.iscoroutine(callback) or iscoroutinefunction(callback):
        raise TypeError("coroutines cannot be used with add_signal_handler()")
    _check_signal(sig)
    self._check_closed()
    self._signals.add(self, sig, callback, args)


def remove_signal_handler(self: Loop, sig: int) -> bool:
    """Give the signal its default handling back; return whether it had a handler here.

    Raises as add_signal_handler().
    """
    _check_signal(sig)
    return self._signals.remove(self, sig)


def _check_signal(sig: int) -> None:
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")


def _install(sig: int, handler: Any) -> None:
    """signal.signal(), with asyncio's RuntimeError for signals that cannot be caught."""
    try:
        signal.signal(sig, handler)
    except OSError as exc:
        if exc.errno == errno.EINVAL:
            raise RuntimeError(f"sig {sig} cannot be caught") from None
        raise


def _do_nothing(signum: int, frame: Any) -> None:
    """The Python-level handler: the number has been written to the wake-up descriptor already."""
