"""Markdown on a terminal: what stays on the screen does not depend on how the text arrived."""

from __future__ import annotations

import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from qwen7b.cli.display import MarkdownDisplay, split_blocks

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
    return console.file.getvalue()


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
    assert shown([REPLY[start:end] for start, end in zip(edges, edges[1:], strict=False)]) == shown([REPLY])


@given(st.text(alphabet="ab1.#-*`|>~ \n\t_[]()<&", max_size=60))
def test_no_text_is_lost_between_blocks(markdown: str) -> None:
    assert "".join(split_blocks(markdown)) == markdown


@given(st.text(alphabet="ab1.#-*`|> \n", max_size=40), st.text(alphabet="ab1.#-*`|> \n", max_size=40))
def test_finished_blocks_are_never_changed_by_later_text(before: str, after: str) -> None:
    finished = split_blocks(before)[:-1]
    assert split_blocks(before + after)[: len(finished)] == finished


def test_escape_sequences_are_shown_not_obeyed() -> None:
    assert shown(["red \x1b[31m\r\ntext\x07"]) == "red ␛[31m\ntext␇\n"


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
