"""asyncio's event loop, Future and Task, written in C.

Replace `asyncio.run(main())` by `fastloop.run(main())`, or give `fastloop.new_event_loop` to whatever takes
a loop factory; nothing else changes.
"""

from __future__ import annotations

import asyncio

from ._compat import HAS_POLICIES, running_loop
from ._fastloop import Future, Handle, Task, TimerHandle
from ._loop import Loop
from ._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ._compat import _Main
    from ._policy import EventLoopPolicy, install

    _T = TypeVar("_T")

__all__ = ["Future", "Handle", "Loop", "Task", "TimerHandle", "__version__", "new_event_loop", "run"]
if HAS_POLICIES:
    __all__ += ["EventLoopPolicy", "install"]


def new_event_loop() -> Loop:
    """Return a new event loop.  POSIX only, as is the package."""
    return Loop()


def run(
    main: _Main[_T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run a coroutine on a new event loop and return its result, as asyncio.run() does.

    debug switches the loop's debug mode; None leaves it as PYTHONASYNCIODEBUG says.  loop_factory makes
    another loop than new_event_loop().  Raises RuntimeError if a loop runs in this thread, ValueError or
    TypeError (by Python version) if main is no coroutine, and whatever main raises.
    """
    if running_loop() is not None:
        raise RuntimeError("fastloop.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory or new_event_loop) as runner:
        return runner.run(main)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Policies, which Python 3.16 does not have any more, are loaded when asked for."""
        if name in ("EventLoopPolicy", "install") and name in __all__:
            from . import _policy

            return getattr(_policy, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
