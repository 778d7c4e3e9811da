"""What a tool returned, or what went wrong, as a text of limited length that the model reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from qwen7b.errors import PromptError, counted
from qwen7b.text.messages import Message, ToolCall


class ToolFailure(Exception):
    """A tool failed: the model is told this text, as it is."""


class ReplayError(PromptError):
    """A run asks for a result that its transcript does not have, which ends it; other errors go to the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolResult:
    """The answer to one call.

    call      the call that it answers
    text      what the model is told
    is_error  True where the call raised, took too long, was refused or was not run
    seconds   how long it took
    """

    call: ToolCall
    text: str
    is_error: bool = False
    seconds: float = 0.0

    @property
    def message(self) -> Message:
        """The result as a message of the conversation, in OpenAI's form."""
        return {"role": "tool", "tool_call_id": self.call.id, "name": self.call.name, "content": self.text}


def result_text(value: object) -> str:
    """What a tool returned as text: a text as it is, bytes as what they spell, other objects as JSON where that goes.

    >>> result_text({"sum": 3}), result_text(b"\\xff\\xfe")
    ('{"sum": 3}', '[binary data: 2 bytes]')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _bytes_text(bytes(value))
    try:
        return json.dumps(value, ensure_ascii=False, default=_as_json)
    except (TypeError, ValueError, RecursionError):  # keys that are no texts, or a circle
        return str(value)


def error_text(error: BaseException) -> str:
    """What a call raised as text. Arguments that pydantic refuses are named one by one, without its links."""
    if isinstance(error, ToolFailure):
        return str(error)
    if callable(problems := getattr(error, "errors", None)) and type(error).__module__.startswith("pydantic"):
        places = (f"{'.'.join(map(str, each['loc'])) or 'the arguments'}: {each['msg']}" for each in problems())
        return f"Error: {'; '.join(places)}"
    try:
        message = str(error)
    except Exception:  # an error may fail, too
        message = ""
    return f"Error: {type(error).__name__}{': ' if message else ''}{message}"


def cut_text(text: str, max_characters: int) -> str:
    """A text of at most so many characters: its beginning and its end, and between them how much is left out."""
    if len(text) <= max_characters:
        return text
    kept = max_characters - len(_gap(len(text), len(text)))
    return f"{text[: kept - kept // 2]}{_gap(len(text) - kept, len(text))}{text[len(text) - kept // 2 :]}"


def _gap(left_out: int, length: int) -> str:
    return f"\n[… {left_out:,} of {length:,} characters left out …]\n"


def _bytes_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"[binary data: {counted(len(data), 'byte')}]"


def _as_json(value: Any) -> object:
    """A value that JSON has no form for as one that it has; at last as its text."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _bytes_text(bytes(value))
    for method in ("model_dump", "tolist"):  # of pydantic's models; of arrays and their numbers
        if callable(convert := getattr(value, method, None)) and not isinstance(value, type):
            return convert()
    return str(value)
