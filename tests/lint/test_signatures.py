"""A signature stands three times, in the docstring, in the table that binds the arguments and in the stub: in the same way."""

import re
import types

import pytest
from csource import REPOSITORY, CSource, all_sources
from fastloop import _fastloop
from signatures import FORWARDED, Parameter, Signatures, Stub, conditions_of, shape_of_line

SOURCES = {source.name: source for source in all_sources()}
FILES = {name: Signatures(source, conditions_of(SOURCES)) for name, source in SOURCES.items()}
ROWS = [row for file in FILES.values() for row in file.rows()]
TYPES = {name: value for name, value in vars(_fastloop).items() if isinstance(value, type)}
MADE_BY_PYTHON = sorted(name for name, value in TYPES.items() if value.__text_signature__)
STUB = Stub((REPOSITORY / "python" / "fastloop" / "_fastloop.pyi").read_text(encoding="utf-8"))
C_CALLABLES = (types.BuiltinFunctionType, types.MethodDescriptorType, types.ClassMethodDescriptorType)


def runtime_callables():
    """(name of the class or None, name, text signature) of everything that a method table has made."""
    for owner_name, owner in {None: _fastloop, **TYPES}.items():
        for name, value in vars(owner).items():
            if isinstance(value, C_CALLABLES) and not name.startswith("__"):
                yield owner_name, name, value.__text_signature__


CALLABLES = list(runtime_callables())


def test_no_callable_escapes_the_scanner():
    assert {name for _, name, _ in CALLABLES} == {row.name for row in ROWS if not row.name.startswith("__")}
    assert [f"{row}: {row.line}" for row in ROWS if not re.match(rf"{row.name}\(.*\)$", row.line)] == []


# -- docstring and argument table --------------------------------------------------------------------


def bindings_of_type(name):
    """The argument tables of a type's constructor: those that complain in its name, which pipes give as a variable."""
    return [
        binding
        for file in FILES.values()
        if f'"{name}"' in file.source.uncommented
        for binding in file.bindings_in(file.source.uncommented)
        if binding.function in {name, None} and file.source.folder != "py"
    ]


def bindings_of(row):
    """How a method's function binds its arguments: by its own tables, or by those of a type that it makes with them."""
    file = FILES[row.source.name]
    forwarded = FORWARDED.search(file.texts[row.function])
    return bindings_of_type(forwarded[1]) if forwarded else list(file.bindings_in(file.texts[row.function]))


def comparable(documented, shape):
    """The documented parameters as an argument table can say them: *args and what is taken by hand are none of its."""
    by_keyword = [parameter for parameter in documented if parameter.kind in {"either", "keyword"}]
    if documented and documented[-1].kind == "**":  # for what differs by version and is said in the text
        by_keyword += [parameter for parameter in shape if parameter.kind == "keyword"]
    return by_keyword


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_docstring_of_a_method_says_what_its_function_takes(row):
    documented = shape_of_line(row.line)
    if row.takes_keywords:
        (binding,) = bindings_of(row)
        assert comparable(documented, binding.shape) == binding.shape
    elif "METH_NOARGS" in row.flags:
        assert documented == []
    elif "METH_O" in row.flags:
        assert [(p.kind, p.has_default) for p in documented] == [("positional", False)]
    else:
        assert {p.kind for p in documented} == {"positional"}


def test_argument_tables_complain_in_the_name_of_their_method():
    wrong = [
        f"{row} complains as {binding.function}()"
        for row in ROWS
        if row.takes_keywords and not FORWARDED.search(FILES[row.source.name].texts[row.function])
        for binding in bindings_of(row)
        if binding.function != row.name
    ]
    assert wrong == []


@pytest.mark.parametrize("name", MADE_BY_PYTHON)
def test_the_docstring_of_a_type_says_what_its_constructor_takes(name):
    shapes = [binding.shape for binding in bindings_of_type(name)] or [[]]
    assert [shape_of_line(TYPES[name].__text_signature__)] == shapes


# -- docstring and stub ------------------------------------------------------------------------------


def in_stub(owner, name):
    """The shapes that the stub has for a function of the module (no owner) or a method."""
    return STUB.functions.get(name) if owner is None else STUB.method(owner, name)


def as_documented(shape, documented):
    """A shape of the stub, in which ** may stand for the keywords that differ by version."""
    if documented and documented[-1].kind == "**":
        return [parameter for parameter in shape if parameter.kind != "keyword"] + documented[-1:]
    return shape


@pytest.mark.parametrize(
    "owner, name, line", CALLABLES, ids=[f"{owner}.{name}" for owner, name, _ in CALLABLES]
)
def test_the_stub_says_what_the_docstring_of_a_method_says(owner, name, line):
    documented = shape_of_line(line)
    shapes = in_stub(owner, name)
    assert shapes is not None
    # An overloaded method is documented by its first form, which is the most general.
    assert as_documented(shapes[0], documented) == documented


@pytest.mark.parametrize("name", MADE_BY_PYTHON)
def test_the_stub_says_what_the_docstring_of_a_type_says(name):
    shapes = STUB.method(name, "__new__") or STUB.method(name, "__init__") or [[]]
    assert shapes == [shape_of_line(TYPES[name].__text_signature__)]


# -- the reading itself ------------------------------------------------------------------------------

CODE = r"""/* A file. */
PyDoc_STRVAR(send_doc, "send($self, data, *, flags=0)\n--\n\n"
                       "Send data.");

static PyObject *
Loop_send(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const fl_signature signature = {
        "send", 1, 1, self->state->two ? 2 : 1, {FL_PARAM(data), FL_PARAM(flags)}};
}

static PyObject *
Loop_peek(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *data =
        fl_args_one(self->state, "peek", FL_PARAM(size), args, nargs, kwnames);
    fl_args_context(self->state, "peek", args + nargs, kwnames, &context);
}

static PyMethodDef methods[] = {
    {"send", FL_FASTCALL(Loop_send), FL_KEYWORDS, send_doc},
    {NULL},
};
"""

STUB_CODE = """
import sys

class Base:
    def close(self) -> None: ...

class Loop(Base):
    if sys.version_info >= (3, 0):
        def send(self, data: bytes, *, flags: int = 0) -> None: ...
    else:
        def send(self) -> None: ...
    @classmethod
    def make(cls, item: object, /, *args: object, **kwargs: object) -> None: ...
"""


def test_rows_docstrings_and_tables_are_read():
    file = Signatures(CSource("api/sample.c", CODE), {"self->state->two": True})
    (row,) = file.rows()
    assert (row.name, row.function, row.takes_keywords) == ("send", "Loop_send", True)
    data, flags = Parameter("data", "either"), Parameter("flags", "keyword", True)
    assert shape_of_line(row.line) == [data, flags]
    assert [(b.function, b.shape) for b in file.bindings_in(file.texts["Loop_send"])] == [
        ("send", [data, flags])
    ]
    older = Signatures(file.source, {"self->state->two": False})
    assert [binding.shape for binding in older.bindings_in(CODE) if binding.function == "send"] == [[data]]
    assert [binding.shape for binding in file.bindings_in(file.texts["Loop_peek"])] == [
        [Parameter("size", "either")],
        [Parameter("context", "keyword", True)],
    ]


def test_the_stub_is_read_for_the_running_version_and_with_its_bases():
    stub = Stub(STUB_CODE)
    assert stub.method("Loop", "send") == [[Parameter("data", "either"), Parameter("flags", "keyword", True)]]
    assert stub.method("Loop", "close") == [[]]
    assert stub.method("Loop", "nothing") is None
    assert stub.method("Loop", "make") == [
        [Parameter("item", "positional"), Parameter("args", "*"), Parameter("kwargs", "**")]
    ]
