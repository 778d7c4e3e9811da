"""New vocabularies of byte pairs, trained on texts: a few thousand tokens for a model that is trained from nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from qwen7b.config.checked import whole_number
from qwen7b.errors import MissingExtraError, SettingError
from qwen7b.system.storage import storage_errors
from qwen7b.system.whole_file import write_text_whole
from qwen7b.text import Vocabulary, patterns
from qwen7b.text.endings import CHATML_NAMES
from qwen7b.text.export import merges_of, tokenizer_json
from qwen7b.text.normalization import to_nfc

_BYTES = 256
MAX_TOKENS = 1 << 17


def train_vocabulary(texts: Iterable[str], *, num_tokens: int) -> Vocabulary:
    """A vocabulary of `num_tokens`, the 256 bytes and ChatML's three control tokens included, cut by Qwen's pattern.

    Texts are NFC-normalized, as they will be when they are encoded. Raises SettingError where the texts have too few
    pairs that occur at all.
    """
    try:
        import rustbpe
    except ImportError as error:
        raise MissingExtraError("rustbpe", extra="train") from error
    controls = len(CHATML_NAMES)
    whole_number("num_tokens", num_tokens, minimum=_BYTES + controls + 1, maximum=MAX_TOKENS)
    learner = rustbpe.Tokenizer()
    learner.train_from_iterator(map(to_nfc, texts), vocab_size=num_tokens - controls, pattern=patterns.QWEN)
    # Two pairs may make the same bytes, which are one token to tiktoken: the first of them counts.
    ranked = sorted(learner.get_mergeable_ranks(), key=lambda pair: pair[1])
    ids = {token: id for id, token in enumerate(dict.fromkeys(bytes(token) for token, _ in ranked))}
    if len(ids) < num_tokens - controls:
        raise SettingError(
            f"the texts make a vocabulary of {len(ids) + controls:,} tokens at most, not {num_tokens:,}: give more "
            "text or ask for fewer"
        )
    return Vocabulary(
        source=f"a new vocabulary of {num_tokens:,} tokens",
        ids=ids,
        ranks=ids,
        control_tokens={name: id for id, name in enumerate(CHATML_NAMES, start=len(ids))},
        pattern=patterns.QWEN,
        nfc=True,
    )


def write_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    """Write a vocabulary as a `tokenizer.json`, which we and the tokenizers library read."""
    document = tokenizer_json(vocabulary, merges=list(merges_of(vocabulary)))
    with storage_errors(path.parent, variable=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(path, json.dumps(document, ensure_ascii=False, indent=1))
