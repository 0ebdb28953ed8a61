"""Every file, folder, function, table and constant that the documents of the sources name in backticks exists there."""

import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
DOCUMENTS = [REPOSITORY / "docs" / name for name in ("internals.md", "tour.md")]
C_ROOT = REPOSITORY / "src" / "_fastloop"
PYTHON_ROOT = REPOSITORY / "python" / "fastloop"

SPAN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w./]+\.(?:c|h|pyi?)|[\w/]+/")
# fl_loop_run, Loop_call_soon, task_step(): not asyncio.all_tasks(), which is another's.
FUNCTION = re.compile(r"\b(?:fl|Loop)_\w+|(?<![\w.])\w+(?=\(\))")
CONSTANT = re.compile(r"\bFL_[A-Z_]+")

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
# The layout that clang-format enforces: a function's name stands at the start of a line.
C_DEFINITION = re.compile(r"^(\w+)\([^;]*?\)\n\{", re.MULTILINE)
C_STRUCT = re.compile(r"^\} (\w+);|^(?:typedef )?struct (\w+)\b", re.MULTILINE)
PYTHON_DEFINITION = re.compile(r"^\s*(?:async )?def (\w+)\(", re.MULTILINE)


def code_of(root: Path, pattern: str) -> str:
    return "\n".join(
        COMMENT.sub("", path.read_text(encoding="utf-8")) for path in sorted(root.rglob(pattern))
    )


@cache
def c_code() -> str:
    return code_of(C_ROOT, "*.[ch]")


@cache
def functions() -> set[str]:
    return set(C_DEFINITION.findall(c_code())) | set(PYTHON_DEFINITION.findall(code_of(PYTHON_ROOT, "*.py")))


@cache
def structs() -> set[str]:
    return {name for names in C_STRUCT.findall(c_code()) for name in names if name}


def is_there(path: str) -> bool:
    return any((root / path).exists() for root in (C_ROOT, PYTHON_ROOT, REPOSITORY))


def named(text: str) -> tuple[set[str], set[str], set[str]]:
    """The paths, functions and constants that a document names."""
    spans = SPAN.findall(text)
    return (
        {span for span in spans if PATH.fullmatch(span)},
        {name for span in spans for name in FUNCTION.findall(span)},
        {name for span in spans for name in CONSTANT.findall(span)},
    )


def missing(text: str) -> set[str]:
    """What a document names and the sources do not have."""
    paths, names, constants = named(text)
    return (
        {path for path in paths if not is_there(path)}
        | (names - functions() - structs())
        | (constants - set(CONSTANT.findall(c_code())))
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_whatever_it_names_exists(document):
    assert missing(document.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_it_names_the_way_of_a_step(document):
    paths, names, constants = named(document.read_text(encoding="utf-8"))

    assert {"api/tasks.c", "base/ring.h", "loop/run.c", "task/step.c", "task/callbacks.c"} <= paths
    assert {"Loop_create_task", "fl_task_new", "fl_loop_run", "task_step", "fl_callbacks_schedule"} <= names
    assert {"FL_READY_STEP", "FL_READY_WAKE"} <= constants


def test_what_does_not_exist_is_found():
    text = """
        `loop/gone.c`, `_gone.py` and `gone/` are gone, and so are `fl_gone`, `Loop_gone`, `gone()` and `FL_GONE`;
        `loop/run.c`, `_tasks.py`, `task/`, `fl_loop_run`, `task_step()`, `face_of()`, `FL_READY_STEP` are there.
        `asyncio.gone()` and `loop->gone` are nobody's business.
    """

    assert missing(text) == {"loop/gone.c", "_gone.py", "gone/", "fl_gone", "Loop_gone", "gone", "FL_GONE"}


def test_a_declaration_or_a_comment_is_no_function():
    assert "fl_loop_run" in functions()
    assert "PyIter_Send" not in functions()
    assert "epoll_wait" not in functions()
