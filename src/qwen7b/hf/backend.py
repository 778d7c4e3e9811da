"""A vocabulary as the tokenizers library runs it."""

from __future__ import annotations

import json
from collections.abc import Collection

from tokenizers import Tokenizer

from qwen7b.errors import UnsupportedError
from qwen7b.text import Vocabulary
from qwen7b.text.export import merges_of, tokenizer_json


def build_backend(vocabulary: Vocabulary, *, visible: Collection[str] = ()) -> Tokenizer:
    """A tokenizer of the tokenizers library that gives the same ids. Raises UnsupportedError where there is none.

    The `visible` control tokens are not marked special: the library shows them, and never leaves their names as text.
    """
    if vocabulary.bytes_without_id:
        raise UnsupportedError(f"{vocabulary.source} has no token for some bytes: it has no fast tokenizer")
    return Tokenizer.from_str(
        json.dumps(tokenizer_json(vocabulary, merges=list(merges_of(vocabulary)), visible=visible))
    )
