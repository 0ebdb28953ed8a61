"""Work handed to threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from collections.abc import Callable
    from typing import TypeVar, TypeVarTuple

    from ._loop import Loop

    _T = TypeVar("_T")
    _Ts = TypeVarTuple("_Ts")


class DefaultExecutor:
    """The threads of a loop, which are made when they are first needed."""

    def __init__(self) -> None:
        self.pool: concurrent.futures.ThreadPoolExecutor | None = None
        self.was_shut_down = False  # there will be no other pool

    def get_pool(self) -> concurrent.futures.ThreadPoolExecutor:
        """Return the pool.  Raises RuntimeError if it was shut down."""
        if self.was_shut_down:
            raise RuntimeError("Executor shutdown has been called")
        if self.pool is None:
            self.pool = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")
        return self.pool

    def close(self) -> None:
        """Tell the pool to shut down without waiting for it."""
        self.was_shut_down = True
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.shutdown(wait=False)


def run_in_executor(
    self: Loop, executor: concurrent.futures.Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
) -> asyncio.Future[_T]:
    """Call func(*args) in an executor, None standing for the default one; return a future.

    Raises RuntimeError if the loop is closed or its default executor was shut down.
    """
    self._check_closed()
    if self._debug:
        self._check_callback(func, "run_in_executor")
    if executor is None:
        executor = self._executor.get_pool()
    return asyncio.wrap_future(executor.submit(func, *args), loop=self)


def set_default_executor(self: Loop, executor: concurrent.futures.ThreadPoolExecutor) -> None:
    """Use another default executor.  Raises TypeError unless it is a ThreadPoolExecutor."""
    if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
        raise TypeError("executor must be ThreadPoolExecutor instance")
    self._executor.pool = executor


async def shutdown_default_executor(self: Loop, timeout: float | None = None) -> None:
    """Shut the default executor down and wait for its threads, at most timeout seconds.

    When the time is over a RuntimeWarning says so.
    """
    self._executor.was_shut_down = True
    pool = self._executor.pool
    if pool is None:
        return
    joined = self.create_future()
    thread = threading.Thread(target=_join_threads, args=(self, pool, joined))
    thread.start()
    try:
        async with asyncio.timeout(timeout):
            await joined
    except TimeoutError:
        warnings.warn(
            f"The executor did not finishing joining its threads within {timeout} seconds.",
            RuntimeWarning,
            stacklevel=2,
        )
        pool.shutdown(wait=False)
    else:
        thread.join()


def _join_threads(
    loop: Loop, pool: concurrent.futures.ThreadPoolExecutor, joined: asyncio.Future[None]
) -> None:
    """In a thread of its own: wait for those of the pool, then complete the future."""

    def complete(exception: Exception | None) -> None:
        if joined.done():
            return
        if exception is None:
            joined.set_result(None)
        else:
            joined.set_exception(exception)

    failure = None
    try:
        pool.shutdown(wait=True)
    except Exception as exc:
        failure = exc
    if not loop.is_closed():
        loop.call_soon_threadsafe(complete, failure)
