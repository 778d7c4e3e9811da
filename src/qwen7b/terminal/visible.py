"""Makes text safe for a terminal: control characters and bidirectional overrides are shown instead of interpreted.

Names, files and replies are other people's text. An escape sequence in them could hide a line, overwrite it, or fill
the clipboard; a bidirectional override shows characters in a different order.
"""

from __future__ import annotations

from typing import IO, Any

_PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {0x7F: "\u2421"}
_BIDIRECTIONAL = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # embeddings, overrides and isolates
# Bytes that are not UTF-8 become surrogates in Python; among them could be 8-bit control characters.
_BYTES = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
_SURROGATES = {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)} | _BYTES

SHOWN: dict[int, str | None] = {
    **_SURROGATES,
    **_PICTURES,
    0x0D: None,
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{code: f"\\u{code:04x}" for code in _BIDIRECTIONAL},
}
"""A table for `str.translate` with visible forms of all characters that a terminal must not get."""

_UP = "\x1b[A"


def visible(text: str) -> str:
    """The text with every control character but newlines and tabs in a visible form.

    >>> visible("a\\x1b[31mb\\x9b1m\\u202ec\\r\\n")
    'a␛[31mb\\\\x9b1m\\\\u202ec\\n'
    """
    return text.translate(SHOWN)


class VisibleStream:
    """A terminal's stream that shows control characters instead of passing them on, whoever writes them.

    Libraries that draw (rich, prompt_toolkit) write to `unfiltered`, after their text was made visible.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.unfiltered = stream
        self._wrapped = stream  # tqdm reads this name to see that a bar and a line share the terminal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)

    def write(self, text: str) -> int:
        # Progress bars only return to the start of their line and move up by lines.
        if text.startswith("\r"):
            self.unfiltered.write("\r" + visible(text[1:]))
        else:
            self.unfiltered.write(text if not text.replace(_UP, "") else visible(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)


def unfiltered(stream: IO[str]) -> IO[str]:
    """The stream without the filter, for libraries that draw."""
    raw: IO[str] = getattr(stream, "unfiltered", stream)
    return raw
