"""The files of named Unix sockets."""

from __future__ import annotations

import posix  # what detectors of blocking calls replace in the module os is called by the loop, as by asyncio's
import stat

from ._compat import logger


def has_file(path: str | bytes) -> bool:
    """Whether a Unix socket's address names a file: it is neither abstract nor empty."""
    return bool(path) and path[0] not in (0, "\0")


def remove_stale_socket(path: str | bytes) -> None:
    """Remove the socket that an earlier process left at path; leave any other kind of file."""
    try:
        if stat.S_ISSOCK(posix.stat(path).st_mode):
            posix.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as exc:  # the folder may allow no more than making a socket
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, exc)


def inode_of(path: str | bytes) -> int | None:
    """Return the inode of a socket's file, None if it has none."""
    if not has_file(path):
        return None
    try:
        return posix.stat(path).st_ino
    except FileNotFoundError:
        return None


def remove_own_socket(path: str | bytes, inode: int) -> None:
    """Remove the file of a closed socket, unless another file has taken its place."""
    try:
        if posix.stat(path).st_ino == inode:
            posix.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        logger.error("Unable to clean up listening UNIX socket %r: %r", path, exc)
