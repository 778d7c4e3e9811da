"""The vocabulary in a `tokenizer.json`, the file of the tokenizers library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError, UnsupportedError
from qwen7b.json_file import read_json
from qwen7b.text import patterns
from qwen7b.text.vocabulary import Vocabulary, merged_vocabulary

# Settings of the model that change which tokens come out: each must be absent, null, false or empty.
_REFUSED = ("byte_fallback", "continuing_subword_prefix", "dropout", "end_of_word_suffix", "ignore_merges")


def read_tokenizer_json(path: Path) -> Vocabulary:
    document = read_json(path)
    try:
        return _vocabulary(path, document)
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a tokenizer.json as the tokenizers library writes it: {type(error).__name__} {error}"
        ) from error


def _vocabulary(path: Path, document: dict[str, Any]) -> Vocabulary:
    model = document["model"]
    if model.get("type") != "BPE":
        raise UnsupportedError(f"{path} has a tokenizer of the kind {model.get('type')!r}: qwen7b reads BPE")
    for setting in _REFUSED:
        if model.get(setting):
            raise UnsupportedError(f"{path} sets {setting} to {model[setting]!r}, which qwen7b does not support")
    # Added tokens become control tokens, whether or not they are marked special.
    control_tokens = {added["content"]: added["id"] for added in document.get("added_tokens") or ()}
    vocabulary = merged_vocabulary(
        str(path),
        tokens={token: id for token, id in model["vocab"].items() if token not in control_tokens},
        merges=model["merges"],
        control_tokens=control_tokens,
        pattern=_pattern(path, document.get("pre_tokenizer")),
        nfc=_nfc(path, document.get("normalizer")),
    )
    if model.get("unk_token") and vocabulary.bytes_without_id:
        raise UnsupportedError(f"{path} writes unknown bytes as {model['unk_token']!r}, which qwen7b does not support")
    return vocabulary


def _pattern(path: Path, pre_tokenizer: Any) -> str:
    match pre_tokenizer:
        case {"type": "Sequence", "pretokenizers": [*steps]}:
            pass
        case _:
            steps = [pre_tokenizer]
    match steps:
        case [
            {"type": "Split", "pattern": {"Regex": patterns.QWEN}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            return patterns.QWEN
        case [{"type": "ByteLevel", "add_prefix_space": False, **others}] if others.get("use_regex", True):
            return patterns.GPT2
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, **others},
        ] if others.get("use_regex", True):
            return patterns.SMOLLM
    raise UnsupportedError(
        f"{path} has a pre-tokenizer that qwen7b does not know: {json.dumps(pre_tokenizer):.200}; "
        "it knows those of Qwen, GPT-2 and SmolLM"
    )


def _nfc(path: Path, normalizer: Any) -> bool:
    match normalizer:
        case None:
            return False
        case {"type": "NFC"}:
            return True
    raise UnsupportedError(f"{path} has a normalizer that qwen7b does not know: {json.dumps(normalizer):.200}")
