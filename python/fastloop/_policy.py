"""The event loop policy, for Pythons that have policies (up to 3.15)."""

import asyncio
import warnings

from ._loop import Loop

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    _DefaultEventLoopPolicy = asyncio.DefaultEventLoopPolicy


class EventLoopPolicy(_DefaultEventLoopPolicy):
    """asyncio's default policy with fastloop's loops: new_event_loop() returns a fastloop.Loop."""

    _loop_factory = Loop


def install() -> None:
    """Make fastloop's policy the current one: asyncio.run() and asyncio.new_event_loop() then use it.

    Programs written for Python 3.12 or later had better pass fastloop.new_event_loop as loop_factory.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(EventLoopPolicy())
