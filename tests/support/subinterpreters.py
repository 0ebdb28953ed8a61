"""How each Python runs source in a subinterpreter that is new: `run(source)`, by version."""

# Python 3.12.1 itself crashes in interpreters with a GIL of their own, so there they share it.
RUN_IN_NEW_INTERPRETER = {
    (3, 12): """
import _xxsubinterpreters
def run(source):
    interpreter = _xxsubinterpreters.create(isolated=False)
    _xxsubinterpreters.run_string(interpreter, source)
    _xxsubinterpreters.destroy(interpreter)
""",
    (3, 13): """
import _interpreters
def run(source):
    interpreter = _interpreters.create()
    error = _interpreters.exec(interpreter, source)
    assert error is None, error
    _interpreters.destroy(interpreter)
""",
    (3, 14): """
from concurrent import interpreters
def run(source):
    interpreter = interpreters.create()
    interpreter.exec(source)
    interpreter.close()
""",
}
