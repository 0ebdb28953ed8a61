"""House rules of the Python files of the package."""

import ast
import asyncio
import pkgutil
from collections.abc import Iterator

import pytest
from csource import REPOSITORY

PACKAGE = REPOSITORY / "python" / "fastloop"
COMPAT = PACKAGE / "_compat.py"
FILES = sorted(PACKAGE.glob("*.py"))
VERSIONS = {"version_info", "hexversion", "version", "python_version", "python_version_tuple"}
PARTS = {part.name for part in pkgutil.iter_modules(asyncio.__path__)}  # base_events, log, sslproto, …


def trespasses(source: str) -> set[str]:
    """What only _compat.py may do: each question for Python's version, each name that asyncio keeps to itself."""
    return {name for name in names_from_elsewhere(source) if is_version(name) or is_private(name)}


def names_from_elsewhere(source: str) -> Iterator[str]:
    """Names of modules and of what they have, with their dots, wherever a file imports or uses one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value  # sys.modules["_asyncio"]


def is_version(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return module in ("sys", "platform") and attribute in VERSIONS


def is_private(name: str) -> bool:
    """Whether asyncio keeps the name to itself: it begins with an underscore, or with a file of the package."""
    module, *path = name.split(".")
    return module == "_asyncio" or (
        module == "asyncio" and path != [] and (path[0].startswith("_") or path[0] in PARTS)
    )


@pytest.mark.parametrize("path", [path for path in FILES if path != COMPAT], ids=lambda path: path.name)
def test_versions_and_private_names_of_asyncio_are_for_compat(path):
    assert trespasses(path.read_text(encoding="utf-8")) == set()


def test_what_is_not_allowed_is_found():
    source = """
import asyncio
import asyncio.sslproto
import sys
from asyncio import SendfileNotAvailableError, base_events
from asyncio.log import logger
from sys import hexversion

if sys.version_info >= (3, 13):
    asyncio._get_running_loop()
    asyncio.get_running_loop()
    asyncio.Protocol.connection_made
    sys.modules["_asyncio"]
"""
    assert trespasses(source) == {
        "asyncio.sslproto",
        "asyncio.base_events",
        "asyncio.log.logger",
        "sys.hexversion",
        "sys.version_info",
        "asyncio._get_running_loop",
        "_asyncio",
    }
    assert trespasses(COMPAT.read_text(encoding="utf-8"))
