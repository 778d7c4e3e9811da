"""A stand-in for a model that says and calls what a test has written, and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen7b.checkpoint import GenerationSettings
from qwen7b.dialects import CallDelta
from qwen7b.generate import Piece, Reply, Usage
from qwen7b.text.messages import ToolCall


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name, json.dumps(arguments))


@dataclass
class ScriptedQwen:
    """Its replies in order, the last again and again: a text, calls or an exception each, or several of them."""

    replies: Sequence[Any]
    finish_reason: str | None = None
    """How each reply ends, where that is not by itself."""
    name: str = "scripted"
    source: str = "scripted"
    speculate: str | None = None
    context_length: int = 32768
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    asked: list[tuple[list[Any], dict[str, Any]]] = field(default_factory=list)

    def stream(self, messages: list[Any], **settings: Any) -> Iterator[Piece]:
        settings.pop("on_prompt", None)
        self.asked.append((list(messages), settings))
        number = len(self.asked)
        parts = self.replies[min(number, len(self.replies)) - 1]
        return self._say(parts if isinstance(parts, list) else [parts], number)

    async def astream(self, messages: list[Any], **settings: Any) -> AsyncIterator[Piece]:
        for piece in self.stream(messages, **settings):
            yield piece

    def count_prompt_tokens(self, messages: Any, **settings: Any) -> int:
        return 7

    def _say(self, parts: list[Any], number: int) -> Iterator[Piece]:
        text, calls, finish_reason = "", list[ToolCall](), None
        try:
            for part in parts:
                if isinstance(part, BaseException):
                    raise part
                if isinstance(part, str):
                    text += part
                    yield Piece(text=part)
                else:
                    made = ToolCall(part.name, part.arguments, f"call_{number}_{len(calls)}")
                    calls.append(made)
                    yield Piece(text="", call=CallDelta(len(calls) - 1, made.arguments, made.name, made.id))
        except KeyboardInterrupt:
            finish_reason = "interrupted"
        reply = Reply(
            text=text,
            token_ids=[],
            finish_reason=finish_reason or self.finish_reason or ("tool_calls" if calls else "stop"),  # type: ignore[arg-type]
            usage=Usage(prompt_tokens=7, completion_tokens=len(parts)),
            tool_calls=tuple(calls),
        )
        yield Piece(text="", reply=reply)
