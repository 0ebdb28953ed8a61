"""Where exceptions go that nobody catches, and the complaints of debug mode."""

from __future__ import annotations

import sys
import traceback
from asyncio import base_events
from collections.abc import Callable

from ._core import CoreLoop

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from typing import Any

_ORIGINS = {"source_traceback": "Object created at", "handle_traceback": "Handle created at"}


class ErrorMethods(CoreLoop):
    """The exception handler of a loop."""

    def __init__(self) -> None:
        self._exception_handler: Callable[..., object] | None = None

    def get_exception_handler(self) -> Callable[..., object] | None:
        """Return the exception handler, or None for the default one."""
        return self._exception_handler

    def set_exception_handler(self, handler: Callable[..., object] | None) -> None:
        """Have handler(loop, context) called for exceptions that nobody catches; None: the default.

        context is a dict as call_exception_handler() describes it.  Raises TypeError if handler is
        neither callable nor None.
        """
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
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

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Hand an exception that nobody catches to the exception handler.

        The keys of context, all optional but the first: message (str), exception, future, task, handle,
        protocol, transport, socket, asyncgen, source_traceback, handle_traceback.  What a handler raises
        is logged, but SystemExit and KeyboardInterrupt leave it.
        """
        handler = self._exception_handler
        if handler is None:
            self._call_default_handler(context, "Exception in default exception handler")
            return
        try:
            self._call_custom_handler(handler, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._call_default_handler(
                {"message": "Unhandled error in exception handler", "exception": exc, "context": context},
                "Exception in default exception handler while handling an unexpected error "
                "in custom exception handler",
            )

    def _call_custom_handler(self, handler: Callable[..., object], context: dict[str, Any]) -> None:
        """Run the handler, from Python 3.12 on in the context of the task or handle that failed."""
        origins = (context.get(key) for key in ("task", "future", "handle"))
        origin = next((thing for thing in origins if thing is not None), None)
        get_context = getattr(origin, "get_context", None)
        run = None
        if get_context is not None and sys.version_info >= (3, 12):
            run = getattr(get_context(), "run", None)
        if run is not None:
            run(handler, self, context)
        else:
            handler(self, context)

    def _call_default_handler(self, context: dict[str, Any], complaint: str) -> None:
        """Call default_exception_handler(), which may be overridden and fail."""
        try:
            self.default_exception_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            base_events.logger.error(complaint, exc_info=True)  # type: ignore[attr-defined]


def _describe(key: str, value: Any) -> str:
    """Format one item of an exception context."""
    if key in _ORIGINS:
        return f"{_ORIGINS[key]} (most recent call last):\n" + "".join(traceback.format_list(value)).rstrip()
    return repr(value)
