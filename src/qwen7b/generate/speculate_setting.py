"""The setting `speculate`: who drafts the tokens of replies, and whether a draft model has the vocabulary for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from qwen7b.errors import SettingError, quoted
from qwen7b.model import Transformer
from qwen7b.text import Tokenizer

NONE = "none"
LOOKUPS = ("ngram", "ngram-pool")
"""Drafts from the request's own text, or from the texts of other requests too."""
MODEL = "model"
"""What the engine calls the draft model."""


@runtime_checkable
class WithTokens(Protocol):
    """A `Qwen`, or what has its parts."""

    model: Transformer
    tokenizer: Tokenizer
    name: str


def check_lookup(speculate: object) -> str | None:
    """The setting of a call: who drafts, "none" for nobody, or None where the call leaves that to its Qwen."""
    if speculate is None or (isinstance(speculate, str) and speculate in (NONE, *LOOKUPS)):
        return speculate
    raise SettingError(
        f"a call's speculate must be {NONE!r}, 'ngram' or 'ngram-pool', found {quoted(speculate)}: a draft model is "
        "loaded once, by qwen7b.load(…, speculate=…)"
    )


def choose_drafter(speculate: object, *, tokenizer: Tokenizer) -> tuple[str | None, Transformer | None]:
    """The setting of a Qwen: who drafts unless a call says otherwise, and the draft model.

    Raises SettingError for a draft model that has another vocabulary or no rows for some of the tokens.
    """
    if isinstance(speculate, WithTokens):
        check_same_tokens(tokenizer, speculate.tokenizer, draft_name=speculate.name)
        speculate = speculate.model
    if isinstance(speculate, Transformer):
        if (rows := speculate.config.vocab_rows) < tokenizer.vocab_size:
            raise SettingError(
                f"a draft model must have the same vocabulary, which goes to id {tokenizer.vocab_size - 1}, found one "
                f"of {rows} rows: give a smaller model of the same family"
            )
        return MODEL, speculate
    if speculate is None or speculate == NONE:
        return None, None
    if isinstance(speculate, str) and speculate in LOOKUPS:
        return speculate, None
    raise SettingError(
        f"speculate must be 'none', 'ngram', 'ngram-pool' or a model that is loaded, found {quoted(speculate)}"
    )


def check_same_tokens(tokenizer: Tokenizer, draft_tokenizer: Tokenizer, *, draft_name: str) -> None:
    """Raise SettingError where an id is another token to a draft model. Either may have more of them at the end."""
    if (id := tokenizer.first_difference(draft_tokenizer)) is not None:
        ours, theirs = (quoted(each.decode([id])) for each in (tokenizer, draft_tokenizer))
        raise SettingError(
            f"a draft model must have the same vocabulary, found id {id} to be {ours} here and {theirs} in "
            f"{draft_name or 'the draft model'}: give a smaller model of the same family"
        )
