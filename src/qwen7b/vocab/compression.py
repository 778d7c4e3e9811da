"""How well vocabularies compress texts, as in the figure of the original's memo.

That figure shows, by language, how many tokens a vocabulary needs beside those of a baseline: below 1 it needs fewer.
https://github.com/QwenLM/Qwen/blob/main/tech_memo.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qwen7b.errors import SettingError, quoted
from qwen7b.system.progress import progress
from qwen7b.text import Tokenizer
from qwen7b.text.normalization import to_nfc
from qwen7b.vocab.text_groups import TextGroup


@dataclass(frozen=True, kw_only=True, slots=True)
class Compression:
    """How one vocabulary encodes the texts of one language."""

    language: str
    vocabulary: str
    baseline: str
    """The vocabulary that `relative_tokens` compares with."""
    vocab_size: int
    texts: int
    bytes: int
    """The bytes of the texts in UTF-8."""
    characters: int
    tokens: int
    bytes_per_token: float
    characters_per_token: float
    relative_tokens: float
    """The tokens divided by the baseline's: the compression ratio of the original's figure, where less is better."""
    partial_tokens: int
    """The tokens that hold a part of a character, because the vocabulary has no token for the whole of it."""
    byte_tokens: int
    """Those among them that are a single byte."""
    changed_texts: int
    """The texts that decode to another text than was encoded, NFC aside: those with bytes that have no token."""
    normalized_texts: int
    """The texts that are not in NFC, where the vocabulary normalizes: they decode to the same text in NFC."""


@dataclass(slots=True)
class _Counts:
    """What is added up over the texts of a language, for one vocabulary."""

    ids: Counter[int] = field(default_factory=Counter)
    changed: int = 0
    normalized: int = 0

    def add(self, text: str, tokenizer: Tokenizer) -> None:
        ids = tokenizer.encode(text)
        self.ids.update(ids)
        expected = to_nfc(text) if tokenizer.vocabulary.nfc else text
        self.normalized += expected != text
        self.changed += tokenizer.decode(ids) != expected


def measure_compression(
    groups: Sequence[TextGroup], vocabularies: Mapping[str, Tokenizer], *, baseline: str | None = None
) -> list[Compression]:
    """Encode the texts of each language by each vocabulary; the results come by language.

    `vocabularies` are tokenizers by the names that results call them; the baseline is one of these names, by default
    the first. Raises SettingError for another name, a language without characters, and as `TextGroup.texts` does.
    """
    baseline = next(iter(vocabularies)) if baseline is None else baseline
    if baseline not in vocabularies:
        raise SettingError(
            f"the baseline {quoted(baseline)} is none of the vocabularies: it is one of {', '.join(vocabularies)}"
        )
    results: list[Compression] = []
    total = sum(len(group.files) for group in groups)
    with progress("Encoding", total, " files") as report:
        for group in groups:
            results += _measure_group(group, vocabularies, baseline)
            report(len(group.files))
    return results


def _measure_group(group: TextGroup, vocabularies: Mapping[str, Tokenizer], baseline: str) -> Iterator[Compression]:
    texts = characters = num_bytes = 0
    counts = {name: _Counts() for name in vocabularies}
    for text in group.texts():
        texts += 1
        characters += len(text)
        num_bytes += len(text.encode())
        for name, tokenizer in vocabularies.items():
            counts[name].add(text, tokenizer)
    tokens = {name: count.ids.total() for name, count in counts.items()}
    if not all(tokens.values()):
        raise SettingError(f"{group.name} has no text: {group.files[0]} is empty, so give another or leave it out")
    for name, tokenizer in vocabularies.items():
        partial = [id for id in counts[name].ids if is_partial(tokenizer.token_bytes(id))]
        yield Compression(
            language=group.name,
            vocabulary=name,
            baseline=baseline,
            vocab_size=tokenizer.vocab_size,
            texts=texts,
            bytes=num_bytes,
            characters=characters,
            tokens=tokens[name],
            bytes_per_token=num_bytes / tokens[name],
            characters_per_token=characters / tokens[name],
            relative_tokens=tokens[name] / tokens[baseline],
            partial_tokens=_total(counts[name].ids, partial),
            byte_tokens=_total(counts[name].ids, (id for id in partial if len(tokenizer.token_bytes(id)) == 1)),
            changed_texts=counts[name].changed,
            normalized_texts=counts[name].normalized,
        )


def is_partial(token: bytes) -> bool:
    """Whether a token begins or ends within a character."""
    try:
        token.decode()
    except UnicodeDecodeError:
        return True
    return False


def _total(counts: Counter[int], ids: Iterable[int]) -> int:
    return sum(map(counts.__getitem__, ids))
