"""Reads the C sources as far as the house rules need it: comments blanked out, functions, includes.

The scanner leans on the layout that clang-format enforces: a function's name, and the braces around
its body, stand at the start of a line.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE_ROOT = REPOSITORY / "src" / "_fastloop"

COMMENT_OR_TEXT = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
FUNCTION = re.compile(
    r"""^(?P<type>[A-Za-z_][\w \t*]*?)\s*\b(?P<name>\w+)\((?P<parameters>[^;{}]*)\)\n\{(?P<body>.*?)\n\}$""",
    re.DOTALL | re.MULTILINE,
)
INCLUDE = re.compile(r"""^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]""", re.MULTILINE)
DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)((?:\\\n|[^\n])*)", re.MULTILINE)
# {"name", (cast)function, FLAGS or (cast)setter or NULL, ...: a row of a table of methods or attributes.
TABLE_ROW = re.compile(r'(?<!= )\{"[^"]*",\s*(?:\([\w *()]*\)\s*)?(\w+)\)*,\s*[A-Z(]')
STATIC_VARIABLE = re.compile(r"^[ \t]*static[ \t]+([^;={]*?)(?=[;={])", re.MULTILINE)
GLOBAL_VARIABLE = re.compile(
    r"^(?!(?:static|typedef|extern|struct \w+;|union \w+;|enum \w+;)\b)([A-Za-z_][\w \t*\[\]]*?)[ \t]*(?:=|;)",
    re.MULTILINE,
)


def blank(code: str) -> str:
    """Return `code` with comments and the insides of literals replaced by spaces; lines keep their numbers."""

    def spaces(match):
        found = match.group()
        if found[0] == "/":
            return re.sub(r"[^\n]", " ", found)
        return found[0] + re.sub(r"[^\n]", " ", found[1:-1]) + found[-1]

    return COMMENT_OR_TEXT.sub(spaces, code)


@dataclass(frozen=True)
class Function:
    """A function's definition. `length` counts its lines from the one with the name to the closing brace."""

    file: str
    name: str
    line: int
    length: int
    is_static: bool
    is_inline: bool

    def __str__(self):
        return f"{self.file}:{self.line} {self.name}"


@dataclass(frozen=True)
class Include:
    """An #include; `target` is as written, `local` whether it stands in quotes."""

    target: str
    local: bool


class CSource:
    """One C file. `name` is its path under the source root."""

    def __init__(self, name: str, text: str):
        self.name = name
        self.text = text
        self.code = blank(text)

    def __str__(self):
        return self.name

    @property
    def is_header(self) -> bool:
        return self.name.endswith(".h")

    @property
    def folder(self) -> str:
        """The folder right under the source root; empty for a file in the root itself."""
        return self.name.rpartition("/")[0].partition("/")[0]

    @cached_property
    def functions(self) -> list[Function]:
        return [self._function(match) for match in FUNCTION.finditer(self.code)]

    def _function(self, match: re.Match) -> Function:
        line = self.code.count("\n", 0, match.start("name")) + 1
        qualifiers = match["type"].split()
        return Function(
            file=self.name,
            name=match["name"],
            line=line,
            length=self.code.count("\n", 0, match.end()) + 2 - line,
            is_static="static" in qualifiers,
            is_inline="inline" in qualifiers,
        )

    def bodies(self) -> int:
        """How many function bodies open in this file, whether or not the scanner knows the function."""
        return len(re.findall(r"^\{", self.code, re.MULTILINE))

    def includes(self) -> list[Include]:
        return [Include(target, quote == '"') for quote, target in INCLUDE.findall(self.uncommented)]

    @cached_property
    def uncommented(self) -> str:
        """The text with comments blanked out and literals kept; every character keeps its place."""

        def blanked(match):
            found = match.group()
            return re.sub(r"[^\n]", " ", found) if found[0] == "/" else found

        return COMMENT_OR_TEXT.sub(blanked, self.text)

    def function_texts(self) -> dict[str, str]:
        """The functions by name, each with its body and the literals in it."""
        return {
            match["name"]: self.uncommented[match.start("name") : match.end()]
            for match in FUNCTION.finditer(self.code)
        }

    def macros(self) -> list[tuple[str, str]]:
        return DEFINE.findall(self.code)

    def table_functions(self) -> list[str]:
        """The C functions that tables of methods and attributes name, but for CPython's own."""
        return [name for name in TABLE_ROW.findall(self.code) if not name.startswith("Py")]

    def variables(self) -> list[str]:
        """Declarations, without initialisers, of everything with static storage."""
        # A parenthesis belongs to a function's declaration, or it opens as "(*" for a pointer to one.
        statics = [
            found
            for found in STATIC_VARIABLE.findall(self.code)
            if not re.search(r"\w\(|^[^(]*\((?!\*)", found)
        ]
        return [" ".join(found.split()) for found in statics + GLOBAL_VARIABLE.findall(self.code)]


def all_sources() -> list[CSource]:
    """Every C file of ours; what is vendored keeps its own rules."""
    names = sorted(path.relative_to(SOURCE_ROOT) for path in SOURCE_ROOT.rglob("*.[ch]"))
    return [
        CSource(name.as_posix(), (SOURCE_ROOT / name).read_text(encoding="utf-8"))
        for name in names
        if "vendor" not in name.parts
    ]
