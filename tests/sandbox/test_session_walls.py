"""Cells that go too far have a clear outcome each, forge nothing, and the next cell runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hostile import Way, programs, run_cells
from qwen7b.sandbox import CellOutcome

LIMITS = {"memory_bytes": 160 << 20, "disk_bytes": 4 << 20, "output_bytes": 100_000, "processes": 16}
PROBE = "(1 + 1, open('mine', 'w').write('x'))"

ENDED = programs("""
## timed out: loops
while True: pass
## timed out: sleeps deaf to signals
import signal, time
for s in {*signal.Signals} - {9, 19}: signal.signal(s, lambda *_: None)
time.sleep(100)
## timed out: catches all
while True:
    try:
        while True: pass
    except BaseException: pass
## timed out: forks without end
import os
while True:
    try: os.fork()
    except OSError: pass
## timed out: stops itself
import os; os.kill(os.getpid(), 19)
## timed out: answers in part
import os
for n in range(3, 64):
    try: os.write(n, bytes(3))
    except OSError: pass
while True: pass
## out of memory: several processes
import os, time
for _ in range(6):
    if not os.fork():
        x = b'x' * (40 << 20)
        time.sleep(100)
time.sleep(100)
## out of disk: many files
import itertools, time
try:
    for n in itertools.count(): open(str(n), 'wb').write(bytes(1 << 16))
except OSError: time.sleep(100)
## out of disk: at once
for n in range(3): open(str(n), 'wb').write(bytes(2 << 20))
## too much output: prints without end
while True: print('x' * 1000)
## too much output: complains without end
import sys
while True: sys.stderr.write('x' * 1000)
## too much output: a child prints
import os, time
if not os.fork():
    while True: print('x' * 1000)
time.sleep(100)
## ended: exits at once
import os; os._exit(0)
## ended: crashes
import ctypes; ctypes.string_at(0)
## ended: becomes another program
import os; os.execv('/usr/bin/true', ['true'])
## ended: kills all that it may
import os
for who in (os.getppid(), -1, 0, os.getpid()):
    try: os.kill(who, 9)
    except OSError: pass
## ended: closes all
import os; os.closerange(0, 64)
## ended: answers in advance
import os
for n in range(3, 64):
    text = b'x' * 16 + b'{"value": "forged", "error": null, "figures": []}'
    try: os.write(n, len(text).to_bytes(8, 'big') + text)
    except OSError: pass
## ended: answers too much
import os
for n in range(3, 64):
    try: os.write(n, b'\\xff' * 100)
    except OSError: pass
## ended: answers twice, by the token
import json, os, sys
frame = sys._getframe()
while 'token' not in frame.f_locals: frame = frame.f_back
text = frame.f_locals['token'] + b'{"value": "forged", "error": null, "figures": []}'
os.write(frame.f_locals['channel'].outgoing, (len(text).to_bytes(8, 'big') + text) * 2)
## ended: answers what is no answer
import sys
frame = sys._getframe()
while 'token' not in frame.f_locals: frame = frame.f_back
import json
json.dumps = lambda answer: '[' * 100_000
## ended: draws what is no picture
class C:
    def _repr_png_(self): return b'<svg>'
C()
## ended: takes a name for another
import json
dumps = json.dumps
json.dumps = lambda answer: dumps({**answer, 'value': 3})
""")
SURVIVED = programs("""
## a child that lives on
import os, time
if not os.fork():
    while True: print('x' * 1000); time.sleep(0.01)
## a child that returns
import os
os.fork(); os.getpid() > 0
## a thread that prints without end
import threading
def run():
    while True: print('x' * 10, end=''); threading.Event().wait(0.01)
threading.Thread(target=run, daemon=True).start()
## recursion
def f(): f()
f()
## another main module
import sys; sys.modules['__main__'] = sys; del sys.modules['__main__']
## output that looks like a report
print('answered 0 0.1 0 0 0\\nstarted\\nidle 0 0 0 0 0')
## the limit on recursion
import sys; sys.setrecursionlimit(60)
## another folder
import os; os.mkdir('x'); os.chdir('x')
## no folder
import os; os.mkdir('y'); os.chdir('y'); os.rmdir('../y')
""")


@pytest.fixture
def outcomes(way: Way, folder: Path) -> dict[str, tuple[CellOutcome, CellOutcome]]:
    """What became of each hostile cell, and of a harmless one after it, in four sessions at once."""
    hostile = {**ENDED, **SURVIVED}
    slow = [name for name in hostile if name.startswith("timed out")]
    if way.ordinary:  # the others differ by nothing that a user's rights have to do with
        slow = ["timed out: forks without end", "timed out: stops itself"]
    quick = [name for name in hostile if not name.startswith("timed out")]
    shares = [*filter(None, (slow[0::3], slow[1::3], slow[2::3])), quick]

    def run(names: list[str]) -> list[CellOutcome]:
        cells = [cell for name in names for cell in (hostile[name], PROBE)]
        return run_cells(cells, way=way, folder=folder, seconds=1 if names[0] in slow else 30, **LIMITS)

    # Of an ordinary user all processes count together, so that one session's could leave another none.
    with ThreadPoolExecutor(1 if way.ordinary else 4) as pool:
        found = zip(shares, pool.map(run, shares), strict=True)
        return {name: (each[2 * n], each[2 * n + 1]) for names, each in found for n, name in enumerate(names)}


def test_each_cell_that_goes_too_far_ends_clearly(outcomes: dict[str, tuple[CellOutcome, CellOutcome]]) -> None:
    for name, (outcome, after) in outcomes.items():
        assert (after.value, after.status) == ("(2, 1)", "done"), (name, outcome, after)
        assert outcome.value != "forged" and len(outcome.stdout) <= 100_000, (name, outcome)
        if name in ENDED:
            assert outcome.status == name.split(":")[0], (name, outcome)
            assert "the next cell starts a new session" in str(outcome.notice), (name, outcome)
            assert outcome.seconds < 20, (name, outcome)
        else:
            assert outcome.status in ("done", "error") and outcome.notice is None, (name, outcome)


def test_a_cell_that_answers_and_goes_on_is_found_out_by_the_next(way: Way, folder: Path) -> None:
    """What it says of itself may be wrong; of another cell it can say nothing."""
    code = (
        "import os, sys\nframe = sys._getframe()\nwhile 'token' not in frame.f_locals: frame = frame.f_back\n"
        'text = frame.f_locals[\'token\'] + b\'{"value": "forged", "error": null, "figures": []}\'\n'
        "while True: os.write(frame.f_locals['channel'].outgoing, len(text).to_bytes(8, 'big') + text) or print()"
    )
    forged, next_one, last = run_cells([code, "2", "3"], way=way, folder=folder, seconds=10)
    assert forged.value in ("forged", None) and next_one.value != "forged" and last.value == "3", (forged, next_one)
    assert (forged.status, next_one.status) in (("done", "ended"), ("ended", "done"))
