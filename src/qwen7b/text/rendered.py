"""A conversation as token ids, which know where each message's content stands in them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Protocol

from qwen7b.text.token_spans import Span


class Encoder(Protocol):
    """The part of a tokenizer that a chat format needs."""

    control_tokens: dict[str, int]

    def encode(self, text: str) -> list[int]: ...

    def token_spans(self, text: str, ids: Sequence[int], spans: Sequence[Span]) -> list[slice]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The places of contents in the text of a conversation, in which control tokens are spelled."""

    contents: Sequence[Span | None]
    """The characters of each message's content; None where nothing of it is there or nothing can be told."""
    system: Span | None
    """The characters of the system message."""


class Rendered:
    """A conversation's ids. Its spans are slices of them, which are found when they are first asked for."""

    ids: list[int]

    def __init__(
        self, encoder: Encoder, pieces: Sequence[tuple[str, str]], *, find_places: Callable[[], Places]
    ) -> None:
        """`pieces` are names of control tokens, as (name, ""), and what is encoded between them, as ("", text)."""
        self._encoder = encoder
        self._texts = [name or text for name, text in pieces]
        self._are_control = [bool(name) for name, _ in pieces]
        encoded = {text: encoder.encode(text) for text in {text for _, text in pieces}}  # roles and newlines but once
        self._parts = [[encoder.control_tokens[name]] if name else encoded[text] for name, text in pieces]
        self._find_places = find_places
        self.ids = [*chain.from_iterable(self._parts)]

    @property
    def spans(self) -> tuple[slice | None, ...]:
        """One for each message that was given: `ids[span]` are the tokens that hold any of its content.

        A token that holds characters of the frame, too, belongs to the span; what the format leaves out of a content
        does not. None stands where nothing of it is there, or where a template treats it so that none can be told. A
        default system message has no span here.
        """
        return self._spans[:-1]

    @property
    def system(self) -> slice | None:
        """The tokens of the system message that a limit on the history counts, those of a default one, too."""
        return self._spans[-1]

    @cached_property
    def _spans(self) -> tuple[slice | None, ...]:
        """The slices of all contents and of the system message."""
        places = self._find_places()
        asked = dict(enumerate([*places.contents, places.system]))
        known = {number: span for number, span in asked.items() if span is not None}
        starts = [*accumulate(map(len, self._texts[:-1]), initial=0)]
        firsts = [*accumulate(map(len, self._parts), initial=0)]
        by_piece: dict[int, list[int]] = defaultdict(list)
        for number, (start, end) in known.items():
            for place in sorted({start, max(start, end - 1)}):  # of pieces with a part of it, the first and the last
                by_piece[bisect_right(starts, place) - 1].append(number)
        found: dict[int, slice] = {}
        for piece in sorted(by_piece):
            begin, size = starts[piece], len(self._texts[piece])
            numbers = sorted(set(by_piece[piece]))
            local = [(max(start - begin, 0), min(end - begin, size)) for start, end in map(known.__getitem__, numbers)]
            for number, tokens in zip(numbers, self._token_spans(piece, local), strict=True):
                first = found[number].start if number in found else firsts[piece] + tokens.start
                found[number] = slice(first, firsts[piece] + tokens.stop)
        return tuple(map(found.get, asked))

    def _token_spans(self, piece: int, spans: Sequence[Span]) -> list[slice]:
        if self._are_control[piece]:
            return [slice(0, 1) if end > start else slice(bool(start), bool(start)) for start, end in spans]
        return self._encoder.token_spans(self._texts[piece], self._parts[piece], spans)
