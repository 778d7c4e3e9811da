"""A vocabulary as the files of other programs hold it: `qwen.tiktoken`, `tokenizer.json`, `merges.txt`, GGUF."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from qwen7b.errors import UnsupportedError, counted, quoted
from qwen7b.text import patterns
from qwen7b.text.gguf_vocabulary import CONTROL, NORMAL, PRE_TOKENIZERS, UNUSED, USER_DEFINED
from qwen7b.text.merging import merge_parts, split_bytes
from qwen7b.text.qwen_tiktoken import EXTRA_VOCABULARY, FIRST_CONTROL_ID, QWEN_VOCAB_SIZE
from qwen7b.text.vocabulary import BYTE_OF, Vocabulary

QWEN_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
"""The hash of the original `qwen.tiktoken`."""

_CHARACTER_OF = {byte: character for character, byte in BYTE_OF.items()}
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
_PRE_TOKENIZER = {
    patterns.QWEN: {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": patterns.QWEN}, "behavior": "Isolated", "invert": False},
            _BYTE_LEVEL,
        ],
    },
    patterns.GPT2: {**_BYTE_LEVEL, "use_regex": True},
    patterns.SMOLLM: {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, {**_BYTE_LEVEL, "use_regex": True}],
    },
}


def qwen_tiktoken(vocabulary: Vocabulary) -> bytes | None:
    """The content of the original `qwen.tiktoken`, or None if the vocabulary is a different one.

    It is the original if its tokens, written in that format, hash like the original file, if they merge in the order
    of their ids, and if it cuts and normalizes text in the same way.
    """
    ids, ranks = vocabulary.ids, vocabulary.ranks
    if len(ids) != FIRST_CONTROL_ID or vocabulary.pattern != patterns.QWEN or not vocabulary.nfc:
        return None
    content = b"".join(b"%s %d\n" % (b64encode(token), ids[token]) for token in sorted(ids, key=ids.__getitem__))
    merge_ids = [ids[token] for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1 and token in ids]
    is_original = hashlib.sha256(content).hexdigest() == QWEN_SHA256 and merge_ids == [*range(256, FIRST_CONTROL_ID)]
    return content if is_original else None


def extra_tiktoken(vocabulary: Vocabulary) -> bytes:
    """The content of `qwen_extra.tiktoken`: all tokens after the original's control tokens, in the original's form."""
    tokens = sorted((id, token) for token, id in vocabulary.ids.items() if id >= QWEN_VOCAB_SIZE)
    return b"".join(b"%s %d\n" % (b64encode(token), id) for id, token in tokens)


def original_files(vocabulary: Vocabulary) -> dict[str, bytes] | None:
    """The content of `qwen.tiktoken`, and of `qwen_extra.tiktoken` where there are extra tokens; None for another one.

    Extra tokens come after the original's control tokens, without holes, and merge after all others in that order.
    """
    extra = {token: id for token, id in vocabulary.ids.items() if id >= FIRST_CONTROL_ID}
    in_order = [extra[token] for token in sorted(extra, key=lambda token: vocabulary.ranks.get(token, -1))]
    if in_order != [*range(QWEN_VOCAB_SIZE, QWEN_VOCAB_SIZE + len(extra))]:
        return None
    if any(id >= QWEN_VOCAB_SIZE for id in vocabulary.control_tokens.values()):
        return None
    base = {token: id for token, id in vocabulary.ids.items() if token not in extra}
    ranks = {token: rank for token, rank in vocabulary.ranks.items() if token not in extra}
    if extra and min(map(vocabulary.ranks.__getitem__, extra)) < max(ranks.values()):
        return None
    content = qwen_tiktoken(replace(vocabulary, ids=base, ranks=ranks))
    if content is None:
        return None
    return {"qwen.tiktoken": content} | ({EXTRA_VOCABULARY: extra_tiktoken(vocabulary)} if extra else {})


def merges_of(vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """The merges that the ranks stand for, in order, in GPT-2's spelling.

    A token's merge joins the two parts that remain when its bytes are merged by lower ranks only. Raises
    UnsupportedError for a token that no merge of two parts makes.
    """
    ranks = vocabulary.ranks
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        splits = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        splits = [pair for pair in splits if all(ranks.get(part, rank) < rank for part in pair)]
        # Most tokens have but one split into lower tokens; only where there are more does the order of merges decide.
        parts = splits[0] if len(splits) == 1 else tuple(merge_parts(split_bytes(token), ranks, below=rank))
        if len(parts) != 2:
            raise UnsupportedError(
                f"{vocabulary.source} has the token {quoted(token)}, which merging pairs leaves in "
                f"{counted(len(parts), 'part')}: remove it from the vocabulary"
            )
        yield spell(parts[0]), spell(parts[1])


def spell(token: bytes) -> str:
    """A token as GPT-2 writes it, each byte one printable character."""
    return "".join(map(_CHARACTER_OF.__getitem__, token))


def spelled_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """The content of `vocab.json`: tokens by id, and those control tokens whose ids do not simply follow."""
    tokens = {spell(token): id for token, id in vocabulary.ids.items()}
    expected = range(len(tokens), len(tokens) + len(vocabulary.control_tokens))
    if sorted(vocabulary.control_tokens.values()) != list(expected):
        # The tokenizers library numbers added tokens itself unless it finds them here.
        tokens |= vocabulary.control_tokens
    return dict(sorted(tokens.items(), key=lambda item: item[1]))


def added_tokens(vocabulary: Vocabulary, *, visible: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Control tokens as `tokenizer.json` lists them; `visible` ones (by default the vocabulary's) are not special."""
    visible = vocabulary.visible if visible is None else visible
    return [
        {
            "id": id,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": name not in visible,
        }
        for name, id in sorted(vocabulary.control_tokens.items(), key=lambda item: item[1])
    ]


def tokenizer_json(
    vocabulary: Vocabulary, *, merges: Collection[tuple[str, str]], visible: Collection[str] | None = None
) -> dict[str, Any]:
    """The content of `tokenizer.json`."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(vocabulary, visible=visible),
        "normalizer": {"type": "NFC"} if vocabulary.nfc else None,
        "pre_tokenizer": _PRE_TOKENIZER[vocabulary.pattern],
        "post_processor": None if vocabulary.settings.bos is None else _bos_post_processor(vocabulary),
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": spelled_ids(vocabulary),
            "merges": [list(merge) for merge in merges],
        },
    }


def _bos_post_processor(vocabulary: Vocabulary) -> dict[str, Any]:
    """The post-processor that puts BOS before a text, or before the first of two."""
    name = vocabulary.settings.bos
    bos = {"SpecialToken": {"id": name, "type_id": 0}}
    first, second = ({"Sequence": {"id": id, "type_id": type}} for id, type in (("A", 0), ("B", 1)))
    return {
        "type": "TemplateProcessing",
        "single": [bos, first],
        "pair": [bos, first, second],
        "special_tokens": {name: {"id": name, "ids": [vocabulary.id_of(str(name))], "tokens": [name]}},
    }


def gguf_tokenizer(
    vocabulary: Vocabulary,
    *,
    vocab_rows: int,
    merges: Collection[tuple[str, str]],
    visible: Collection[str] | None = None,
) -> dict[str, Any]:
    """GGUF's metadata of a vocabulary, padded with unused tokens to the rows of the embedding.

    Raises UnsupportedError where GGUF has no name for how the text is cut and normalized.
    """
    visible = vocabulary.visible if visible is None else visible
    cut = (vocabulary.pattern, vocabulary.nfc)
    pre_tokenizer = next((name for name, known in PRE_TOKENIZERS.items() if known == cut), None)
    if pre_tokenizer is None:
        raise UnsupportedError(
            f"{vocabulary.source} {'normalizes' if vocabulary.nfc else 'does not normalize'} text to NFC, which GGUF "
            "cannot express for its way of cutting text: convert to another format"
        )
    tokens = [f"[PAD{id}]" for id in range(vocab_rows)]
    types = [UNUSED] * vocab_rows
    for token, id in vocabulary.ids.items():
        tokens[id], types[id] = spell(token), NORMAL
    for name, id in vocabulary.control_tokens.items():
        tokens[id], types[id] = name, USER_DEFINED if name in visible else CONTROL
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre_tokenizer,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
    }
