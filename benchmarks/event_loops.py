"""The event loops to compare, by name."""

import asyncio
import importlib
import importlib.util

NAMES = ["asyncio", "fastloop"]
if importlib.util.find_spec("uvloop"):
    NAMES.append("uvloop")


def factory(name):
    """The function that makes a new loop of that name."""
    if name == "asyncio":
        return asyncio.new_event_loop
    return importlib.import_module(name).new_event_loop
