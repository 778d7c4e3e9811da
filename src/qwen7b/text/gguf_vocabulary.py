"""The vocabulary inside a GGUF file: its tokens, their types and the merges."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeVar

from qwen7b.errors import CheckpointError, UnsupportedError, counted, quoted
from qwen7b.files.gguf_parts import read_gguf_parts
from qwen7b.text import patterns
from qwen7b.text.patterns import fits
from qwen7b.text.qwen_tiktoken import CONTROL_NAMES
from qwen7b.text.tokenizer_settings import gguf_settings
from qwen7b.text.vocabulary import Vocabulary, merged_vocabulary

T = TypeVar("T")

# tokenizer.ggml.pre: how text is cut, and whether it is NFC-normalized, which GGUF has no other word for.
PRE_TOKENIZERS = {
    "qwen2": (patterns.QWEN, True),
    "gpt-2": (patterns.GPT2, False),
    "smollm": (patterns.SMOLLM, False),
}

# llama.cpp's other names for the same way of cutting (llama-vocab.cpp). For the first, normalization is known to be the
# same too; for the others it is not known.
_ALIASES = {"deepseek-r1-qwen": "qwen2"}
_SAME_SPLITS = {
    "qwen2": ("f2llmv2", "grok-2", "hunyuan", "kormo", "megrez", "stablelm2"),
    "gpt-2": ("a.x-4.0", "exaone4", "gigachat", "jina-de", "jina-es", "jina-v2-de", "jina-v2-es", "mellum", "phi-2"),
    "smollm": ("codeshell", "command-r", "exaone", "minerva-7b", "refact", "starcoder"),
}
_SMOLLM_FIRST = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

# Token types of the format. Unused ones pad the vocabulary to the embedding's rows: they are no tokens.
NORMAL, _UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5


def read_gguf_vocabulary(path: Path) -> Vocabulary:
    path, header = read_gguf_parts(path)[0]
    metadata = header.metadata
    model = metadata.get("tokenizer.ggml.model")
    if model is None:
        raise CheckpointError(f"{path} has no tokenizer: convert the model again, with its vocabulary")
    if model != "gpt2":
        raise UnsupportedError(
            f"{path} has a tokenizer of the kind {quoted(model)}: qwen7b reads byte-pair ones ('gpt2')"
        )
    tokens = _list(path, metadata, "tokenizer.ggml.tokens", str)
    types = _list(path, metadata, "tokenizer.ggml.token_type", int)
    if metadata.get("general.architecture") == "qwen":
        tokens, types = _with_first_generation_names(tokens, types)
    if len(tokens) != len(types) or len(tokens) != len(set(tokens)):
        raise CheckpointError(
            f"{path} is damaged: {counted(len(tokens), 'token')}, {len(set(tokens))} of them different, have "
            f"{counted(len(types), 'type')}"
        )
    name, is_named = _pre_tokenizer(path, metadata, tokens)
    pattern, nfc = PRE_TOKENIZERS[name]
    vocabulary = merged_vocabulary(
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
        visible=[token for token, type in zip(tokens, types, strict=True) if type == USER_DEFINED],
        settings=gguf_settings(path, metadata, tokens),
    )
    if not is_named and not fits(pattern, vocabulary.ids):
        raise UnsupportedError(
            f"{path} does not say how text is cut, and its tokens do not fit the way of {name}: convert the model again"
        )
    return vocabulary


def _with_first_generation_names(tokens: list[str], types: list[int]) -> tuple[list[str], list[int]]:
    """Give control tokens their names, which converters of 2023 replaced by [PAD151643] and so on.

    The control tokens come after the ordinary ones; what comes after them only fills rows of the embedding.
    """
    first = next((id for id, token in enumerate(tokens) if token == f"[PAD{id}]"), len(tokens))
    if "<|im_start|>" in tokens or len(tokens) - first < 3 or len(types) != len(tokens):
        return tokens, types
    if any(token != f"[PAD{id}]" for id, token in enumerate(tokens[first:], start=first)):
        return tokens, types
    names = [*CONTROL_NAMES[: len(tokens) - first]]
    last = first + len(names)
    return (
        [*tokens[:first], *names, *tokens[last:]],
        [*types[:first], *[CONTROL] * len(names), *[UNUSED] * (len(tokens) - last)],
    )


def _pre_tokenizer(path: Path, metadata: dict[str, Any], tokens: list[str]) -> tuple[str, bool]:
    """The name of a pre-tokenizer that we know, and whether the file names it or only its architecture suggests it."""
    architecture, name = metadata.get("general.architecture"), metadata.get("tokenizer.ggml.pre")
    known = _ALIASES.get(name, name) if isinstance(name, str) else None
    if known in PRE_TOKENIZERS:
        return known, True
    for ours, others in _SAME_SPLITS.items():
        if known in others:
            warnings.warn(
                f"{path} has the pre-tokenizer {quoted(name)}, which cuts text as {ours} does; the file does not "
                "say whether text is normalized first, so it is treated as with {ours}",
                stacklevel=4,
            )
            return ours, True
    if known in (None, "default") and isinstance(name, str | None):
        family = "qwen2" if architecture in ("qwen", "qwen2") else "smollm" if tokens[:3] == _SMOLLM_FIRST else None
        if family and known:
            warnings.warn(
                f"{path} has the pre-tokenizer {quoted(name)}, which does not say how text is cut: it is cut as "
                f"with {family}, which fits the tokens",
                stacklevel=4,
            )
        if family:  # files of first-generation Qwen are older than the key
            return family, False
    raise UnsupportedError(f"{path} has the pre-tokenizer {quoted(name)}: qwen7b knows {', '.join(PRE_TOKENIZERS)}")


def _list(path: Path, metadata: dict[str, Any], key: str, type: type[T]) -> list[T]:
    values = metadata.get(key)
    # Checking one item is enough: an array of this format holds a single type.
    if not isinstance(values, list) or not all(isinstance(value, type) for value in values[:1]):
        raise CheckpointError(
            f"{path} has no usable vocabulary: {key} is {quoted(values)}, not a list of {type.__name__}"
        )
    return values
