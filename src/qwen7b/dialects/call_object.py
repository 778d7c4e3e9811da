"""A call as most families write it, {"name": …, "arguments": {…}}: written, and read as it comes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import regex

from qwen7b.dialects.arguments import load_object
from qwen7b.dialects.json_scan import BracketScan, is_whole_object
from qwen7b.errors import Qwen7bError
from qwen7b.text.messages import ToolCall

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:\s*(?=\{)')
_BEGINNING = regex.compile(r"""\s*+\{\s*+["']?(?:name|arguments|parameters)\b""")
_MAX_HEAD = 1000
"""A name may have so many characters, less some, for the arguments to be given out while they come."""


def write_call(call: ToolCall) -> str:
    """A call on one line. Arguments that are a JSON object stand there as they are, others as a string."""
    arguments = call.arguments.strip() or "{}"
    if not is_whole_object(arguments):
        arguments = json.dumps(call.arguments, ensure_ascii=False)
    return f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {arguments}}}'


class CallReader:
    """Reads one call out of a text that begins with it, white space aside.

    name   the tool's name, once it is known: from then on this is a call, whatever follows
    rest   once it is done or failed, the text that is no part of the call; all of it where there is none
    """

    def __init__(self, *, names: Collection[str] | None = None) -> None:
        """`names` are those of the tools that may be called; None for all."""
        self.name: str | None = None
        self._names = names
        self.rest: str | None = None
        self._seen = ""
        self._outer, self._arguments = BracketScan(), BracketScan()
        self._in_arguments = False

    def push(self, text: str) -> str:
        """Take in a stretch, and give out the arguments that are settled by it."""
        if self.name is None:
            return self._read_head(text)
        return self._read_arguments(text) if self._in_arguments else self._read_tail(text)

    def flush(self) -> None:
        """Say that no more text will come: a call whose name is not known by now is none."""
        if self.rest is None:
            self.rest = self._seen if self.name is None else ""

    def _read_head(self, text: str) -> str:
        self._seen += text
        beginning = self._seen[:_MAX_HEAD]
        match = _HEAD.match(beginning)
        if match and self._may_be_called(name := _read_name(match[1])):
            self.name, self._in_arguments = name, True
            text, self._seen = self._seen[match.end() :], ""
            return self._read_arguments(text)
        if match or not _BEGINNING.match(beginning, partial=True):
            self.rest = self._seen
            return ""
        end = self._outer.push(text)
        return "" if end is None else self._read_whole(len(self._seen) - len(text) + end)

    def _read_whole(self, end: int) -> str:
        """The arguments of a call that is written in another way, which is read once all of it is there."""
        whole, self.rest = self._seen[:end], self._seen
        try:
            read = load_object(whole)
        except Qwen7bError:
            return ""
        name, arguments = read.get("name"), read.get("arguments", read.get("parameters"))
        if not isinstance(name, str) or not self._may_be_called(name) or "description" in read:
            return ""
        if isinstance(arguments, Mapping):
            arguments = _written_json(whole, arguments) or json.dumps(arguments, ensure_ascii=False)
        if not isinstance(arguments, str | None):
            return ""
        self.name, self.rest = name, self._seen[end:]
        return "{}" if arguments is None else arguments

    def _may_be_called(self, name: str) -> bool:
        return bool(name.strip()) and (self._names is None or name in self._names)

    def _read_arguments(self, text: str) -> str:
        end = self._arguments.push(text)
        if end is None:
            return text
        self._in_arguments, self._outer = False, BracketScan(depth=1)
        if self._arguments.is_broken:
            self.rest = text[end:]
        else:
            self._read_tail(text[end:])
        return text[:end]

    def _read_tail(self, text: str) -> str:
        end = self._outer.push(text)
        if end is not None:
            self.rest = text[end:]
        return ""


def _written_json(call: str, arguments: Mapping[str, Any]) -> str | None:
    """The arguments as they stand in the text of a call; None where that is not JSON for them."""
    for match in _ARGUMENTS.finditer(call):
        try:
            read, end = json.JSONDecoder().raw_decode(call, match.end())
        except ValueError:
            continue
        if read == arguments:
            return call[match.end() : end]
    return None


def _read_name(written: str) -> str:
    try:
        return str(json.loads(written, strict=False))
    except ValueError:
        return ""
