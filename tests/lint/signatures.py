"""The signatures of what Python can call in C, from the places where they stand: docstrings, argument tables, stub.

All are brought into one form, a list of `Parameter`, in which they can be compared. The object itself (self, cls) is no
parameter, and what a default is does not matter.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from csource import CSource

ROW = re.compile(
    r'\{"(?P<name>\w+)",\s*(?:\([\w *()]*\)\s*|FL_FASTCALL\()?(?P<function>\w+)\)*,'
    r"\s*(?P<flags>(?:METH_|FL_KEYWORDS|KEYWORDS)[A-Z_| ]*),\s*(?P<doc>\w+_doc)\}"
)
DOCSTRING = re.compile(r'PyDoc_STRVAR\(\s*(\w+),\s*((?:"(?:\\.|[^"\\])*"\s*)+)')
TABLE = re.compile(
    r'fl_signature\s+\w+\s*=\s*\{\s*(?:"(?P<function>\w+)"|\w+),\s*(?P<required>\d+),\s*(?P<positional>\d+),'
    r"\s*(?P<count>[^{]+?),\s*\{(?P<params>[^}]*)\}",
)
ONE = re.compile(r'fl_args_one\([^;"]*"(?P<function>\w+)",\s*FL_PARAM\((?P<param>\w+)\)')
ONLY_CONTEXT = re.compile(r'fl_args_context\([^;"]*"(?P<function>\w+)"')
FORWARDED = re.compile(r"PyObject_Call\(\(PyObject \*\)state->(\w+)_type, args, kwargs\)")
PARAM = re.compile(r"FL_PARAM\((\w+)\)")
VERSION_CONDITION = re.compile(r"(\S+?) (?:= )?\(?(?:PY_VERSION_HEX|Py_Version) >= (0x[0-9A-Fa-f]+)")


class Parameter(NamedTuple):
    """One parameter; `kind` is "positional", "either", "keyword", "*" or "**"."""

    name: str
    kind: str
    has_default: bool = False


Shape = list[Parameter]


# -- Python's own way of writing them ----------------------------------------------------------------


def shape_of(arguments: ast.arguments) -> Shape:
    """The parameters of a `def`, the object itself among them."""
    positional = [(arg.arg, "positional") for arg in arguments.posonlyargs]
    positional += [(arg.arg, "either") for arg in arguments.args]
    required = len(positional) - len(arguments.defaults)
    shape = [Parameter(name, kind, i >= required) for i, (name, kind) in enumerate(positional)]
    if arguments.vararg:
        shape.append(Parameter(arguments.vararg.arg, "*"))
    for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        shape.append(Parameter(arg.arg, "keyword", default is not None))
    if arguments.kwarg:
        shape.append(Parameter(arguments.kwarg.arg, "**"))
    return shape


def shape_of_line(line: str) -> Shape:
    """The parameters of a docstring's first line, or of a __text_signature__: "($self, data, /)"."""
    (function,) = ast.parse(f"def f{line[line.index('(') :].replace('$', 'own_')}: ...").body
    shape = shape_of(function.args)
    return shape[1:] if shape and shape[0].name in {"own_self", "own_module", "own_type"} else shape


# -- C -----------------------------------------------------------------------------------------------


def conditions_of(sources: Mapping[str, CSource]) -> dict[str, bool]:
    """What compat.h and state.c say of the running Python's version, by the C expressions for it."""
    found = VERSION_CONDITION.findall(sources["compat.h"].code + sources["state.c"].code)
    return {expression: sys.hexversion >= int(version, 16) for expression, version in found}


@dataclass(frozen=True)
class Binding:
    """What a C function has bound for it, in `function`'s name, None if that is no literal.

    What the function takes by position itself, as it does with *args, is not in the shape.
    """

    function: str | None
    shape: Shape


@dataclass(frozen=True)
class Row:
    """A row of a table of methods; `line` is the first one of its docstring."""

    source: CSource
    name: str
    function: str
    flags: str
    line: str

    def __str__(self):
        return f"{self.source} {self.function}"

    @property
    def takes_keywords(self) -> bool:
        return "KEYWORDS" in self.flags


class Signatures:
    """All that one C file says about them."""

    def __init__(self, source: CSource, conditions: Mapping[str, bool]):
        self.source = source
        self.conditions = conditions

    @cached_property
    def texts(self) -> dict[str, str]:
        return self.source.function_texts()

    def rows(self) -> list[Row]:
        # The literals of C stand side by side as Python's do.
        docs = {
            name: ast.literal_eval(f"({text})") for name, text in DOCSTRING.findall(self.source.uncommented)
        }
        return [
            Row(self.source, row["name"], row["function"], row["flags"], docs[row["doc"]].split("\n")[0])
            for row in ROW.finditer(self.source.uncommented)
        ]

    def bindings_in(self, text: str) -> Iterator[Binding]:
        for match in TABLE.finditer(text):
            yield Binding(match["function"], self.table_shape(match))
        for match in ONE.finditer(text):
            yield Binding(match["function"], [Parameter(match["param"], "either")])
        for match in ONLY_CONTEXT.finditer(text):
            yield Binding(match["function"], [Parameter("context", "keyword", True)])

    def table_shape(self, match: re.Match) -> Shape:
        required, positional = int(match["required"]), int(match["positional"])
        names = PARAM.findall(match["params"])
        return [
            Parameter(name, "either" if i < positional else "keyword", i >= required)
            for i, name in enumerate(names[: self.count(match["count"], len(names))])
        ]

    def count(self, expression: str, listed: int) -> int:
        """How many of the parameters that a table lists are there, in the running Python."""
        if expression == "ARGS":  # the last of an enum
            return listed
        if expression.isdigit():
            assert int(expression) == listed, f"{self.source}: {expression} of {listed} parameters"
            return listed
        condition, yes, no = re.fullmatch(r"(\S+) \? (\d+) : (\d+)", expression).groups()
        return int(yes if self.conditions[condition] else no)


# -- the stub ----------------------------------------------------------------------------------------


class Stub:
    """The functions of a stub file as the running Python's version has them."""

    def __init__(self, text: str):
        self.functions: dict[str, list[Shape]] = {}
        self.classes: dict[str, dict[str, list[Shape]]] = {}
        self.bases: dict[str, list[str]] = {}
        for node in self.chosen(ast.parse(text).body):
            if isinstance(node, ast.ClassDef):
                self.add_class(node)
            elif isinstance(node, ast.FunctionDef):
                self.functions[node.name] = [shape_of(node.args)]

    def chosen(self, body: list[ast.stmt]) -> Iterator[ast.stmt]:
        """The statements, without the branches for other versions."""
        for node in body:
            if isinstance(node, ast.If):
                condition = eval(compile(ast.Expression(node.test), "stub", "eval"), {"sys": sys})
                yield from self.chosen(node.body if condition else node.orelse)
            else:
                yield node

    def add_class(self, node: ast.ClassDef) -> None:
        methods: dict[str, list[Shape]] = {}
        for member in self.chosen(node.body):
            if isinstance(member, ast.FunctionDef):
                methods.setdefault(member.name, []).append(shape_of(member.args)[1:])
        self.classes[node.name] = methods
        names = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
        self.bases[node.name] = [name.id for name in names if isinstance(name, ast.Name)]

    def method(self, class_name: str, name: str) -> list[Shape] | None:
        """The shapes of a method, several if it is overloaded, of the class or one of its bases; None without."""
        if class_name not in self.classes:
            return None
        if name in self.classes[class_name]:
            return self.classes[class_name][name]
        inherited = [self.method(base, name) for base in self.bases[class_name]]
        return next((shapes for shapes in inherited if shapes), None)
