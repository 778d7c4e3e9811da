"""Nothing that a terminal would obey gets to one; pipes get every byte."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from qwen7b.terminal.display import VisibleConsole
from qwen7b.terminal.visible import VisibleStream, visible

HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x9b31m\x9d0;t\x9c\x85\x08\x0b\x0c\x7f\rover\u202eabc\u2066\u2069"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def test_every_control_is_shown_and_newlines_and_tabs_stay() -> None:
    everything = "".join(map(chr, range(0x110000)))
    assert not OBEYED.search(visible(everything))
    assert visible("a\tb\n你好 👩‍💻 é") == "a\tb\n你好 👩‍💻 é"


@pytest.mark.parametrize("hide", [str, Text])
def test_a_console_shows_what_it_is_given(hide) -> None:
    stream = io.StringIO()
    console = VisibleConsole(file=stream, width=200)
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(hide(HOSTILE))
    console.print(table)
    console.print(hide(HOSTILE), hide(HOSTILE))
    assert not OBEYED.search(stream.getvalue()) and "red" in stream.getvalue()


def test_a_progress_bar_still_moves_and_its_name_is_shown() -> None:
    from tqdm import tqdm

    stream = io.StringIO()
    with tqdm(total=2, desc=HOSTILE, file=VisibleStream(stream)) as bar, tqdm(total=2, file=VisibleStream(stream)):
        bar.update()
    drawn = stream.getvalue()
    assert "\r" in drawn and "\x1b[A" in drawn and "1/2" in drawn
    assert not OBEYED.search(drawn.replace("\x1b[A", "").replace("\r", "")) and "red" in drawn


def at_a_terminal(*arguments: str, **settings: object) -> tuple[int, str]:
    """Exit code of the command, and what a terminal on both standard output and standard error is given."""
    return started_at_a_terminal("-m", "qwen7b", *arguments, **settings)


def started_at_a_terminal(*arguments: str, **settings: Any) -> tuple[int, str]:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix only")
    reading, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, **settings
    )
    os.close(terminal)
    drawn = b""
    while True:
        try:
            drawn += os.read(reading, 1 << 16)
        except OSError:  # the end, on Linux
            break
    os.close(reading)
    return process.wait(timeout=300), drawn.decode().replace("\r\n", "\n")


def unstyled(drawn: str) -> str:
    """Without the colours that a console of ours sets."""
    return re.sub("\x1b\\[[0-9;]*m", "", drawn)


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A folder whose name and files say hostile things."""
    folder = tmp_path / "evil\x1b]0;title\x07\x1b[31m\x9b1m\u202e"
    folder.mkdir()
    config = {"model_type": HOSTILE, "architectures": [HOSTILE], "torch_dtype": HOSTILE, "vocab_size": HOSTILE}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["doctor", "{}"],
        ["tokenize", "x", "--model", "{}"],
        ["chat", "x", "--model", "{}"],
        ["chat", "x", "--stop\x1b[31m", "{}"],
        ["chat", "x", "--quantize", "\x9b31m"],
        ["\x1b[31mverb"],
    ],
    ids=lambda arguments: arguments[0].strip("\x1b"),
)
def test_files_and_arguments_cannot_steer_the_terminal(arguments: list[str], hostile_folder: Path) -> None:
    code, drawn = at_a_terminal(*[argument.format(hostile_folder) for argument in arguments], cwd=hostile_folder.parent)
    assert code == 1 and drawn
    assert not OBEYED.search(unstyled(drawn) if arguments[0] == "doctor" else drawn)


def test_bytes_that_are_no_utf8_cannot_either(tmp_path: Path) -> None:
    code, drawn = at_a_terminal("doctor", "./no\udc9b31mne\udcff", cwd=tmp_path)
    assert code == 1 and OBEYED.search(drawn) is None and "31mne" in drawn


def test_surrogates_are_shown_as_the_bytes_that_they_are() -> None:
    assert visible("no\udc9b31mne\udcff\ud800") == r"no\x9b31mne\xff\ud800"


def test_what_typer_prints_to_a_pipe_keeps_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "text\x1b[31m.txt").write_text("x")
    command = [sys.executable, "-m", "qwen7b", "doctor", str(tmp_path / "text\x1b[31m.txt")]
    result = subprocess.run(command, capture_output=True)
    assert b"text\x1b[31m.txt" in result.stdout + result.stderr
