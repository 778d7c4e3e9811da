"""Shows a reply on a terminal as Markdown while it is generated."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown
from rich.segment import Segment
from rich.syntax import Syntax

from qwen7b.terminal.language import translated as _
from qwen7b.terminal.live import Line, LiveLines
from qwen7b.terminal.visible import unfiltered, visible

REDRAWS_PER_SECOND = 12
# HTML tags stay visible text: a chat model that writes <div> wants to show it.
PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


class VisibleConsole(Console):
    """A console that prints text literally, with visible control characters and without markup or highlighting."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **settings})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Make all printed text visible; the console's own control sequences pass unchanged."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def chat_console() -> Console:
    """A console on standard output."""
    return VisibleConsole(file=unfiltered(sys.stdout))


class MarkdownDisplay:
    """Finished Markdown blocks stay on the screen; the one being written is redrawn below them."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.text = ""
        """The reply so far."""
        self._console = console
        self._clock = clock
        self._next_redraw = 0.0
        self._unfinished = ""
        self._live = LiveLines(console)

    def open(self) -> None:
        """Show that a reply is being generated."""
        self._live.open()
        self._show_state("…")

    def show_reading(self, tokens_read: int, tokens: int) -> None:
        """Show how much of a long prompt the model has read."""
        message = _("… reading: {tokens_read:,} of {tokens:,} tokens")
        self._show_state(message.format(tokens_read=tokens_read, tokens=tokens) if tokens_read < tokens else "…")

    def push(self, text: str) -> None:
        self.text += text
        self._unfinished += visible(text)
        start = self._clock()
        if start < self._next_redraw:
            return
        *finished, self._unfinished = split_blocks(self._unfinished)
        # Only the end of a block that would outgrow the window is shown while it grows.
        tail = self._lines(self._unfinished)[-max(self._console.height - 2, 1) :]
        self._live.draw(tail, above=self._settled(finished))
        end = self._clock()
        # A long block takes long to draw, so redraws are limited to leave most of the time to the model.
        self._next_redraw = end + max(1 / REDRAWS_PER_SECOND, 10 * (end - start))

    def close(self) -> None:
        *finished, last = split_blocks(self._unfinished + "\n")
        self._live.close(above=[*self._settled(finished), *self._lines(last)])

    def _show_state(self, text: str) -> None:
        self._live.draw([[Segment(text, self._console.get_style("dim"))]])

    def _settled(self, blocks: list[str]) -> list[Line]:
        """The lines of finished blocks, with a blank line after each block."""
        return [line for block in blocks for line in (*self._lines(block), [])]

    def _lines(self, markdown: str) -> list[Line]:
        """The rendered lines, without blanks to their right and without blank lines around them."""
        lines = [trimmed(line) for line in self._console.render_lines(ChatMarkdown(markdown), pad=False)]
        filled = [number for number, line in enumerate(lines) if line]
        return lines[filled[0] : filled[-1] + 1] if filled else []


def trimmed(line: Line) -> Line:
    while line and not line[-1].text.strip():
        line = line[:-1]
    return [*line[:-1], Segment(line[-1].text.rstrip(), line[-1].style)] if line else []


def split_blocks(markdown: str) -> list[str]:
    """Split Markdown into top-level blocks; more text can change only the last one.

    >>> split_blocks("# Title\\n\\nSome text\\n\\n- item\\n- it")
    ['# Title\\n\\n', 'Some text\\n\\n', '- item\\n- it']
    """
    # Only complete lines are certain: "#" may still become "#1", which is no heading.
    *lines, partial_line = markdown.split("\n")
    tokens = PARSER.parse("\n".join(lines))
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map][1:]
    edges = [0, *starts, len(lines)]
    blocks = ["".join(line + "\n" for line in lines[start:end]) for start, end in pairwise(edges)]
    blocks[-1] += partial_line
    return blocks


class ChatMarkdown(Markdown):
    """Markdown as chat models mean it: line breaks are kept, HTML tags are text, and code can be copied unchanged."""

    def __init__(self, markup: str) -> None:
        super().__init__(markup, hyperlinks=False)  # the address is printed beside the text, so that it is visible
        self.parsed = PARSER.parse(markup)
        for token in self.parsed:
            for child in token.children or ():
                if child.type == "softbreak":
                    child.type = "hardbreak"


class _LeftHeading(Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _BareCode(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Syntax(str(self.text).rstrip(), self.lexer_name, theme="ansi_dark", word_wrap=True)


ChatMarkdown.elements = {**Markdown.elements, "heading_open": _LeftHeading, "fence": _BareCode, "code_block": _BareCode}
