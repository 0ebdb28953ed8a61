"""The one place where the examples choose their event loop.

The environment variable LOOP names it: "fastloop" (the default) or "asyncio".
Everything else in an example is plain asyncio, so the same unchanged program runs on both.
"""

import os

_name = os.environ.get("LOOP", "fastloop")

if _name == "fastloop":
    from fastloop import new_event_loop, run
elif _name == "asyncio":
    from asyncio import new_event_loop, run
else:
    raise SystemExit(f"LOOP must be fastloop or asyncio, not {_name!r}")

__all__ = ["new_event_loop", "run"]
