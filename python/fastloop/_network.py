"""The methods that make transports, which fastloop does not have yet."""

from __future__ import annotations

from ._core import CoreLoop

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than the whole package
    from typing import Any, NoReturn


def _missing(name: str) -> NoReturn:
    raise NotImplementedError(f"fastloop has no transports yet: Loop.{name}() is not implemented")


class NetworkMethods(CoreLoop):
    """Each raises NotImplementedError when awaited."""

    async def create_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("create_connection")

    async def create_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("create_server")

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("create_unix_connection")

    async def create_unix_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("create_unix_server")

    async def connect_accepted_socket(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("connect_accepted_socket")

    async def start_tls(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("start_tls")

    async def sendfile(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("sendfile")

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("create_datagram_endpoint")

    async def connect_read_pipe(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("connect_read_pipe")

    async def connect_write_pipe(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("connect_write_pipe")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("subprocess_exec")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not implemented yet: raises NotImplementedError."""
        _missing("subprocess_shell")
