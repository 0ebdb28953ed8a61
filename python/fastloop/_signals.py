"""Signal handlers that run as callbacks of the loop."""

from __future__ import annotations

import contextvars
import errno
import signal
import socket
import sys
import warnings
from asyncio.coroutines import iscoroutine
from asyncio.log import logger
from collections.abc import Callable
from inspect import iscoroutinefunction

from ._core import CoreLoop

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from typing import Any, TypeVarTuple

    _Ts = TypeVarTuple("_Ts")


def _do_nothing(signum: int, frame: Any) -> None:
    """The Python-level handler: the number has been written to the wake-up descriptor already."""


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


class SignalMethods(CoreLoop):
    """A loop's signal handlers.

    The interpreter writes the number of each signal into a socket pair (an eventfd would refuse single
    bytes), the loop reads them and calls the handlers.  The pair exists as long as there are handlers.
    """

    def __init__(self) -> None:
        self._signal_handlers: dict[int, tuple[Callable[..., object], tuple[Any, ...], Any]] = {}
        self._signal_pair: tuple[socket.socket, socket.socket] | None = None

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call callback(*args) in the loop when the signal arrives.  Only in the main thread.

        Raises TypeError for a coroutine, ValueError for an invalid number and RuntimeError for a signal
        that cannot be caught, in another thread, or if the loop is closed.
        """
        if iscoroutine(callback) or iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        _check_signal(sig)
        self._check_closed()
        self._open_signal_pair()
        self._signal_handlers[sig] = (callback, args, contextvars.copy_context())
        try:
            _install(sig, _do_nothing)
            signal.siginterrupt(sig, False)
        except BaseException:
            del self._signal_handlers[sig]
            self._close_signal_pair_if_idle()
            raise

    def remove_signal_handler(self, sig: int) -> bool:
        """Give the signal its default handling back; return whether it had a handler here.

        Raises as add_signal_handler().
        """
        _check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        _install(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        self._close_signal_pair_if_idle()
        return True

    def _remove_signal_handlers(self) -> None:
        """Remove all of them, for a loop that was closed."""
        if self._signal_handlers and sys.is_finalizing():
            warnings.warn(
                f"Closing the loop {self!r} on interpreter shutdown stage, skipping signal handlers removal",
                ResourceWarning,
                source=self,
            )
            self._signal_handlers.clear()
            return
        for sig in list(self._signal_handlers):
            self.remove_signal_handler(sig)

    def _open_signal_pair(self) -> None:
        """Have the interpreter tell the loop of signals.  Raises RuntimeError outside the main thread."""
        pair = self._signal_pair or socket.socketpair()
        for end in pair:
            end.setblocking(False)
        try:
            signal.set_wakeup_fd(pair[1].fileno())
        except (ValueError, OSError) as exc:
            if self._signal_pair is None:
                pair[0].close()
                pair[1].close()
            raise RuntimeError(str(exc)) from None
        if self._signal_pair is None:
            self._signal_pair = pair
            self.add_reader(pair[0], self._read_signals, pair[0])

    def _close_signal_pair_if_idle(self) -> None:
        pair = self._signal_pair
        if self._signal_handlers or pair is None:
            return
        self._signal_pair = None
        try:
            signal.set_wakeup_fd(-1)
        except (ValueError, OSError) as exc:
            logger.info("set_wakeup_fd(-1) failed: %s", exc)
        if not self.is_closed():
            self.remove_reader(pair[0])
        pair[0].close()
        pair[1].close()

    def _read_signals(self, sock: socket.socket) -> None:
        """Schedule the handlers of the signals that have arrived."""
        try:
            numbers = sock.recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        for number in numbers:
            if number in self._signal_handlers:
                callback, args, context = self._signal_handlers[number]
                self.call_soon(callback, *args, context=context)
