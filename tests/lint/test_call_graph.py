"""The house from the inside: no file calls upward, and files that call each other in a circle are listed with a reason.

Includes alone do not show it: a header may stand below the file that defines what it declares.
"""

import pytest
from call_graph import circles, compile_objects, graph_of, symbols
from csource import SOURCE_ROOT, CSource
from test_c_rules import LAYERS, WITHOUT_PYTHON

# To compile takes a dozen seconds of one processor, on a busy machine more of the clock's.
pytestmark = pytest.mark.timeout(600)

# Inside of a folder: files that nobody can understand, test or move one without the other, and why they are allowed to.
# The list may only get shorter.
CIRCLES = {
    frozenset({"tls/layer.c", "tls/layer_data.c", "tls/layer_type.c"}): (
        "cut by theme, not by level: data ends the connection, whose end sends data"
    ),
}


@pytest.fixture(scope="session")
def graph(tmp_path_factory):
    return graph_of(symbols(compile_objects(SOURCE_ROOT, tmp_path_factory.mktemp("objects"))))


def folder_of(file: str) -> str:
    return CSource(file, "").folder


def may_call(user: str, definer: str, name: str) -> bool:
    """Whether the file `user` may refer to `name`, which the file `definer` defines."""
    if user == "module.c":
        return True
    if definer == "module.c":
        return name == "fl_module"  # by which a type's method finds its module's state
    if definer == "state.c":
        return folder_of(user) not in WITHOUT_PYTHON
    if user == "state.c":
        return folder_of(definer) == "base"
    return LAYERS.index(folder_of(definer)) <= LAYERS.index(folder_of(user))


def test_every_file_is_there_and_the_floors_call_each_other(graph):
    assert set(graph) == {path.relative_to(SOURCE_ROOT).as_posix() for path in SOURCE_ROOT.rglob("*.c")}
    assert "fl_heap_push" in graph["loop/timers.c"]["base/heap.c"]
    # A table of functions is a reference, too.
    assert "fl_backend_epoll" in {name for definers in graph.values() for name in definers["backend/epoll.c"]}


def test_no_call_runs_upward(graph):
    wrong = [
        f"{user} takes {name} from {definer}"
        for user, definers in graph.items()
        for definer, names in definers.items()
        for name in sorted(names)
        if not may_call(user, definer, name)
    ]
    assert wrong == []


def described(graph, circle) -> str:
    return "\n".join(
        f"{user} takes {', '.join(sorted(names))} from {definer}"
        for user in sorted(circle)
        for definer, names in sorted(graph[user].items())
        if definer in circle
    )


@pytest.mark.parametrize("folder", LAYERS)
def test_the_circles_inside_of_a_folder_are_those_of_the_list(graph, folder):
    found = circles(graph, [file for file in graph if folder_of(file) == folder])
    new = [circle for circle in found if circle not in CIRCLES]
    assert new == [], "not in the list:\n" + "\n\n".join(described(graph, circle) for circle in new)
    listed = {circle for circle in CIRCLES if any(folder_of(file) == folder for file in circle)}
    assert listed - set(found) == set(), "in the list, but no longer there: take it out"


# -- the reading itself ------------------------------------------------------------------------------

LISTINGS = {
    "a/one.c": "                 U fl_two\n                 U malloc\n0000000000000000 T fl_one\n",
    "a/two.c": "0000000000000000 T fl_two\n0000000000000010 t helper\n                 U fl_three\n",
    "b/three.c": "0000000000000000 D fl_three\n                 U helper\n                 U fl_one\n",
    "b/four.c": "                 U fl_one\n",
}


def test_the_graph_is_read_from_the_listings():
    graph = {user: dict(definers) for user, definers in graph_of(LISTINGS).items()}
    assert graph == {
        "a/one.c": {"a/two.c": {"fl_two"}},
        "a/two.c": {"b/three.c": {"fl_three"}},
        "b/three.c": {"a/one.c": {"fl_one"}},
        "b/four.c": {"a/one.c": {"fl_one"}},
    }


def test_circles_are_found_among_the_files_that_are_asked_for():
    graph = graph_of(LISTINGS)
    assert circles(graph, LISTINGS) == [frozenset({"a/one.c", "a/two.c", "b/three.c"})]
    assert circles(graph, ["a/one.c", "a/two.c", "b/four.c"]) == []
    both_ways = {"x": {"y": {"f"}}, "y": {"x": {"g"}, "z": {"h"}}, "z": {}}
    assert circles(both_ways, both_ways) == [frozenset({"x", "y"})]
