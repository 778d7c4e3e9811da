"""A vocabulary with tokens added: their ids, the proof that text can become them, and the files that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from qwen7b.errors import SettingError, UnsupportedError, counted, quoted
from qwen7b.system.storage import storage_errors
from qwen7b.system.whole_file import written_whole
from qwen7b.text import Tokenizer, Vocabulary, patterns
from qwen7b.text.export import extra_tiktoken
from qwen7b.text.merging import merge_parts, split_bytes
from qwen7b.text.qwen_tiktoken import CONTROL_NAMES, FIRST_CONTROL_ID, QWEN_VOCAB_SIZE
from qwen7b.vocab.byte_pairs import write_vocabulary
from qwen7b.vocab.compression import is_partial

ORIGINAL_ROWS = 151936
"""The rows of the original models' embedding; those without a token are free for added ones."""
VOCABULARY_SUFFIXES = (".tiktoken", ".json")
"""The endings of the files that `write_extended` writes."""
_ROW_MULTIPLE = 128


def extended(base: Vocabulary, tokens: Sequence[bytes]) -> Vocabulary:
    """The vocabulary with these tokens after all others, in ids as in ranks."""
    first_id = first_free_id(base)
    first_rank = max(base.ranks.values()) + 1
    ids = base.ids | {token: first_id + number for number, token in enumerate(tokens)}
    ranks = base.ranks | {token: first_rank + number for number, token in enumerate(tokens)}
    return replace(base, ids=ids, ranks=ranks)


def first_free_id(vocabulary: Vocabulary) -> int:
    """The id after all others, which the first added token gets."""
    return max(chain(vocabulary.ids.values(), vocabulary.control_tokens.values())) + 1


def check_reachable(tokenizer: Tokenizer, tokens: Sequence[bytes]) -> None:
    """Prove of each token that text becomes it: its bytes alone merge to it, from two tokens of lower rank.

    Within a longer piece they do so too wherever nothing before or after them merges across their border first. Parts
    of characters are no text by themselves: for them this is all that is asked. The others must also come out of the
    whole tokenizer, pattern included, as the one id. Raises UnsupportedError for a token that fails.
    """
    vocabulary = tokenizer.vocabulary
    for token in tokens:
        rank = vocabulary.ranks[token]
        is_merged = len(merge_parts(split_bytes(token), vocabulary.ranks, below=rank)) == 2
        if not is_merged or not (is_partial(token) or tokenizer.encode(token.decode()) == [vocabulary.ids[token]]):
            raise UnsupportedError(
                f"{vocabulary.source} cannot be extended: no text would become the token {quoted(token)}, as its own "
                "tokens contradict each other, so start from the vocabulary as it was released"
            )


def parts_of(token: bytes, base: Vocabulary) -> list[int]:
    """The ids of a token's bytes by the vocabulary as it was before."""
    return [base.ids[part] for part in merge_parts(split_bytes(token), base.ranks)]


def is_original(vocabulary: Vocabulary) -> bool:
    """Whether this is the original's vocabulary, perhaps with extra tokens after its control tokens."""
    names = {name: id for id, name in enumerate(CONTROL_NAMES, start=FIRST_CONTROL_ID)}
    has_tokens = sum(id < FIRST_CONTROL_ID for id in vocabulary.ids.values()) == FIRST_CONTROL_ID
    return has_tokens and vocabulary.control_tokens == names and vocabulary.pattern == patterns.QWEN and vocabulary.nfc


def rows_for(vocab_size: int, rows: int) -> int:
    """The rows that an embedding of `rows` rows needs for so many ids: as many, or the next multiple of 128."""
    return rows if vocab_size <= rows else -(-vocab_size // _ROW_MULTIPLE) * _ROW_MULTIPLE


def check_without_holes(tokenizer: Tokenizer) -> None:
    """Raise UnsupportedError where an extra vocabulary leaves ids without a token: the original's loader refuses it."""
    if unused := tokenizer.unused_ids:
        raise UnsupportedError(
            f"the extra tokens of {tokenizer.vocabulary.source} leave {counted(len(unused), 'id')} without a token, "
            f"the first is {unused[0]}: two lines may have had the same bytes, so make the file anew, one line a token "
            f"and ids from {QWEN_VOCAB_SIZE} without holes"
        )


def check_target(target: Path, base: Tokenizer) -> None:
    """Raise SettingError unless `write_extended` could write an extension of this tokenizer there."""
    if target.suffix not in VOCABULARY_SUFFIXES:
        raise SettingError(
            f"the target's name says its form: qwen_extra.tiktoken for added tokens in the original's form, "
            f"tokenizer.json for the whole tokenizer, found {str(target)!r}"
        )
    if not target.parent.is_dir():
        raise SettingError(f"there is no folder {target.parent} for {target.name}: make it first")
    if target.suffix == ".tiktoken":
        if not is_original(base.vocabulary):
            raise SettingError(
                f"{target.name} would add to the original's qwen.tiktoken, and {base.vocabulary.source} is another "
                "vocabulary: write a tokenizer.json"
            )
        check_without_holes(base)


def write_extended(vocabulary: Vocabulary, target: Path) -> None:
    """Write the added tokens as a `.tiktoken`, or the whole tokenizer as a `.json`. Raises ResourceError."""
    if target.suffix != ".tiktoken":
        write_vocabulary(vocabulary, target)
        return
    with storage_errors(target.parent, variable=None), written_whole(target) as partial:
        partial.write_bytes(extra_tiktoken(vocabulary))
