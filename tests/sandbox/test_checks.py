"""A check decides in another process: no program passes without the right answers."""

from __future__ import annotations

import pytest

from hostile import Sandbox, programs, run_all

CHECK = "assert answer() == 42, 'a mark that only the check has'"
SEARCH = """
import gc, os, sys
mark = "a mark that only " + "the check has"
def found(value):
    return isinstance(value, (str, bytes)) and (mark if isinstance(value, str) else mark.encode()) in value
frame = sys._getframe()
while frame:
    for value in [*frame.f_locals.values(), *frame.f_globals.values(), *frame.f_code.co_consts]:
        if found(value) and value != mark: print("FOUND in a frame")
    frame = frame.f_back
for thing in gc.get_objects():
    for value in gc.get_referents(thing):
        if found(value) and value != mark: print("FOUND in memory")
for number in range(1000):
    try:
        os.set_blocking(number, False)
        if found(os.read(number, 1 << 16)): print("FOUND in a pipe")
    except OSError:
        pass
"""
"""Finds the check where it can be found from the program's process. Reads the pipes too, so that the program fails."""

FORGED = programs("""
## exits
import os; os._exit(0)
## exits by sys
import sys; sys.exit(0)
## exits when called
import os
def answer(): os._exit(0)
## exits by sys when called
import sys
def answer(): sys.exit(0)
## exits as system exit when called
def answer(): raise SystemExit(0)
## exits at exit
import atexit, os
atexit.register(os._exit, 0)
raise ValueError
## prints
print('passed'); print('PASSED'); print('passed 0 0.1 0')
def answer(): print('passed')
## replaces the names
import builtins
builtins.AssertionError = Warning
class AssertionError(BaseException): pass
def answer(): return 41
## always equal
class Any:
    def __eq__(self, other): return True
    __hash__ = None
def answer(): return Any()
## an equal number
class Any(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def answer(): return Any(7)
## an equal list
class Any(list):
    def __eq__(self, other): return True
def answer(): return Any()
## replaces compile
import builtins
builtins.compile = builtins.exec = lambda *_, **__: None
def answer(): return 41
## replaces the exit
import os, sys
os._exit = sys.exit = lambda *_: None
def answer(): return 41
## ends an iteration
def answer(): raise StopIteration
## a trace function
import sys
sys.settrace(lambda *_: None); sys.setprofile(lambda *_: None)
def answer(): return 41
## walks up the frames
import sys
def answer():
    frame = sys._getframe()
    while frame:
        for name in frame.f_locals: frame.f_locals[name] = True
        frame.f_globals.clear()
        frame = frame.f_back
    return 41
## writes to all pipes
import os
for n in range(3, 1000):
    try: os.write(n, b'passed 0 0.1 0\\n' * 9)
    except OSError: pass
## answers with nonsense
import os
for n in range(3, 1000):
    for text in (b'["ready"]', b'["value", {"__class__": []}]'):
        try: os.write(n, len(text).to_bytes(8, 'big') + text)
        except OSError: pass
## answers without end
import os
for n in range(3, 1000):
    text = b'[' * 10**6
    try: os.write(n, len(text).to_bytes(8, 'big') + text)
    except OSError: pass
## answers too much
import os
for n in range(3, 1000):
    try: os.write(n, b'\\xff' * 100)
    except OSError: pass
## forks
import os
def answer():
    if os.fork(): os._exit(0)
    os._exit(0)
## kills all
import os
def answer(): os.kill(-1, 9)
## kills the supervisor
import os
try: os.kill(os.getppid(), 9)
except OSError: pass
def answer(): return 41
## raises a stranger
def answer(): raise type('Passed', (BaseException,), {})
## a huge answer
def answer(): return 'x' * (70 << 20)
## a circle
def answer():
    x = []
    x.append(x)
    return x
## no answer

## an answer that is no function
answer = 42
""")


def test_passing_cannot_be_forged(sandbox: Sandbox) -> None:
    outcomes = run_all(sandbox, FORGED, check=CHECK, seconds=30)
    for name, outcome in outcomes.items():
        assert outcome.status in ("failed", "out of memory"), (name, outcome)


def test_a_program_cannot_find_its_check(sandbox: Sandbox) -> None:
    outcome = sandbox(SEARCH, check=CHECK, seconds=20)
    assert "FOUND" not in outcome.stdout and not outcome.passed, outcome
    # The search finds what is there to be found.
    control = sandbox(SEARCH + f"\ncheck = {CHECK!r}\n" + SEARCH, seconds=20)
    assert "FOUND in a frame" in control.stdout, control


VALUES = (
    "None, True, 0, -7, 2**63, -(2**200), 10**5000, 1.5, -0.0, float('inf'), 2 + 3j, '', 'é中\\0', '\\ud800', "
    "b'\\0\\xff', [], [1, [2, (3,)]], (), (1, 'x'), {1, 2}, frozenset({(1, 2)}), {}, {'a': {1: [None]}, (1, 2): {3}}"
)


def test_values_come_back_as_they_went(sandbox: Sandbox) -> None:
    """Both ways, and of the same type."""
    code = f"values = [{VALUES}]\ndef same(n, x, *, y): return [x == y == values[n], x, y, values[n]]"
    check = (
        f"for n, value in enumerate([{VALUES}]):\n    equal, *three = same(n, value, y=value)\n"
        "    assert equal is True and three == [value] * 3, n\n    assert {type(x) for x in three} == {type(value)}, n"
    )
    outcome = sandbox(code, check=check, seconds=30)
    assert outcome.passed and outcome.exit_code is None, outcome.stderr


def test_results_are_equal_to_what_they_were_equal_to(sandbox: Sandbox) -> None:
    """Subclasses and iterators, which programs return for lists and dictionaries."""
    code = (
        "import collections, enum\n"
        "def counted(): return collections.Counter('aab')\n"
        "def named(): return collections.namedtuple('P', 'x y')(1, 2)\n"
        "def generated(): yield from (1, 2)\n"
        "def mapped(): return map(str, [1, 2])\n"
        "def numbered(): return enum.IntEnum('E', 'A').A\n"
        "def recursive(n): return n and n + recursive(n - 1)\n"
    )
    check = (
        "assert counted() == {'a': 2, 'b': 1}\nassert named() == (1, 2)\n"
        "assert generated() != [1, 2] and list(generated()) == [1, 2] and tuple(mapped()) == ('1', '2')\n"
        "assert numbered() == 1 and recursive(500) == 125250"
    )
    outcome = sandbox(code, check=check, seconds=20)
    assert outcome.passed and outcome.exit_code is None, outcome.stderr


def test_what_a_program_raises_reaches_its_check(sandbox: Sandbox) -> None:
    check = (
        "try: divide(0)\nexcept ZeroDivisionError as error: assert 'division' in str(error)\nelse: assert False\n"
        "try: own()\nexcept RuntimeError as error: assert str(error) == 'Own: mine'\nelse: assert False\n"
        "try: missing()\nexcept NameError: pass\nelse: assert False\n"
        "try: end()\nexcept RuntimeError: pass\nelse: assert False"
    )
    code = (
        "class Own(Exception): pass\ndef own(): raise Own('mine')\ndef divide(x): return 1 / x\n"
        "def end(): raise StopIteration"
    )
    outcome = sandbox(code, check=check, seconds=20)
    assert outcome.passed and outcome.exit_code is None, outcome.stderr


def test_a_failed_check_says_why(sandbox: Sandbox) -> None:
    outcome = sandbox("def answer(): return 41", check=CHECK, seconds=20)
    assert outcome.status == "failed"
    assert 'File "<check>", line 1, in <module>\n    assert answer() == 42, ' in outcome.stderr
    assert outcome.stderr.endswith("\nAssertionError: a mark that only the check has\n")
    assert "sandbox" not in outcome.stderr  # no steps of ours
    assert "ended before its check" in sandbox("1 / 0", check=CHECK, seconds=20).stderr


@pytest.mark.parametrize("check", ["import sys; sys.exit(0)", "raise SystemExit", "import os; os._exit(1)", "def"])
def test_a_check_that_does_not_come_to_its_end_passes_nothing(check: str, sandbox: Sandbox) -> None:
    assert sandbox("", check=check, seconds=20).status == "failed"


def test_a_program_with_a_check_is_no_script(sandbox: Sandbox) -> None:
    """As HumanEval runs it: the main part of a script would ask for input, say."""
    code = "def answer(): return 42\nif __name__ == '__main__': input()"
    assert sandbox(code, check=CHECK, seconds=20).passed
    assert not sandbox(code, seconds=20).passed
