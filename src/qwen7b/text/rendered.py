"""A conversation as token ids, together with where each message's content stands among them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Protocol

from qwen7b.text.token_spans import Span


class Control(str):
    """A part of a message's content that is the control token of this name, where the vocabulary has it."""


class Given(str):
    """A part of an assistant's content that it did not write, such as a tool's result, and that it is not to learn."""


Content = str | Sequence[str]
"""What a message says: a string, or strings of which some are a `Control` or `Given`."""


def content_text(content: Content) -> str:
    """A content as a text, in which control tokens are spelled."""
    return content if isinstance(content, str) else "".join(content)


def given_spans(content: Content, *, start: int) -> list[Span]:
    """The characters of what was `Given` of a content that begins at character `start`."""
    if isinstance(content, str):
        return []
    starts = accumulate(map(len, content), initial=start)
    return [(first, first + len(part)) for part, first in zip(content, starts, strict=False) if isinstance(part, Given)]


class Encoder(Protocol):
    """The part of a tokenizer that a chat format needs."""

    control_tokens: dict[str, int]

    def encode(self, text: str) -> list[int]: ...

    def token_spans(self, text: str, ids: Sequence[int], spans: Sequence[Span]) -> list[slice]: ...


def split_controls(content: Content, encoder: Encoder) -> list[tuple[str, str]]:
    """A content as `pieces` of `Rendered`. The first is text, and so is what stands between two control tokens."""
    stretches = [("", "")]
    for part in [content] if isinstance(content, str) else content:
        if isinstance(part, Control) and part in encoder.control_tokens:
            stretches += [(part, ""), ("", "")]
        else:
            stretches[-1] = ("", stretches[-1][1] + part)
    return stretches


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentSpans:
    """Where contents stand in the text of a conversation, in which control tokens are spelled out."""

    contents: Sequence[Span | None]
    """The characters of each message's content; None where the content is missing or cannot be located."""
    system: Span | None
    """The characters of the system message."""


class Rendered:
    """A conversation's ids. Its spans are slices of these, computed on first use."""

    ids: list[int]

    def __init__(
        self,
        encoder: Encoder,
        pieces: Sequence[tuple[str, str]],
        *,
        find_content_spans: Callable[[], ContentSpans],
        find_generated: Callable[[], Sequence[Span] | None],
        find_given: Callable[[], Sequence[Span] | None] = tuple,
    ) -> None:
        """`find_generated` gives the characters of the assistant's messages, `find_given` those among them that it did
        not write; either may give None where they cannot be located.

        `pieces` are names of control tokens, as (name, ""), and what is encoded between them, as ("", text)."""
        self._encoder = encoder
        self._texts = [name or text for name, text in pieces]
        self._are_control = [bool(name) for name, _ in pieces]
        encoded = {text: encoder.encode(text) for text in {text for _, text in pieces}}  # roles and newlines but once
        self._parts = [[encoder.control_tokens[name]] if name else encoded[text] for name, text in pieces]
        self._find_content_spans, self._find_generated = find_content_spans, find_generated
        self._find_given = find_given
        self.ids = [*chain.from_iterable(self._parts)]

    @property
    def spans(self) -> tuple[slice | None, ...]:
        """A slice of the ids for each message that was passed in: `ids[span]` are the tokens with any of its content.

        A token that also holds characters of the frame belongs to the span; what the format leaves out of a content
        does not. A span is None where the content is missing, or where a template changes it so much that it cannot
        be located. A default system message has no span here.
        """
        return self._spans[:-1]

    @property
    def system(self) -> slice | None:
        """The tokens of the system message, also of a default one, that a limit on the history counts."""
        return self._spans[-1]

    @cached_property
    def generated(self) -> tuple[slice, ...] | None:
        """The tokens that the assistant writes, which training uses as targets: each reply with the token that ends it.

        Tokens with anything that was `Given` are left out. In a template with {% generation %} tags they are the tokens
        with any of the text between these, as in Transformers. The result is None if they cannot be located.
        """
        spans, given = self._find_generated(), self._find_given()
        if spans is None or given is None:
            return None
        whole = [tokens for tokens in self._slices(spans) if tokens is not None]
        holes = [tokens for tokens in self._slices(given) if tokens is not None]
        return tuple(part for tokens in whole for part in _without(tokens, holes))

    @cached_property
    def _spans(self) -> tuple[slice | None, ...]:
        """The slices of all contents and of the system message."""
        spans = self._find_content_spans()
        return self._slices([*spans.contents, spans.system])

    def _slices(self, spans: Sequence[Span | None]) -> tuple[slice | None, ...]:
        """The slices of the ids that hold any of these characters."""
        character_spans = dict(enumerate(spans))
        present = {number: span for number, span in character_spans.items() if span is not None}
        starts = [*accumulate(map(len, self._texts[:-1]), initial=0)]
        firsts = [*accumulate(map(len, self._parts), initial=0)]
        by_piece: dict[int, list[int]] = defaultdict(list)
        for number, (start, end) in present.items():
            for position in sorted({start, max(start, end - 1)}):  # the first and last piece that it reaches into
                by_piece[bisect_right(starts, position) - 1].append(number)
        slices: dict[int, slice] = {}
        for piece in sorted(by_piece):
            piece_start, size = starts[piece], len(self._texts[piece])
            numbers = sorted(set(by_piece[piece]))
            local = [
                (max(start - piece_start, 0), min(end - piece_start, size))
                for start, end in map(present.__getitem__, numbers)
            ]
            for number, tokens in zip(numbers, self._token_spans(piece, local), strict=True):
                first = slices[number].start if number in slices else firsts[piece] + tokens.start
                slices[number] = slice(first, firsts[piece] + tokens.stop)
        return tuple(map(slices.get, character_spans))

    def _token_spans(self, piece: int, spans: Sequence[Span]) -> list[slice]:
        if self._are_control[piece]:
            return [slice(0, 1) if end > start else slice(bool(start), bool(start)) for start, end in spans]
        return self._encoder.token_spans(self._texts[piece], self._parts[piece], spans)


def _without(tokens: slice, holes: Sequence[slice]) -> Iterator[slice]:
    """What is left of a slice where others are taken out of it, which stand in order."""
    first = tokens.start
    for hole in holes:
        if tokens.start <= hole.start and hole.stop <= tokens.stop and hole.stop > hole.start:
            if hole.start > first:
                yield slice(first, hole.start)
            first = max(first, hole.stop)
    if first < tokens.stop or tokens.start == tokens.stop:
        yield slice(first, tokens.stop)
