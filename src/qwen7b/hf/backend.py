"""A vocabulary as the tokenizers library runs it, and as `tokenizer.json` holds it."""

from __future__ import annotations

from itertools import pairwise

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers.convert_slow_tokenizer import bytes_to_unicode

from qwen7b.errors import UnsupportedError
from qwen7b.text import Vocabulary, patterns


def build_backend(vocabulary: Vocabulary) -> Tokenizer:
    """A tokenizer of the tokenizers library that gives the same ids. Raises UnsupportedError where there is none."""
    if vocabulary.pattern != patterns.QWEN or vocabulary.bytes_without_id:
        raise UnsupportedError(f"{vocabulary.source} is not a vocabulary of Qwen's kind: it has no fast tokenizer")
    spelling = bytes_to_unicode()  # type: ignore[no-untyped-call]

    def spell(token: bytes) -> str:
        return "".join(spelling[byte] for byte in token)

    tokens = {spell(token): token_id for token, token_id in vocabulary.ids.items()}
    merges = [(spell(left), spell(right)) for left, right in find_merges(vocabulary.ranks)]
    # Control tokens are listed among the others too, or the library would number them itself.
    backend = Tokenizer(BPE(vocab=tokens | vocabulary.control_tokens, merges=merges))
    if vocabulary.nfc:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(vocabulary.pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in vocabulary.control_tokens])
    return backend


def find_merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The pair that makes each token of more than one byte, in the order of the tokens' ranks.

    tiktoken merges the two neighbours that together have the lowest rank; when a token is made, no lower pair is left
    within it, so its two parts are always the ones that merging its own bytes, below its rank, leaves.
    """
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) == 1:
            continue
        splits = [
            (token[:at], token[at:])
            for at in range(1, len(token))
            if ranks.get(token[:at], ranks[token]) < ranks[token] and ranks.get(token[at:], ranks[token]) < ranks[token]
        ]
        if len(splits) > 1:
            parts = _merge_below(token, ranks)
            splits = [(parts[0], parts[1])] if len(parts) == 2 else []
        if len(splits) != 1:
            raise UnsupportedError(f"no merge makes the token {token!r}: this vocabulary has no fast tokenizer")
        merges += splits
    return merges


def _merge_below(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """What merging a token's bytes leaves of it, short of the token itself."""
    parts = [bytes([byte]) for byte in token]
    while True:
        rank, at = min((ranks.get(left + right, ranks[token]), at) for at, (left, right) in enumerate(pairwise(parts)))
        if rank >= ranks[token]:
            return parts
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
