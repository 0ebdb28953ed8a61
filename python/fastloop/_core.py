"""What the groups of methods in the other files of this package add to."""

from __future__ import annotations

import asyncio
from asyncio.coroutines import iscoroutine
from inspect import iscoroutinefunction

from . import _fastloop

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from typing import Any


class CoreLoop(_fastloop.BaseLoop, asyncio.AbstractEventLoop):
    """The part of the loop that is written in C, as an asyncio loop that lacks the rest."""

    def _check_callback(self, callback: Any, method: str) -> None:
        """In debug mode: refuse what cannot be called back, with a TypeError."""
        if iscoroutine(callback) or iscoroutinefunction(callback):
            raise TypeError(f"coroutines cannot be used with {method}()")
        if not callable(callback):
            raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")
