"""The interface of dialects: each has its own prompt for tools and its own way to write a call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from qwen7b.dialects.definition import ToolDefinition
from qwen7b.text.messages import Message, ToolCall

ToolChoice = Literal["auto", "none", "required"] | str
"""Whether the reply may call tools, may not, or must; or the name of the tool that it must call."""


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A stretch of a call in a stream: the name comes whole, with the first of them; arguments are joined."""

    index: int
    """The place of the call among the reply's."""
    arguments: str = ""
    name: str | None = None
    id: str | None = None
    """The call's id, with its name. A parser gives none; whoever streams the reply does."""


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What a reply says, and the calls it makes."""

    content: str
    calls: tuple[ToolCall, ...] = ()


class CallParser(Protocol):
    """Reads one reply as it comes. Any division of its text into pieces gives the same content and the same calls."""

    @property
    def is_quoting(self) -> bool:
        """Whether what comes next is a part of a call's arguments even if it is one of the dialect's `stop` strings."""

    def push(self, text: str) -> list[str | CallDelta]:
        """Take in a stretch, and give out what is settled by it: content as strings, and parts of calls."""

    def flush(self) -> list[str | CallDelta]:
        """Give out what was held back, once no more text will come."""


class Dialect(Protocol):
    """One way to offer tools to a model and to read its calls."""

    @property
    def name(self) -> str:
        """The name by which the dialect is chosen."""

    @property
    def stop(self) -> Sequence[str]:
        """The strings that end a reply, so that the model does not go on to invent a tool's result.

        Where the parser `is_quoting` they are text like any other.
        """

    def write(self, messages: Sequence[Message], tools: Sequence[ToolDefinition]) -> list[Message]:
        """Write checked messages, calls and results among them, as plain ones that a chat format lays out.

        A content may be a sequence of strings, some of them a `Control`. Where the last message is the assistant's,
        the reply continues it.
        """

    def parser(self, tools: Sequence[ToolDefinition]) -> CallParser:
        """A parser for a reply to the messages that `write` made."""

    def grammar(self, tools: Sequence[ToolDefinition], *, choice: ToolChoice, parallel: bool) -> str:
        """The replies that this dialect reads, as a grammar in llguidance's variant of Lark.

        Its calls have tools' names and arguments that satisfy their schemas; "required" and a name demand one.
        """


def join_deltas(items: Iterable[str | CallDelta]) -> ParsedReply:
    """The reply that the items of a parser make together."""
    content, names, arguments = "", dict[int, str](), dict[int, str]()
    for item in items:
        if isinstance(item, str):
            content += item
        else:
            names.setdefault(item.index, item.name or "")
            arguments[item.index] = arguments.get(item.index, "") + item.arguments
    return ParsedReply(content, tuple(ToolCall(names[index], arguments[index]) for index in sorted(names)))


def read_reply(parser: CallParser, text: str) -> ParsedReply:
    """Read a whole reply with a new parser."""
    return join_deltas([*parser.push(text), *parser.flush()])
