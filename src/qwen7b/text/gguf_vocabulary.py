"""The vocabulary inside a GGUF file: its tokens, their types and the merges."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from qwen7b.errors import CheckpointError, UnsupportedError
from qwen7b.text import patterns
from qwen7b.text.vocabulary import Vocabulary, merged_vocabulary

T = TypeVar("T")

# tokenizer.ggml.pre: how text is cut, and whether it is NFC-normalized, which GGUF has no other word for.
PRE_TOKENIZERS = {
    "qwen2": (patterns.QWEN, True),
    "gpt-2": (patterns.GPT2, False),
    "smollm": (patterns.SMOLLM, False),
}

# Token types of the format. Unused ones pad the vocabulary to the embedding's rows: they are no tokens.
NORMAL, _UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4


def read_gguf_vocabulary(path: Path) -> Vocabulary:
    # Brings numpy, which the other formats do without.
    from qwen7b.gguf_parts import read_gguf_parts

    path, header = read_gguf_parts(path)[0]
    metadata = header.metadata
    model = metadata.get("tokenizer.ggml.model")
    if model is None:
        raise CheckpointError(f"{path} has no tokenizer: convert the model again, with its vocabulary")
    if model != "gpt2":
        raise UnsupportedError(f"{path} has a tokenizer of the kind {model!r}: qwen7b reads byte-pair ones ('gpt2')")
    pattern, nfc = _pre_tokenizer(path, metadata)
    tokens = _list(path, metadata, "tokenizer.ggml.tokens", str)
    types = _list(path, metadata, "tokenizer.ggml.token_type", int)
    if len(tokens) != len(types) or len(tokens) != len(set(tokens)):
        raise CheckpointError(
            f"{path} is damaged: {len(tokens)} tokens, {len(set(tokens))} of them different, have {len(types)} types"
        )
    return merged_vocabulary(
        str(path),
        tokens={token: id for id, (token, type) in enumerate(zip(tokens, types, strict=True)) if type == NORMAL},
        merges=_list(path, metadata, "tokenizer.ggml.merges", str),
        control_tokens={
            token: id
            for id, (token, type) in enumerate(zip(tokens, types, strict=True))
            if type in (_UNKNOWN, CONTROL, USER_DEFINED)
        },
        pattern=pattern,
        nfc=nfc,
    )


def _pre_tokenizer(path: Path, metadata: dict[str, Any]) -> tuple[str, bool]:
    # Files of first-generation Qwen are older than the key.
    default = "qwen2" if metadata.get("general.architecture") in ("qwen", "qwen2") else None
    name = metadata.get("tokenizer.ggml.pre", default)
    if not isinstance(name, str) or name not in PRE_TOKENIZERS:
        raise UnsupportedError(f"{path} has the pre-tokenizer {name!r}: qwen7b knows {', '.join(PRE_TOKENIZERS)}")
    return PRE_TOKENIZERS[name]


def _list(path: Path, metadata: dict[str, Any], key: str, type: type[T]) -> list[T]:
    values = metadata.get(key)
    # One item speaks for all: the arrays of the format hold one type each.
    if not isinstance(values, list) or not all(isinstance(value, type) for value in values[:1]):
        raise CheckpointError(
            f"{path} has no usable vocabulary: {key} is {values!r:.40}, not a list of {type.__name__}"
        )
    return values
