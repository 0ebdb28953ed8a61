"""What is tried for leaks: each feature is used once by a function that leaves nothing behind.

A feature is `def feature(env)` or `async def feature(env)`, which runs on env.loop. `env` is that of measure.py: the
loop that serves all of a feature's runs, and the classes of the implementation under test.
"""

from . import callbacks, futures, helpers, loops, sockets, tasks, tls, transports  # noqa: F401  (they register)
from ._tools import FEATURES  # noqa: F401
from .leaks import LEAKS  # noqa: F401
