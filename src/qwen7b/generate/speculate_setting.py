"""The setting `speculate`: it names the drafter, and a draft model is checked to have the same vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from qwen7b.errors import SettingError, quoted
from qwen7b.model import Transformer
from qwen7b.text import Tokenizer

NONE = "none"
LOOKUPS = ("ngram", "ngram-pool")
"""The drafters that search the request's own text, or those of other requests too."""
MODEL = "model"
"""The name of the draft model in the engine."""


@runtime_checkable
class WithTokens(Protocol):
    """A `Qwen`, or another object with a model and its tokenizer."""

    model: Transformer
    tokenizer: Tokenizer
    name: str


def check_lookup(speculate: object) -> str | None:
    """Check the setting of a call: a lookup, "none" for no drafts, or None for what the Qwen was loaded with."""
    if speculate is None or (isinstance(speculate, str) and speculate in (NONE, *LOOKUPS)):
        return speculate
    raise SettingError(
        f"a call's speculate must be {NONE!r}, 'ngram' or 'ngram-pool', found {quoted(speculate)}: a draft model is "
        "loaded once, by qwen7b.load(…, speculate=…) or --speculate"
    )


def choose_drafter(speculate: object, *, tokenizer: Tokenizer) -> tuple[str | None, Transformer | None]:
    """Check the setting of a Qwen. Returns the drafter's name, which calls may replace, and the draft model.

    Raises SettingError for a draft model that has another vocabulary or no rows for some of the tokens.
    """
    if isinstance(speculate, WithTokens):
        check_same_tokens(tokenizer, speculate.tokenizer, draft_name=speculate.name)
        speculate = speculate.model
    if isinstance(speculate, Transformer):
        if (rows := speculate.config.vocab_rows) < tokenizer.vocab_size:
            raise SettingError(
                f"a draft model must have the same vocabulary, which goes to id {tokenizer.vocab_size - 1}, found one "
                f"of {rows} rows: give a smaller model of the same family, or 'none'"
            )
        return MODEL, speculate
    if speculate is None or speculate == NONE:
        return None, None
    if isinstance(speculate, str) and speculate in LOOKUPS:
        return speculate, None
    raise SettingError(
        f"speculate must be 'none', 'ngram', 'ngram-pool' or a model that is loaded, found {quoted(speculate)}"
    )


def check_kind(speculate: object) -> None:
    """Raise SettingError for what names no drafter and is no model."""
    if speculate is not None and not isinstance(speculate, (str, Path, WithTokens, Transformer)):
        raise SettingError(
            "speculate must be 'none', 'ngram', 'ngram-pool' or a model, loaded or by its name, found "
            f"{quoted(speculate)}"
        )


def check_same_tokens(tokenizer: Tokenizer, draft_tokenizer: Tokenizer, *, draft_name: str) -> None:
    """Raise SettingError where an id is another token for the draft model. Either may have more at the end."""
    if (id := tokenizer.first_difference(draft_tokenizer)) is not None:
        ours, theirs = (quoted(each.decode([id])) for each in (tokenizer, draft_tokenizer))
        raise SettingError(
            f"a draft model must have the same vocabulary, found id {id} to be {ours} here and {theirs} in "
            f"{draft_name or 'the draft model'}: give a smaller model of the same family, or 'none'"
        )
