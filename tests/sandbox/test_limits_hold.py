"""Programs that go too far are ended, with all that they started, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hostile import Sandbox, programs, run_all
from qwen7b.sandbox import ProgramOutcome

MIB = 1 << 20
PRIVATE_USERS = range(0x7000_0000 + 64 * os.getpid(), 0x7000_0000 + 64 * os.getpid() + 64)

TIMED_OUT = programs("""
## loop
while True: pass
## sleep
import time; time.sleep(100)
## deaf
import signal, time
for s in {*signal.Signals} - {9, 19}: signal.signal(s, lambda *_: None)
time.sleep(100)
## never caught
while True:
    try:
        while True: pass
    except BaseException: pass
## no pipes
import os, time; os.closerange(0, 100); time.sleep(100)
## stopped
import os; os.kill(os.getpid(), 19)
## children
import os, time
for _ in range(5):
    try: os.fork()
    except OSError: pass
time.sleep(100)
## fork bomb
import os
while True:
    try: os.fork()
    except OSError: pass
## threads
import threading, time
for _ in range(20):
    try: threading.Thread(target=time.sleep, args=[100]).start()
    except RuntimeError: time.sleep(100)
## at exit
import atexit, time; atexit.register(time.sleep, 100)
## unending regular expression
import re; re.match('(a+)+b', 'a' * 60)
## another program
import os; os.execv('/usr/bin/sleep', ['sleep', '100'])
## waits for input from itself
import os; os.read(os.pipe()[0], 1)
""")
OUT_OF_MEMORY = programs("""
## one object
x = bytearray(1 << 40)
## a list
x = []
while True: x.append(bytearray(1 << 20))
## several processes
import os, time
for _ in range(4):
    if not os.fork():
        x = b'x' * (60 << 20)
        time.sleep(100)
time.sleep(100)
## a caught error
x = []
try:
    while True: x.append(bytearray(1 << 20))
except MemoryError:
    x = 0
    raise
""")
OUT_OF_DISK = programs("""
## many files
import itertools, time
try:
    for n in itertools.count(): open(str(n), 'w').write('x')
except OSError: time.sleep(100)
## large files
import itertools, time
try:
    for n in itertools.count(): open(str(n), 'wb').write(bytes(1 << 20))
except OSError: time.sleep(100)
## deep folders
import itertools, os
for n in itertools.count():
    os.mkdir('d' * 200); os.chdir('d' * 200)
## folders
import itertools, os, time
for n in itertools.count():
    os.mkdir('d'); os.chdir('d')
""")
TOO_MUCH_OUTPUT = programs("""
## prints for ever
while True: print('x' * 1000)
## complains for ever
import sys
while True: sys.stderr.write('x' * 1000)
## a child prints
import os, time
if not os.fork():
    while True: print('x' * 1000)
time.sleep(100)
## too much at once
import sys; sys.stdout.write('x' * (8 << 20))
""")
FAILED = {
    "error": ("1 / 0", 1),
    "exit code": ("import sys; sys.exit(3)", 3),
    "exit at once": ("import os; os._exit(4)", 4),
    "syntax": ("def", 1),
    "NUL": ("x = 1\0", 1),
    "surrogate": ("x = '\ud800'", 1),
    "recursion": ("def f(): f()\nf()", 1),
    "deep recursion": (
        "import sys; sys.setrecursionlimit(10**8)\nclass C:\n    def __repr__(self): return repr(self)\nrepr(C())",
        (-signal.SIGSEGV, 1),  # 1 where Python notices, as 3.12 does
    ),
    "deep nesting": ("(" * 10**6, 1),
    "crash": ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
    "abort": ("import os; os.abort()", -signal.SIGABRT),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", None),
    "kills all": (
        "import os\nfor who in (-1, 0, os.getpid()):\n    try: os.kill(who, 9)\n    except OSError: pass",
        None,
    ),
    "standard output closed": ("import os; os.close(1); print('x', flush=True)", 120),
    "reads": ("input()", 1),
    "a string of errors": ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", 1),
}


def left_over(user: int) -> list[str]:
    """The processes that a program can have left, where it ran as a user of its own."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and process.stat().st_uid in ({user} if user else PRIVATE_USERS):
                found.append(process.joinpath("stat").read_text())
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(user: int) -> Iterator[None]:
    yield
    if os.geteuid() == 0:
        end = time.monotonic() + 5  # who adopts the last process may take a moment to bury it
        while left_over(user) and time.monotonic() < end:
            time.sleep(0.01)
        assert left_over(user) == []


def endings(outcomes: dict[str, ProgramOutcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in outcomes.items()}


def test_time_is_up(any_sandbox: Sandbox) -> None:
    outcomes = run_all(any_sandbox, TIMED_OUT, seconds=0.4, memory_bytes=2048 * MIB)
    assert endings(outcomes) == dict.fromkeys(TIMED_OUT, "timed out"), outcomes
    for outcome in outcomes.values():
        assert outcome.exit_code is None and 0.4 <= outcome.seconds < 5


def test_memory_is_used_up(any_sandbox: Sandbox) -> None:
    outcomes = run_all(any_sandbox, OUT_OF_MEMORY, memory_bytes=150 * MIB, seconds=30)
    assert endings(outcomes) == dict.fromkeys(OUT_OF_MEMORY, "out of memory"), outcomes


def test_the_disk_is_full(any_sandbox: Sandbox) -> None:
    outcomes = run_all(any_sandbox, OUT_OF_DISK, disk_bytes=2 * MIB, seconds=30)
    assert endings(outcomes) == dict.fromkeys(OUT_OF_DISK, "out of disk"), outcomes


def test_output_goes_on_and_on(any_sandbox: Sandbox) -> None:
    outcomes = run_all(any_sandbox, TOO_MUCH_OUTPUT, output_bytes=100_000, seconds=30)
    assert endings(outcomes) == dict.fromkeys(TOO_MUCH_OUTPUT, "too much output"), outcomes
    assert {max(len(outcome.stdout), len(outcome.stderr)) for outcome in outcomes.values()} == {100_000}


def test_programs_fail_by_themselves(any_sandbox: Sandbox) -> None:
    outcomes = run_all(any_sandbox, {name: code for name, (code, _) in FAILED.items()}, seconds=30)
    assert endings(outcomes) == dict.fromkeys(FAILED, "failed"), outcomes
    for name, (_, exit_code) in FAILED.items():
        expected = exit_code if isinstance(exit_code, tuple) else (exit_code,)
        assert outcomes[name].exit_code in expected, outcomes[name]


def test_a_file_is_no_larger_than_the_disk(any_sandbox: Sandbox) -> None:
    for code in ("open('x', 'wb').write(bytes(9 << 20))", "open('x', 'wb').truncate(1 << 40)"):
        outcome = any_sandbox(code, disk_bytes=2 * MIB, seconds=30)
        # What was written until then fills it: which of the two is seen first is a matter of time.
        assert outcome.status == "out of disk" or "File too large" in outcome.stderr, outcome


def test_what_is_deleted_but_open_counts(any_sandbox: Sandbox) -> None:
    code = (
        "import os, time\nfiles = []\nfor n in range(12):\n    files.append(open(str(n), 'wb'))\n"
        "    files[-1].write(bytes(1 << 20)); files[-1].flush(); os.unlink(str(n))\ntime.sleep(100)"
    )
    outcome = any_sandbox(code, disk_bytes=4 * MIB, seconds=30)
    # In bubblewrap the file system itself is of that size.
    assert outcome.status == "out of disk" or (outcome.exit_code == 1 and "No space left" in outcome.stderr), outcome


def test_daemons_die(any_sandbox: Sandbox) -> None:
    code = (
        "import os, time\nfor _ in range(3):\n    if not os.fork():\n        try: os.setsid()\n"
        "        except OSError: pass\n        if os.fork(): os._exit(0)\n        os.closerange(0, 100)\n"
        "        time.sleep(100)\nprint('left')"
    )
    outcome = any_sandbox(code, seconds=30)
    assert outcome.passed and outcome.stdout == "left\n" and outcome.seconds < 20, outcome
