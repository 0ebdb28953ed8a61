"""The scanner itself: a rule that sees nothing would never fail."""

from csource import CSource, Include

CODE = r"""/* A file. */
#include "base/ring.h" /* "not/this.h" */
#include <errno.h>

#define TWICE(x) \
    do { goto done; } while (0)

static int counter;
static const char *const names[] = {"a", "b"};
static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))Handle_run, METH_FASTCALL | METH_KEYWORDS, "run()"},
    {"stop", Handle_stop, METH_NOARGS, stop_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL},
};
static PyGetSetDef attributes[] = {{"name", (getter)Handle_get_name, NULL, "Name.", NULL}, {NULL}};
static PyMemberDef members[] = {{"dict", T_OBJECT, offsetof(HandleObject, dict), 0, NULL}, {NULL}};
static PyMethodDef alone = {"alone", helper, METH_NOARGS, NULL};
static int (*hook)(int);
static int taking(int (*of)(int));
unsigned total = 0;
static int helper(int);

static inline int
short_one(void)
{
    return '{';
}

/* int
   commented_out(void)
   { */
PyObject *
fl_long_one(PyObject *self,
            int many)
{
    if (many) {
        static int calls = 0; /* static } here */
        return strchr("}\n{", many);
    }
    return NULL;
}
"""


def source():
    return CSource("loop/sample.h", CODE)


def test_functions_are_found_with_place_length_and_reach():
    short, long = source().functions
    assert (short.name, short.line, short.length) == ("short_one", 25, 4)
    assert (short.is_static, short.is_inline) == (True, True)
    assert (long.name, long.line, long.length) == ("fl_long_one", 34, 9)
    assert (long.is_static, long.is_inline) == (False, False)
    assert source().bodies() == 2


def test_the_text_of_a_function_has_its_literals_and_no_comments():
    text = source().function_texts()["fl_long_one"]
    assert text.startswith("fl_long_one(PyObject *self,\n") and text.endswith("return NULL;\n}")
    assert r'"}\n{"' in text and "here" not in text


def test_includes_are_found_outside_of_comments():
    assert source().includes() == [Include("base/ring.h", True), Include("errno.h", False)]


def test_macros_and_functions_in_tables_are_found():
    ((name, body),) = source().macros()
    assert name == "TWICE" and "goto" in body
    assert source().table_functions() == ["Handle_run", "Handle_stop", "Handle_get_name"]


def test_variables_of_static_storage_are_found():
    assert sorted(source().variables()) == [
        "PyGetSetDef attributes[]",
        "PyMemberDef members[]",
        "PyMethodDef alone",
        "PyMethodDef methods[]",
        "const char *const names[]",
        "int (*hook)(int)",
        "int calls",
        "int counter",
        "unsigned total",
    ]


def test_the_folder_is_the_one_under_the_root():
    assert source().folder == "loop"
    assert CSource("module.c", "").folder == ""
