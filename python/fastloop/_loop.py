"""fastloop.Loop: the loop written in C, and what is called too rarely to be in C."""

import os
import warnings
from collections.abc import Callable

from . import _fastloop, _tasks
from ._connect import ConnectMethods
from ._datagrams import DatagramMethods
from ._errors import ErrorMethods
from ._executor import ExecutorMethods
from ._sendfile import SendfileMethods
from ._servers import ServerMethods
from ._signals import SignalMethods
from ._sockets import SocketMethods
from ._subprocess import SubprocessMethods
from ._tls import TlsMethods

_tasks.introduce()
os.register_at_fork(after_in_child=_fastloop._after_fork_in_child)


class Loop(
    ErrorMethods,
    ExecutorMethods,
    SignalMethods,
    SocketMethods,
    ConnectMethods,
    SendfileMethods,
    TlsMethods,
    ServerMethods,
    DatagramMethods,
    SubprocessMethods,
):
    """An event loop with asyncio's interface.  POSIX only.

    fastloop.new_event_loop() makes one; it may be subclassed.
    """

    def __init__(self) -> None:
        ErrorMethods.__init__(self)
        ExecutorMethods.__init__(self)
        SignalMethods.__init__(self)
        SubprocessMethods.__init__(self)

    def close(self) -> None:
        """Close the loop; its default executor is told to shut down, but not waited for.

        Everything that is scheduled is dropped, signal handlers are removed.  Closing twice does
        nothing.  Raises RuntimeError if the loop is running.
        """
        was_closed = self.is_closed()
        super().close()
        if not was_closed:
            self._abandon_executor()
            self._remove_signal_handlers()
            self._abandon_children()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if not self.is_closed():
            _warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
            if not self.is_running():
                self.close()
