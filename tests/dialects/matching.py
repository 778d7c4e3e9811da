"""Tells whether a grammar takes a text, by llguidance itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest
import tiktoken

from qwen7b.text import Tokenizer


@lru_cache(maxsize=4)
def _vocabulary(tokenizer: Tokenizer) -> Any:
    pytest.importorskip("llguidance", reason="needs llguidance")
    from llguidance.tiktoken import lltokenizer_from_encoding

    encoding = tiktoken.Encoding(
        "tested",
        pat_str=tokenizer.vocabulary.pattern,
        mergeable_ranks=tokenizer.vocabulary.ids,
        special_tokens=tokenizer.control_tokens,
    )
    return lltokenizer_from_encoding(encoding, eos_token=tokenizer.im_end_id)


def new_matcher(tokenizer: Tokenizer, grammar: str) -> Any:
    vocabulary = _vocabulary(tokenizer)
    from llguidance import LLMatcher

    matcher = LLMatcher(vocabulary, grammar)
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def takes(tokenizer: Tokenizer, grammar: str, text: str, *, special: bool = True) -> bool:
    """Whether a text is a whole reply; `special` reads names of control tokens in it as these."""
    matcher = new_matcher(tokenizer, grammar)
    ids = tokenizer.encode(text, allowed_special="all" if special else frozenset())
    return bool(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())


def assert_takes(tokenizer: Tokenizer, grammar: str, good: Sequence[str], *, but_not: Sequence[str]) -> None:
    """Assert that a grammar takes the good texts, each as a whole reply, and none of the others."""
    assert [text for text in good if not takes(tokenizer, grammar, text)] == []
    assert [text for text in but_not if takes(tokenizer, grammar, text)] == []
