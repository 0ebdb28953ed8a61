"""What differs by Python version, and what asyncio keeps to itself.

No other file asks for a version of Python, and none imports a private name or an undocumented module of asyncio.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from asyncio import base_events, constants, sslproto
from asyncio.base_events import _check_ssl_socket as check_ssl_socket  # type: ignore[attr-defined]
from asyncio.base_events import _set_reuseport as set_reuseport  # type: ignore[attr-defined]
from asyncio.constants import _SendfileMode as SendfileMode
from asyncio.log import logger
from asyncio.trsock import TransportSocket
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import Awaitable, Coroutine
    from typing import Any, TypeAlias, TypeVar

    _T = TypeVar("_T")
    # What asyncio.run() takes; __init__.py has it from here.
    if sys.version_info >= (3, 14):
        _Main: TypeAlias = Awaitable[_T]
    else:
        _Main: TypeAlias = Coroutine[Any, Any, _T]  # noqa: PYI047

__all__ = [
    "FORK_EXEC_ASKS_FOR_VFORK",
    "FORK_EXEC_IS_KNOWN",
    "FORK_EXEC_TELLS_OF_CHDIR",
    "HANDLER_RUNS_IN_CONTEXT",
    "HAS_POLICIES",
    "SERVER_CLOSES_CLIENTS",
    "SERVER_HAS_CONTEXT",
    "SERVER_REMOVES_SOCKET_FILE",
    "SERVER_WAITS_FOR_CLIENTS",
    "SKIPS_ABSENT_ADDRESSES",
    "TAKES_ANY_DATAGRAM_SOCKET",
    "SSLProtocol",
    "SendfileMode",
    "TransportSocket",
    "base_events",
    "check_ssl_socket",
    "constants",
    "find_task_set",
    "logger",
    "running_loop",
    "set_reuseport",
]

# -- what asyncio does from which version on

# The exception handler runs in the context of the task or handle that failed.
HANDLER_RUNS_IN_CONTEXT = sys.version_info >= (3, 12)
# Server.wait_closed() waits for the connections too.
SERVER_WAITS_FOR_CLIENTS = sys.version_info >= (3, 12)
# Server.serve_forever() closes the connections when it is cancelled.
SERVER_CLOSES_CLIENTS = sys.version_info >= (3, 13, 1)
# Connections run in the context of whoever made the server; before, of whoever started it.
SERVER_HAS_CONTEXT = sys.version_info >= (3, 15)
# The server of a Unix socket removes the socket's file when it is closed.
SERVER_REMOVES_SOCKET_FILE = sys.version_info >= (3, 13)
# create_server() leaves out addresses that this machine does not have, and says other things of the others.
SKIPS_ABSENT_ADDRESSES = sys.version_info >= (3, 13)
# create_datagram_endpoint() takes every socket that is no stream, and calls it otherwise.
TAKES_ANY_DATAGRAM_SOCKET = sys.version_info >= (3, 13)
# There are event loop policies.
HAS_POLICIES = sys.version_info < (3, 16)

# -- what subprocess does from which version on

# The arguments of _posixsubprocess.fork_exec() and of Popen._execute_child(), both private, are as _spawn.py has them.
FORK_EXEC_IS_KNOWN = sys.version_info < (3, 16)
# A child of fork_exec() that fails before exec() says whether that is because of the folder.
FORK_EXEC_TELLS_OF_CHDIR = sys.version_info >= (3, 13)
# The last argument of fork_exec() allows vfork().
FORK_EXEC_ASKS_FOR_VFORK = sys.version_info < (3, 14)


# -- what asyncio keeps to itself

SSLProtocol: Any = sslproto.SSLProtocol  # its stub knows an older version


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None."""
    return asyncio._get_running_loop()


def find_task_set() -> WeakSet[Any] | None:
    """Return the WeakSet that asyncio.all_tasks() iterates over, or None if there is no such set."""
    if sys.version_info < (3, 14):
        name = "_all_tasks" if sys.version_info < (3, 12) else "_scheduled_tasks"
        found = [getattr(asyncio.tasks, name, None)]
    else:
        found = [o for o in gc.get_referents(sys.modules.get("_asyncio")) if isinstance(o, WeakSet)]
    return found[0] if len(found) == 1 and isinstance(found[0], WeakSet) else None
