"""Reads the prompt of a verb, from its argument or else from standard input."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8

from qwen7b.errors import PromptError
from qwen7b.system.regular_file import TEXT_LIMIT

_BLOCK = 1 << 20  # bytes read at once


def read_prompt(argument: str | None) -> str:
    """The argument, or else standard input without its final newline. Raises PromptError if there is no text."""
    text = read_text(argument).removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise PromptError("the prompt is empty: give some text as an argument or on standard input")
    return text


def read_text(argument: str | None) -> str:
    """The argument, or else all of standard input, exactly except for a byte-order mark.

    Raises PromptError if that is not UTF-8.
    """
    if argument is not None:
        # Bytes of an argument that are not UTF-8 reach Python as lone surrogates; this restores them.
        data, origin = argument.encode("utf-8", "surrogateescape"), "the argument"
    elif sys.stdin.isatty():
        raise PromptError("there is no text: give it as an argument or on standard input")
    else:
        data, origin = read_standard_input(), "standard input"
    data = data.removeprefix(BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PromptError(
            f"{origin} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}; "
            "convert it first, for example with iconv -f GB18030 -t UTF-8"
        ) from error


def read_standard_input() -> bytes:
    """Read all of standard input. Raises PromptError if it cannot be read or does not end."""
    data = bytearray()
    try:
        while len(data) <= TEXT_LIMIT and (block := sys.stdin.buffer.read(_BLOCK)):
            data += block
    except OSError as error:
        raise PromptError(f"standard input cannot be read ({error.strerror}): give the text as an argument") from error
    if len(data) > TEXT_LIMIT:
        raise PromptError(f"standard input has more than {TEXT_LIMIT:,} bytes: split it into parts")
    return bytes(data)
