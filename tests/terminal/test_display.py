"""Markdown on a terminal: what stays on the screen does not depend on how the text arrived."""

from __future__ import annotations

import io
import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment

from qwen7b.terminal.display import ChatMarkdown, MarkdownDisplay, VisibleConsole, split_blocks
from qwen7b.terminal.live import LiveLines
from qwen7b.terminal.visible import visible

REPLY = """# 快速排序

春眠不觉晓，
处处闻啼鸟。

Use the <div> tag and `a < b`:

1. First
   with more

   ```python
   nested()
   ```
2. Second

```python
def f(x):

    return x
```

| a | b |
|---|---|
| 1 | 2 |

The end."""


def shown(pieces: list[str], *, width: int = 60, height: int = 25) -> str:
    """What stays on the screen."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False, markup=False)
    clock = itertools.cycle([1.0, 0.0])  # redraws at every push
    display = MarkdownDisplay(console, clock=clock.__next__)
    for piece in pieces:
        display.push(piece)
    display.close()
    screen: Any = console.file
    return screen.getvalue()


def test_the_whole_reply_is_shown_as_meant() -> None:
    screen = shown([REPLY])
    for line in (
        "快速排序\n",
        "春眠不觉晓，\n处处闻啼鸟。\n",
        "Use the <div> tag and a < b:\n",
        "\ndef f(x):\n\n    return x\n",
    ):
        assert line in screen
    assert screen.endswith("\nThe end.\n") and "\n\n\n" not in screen


@given(st.lists(st.integers(0, len(REPLY))))
def test_the_screen_does_not_depend_on_the_pieces(cuts: list[int]) -> None:
    edges = sorted({0, *cuts, len(REPLY)})
    assert shown([REPLY[start:end] for start, end in itertools.pairwise(edges)]) == shown([REPLY])


@given(st.text(alphabet="ab1.#-*`|>~ \n\t_[]()<&", max_size=60))
def test_no_text_is_lost_between_blocks(markdown: str) -> None:
    assert "".join(split_blocks(markdown)) == markdown


@given(st.text(alphabet="ab1.#-*`|> \n", max_size=40), st.text(alphabet="ab1.#-*`|> \n", max_size=40))
def test_finished_blocks_are_never_changed_by_later_text(before: str, after: str) -> None:
    finished = split_blocks(before)[:-1]
    assert split_blocks(before + after)[: len(finished)] == finished


def test_escape_sequences_are_shown_not_obeyed() -> None:
    assert shown(["red \x1b[31m\r\ntext\x07"]) == "red ␛[31m\ntext␇\n"


@pytest.mark.parametrize(
    "markdown",
    [
        "&#27;[31m &#x9b;1m &#x202e;",
        "[a](http://x/&#27;]0;t)",
        "<http://x/\x1b]0;t>",
        "![&#27;](u&#27;)",
        "# &#27;[2J",
        "| &#27; |\n|---|\n| &#x9b; |",
        "`&#27;\x9b`",
        "```\x1bpy\n\x1b[2J\n```",
        "[x](\x9b31m 'ti&#27;tle')",
        "> \x1b[2J\n1. \x9b",
    ],
)
def test_markdown_writes_no_sequence_but_colours(markdown: str) -> None:
    stream = io.StringIO()
    console = VisibleConsole(file=stream, width=60, force_terminal=True, color_system="truecolor", _environ={})
    console.print(ChatMarkdown(visible(markdown)))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()))


def test_the_address_of_a_link_is_shown() -> None:
    assert shown(["See [the page](https://example.org/a)."]) == "See the page (https://example.org/a).\n"


@pytest.mark.parametrize("height", [1, 5, 24])
def test_a_long_block_is_drawn_within_the_window(height: int) -> None:
    stream = io.StringIO()
    console = Console(
        file=stream, width=40, height=height, force_terminal=True, color_system=None, _environ={"TERM": "xterm"}
    )
    display = MarkdownDisplay(console, clock=itertools.cycle([1.0, 0.0]).__next__)
    for number in range(50):
        display.push(f"- item {number}\n")
        # Redrawing begins by going up over the lines of the last drawing.
        last_drawing = stream.getvalue().rpartition("\x1b[2K")[2]
        assert last_drawing.count("\n") < max(height, 2)
    display.close()
    assert stream.getvalue().rstrip().endswith("item 49")


def test_an_empty_reply_is_an_empty_line_at_most() -> None:
    assert shown([]).strip() == shown([""]).strip() == ""


class Window:
    """A terminal of 30 rows that wraps its lines anew as its window gets narrower, as most do."""

    def __init__(self, width: int) -> None:
        self.lines = [""]
        self.row = 0
        self.width = width
        self.wraps = True

    def narrow(self, width: int) -> None:
        rows = [line[start : start + width] for line in self.lines for start in range(0, max(len(line), 1), width)]
        self.row = sum(max(1, -(-len(line) // width)) for line in self.lines[: self.row])
        self.lines, self.width = rows, width

    def write(self, text: str) -> int:
        for code in re.findall("\x1b\\[[?0-9]*[A-Za-z]|.|\n", text):
            if code == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif code == "\x1b[2K":
                self.lines[self.row] = ""
            elif code == "\x1b[1A":
                self.row = max(self.row - 1, 0)
            elif code in ("\x1b[?7l", "\x1b[?7h"):
                self.wraps = code == "\x1b[?7h"
            elif len(code) == 1 and code != "\r":
                if len(self.lines[self.row]) == self.width:
                    if not self.wraps:
                        continue
                    self.write("\n")
                self.lines[self.row] += code
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("late", [0, 1, 3])
@pytest.mark.parametrize("width", [70, 50, 36])
def test_a_narrower_window_shows_each_line_once(width: int, late: int) -> None:
    """`late` drawings come after the terminal wrapped its lines anew and before the process learnt of it."""
    window = Window(90)
    window.write("> question\n\n")
    console = Console(
        file=window, width=90, height=30, force_terminal=True, color_system=None, _environ={"TERM": "xterm"}
    )
    display = MarkdownDisplay(console, clock=itertools.cycle([1.0, 0.0]).__next__)
    display.open()
    words = [f"{number:02}abcde" for number in range(40)]
    for number, word in enumerate(words):
        if number == 30:
            window.narrow(width)
        if number == 30 + late:
            console.width = width
        display.push(word + " ")
    display.close()
    question, *reply = (line.rstrip() for line in window.lines)
    assert question == "> question" and " ".join(reply).split() == words
    assert late or reply[0] == ""  # a line that grew meanwhile may cost the blank one above the reply


def test_wide_characters_leave_the_last_cell_of_a_row_empty() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=90, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    live = LiveLines(console)
    live.draw([[Segment("海" * 36)]])  # 72 cells
    console.width = 37
    live.close()
    assert stream.getvalue().count("\x1b[1A") == 2
    live.draw([[Segment("海" * 36)]])
    console.width = 25  # twelve to a row
    live.close()
    assert stream.getvalue().count("\x1b[1A") == 2 + 3
    live.draw([[Segment("海" * 45)]])
    console.width = 31  # fifteen to a row
    live.close()
    assert stream.getvalue().count("\x1b[1A") == 2 + 3 + 3


@pytest.mark.parametrize("kind", ["xterm", "linux", "screen"])
def test_terminals_that_cut_lines_off_are_not_erased_too_far(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", kind)
    if kind == "xterm":
        monkeypatch.setenv("XTERM_VERSION", "XTerm(390)")
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    live = LiveLines(console)
    live.draw([[Segment("x" * 70)]])
    console.width = 40
    live.close()
    assert stream.getvalue().count("\x1b[1A") == 1


def test_the_reading_of_a_long_prompt_is_shown_until_the_reply_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    window = Window(60)
    console = Console(file=window, width=60, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    display = MarkdownDisplay(console, clock=itertools.cycle([1.0, 0.0]).__next__)
    display.open()
    display.show_reading(512, 2048)
    assert "reading: 512 of 2,048 tokens" in window.lines[0]
    display.push("Yes")
    display.close()
    assert [line.rstrip() for line in window.lines if line] == ["Yes"]
