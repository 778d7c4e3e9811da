"""Extends a vocabulary by the tokens that a corpus needs most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from qwen7b.config.checked import whole_number
from qwen7b.errors import SettingError
from qwen7b.system.progress import progress
from qwen7b.text import Tokenizer, Vocabulary
from qwen7b.vocab.compression import is_partial
from qwen7b.vocab.continued_merges import ContinuedMerges, LearnedToken, joins
from qwen7b.vocab.extended_vocabulary import check_reachable, extended, first_free_id
from qwen7b.vocab.pieces import MAX_PIECE_BYTES, PieceCounts, count_pieces
from qwen7b.vocab.text_groups import TextGroup
from qwen7b.vocab.token_rules import TokenRules

DEFAULT_MIN_FREQUENCY = 10
MAX_NEW_TOKENS = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedTexts:
    """The texts of a file or folder, encoded before and after."""

    name: str
    is_kept: bool
    """Whether their ids had to stay; else they are only looked at."""
    texts: int
    characters: int
    tokens_before: int
    tokens_after: int
    changed_texts: int
    """The texts whose ids are others than before."""

    @property
    def fewer(self) -> float:
        """The share of the tokens that are saved."""
        return 1 - self.tokens_after / self.tokens_before if self.tokens_before else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Extension:
    """What was added to a vocabulary, and what that does to texts."""

    base: Vocabulary
    vocabulary: Vocabulary
    """The base with the added tokens, each proven to be reachable."""
    asked: int
    learned: tuple[LearnedToken, ...]
    """The added tokens, in the order of their ids."""
    min_frequency: int
    corpus_texts: int
    corpus_bytes: int
    corpus_tokens_before: int
    corpus_tokens_after: int
    different_pieces: int
    long_pieces: int
    """The pieces of the corpus that were too long to learn from."""
    refusals: Mapping[str, int]
    """How many byte strings were frequent enough but not added, by reason."""
    checked: tuple[CheckedTexts, ...]
    seconds: float

    @property
    def first_id(self) -> int:
        return first_free_id(self.base)

    @property
    def partial(self) -> int:
        """How many of the added tokens are a part of a character, on the way to it."""
        return sum(is_partial(learned.token) for learned in self.learned)

    def as_document(self) -> dict[str, Any]:
        """A JSON document of all of it; tokens that are parts of characters are spelled with \\x."""
        left_out = ("base", "vocabulary", "learned", "checked", "refusals")
        numbers = {name: getattr(self, name) for name in self.__slots__ if name not in left_out}
        names = ("name", "is_kept", "texts", "characters", "tokens_before", "tokens_after", "changed_texts", "fewer")
        tokens = [
            {"id": id, "token": learned.token.decode(errors="backslashreplace"), "frequency": learned.frequency}
            for id, learned in enumerate(self.learned, start=self.first_id)
        ]
        return numbers | {
            "added": len(self.learned),
            "parts_of_characters": self.partial,
            "refusals": dict(self.refusals),
            "checked": [{name: getattr(texts, name) for name in names} for texts in self.checked],
            "tokens": tokens,
        }


def extend_vocabulary(
    tokenizer: Tokenizer,
    corpus: Sequence[TextGroup],
    *,
    num_tokens: int,
    min_frequency: int = DEFAULT_MIN_FREQUENCY,
    scripts: Sequence[str] = (),
    keep: Sequence[TextGroup] = (),
    check: Sequence[TextGroup] = (),
) -> Extension:
    """Add up to `num_tokens` tokens that a corpus needs most: byte-pair encoding, continued as tiktoken merges.

    A token is added only while its two parts stand side by side at least `min_frequency` times, within a piece of the
    tokenizer's pattern, and if it is whole characters or a step within one. With `scripts`, it must be of these. The
    ids of the texts in `keep` stay as they are: no token is added that they would change. Of those in `check` it is
    only counted how many change, and how many tokens they need. In memory are one text at a time and the different
    pieces of the corpus.

    Raises SettingError for a corpus without text and for settings that make no sense, UnsupportedError for a
    vocabulary whose tokens contradict each other.
    """
    num_tokens = whole_number("tokens", num_tokens, minimum=1, maximum=MAX_NEW_TOKENS)
    min_frequency = whole_number("min_frequency", min_frequency, minimum=1)
    started = time.monotonic()
    rules = TokenRules(scripts=tuple(scripts))  # refuses unknown names before the corpus is read
    kept_joins = frozenset(_joins_of(keep, tokenizer) if keep else ())
    rules = TokenRules(scripts=tuple(scripts), kept_joins=kept_joins)
    found = count_pieces(_texts(corpus, "Reading the corpus"), tokenizer)
    if not found.counts:
        raise SettingError(
            f"the corpus {', '.join(group.name for group in corpus)} is empty: give some megabytes of text"
        )
    pieces, long_pieces = _usable_pieces(found, tokenizer)
    merges = ContinuedMerges(
        pieces,
        tokenizer.vocabulary.ranks,
        encode=_encoder(tokenizer),
        refusal=rules.refusal,
        min_frequency=min_frequency,
    )
    learned = []
    with progress("Learning tokens", num_tokens, " tokens") as report:
        for token in islice(merges.learn(), num_tokens):
            learned.append(token)
            report(1)
    vocabulary = extended(tokenizer.vocabulary, [token.token for token in learned])
    after = Tokenizer(vocabulary)
    check_reachable(after, [token.token for token in learned])
    checked = [_compare(group, tokenizer, after, is_kept=group in keep) for group in chain(keep, check)]
    return Extension(
        base=tokenizer.vocabulary,
        vocabulary=vocabulary,
        asked=num_tokens,
        learned=tuple(learned),
        min_frequency=min_frequency,
        corpus_texts=found.texts,
        corpus_bytes=found.bytes,
        corpus_tokens_before=_count_tokens(found, tokenizer),
        corpus_tokens_after=_count_tokens(found, after),
        different_pieces=len(found.counts),
        long_pieces=long_pieces,
        refusals=merges.refusals,
        checked=tuple(checked),
        seconds=time.monotonic() - started,
    )


def _texts(groups: Sequence[TextGroup], what: str) -> Iterator[str]:
    with progress(what, sum(len(group.files) for group in groups), " files") as report:
        for group in groups:
            for text in group.texts():
                yield text
                report(1)


def _encoder(tokenizer: Tokenizer) -> Callable[[bytes], list[bytes]]:
    return lambda piece: [*map(tokenizer.token_bytes, tokenizer.encode_as_is(piece.decode()))]


def _usable_pieces(found: PieceCounts, tokenizer: Tokenizer) -> tuple[dict[bytes, int], int]:
    """The pieces to learn from, and how many occurrences were too long for that.

    A piece with a byte that has no token is left out: what stands beside that byte does not do so in its ids.
    """
    pieces, long_pieces = {}, 0
    without_id = frozenset(tokenizer.vocabulary.bytes_without_id)
    for text, count in found.counts.items():
        piece = text.encode()
        if len(piece) > MAX_PIECE_BYTES:
            long_pieces += count
        elif without_id.isdisjoint(piece):
            pieces[piece] = count
    return pieces, long_pieces


def _joins_of(groups: Sequence[TextGroup], tokenizer: Tokenizer) -> Iterator[bytes]:
    """All that would change the ids of these texts if it became a token."""
    encode = _encoder(tokenizer)
    for text in count_pieces(_texts(groups, "Reading the kept texts"), tokenizer).counts:
        parts = encode(text.encode())
        if len(parts) > 1:
            yield text.encode()
            yield from joins(parts)


def _count_tokens(found: PieceCounts, tokenizer: Tokenizer) -> int:
    return sum(len(tokenizer.encode_as_is(piece)) * count for piece, count in found.counts.items())


def _compare(group: TextGroup, before: Tokenizer, after: Tokenizer, *, is_kept: bool) -> CheckedTexts:
    texts = characters = tokens_before = tokens_after = changed = 0
    for text in group.texts():
        ids, new_ids = before.encode(text), after.encode(text)
        texts += 1
        characters += len(text)
        tokens_before += len(ids)
        tokens_after += len(new_ids)
        changed += ids != new_ids
    assert not (is_kept and changed), f"a kept text of {group.name} has other ids"
    return CheckedTexts(
        name=group.name,
        is_kept=is_kept,
        texts=texts,
        characters=characters,
        tokens_before=tokens_before,
        tokens_after=tokens_after,
        changed_texts=changed,
    )
