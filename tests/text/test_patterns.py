"""Our one-step patterns cut text as the tokenizers library does in one step or two, and the ids come out the same."""

from __future__ import annotations

import regex
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.text import Tokenizer, patterns
from text import synthetic

PATTERNS = {"qwen": patterns.QWEN, "gpt2": patterns.GPT2, "smollm": patterns.SMOLLM}


@given(text=synthetic.texts)
@settings(deadline=None, max_examples=300)
def test_pieces_are_the_same(style: str, reference: tokenizers.Tokenizer, text: str) -> None:
    spans = [span for _, span in reference.pre_tokenizer.pre_tokenize_str(text)]
    assert [match.span() for match in regex.finditer(PATTERNS[style], text)] == spans


@given(parts=st.lists(synthetic.texts | st.sampled_from(synthetic.CONTROL), max_size=4))
@settings(deadline=None, max_examples=300)
def test_ids_are_the_same(reference: tokenizers.Tokenizer, ours: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    assert ours.encode(text, allowed_special="all") == reference.encode(text).ids
