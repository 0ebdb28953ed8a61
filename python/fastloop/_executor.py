"""Work handed to threads, and the end of asynchronous generators."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
import warnings
import weakref
from asyncio.log import logger
from collections.abc import AsyncGenerator, Callable

from ._core import CoreLoop

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from typing import Any, TypeVar, TypeVarTuple

    _T = TypeVar("_T")
    _Ts = TypeVarTuple("_Ts")


class ExecutorMethods(CoreLoop):
    """A loop's executor, the look-ups that run there, and what must be wound down before a loop closes."""

    def __init__(self) -> None:
        self._default_executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._executor_shutdown_called = False
        self._asyncgens: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._asyncgens_shutdown_called = False

    # -- threads

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Call func(*args) in an executor, None standing for the default one; return a future.

        Raises RuntimeError if the loop is closed or its default executor was shut down.
        """
        self._check_closed()
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None:
            executor = self._get_default_executor()
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    def _get_default_executor(self) -> concurrent.futures.ThreadPoolExecutor:
        if self._executor_shutdown_called:
            raise RuntimeError("Executor shutdown has been called")
        if self._default_executor is None:
            self._default_executor = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")
        return self._default_executor

    def set_default_executor(  # type: ignore[override]
        self, executor: concurrent.futures.ThreadPoolExecutor
    ) -> None:
        """Use another default executor.  Raises TypeError unless it is a ThreadPoolExecutor."""
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    def _abandon_executor(self) -> None:
        """Tell the default executor to shut down without waiting for it."""
        self._executor_shutdown_called = True
        executor, self._default_executor = self._default_executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Shut the default executor down and wait for its threads, at most timeout seconds.

        When the time is over a RuntimeWarning says so.
        """
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is None:
            return
        joined = self.create_future()
        thread = threading.Thread(target=self._join_executor, args=(executor, joined))
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
            executor.shutdown(wait=False)
        else:
            thread.join()

    def _join_executor(
        self, executor: concurrent.futures.ThreadPoolExecutor, joined: asyncio.Future[None]
    ) -> None:
        """In a thread: wait for the executor's threads, then complete the future."""

        def complete(exception: Exception | None) -> None:
            if joined.done():
                return
            if exception is None:
                joined.set_result(None)
            else:
                joined.set_exception(exception)

        failure = None
        try:
            executor.shutdown(wait=True)
        except Exception as exc:
            failure = exc
        if not self.is_closed():
            self.call_soon_threadsafe(complete, failure)

    # -- look-ups

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """Return what socket.getaddrinfo() returns, looked up in the default executor."""
        lookup = self._getaddrinfo_debug if self._debug else socket.getaddrinfo
        return await self.run_in_executor(None, lookup, host, port, family, type, proto, flags)

    def _getaddrinfo_debug(self, host: Any, port: Any, *details: int) -> list[tuple[Any, ...]]:
        """Log what is looked up and how long it took: as information when it was slow."""
        names = ("family", "type", "proto", "flags")
        parts = [f"{host}:{port!r}"]
        parts += [f"{name}={value!r}" for name, value in zip(names, details, strict=True) if value]
        query = ", ".join(parts)
        logger.debug("Get address info %s", query)
        begin = self.time()
        addresses = socket.getaddrinfo(host, port, *details)
        elapsed = self.time() - begin
        log = logger.info if elapsed >= self.slow_callback_duration else logger.debug
        log(f"Getting address info {query} took {elapsed * 1e3:.3f}ms: {addresses!r}")
        return addresses

    async def getnameinfo(self, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        """Return what socket.getnameinfo() returns, looked up in the default executor."""
        return await self.run_in_executor(None, socket.getnameinfo, sockaddr, flags)

    # -- asynchronous generators

    def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        if self._asyncgens_shutdown_called:
            warnings.warn(
                f"asynchronous generator {agen!r} was scheduled after loop.shutdown_asyncgens() call",
                ResourceWarning,
                source=self,
            )
        self._asyncgens.add(agen)

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        self._asyncgens.discard(agen)
        if not self.is_closed():
            self.call_soon_threadsafe(self.create_task, agen.aclose())

    async def shutdown_asyncgens(self) -> None:
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
