"""Every program of docs/examples does the same on asyncio and on fastloop: same output, same warnings, same exit status."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "docs" / "examples"
PROGRAMS = sorted(path.name for path in FOLDER.glob("[0-9]*.py"))
WARNINGS = {"03_never_awaited.py": "RuntimeWarning: coroutine 'save' was never awaited"}


def run_python(loop_name, *arguments):
    environment = {**os.environ, "LOOP": loop_name, "PYTHONDONTWRITEBYTECODE": "1"}
    for name in "PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONWARNINGS":
        environment.pop(name, None)
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_same_on_both_loops(program):
    expected = run_python("asyncio", program)
    actual = run_python("fastloop", program)

    assert expected.returncode == 0, expected.stderr
    assert expected.stdout
    assert actual.returncode == 0, actual.stderr
    assert actual.stdout == expected.stdout
    assert actual.stderr == expected.stderr
    if program in WARNINGS:
        assert WARNINGS[program] in actual.stderr
    else:
        assert actual.stderr == ""


@pytest.mark.parametrize("loop_name", ["asyncio", "fastloop"])
def test_loop_is_the_one_named(loop_name):
    code = "import _loop; loop = _loop.new_event_loop(); print(type(loop).__module__); loop.close()"
    result = run_python(loop_name, "-c", code)
    assert result.stdout.partition(".")[0].strip() == loop_name, result.stderr


def test_unknown_loop_is_refused():
    result = run_python("nonesuch", "01_first_coroutine.py")
    assert result.returncode == 1
    assert "'nonesuch'" in result.stderr


def test_readme_lists_every_program():
    listed = re.findall(r"^\| \[(\w+\.py)\]\(\1\)", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert listed == PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_is_plain_asyncio(program):
    assert "fastloop" not in (FOLDER / program).read_text()
