"""The asynchronous generators that are being iterated, and how they end."""

from __future__ import annotations

import asyncio
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import AsyncGenerator
    from typing import Any

    from ._loop import Loop


def firstiter_hook(self: Loop, agen: AsyncGenerator[Any, Any]) -> None:
    """Called when an asynchronous generator is iterated for the first time."""
    if self._asyncgens_shutdown_called:
        warnings.warn(
            f"asynchronous generator {agen!r} was scheduled after loop.shutdown_asyncgens() call",
            ResourceWarning,
            source=self,
        )
    self._asyncgens.add(agen)


def finalizer_hook(self: Loop, agen: AsyncGenerator[Any, Any]) -> None:
    """Called in any thread when an asynchronous generator is dropped before its end."""
    self._asyncgens.discard(agen)
    if not self.is_closed():
        self.call_soon_threadsafe(self.create_task, agen.aclose())


async def shutdown_asyncgens(self: Loop) -> None:
    """Close all asynchronous generators that are being iterated; report those that fail."""
    self._asyncgens_shutdown_called = True
    if not self._asyncgens:
        return
    closing = list(self._asyncgens)
    self._asyncgens.clear()
    results = await asyncio.gather(*(agen.aclose() for agen in closing), return_exceptions=True)
    for result, agen in zip(results, closing, strict=True):
        if isinstance(result, Exception):
            self.call_exception_handler(
                {
                    "message": f"an error occurred during closing of asynchronous generator {agen!r}",
                    "exception": result,
                    "asyncgen": agen,
                }
            )
