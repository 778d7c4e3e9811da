"""However the command is ended, it leaves nothing half done, and says so by its exit code."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from qwen7b.system.signals import interrupts_deferred

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from qwen7b.system.signals import ending_by_signals
from qwen7b.system.whole_file import written_whole
number, path = int(sys.argv[1]), Path(sys.argv[2])
with ending_by_signals():
"""
ONCE = """
    with written_whole(path):
        os.kill(os.getpid(), number)
        time.sleep(10)
"""
IN_EXECUTED_TEXT = """
    exec("os.kill(os.getpid(), number); time.sleep(10)")
"""
THRICE = """
    try:
        os.kill(os.getpid(), number)
        time.sleep(10)
    finally:
        for name in ("SIGINT", "SIGTERM"):
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(0.01)
        print("cleared away")
"""
WHILE_CLEARING = """
    class Object:
        def __del__(self):
            os.kill(os.getpid(), number)
            time.sleep(0.01)
    del_me = Object()
    del del_me
    time.sleep(10)
"""
AGAIN = """
    try:
        os.kill(os.getpid(), number)
        time.sleep(10)
    finally:
        print("cleared away")
        time.sleep(1.1)
        os.kill(os.getpid(), number)  # a user who does not want to wait any longer
        time.sleep(10)
"""
WHILE_PYTHON_ENDS = """
    import gc
    class Object:
        def __del__(self, kill=os.kill, pid=os.getpid(), sleep=time.sleep):
            kill(pid, number)
            sleep(0.01)
    sys.modules["late"] = late = Object()
    late.itself = late  # so that it goes with the interpreter's last garbage, when no handler can run
    gc.disable()
    os.kill(os.getpid(), number)
    time.sleep(10)
"""
AT_THE_END = """
    pass
os.kill(os.getpid(), number)
time.sleep(10)
"""


def run(program: str, number: int, path: Path, **settings: Any) -> tuple[int, str, str]:
    with tempfile.TemporaryDirectory() as folder:  # a module, as Python ends these in a way of their own
        Path(folder, "signalled.py").write_text(PROGRAM + program)
        command = [sys.executable, "-m", "signalled", str(int(number)), str(path)]
        environment = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, **settings)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(ONCE, id="once"),
        pytest.param(IN_EXECUTED_TEXT, id="in executed text"),
        pytest.param(THRICE, id="thrice"),
        pytest.param(WHILE_CLEARING, id="while clearing"),
        pytest.param(AGAIN, id="again"),
        pytest.param(WHILE_PYTHON_ENDS, id="while Python ends"),
        pytest.param(AT_THE_END, id="at the end"),
    ],
)
@pytest.mark.parametrize("number", SIGNALS)
def test_signals_end_a_process_in_order(tmp_path: Path, program: str, number: signal.Signals) -> None:
    code, said, error = run(program, number, tmp_path / "file")
    is_told = number != signal.SIGINT and program is not AT_THE_END  # of Ctrl-C the user knows
    assert (code, error) == (SIGNALS[number], f"ended by {number.name}\n" if is_told else "")
    assert said == ("cleared away\n" if "cleared away" in program else "") and not list(tmp_path.iterdir())


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    ignore = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    program = PROGRAM + "    os.kill(os.getpid(), number)\n    print('goes on')\n"
    command = [sys.executable, "-c", ignore, sys.executable, "-c", program, str(int(signal.SIGHUP)), "file"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")


def test_other_unraisable_errors_are_shown(tmp_path: Path) -> None:
    program = "    class Object:\n        def __del__(self):\n            1 / 0\n    Object()\n"
    code, _, error = run(program, signal.SIGTERM, tmp_path)
    assert code == 0 and "ZeroDivisionError" in error


def be_interrupted(part: str, done: list[str]) -> None:
    with interrupts_deferred() as interruptible:
        if part == "deferred":
            signal.raise_signal(signal.SIGINT)
        done.append("first")
        with interruptible():
            if part == "interruptible":
                signal.raise_signal(signal.SIGINT)
            done.append("second")
        if part == "behind":
            signal.raise_signal(signal.SIGINT)
        done.append("third")


@pytest.mark.parametrize("part", ["deferred", "interruptible", "behind"])
def test_ctrl_c_waits_for_an_interruptible_part_or_the_end(part: str) -> None:
    done: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        be_interrupted(part, done)
    assert done == (["first", "second", "third"] if part == "behind" else ["first"])
    assert signal.getsignal(signal.SIGINT) is before


WORK = {
    "quantize": (["quantize", "{model}", "{folder}/out", "--format", "q4"], "out.partial"),
    "pack": (["chat", "hello", "--model", "{model}", "--quantize", "q4"], "packed/*.part"),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("work", WORK)
def test_long_work_leaves_nothing_half_done(
    tiny_chat_checkpoint: Path, tmp_path: Path, work: str, number: signal.Signals
) -> None:
    arguments, unfinished = WORK[work]
    command = [argument.format(model=tiny_chat_checkpoint, folder=tmp_path) for argument in arguments]
    environment = {**os.environ, "QWEN7B_CACHE": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "qwen7b", *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        while not list(tmp_path.glob(unfinished)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(number)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == SIGNALS[number] and b"Traceback" not in error, error
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    # A kept vocabulary appears whole, and may do so before the weights that it belongs to.
    assert not [path.name for path in left if path.name != ".lock" and path.suffix != ".vocabulary"]


IN_A_TASK = """
import os, sys
from qwen7b.system.signals import ending_by_signals
from qwen7b.terminal.terminal import open_session, read_line
async def end():
    os.kill(os.getpid(), int(sys.argv[1]))
with ending_by_signals():
    session = open_session()
    session.app.pre_run_callables.append(lambda: session.app.create_background_task(end()))
    print("/help >")
    read_line(session)
"""
"""The signal breaks into the editor's own work, as one at a random moment may."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("place", ["waiting", "in a task"])
def test_a_terminal_is_as_it_was(
    tiny_chat_checkpoint: Path, tmp_path: Path, place: str, number: signal.Signals
) -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix only")
    termios = pytest.importorskip("termios", reason="pseudo-terminals are Unix only")
    keyboard, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "QWEN7B_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "qwen7b", "chat", "--model", str(tiny_chat_checkpoint), "--quantize", "none"]
    if place == "in a task":
        command = [sys.executable, "-c", IN_A_TASK, str(int(number))]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    screen = b""
    try:
        while not re.search(rb"/help.*>", screen, re.DOTALL):
            assert select.select([keyboard], [], [], 60)[0], screen
            screen += os.read(keyboard, 4096)
        if place == "waiting":
            assert termios.tcgetattr(terminal) != before
            process.send_signal(number)
        while process.poll() is None:
            if select.select([keyboard], [], [], 0.1)[0]:
                screen += os.read(keyboard, 4096)
        while select.select([keyboard], [], [], 0.1)[0]:
            screen += os.read(keyboard, 4096)
        assert process.returncode == SIGNALS[number] and b"Traceback" not in screen, screen
        assert (
            termios.tcgetattr(terminal) == before
            and b"continue" not in screen
            and f"ended by {number.name}".encode() in screen
        )
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
        os.close(terminal)
