"""Where exceptions go that nobody catches, and the complaints of debug mode."""

from __future__ import annotations

import asyncio
import traceback
from inspect import iscoroutinefunction

from ._compat import HANDLER_RUNS_IN_CONTEXT, base_events

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import Callable
    from typing import Any

    from ._loop import Loop

_ORIGINS = {"source_traceback": "Object created at", "handle_traceback": "Handle created at"}


def get_exception_handler(self: Loop) -> Callable[..., object] | None:
    """Return the exception handler, or None for the default one."""
    return self._exception_handler


def set_exception_handler(self: Loop, handler: Callable[..., object] | None) -> None:
    """Have handler(loop, context) called for exceptions that nobody catches; None: the default.

    context is a dict as call_exception_handler() describes it.  Raises TypeError if handler is
    neither callable nor None.
    """
    if handler is not None and not callable(handler):
        raise TypeError(f"A callable object or None is expected, got {handler!r}")
    self._exception_handler = handler


def default_exception_handler(self: Loop, context: dict[str, Any]) -> None:
    """Log the context's message, details and exception to the logger "asyncio" as an error."""
    exception = context.get("exception")
    current = self._current_handle
    if "source_traceback" not in context and current is not None and current._source_traceback:
        context["handle_traceback"] = current._source_traceback
    lines = [context.get("message") or "Unhandled exception in event loop"]
    lines += [
        f"{key}: {_describe(key, context[key])}"
        for key in sorted(context)
        if key not in ("message", "exception")
    ]
    exc_info = exception is not None and (type(exception), exception, exception.__traceback__)
    base_events.logger.error("\n".join(lines), exc_info=exc_info)  # type: ignore[attr-defined]


def call_exception_handler(self: Loop, context: dict[str, Any]) -> None:
    """Hand an exception that nobody catches to the exception handler.

    The keys of context, all optional but the first: message (str), exception, future, task, handle,
    protocol, transport, socket, asyncgen, source_traceback, handle_traceback.  What a handler raises
    is logged, but SystemExit and KeyboardInterrupt go on to the caller.
    """
    handler = self._exception_handler
    if handler is None:
        _call_default_handler(self, context, "Exception in default exception handler")
        return
    try:
        _call_custom_handler(self, handler, context)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        _call_default_handler(
            self,
            {"message": "Unhandled error in exception handler", "exception": exc, "context": context},
            "Exception in default exception handler while handling an unexpected error "
            "in custom exception handler",
        )


def _call_custom_handler(loop: Loop, handler: Callable[..., object], context: dict[str, Any]) -> None:
    """Run the handler, from Python 3.12 on in the context of the task or handle that failed."""
    origins = (context.get(key) for key in ("task", "future", "handle"))
    origin = next((thing for thing in origins if thing is not None), None)
    get_context = getattr(origin, "get_context", None)
    run = None
    if get_context is not None and HANDLER_RUNS_IN_CONTEXT:
        run = getattr(get_context(), "run", None)
    if run is not None:
        run(handler, loop, context)
    else:
        handler(loop, context)


def _call_default_handler(loop: Loop, context: dict[str, Any], complaint: str) -> None:
    """Call default_exception_handler(), which may be overridden and fail."""
    try:
        loop.default_exception_handler(context)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        base_events.logger.error(complaint, exc_info=True)  # type: ignore[attr-defined]


def check_callback(self: Loop, callback: Any, method: str) -> None:
    """In debug mode: refuse what cannot be called back, with a TypeError."""
    if asyncio.iscoroutine(callback) or iscoroutinefunction(callback):
        raise TypeError(f"coroutines cannot be used with {method}()")
    if not callable(callback):
        raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")


def _describe(key: str, value: Any) -> str:
    """Format one item of an exception context."""
    if key in _ORIGINS:
        return f"{_ORIGINS[key]} (most recent call last):\n" + "".join(traceback.format_list(value)).rstrip()
    return repr(value)
