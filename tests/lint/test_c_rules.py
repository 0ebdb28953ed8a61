"""The house rules for the C sources: layers, names, sizes, versions, state."""

import re
import statistics
from collections import Counter

import pytest
from csource import SOURCE_ROOT, CSource, Function, all_sources

LAYERS = ["base", "backend", "py", "loop", "task", "net", "tls", "proc", "api"]
WITHOUT_PYTHON = {"base", "backend"}
OPEN_TO_PYTHON_LAYERS = {"state.h", "compat.h"}
VERSION_MACROS = re.compile(r"\b(PY_VERSION_HEX|PY_(?:MAJOR|MINOR|MICRO)_VERSION|Py_GIL_DISABLED)\b")

MEDIAN_FUNCTION = 12
LONG_FUNCTION = 60  # lines that one of a hundred functions may exceed ...
LONGEST_FUNCTION = 80  # ... and none these
LONGEST_FILE = 800

# The C API takes these without const.
API_TABLES = re.compile(
    r"^(struct )?Py(MethodDef|MemberDef|GetSetDef|Type_Slot|Type_Spec|ModuleDef|ModuleDef_Slot) "
)

SOURCES = all_sources()
FUNCTIONS = [function for source in SOURCES for function in source.functions]


def named(things) -> list[str]:
    return [str(thing) for thing in things]


def test_there_are_sources_and_no_function_escapes_the_scanner():
    assert SOURCES
    assert [f"{source}" for source in SOURCES if len(source.functions) != source.bodies()] == []


# -- layers ------------------------------------------------------------------------------------------


def local_path(source: CSource, target: str) -> str | None:
    """The path under the source root that a quoted include means, None when there is no such file."""
    beside = (SOURCE_ROOT / source.name).parent / target
    for path in (beside, SOURCE_ROOT / target):
        if path.is_file():
            return path.resolve().relative_to(SOURCE_ROOT).as_posix()
    return None


def may_include(source: CSource, path: str) -> bool:
    """Whether the layers allow `source` to include the file `path` of ours."""
    folder = CSource(path, "").folder
    if source.name == "module.c":
        return True
    if path in OPEN_TO_PYTHON_LAYERS or folder == "vendor":
        return source.folder not in WITHOUT_PYTHON
    if source.folder == "":
        return folder == "base"
    return folder in LAYERS and LAYERS.index(folder) <= LAYERS.index(source.folder)


def test_every_folder_has_its_place_among_the_layers():
    assert {source.folder for source in SOURCES} <= {"", *LAYERS}


def test_a_folder_includes_only_what_lies_below_it():
    wrong = []
    for source in SOURCES:
        for include in source.includes():
            path = local_path(source, include.target) if include.local else None
            if include.local and (path is None or not may_include(source, path)):
                wrong.append(f"{source} includes {include.target}")
    assert wrong == []


def test_base_and_backend_know_nothing_of_python():
    below = [source for source in SOURCES if source.folder in WITHOUT_PYTHON]
    assert below
    wrong = [
        f"{source} includes {include.target}"
        for source in below
        for include in source.includes()
        if re.search(r"(?i)python|^py\w*\.h|structmember", include.target)
    ]
    assert wrong == []
    assert named(source for source in below if re.search(r"\bPy[A-Z_]\w*", source.code)) == []


def test_only_backend_knows_what_waits_for_events():
    """Another way to wait or to wake is one more file there, and nothing else."""
    kernels = re.compile(r"(?i)epoll|eventfd|kqueue|io_uring")
    assert {source.folder for source in SOURCES if kernels.search(source.text)} == {"backend"}


def test_operating_systems_are_told_apart_in_backend_and_os_h_alone():
    linux = re.compile(
        r"\b(accept4|pipe2|(recv|send)mmsg|mmsghdr|MSG_NOSIGNAL|MSG_DONTWAIT|SOCK_(CLOEXEC|NONBLOCK)|__linux__)\b"
    )
    users = {source.name for source in SOURCES if source.folder != "backend" and linux.search(source.code)}
    assert users == {"base/os.h"}


def test_versions_of_python_are_told_apart_in_compat_h_alone():
    users = {source.name for source in SOURCES if VERSION_MACROS.search(source.code)}
    assert users == {"compat.h"}


# -- names -------------------------------------------------------------------------------------------


def is_shared_name(function: Function) -> bool:
    """Whether the name suits a function that other files call."""
    if function.name == "PyInit__fastloop":
        return function.file == "module.c"
    # compat.h brings functions of newer Pythons to older ones, under their own names.
    if function.file == "compat.h" and re.match(r"_?Py[A-Z]", function.name):
        return True
    return re.fullmatch(r"fl_[a-z0-9_]+", function.name) is not None


def is_private_name(function: Function) -> bool:
    """Whether the name suits a static function: `topic_verb`, or `Type_method` when Python calls it."""
    if function.name.startswith("fl_"):
        return False
    return re.fullmatch(r"[a-z][a-z0-9]*_[a-z0-9_]+|[A-Z][A-Za-z]*_[a-z0-9_]+", function.name) is not None


def is_private(function: Function) -> bool:
    return function.is_static and function.file.endswith(".c")


def test_the_name_of_a_function_tells_its_reach():
    suits = {True: is_private_name, False: is_shared_name}
    assert named(f for f in FUNCTIONS if not suits[is_private(f)](f)) == []


def test_names_of_static_functions_are_unique():
    times = Counter(function.name for function in FUNCTIONS if is_private(function))
    assert [name for name, count in times.items() if count > 1] == []


def test_functions_in_tables_are_named_after_their_type_or_the_module():
    entries = [(source, name) for source in SOURCES for name in source.table_functions()]
    assert entries
    right = re.compile(r"([A-Z][A-Za-z]*|module)_[a-z0-9_]+")
    assert [f"{source} {name}" for source, name in entries if not right.fullmatch(name)] == []


# -- sizes -------------------------------------------------------------------------------------------


def test_the_median_function_is_short():
    assert statistics.median(function.length for function in FUNCTIONS) <= MEDIAN_FUNCTION


def test_hardly_a_function_is_long():
    long = [function for function in FUNCTIONS if function.length > LONG_FUNCTION]
    assert len(long) <= len(FUNCTIONS) / 100, named(long)


def test_no_function_is_longer_still():
    assert [f"{f}: {f.length} lines" for f in FUNCTIONS if f.length > LONGEST_FUNCTION] == []


def test_no_file_is_long():
    lengths = {source.name: source.text.count("\n") for source in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


# -- headers, state, macros --------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_a_file_begins_with_what_it_is_for(source):
    assert source.text.startswith("/*")


def test_headers_hold_no_code_but_inline_functions():
    assert named(f for f in FUNCTIONS if f.file.endswith(".h") and not (f.is_static and f.is_inline)) == []


def test_no_state_outside_of_interpreters():
    wrong = [
        f"{source}: {variable}"
        for source in SOURCES
        for variable in source.variables()
        if not re.search(r"\bconst\b(?!.*\*(?!\s*const))", variable) and not API_TABLES.match(variable)
    ]
    assert wrong == []


def test_no_macro_hides_a_jump():
    wrong = [f"{source}: {name}" for source in SOURCES for name, body in source.macros() if "goto" in body]
    assert wrong == []
