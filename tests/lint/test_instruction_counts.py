"""What benchmarks/instructions.py makes of callgrind's files and of the figures before; without valgrind."""

import importlib
import sys

import pytest
from csource import REPOSITORY

sys.path.append(str(REPOSITORY / "benchmarks"))
instructions = importlib.import_module("instructions")
Count, Figures = instructions.Count, instructions.Figures

# Each object's own lines; below "calls=" stands what the callee ran, once more.
PROFILE = """# callgrind format
version: 1
part: 2

desc: Trigger: --dump-before=getpgid

positions: line
events: Ir
summary: 1170


ob=/somewhere/fastloop/_fastloop.cpython-311-x86_64-linux-gnu.so
fl=src/_fastloop/loop/run.c
fn=fl_loop_run
310 10
fi=Include/object.h
12 5
fe=src/_fastloop/loop/run.c
cob=/usr/lib/libpython3.11.so.1.0
cfi=Objects/call.c
cfn=PyObject_Call
calls=2 100
311 1000
312 5

ob=/usr/lib/libpython3.11.so.1.0
fl=Objects/call.c
fn=PyObject_Call
100 850
cob=/somewhere/fastloop/_fastloop.cpython-311-x86_64-linux-gnu.so
cfn=Loop_stop
calls=1 20
101 150

ob=/somewhere/fastloop/_fastloop.cpython-311-x86_64-linux-gnu.so
fl=src/_fastloop/api/lifecycle.c
fn=Loop_stop
20 150
21 150

totals: 1170
"""
BUILD = {"python": "3.11.7", "machine": "x86_64", "compiler": "gcc 12.2.0", "flags": "-O3"}


def figures(build=BUILD, **own):
    return Figures("354d7f1", build, {name: Count(count, 10 * count) for name, count in own.items()})


def verdict(before, now, limit=3.0, other_build_ok=False):
    return instructions.verdict(before, now, limit, other_build_ok)


def test_each_object_has_the_instructions_of_its_own_lines():
    assert instructions.instructions_by_object(PROFILE) == {
        "/somewhere/fastloop/_fastloop.cpython-311-x86_64-linux-gnu.so": 320,
        "/usr/lib/libpython3.11.so.1.0": 850,
    }


def test_own_is_the_extension_module_and_total_is_what_callgrind_says():
    assert instructions.count_of(PROFILE) == Count(own=320, total=1170)


def test_the_longer_run_tells_what_an_operation_costs():
    count = instructions.per_operation(Count(1100, 5000), Count(2100, 9000), 100)
    assert count == Count(own=10, total=40)


def test_a_path_may_grow_up_to_the_limit():
    before = figures(echo=1000, accept=500)
    status, lines = verdict(before, figures(echo=1030, accept=400))
    assert (status, lines) == (0, ["no path grew by more than 3 % since 354d7f1"])
    status, lines = verdict(before, figures(echo=1031, accept=400))
    assert (status, lines) == (1, ["echo grew by 3.10 %, more than 3 %"])


def test_the_limit_can_be_another():
    status, lines = verdict(figures(echo=1000), figures(echo=1011), limit=1.0)
    assert (status, lines) == (1, ["echo grew by 1.10 %, more than 1 %"])


def test_only_what_runs_in_the_extension_module_counts():
    before = Figures("354d7f1", BUILD, {"echo": Count(1000, 9000)})
    now = Figures("354d7f1", BUILD, {"echo": Count(1000, 12000)})
    assert verdict(before, now)[0] == 0


def test_a_path_that_is_new_has_nothing_to_be_compared_with():
    assert verdict(figures(echo=1000), figures(echo=1000, accept=500))[0] == 0


@pytest.mark.parametrize("key", BUILD)
def test_figures_of_another_build_are_not_compared(key):
    now = figures(build=BUILD | {key: "another"}, echo=2000)
    status, lines = verdict(figures(echo=1000), now)
    assert (status, lines) == (3, [f"not compared: {key} is 'another', in the file {BUILD[key]!r}"])
    assert verdict(figures(echo=1000), now, other_build_ok=True) == (0, lines)


def test_a_python_without_figures_is_not_compared():
    assert verdict(None, figures(echo=1000))[0] == 3
    assert verdict(None, figures(echo=1000), other_build_ok=True)[0] == 0


def test_the_table_has_the_figures_before_where_there_are_any():
    now = {"echo": Count(1030, 9000), "accept": Count(500, 800)}
    _, echo, accept = instructions.table(now, {"echo": Count(1000, 9000)})
    assert echo.split() == ["echo", "9000.0", "1030.0", "1000.0", "+3.00", "%"]
    assert accept.split() == ["accept", "800.0", "500.0"]


def test_a_file_keeps_the_figures_of_each_version_of_python(tmp_path):
    file = tmp_path / "figures.json"
    assert instructions.load_all(file) == {}
    instructions.save(file, "3.14", figures(echo=1))
    instructions.save(file, "3.11", figures(echo=2))
    instructions.save(file, "3.14", figures(echo=3))
    assert instructions.load_all(file) == {"3.11": figures(echo=2), "3.14": figures(echo=3)}


def test_there_are_figures_of_every_path():
    hot_paths = importlib.import_module("hot_paths")
    stored = instructions.load_all(REPOSITORY / "benchmarks" / "instructions.json")
    assert set(stored["3.11"].paths) == hot_paths.PATHS.keys() - {"eager_spawn"}
