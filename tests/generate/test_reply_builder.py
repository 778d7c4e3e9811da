"""A reply in the making: text and calls come out as they are settled, and joined they are the reply's."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from qwen7b.dialects import CallDelta
from qwen7b.generate.reply import Piece, Reply
from qwen7b.generate.reply_builder import ReplyBuilder, as_pieces
from qwen7b.generate.request_state import Token
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.messages import ToolCall


class AngleParser:
    """Reads `<name:arguments>` as a call, character by character."""

    is_quoting = False

    def __init__(self) -> None:
        self.index = -1
        self.name: str | None = None
        self.inside = False

    def push(self, text: str) -> list[str | CallDelta]:
        return [part for character in text if (part := self._take(character))]

    def flush(self) -> list[str | CallDelta]:
        return [] if self.name is None else [f"<{self.name}"]

    def _take(self, character: str) -> str | CallDelta | None:
        if self.inside:
            self.inside = character != ">"
            return CallDelta(self.index, character) if self.inside else None
        if self.name is None:
            self.name = "" if character == "<" else None
            return None if character == "<" else character
        if character != ":":
            self.name += character
            return None
        self.index, self.inside, name, self.name = self.index + 1, True, self.name, None
        return CallDelta(self.index, name=name)


@pytest.fixture(scope="module")
def tokenizer(tiny_chat_checkpoint: Path) -> Tokenizer:
    return load_tokenizer(tiny_chat_checkpoint)


def pieces_of(
    tokenizer: Tokenizer, text: str, *, stop: tuple[str, ...] = (), cut: bool = False, drops_space: bool = False
) -> list[Piece]:
    builder = ReplyBuilder(
        tokenizer,
        prompt=[1, 2, 3],
        stop_ids=frozenset([7]),
        stop=stop,
        with_logprobs=False,
        parser=AngleParser(),
        drops_space=drops_space,
    )
    pieces: list[Piece] = []
    for token_id in tokenizer.encode(text):
        settled = builder.push(Token(token_id, None, False))
        if builder.stopped:
            return [*pieces, *builder.end("stop", settled)]
        pieces += as_pieces(settled)
    if cut:
        return [*pieces, *builder.end("length")]
    return [*pieces, *builder.end("stop", builder.push(Token(7, None, True)))]


def joined(pieces: list[Piece]) -> Reply:
    reply = pieces[-1].reply
    assert reply and all(piece.reply is None for piece in pieces[:-1])
    assert "".join(piece.text for piece in pieces) == reply.text
    deltas = [piece.call for piece in pieces if piece.call]
    for call, index in zip(reply.tool_calls, range(len(reply.tool_calls)), strict=True):
        own = [delta for delta in deltas if delta.index == index]
        assert (own[0].name, own[0].id) == (call.name, call.id)
        assert all(delta.name is None and delta.id is None for delta in own[1:])
        assert "".join(delta.arguments for delta in own) == call.arguments
    return reply


def test_pieces_joined_are_the_text_and_the_calls(tokenizer: Tokenizer) -> None:
    pieces = pieces_of(tokenizer, 'hello <add:{"a": 1}>the<now:> inn')
    reply = joined(pieces)
    assert (reply.text, reply.finish_reason) == ("hello the inn", "tool_calls")
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("add", '{"a": 1}'), ("now", "")]
    first, second = (call.id for call in reply.tool_calls)
    assert first.startswith("call_") and first != second
    assert joined(pieces_of(tokenizer, "<other:>")).tool_calls[0].id == first  # an id follows from prompt and place
    kinds = [piece.call is not None for piece in pieces[:-1]]
    assert any(one and not other for one, other in pairwise(kinds))  # in the order of the reply


def test_a_reply_is_a_message_to_go_on_with(tokenizer: Tokenizer) -> None:
    assert joined(pieces_of(tokenizer, "hello")).message == {"role": "assistant", "content": "hello"}
    reply = joined(pieces_of(tokenizer, "hello<add:{}>"))
    assert reply.message == {
        "role": "assistant",
        "content": "hello",
        "tool_calls": [
            {"id": reply.tool_calls[0].id, "type": "function", "function": {"name": "add", "arguments": "{}"}}
        ],
    }


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("hello", {}, ("hello", "stop", ())),
        ("hello <ad", {}, ("hello <ad", "stop", ())),
        ("hello <ad", {"cut": True}, ("hello <ad", "length", ())),
        ("<add:[1", {"cut": True}, ("", "length", (("add", "[1"),))),
        ("<add:[1]>END<now:>", {"stop": ("END",)}, ("", "tool_calls", (("add", "[1]"),))),
        (" hello  inn", {}, (" hello  inn", "stop", ())),
        (" hello  inn", {"drops_space": True}, ("hello  inn", "stop", ())),
        ("  hello", {"drops_space": True}, (" hello", "stop", ())),
        ("hello inn", {"drops_space": True}, ("hello inn", "stop", ())),
        ("<add:[1]>EN", {"stop": ("END",)}, ("EN", "tool_calls", (("add", "[1]"),))),
    ],
)
def test_how_a_reply_with_calls_ends(tokenizer: Tokenizer, text: str, options: dict, expected: tuple) -> None:
    reply = joined(pieces_of(tokenizer, text, **options))
    assert (reply.text, reply.finish_reason) == expected[:2]
    assert tuple((call.name, call.arguments) for call in reply.tool_calls) == expected[2]


def test_text_without_a_parser_is_text(tokenizer: Tokenizer) -> None:
    builder = ReplyBuilder(tokenizer, prompt=[1], stop_ids=frozenset(), stop=(), with_logprobs=False)
    settled = [part for token_id in tokenizer.encode("<a:>") for part in builder.push(Token(token_id, None, False))]
    (*_, last) = builder.end("length")
    assert "".join(map(str, settled)) == "<a:>" and last.reply and last.reply.tool_calls == ()
    assert ToolCall not in map(type, settled)
