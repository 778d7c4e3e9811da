"""The vocabulary in a `tokenizer.json`, the file of the tokenizers library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError, UnsupportedError, quoted
from qwen7b.system.json_file import read_json
from qwen7b.text import patterns
from qwen7b.text.pattern_forms import known_form
from qwen7b.text.tokenizer_settings import read_folder_settings
from qwen7b.text.vocabulary import Vocabulary, merged_vocabulary

# Settings of the model that change which tokens come out: each must be absent, null, false or empty.
_REFUSED = ("byte_fallback", "continuing_subword_prefix", "dropout", "end_of_word_suffix", "ignore_merges")


def read_tokenizer_json(path: Path) -> Vocabulary:
    document = read_json(path)
    try:
        return _vocabulary(path, document)
    except RecursionError as error:
        raise CheckpointError(f"{path} is damaged: its lists and objects are nested too deeply") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a tokenizer.json as the tokenizers library writes it: {type(error).__name__} {error}"
        ) from error


def _vocabulary(path: Path, document: dict[str, Any]) -> Vocabulary:
    model = document["model"]
    if model.get("type", "BPE") != "BPE":
        raise UnsupportedError(f"{path} has a tokenizer of the kind {quoted(model.get('type'))}: qwen7b reads BPE")
    for setting in _REFUSED:
        if model.get(setting):
            raise UnsupportedError(f"{path} sets {setting} to {quoted(model[setting])}, which qwen7b does not support")
    # Added tokens become control tokens, whether or not they are marked special.
    control_tokens = {added["content"]: added["id"] for added in document.get("added_tokens") or ()}
    vocabulary = merged_vocabulary(
        str(path),
        tokens={token: id for token, id in model["vocab"].items() if token not in control_tokens},
        merges=model["merges"],
        control_tokens=control_tokens,
        pattern=_pattern(path, document.get("pre_tokenizer")),
        nfc=_nfc(path, document.get("normalizer")),
        visible=[added["content"] for added in document.get("added_tokens") or () if not added.get("special")],
        settings=read_folder_settings(path.parent, post_processor=document.get("post_processor")),
    )
    if model.get("unk_token") and vocabulary.bytes_without_id:
        raise UnsupportedError(
            f"{path} writes unknown bytes as {quoted(model['unk_token'])}, which qwen7b does not support"
        )
    return vocabulary


def _pattern(path: Path, pre_tokenizer: Any) -> str:
    match _steps(pre_tokenizer, within="pretokenizers"):
        case [split, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]:
            if (regex := _isolated(split)) and (pattern := known_form(regex)):
                return pattern
        case [{"type": "ByteLevel", "add_prefix_space": False, **others}] if others.get("use_regex", True):
            return patterns.GPT2
        case [
            digits,
            {"type": "ByteLevel", "add_prefix_space": False, **others},
        ] if others.get("use_regex", True) and _are_digits_alone(digits):
            return patterns.SMOLLM
        case [digits, split, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]:
            regex = _isolated(split)
            if _are_digits_alone(digits) and regex and known_form(regex) == patterns.GPT2:
                return patterns.SMOLLM
    raise UnsupportedError(
        f"{path} has a pre-tokenizer that qwen7b does not know: {json.dumps(pre_tokenizer):.200}; "
        "it knows those of Qwen, GPT-2 and SmolLM"
    )


def _isolated(step: Any) -> str | None:
    """The regular expression each of whose matches becomes a piece; None where a step is of another kind.

    Ours match every character, so keeping only matches ("Removed" what is between them) is the same.
    """
    match step:
        case {"type": "Split", "pattern": {"Regex": str(regex)}, "behavior": "Isolated"}:
            return regex
        case {"type": "Split", "pattern": {"Regex": str(regex)}, "behavior": "Removed", "invert": True}:
            return regex if regex.endswith(r"\s+") else None
    return None


def _are_digits_alone(step: Any) -> bool:
    match step:
        case {"type": "Digits", "individual_digits": True}:
            return True
    return _isolated(step) in (r"\p{N}", r"\pN", r"[\p{N}]", r"\p{N}{1}")


def _nfc(path: Path, normalizer: Any) -> bool:
    steps = _steps(normalizer, within="normalizers")
    if all(step == {"type": "NFC"} for step in steps):
        return bool(steps)
    raise UnsupportedError(f"{path} has a normalizer that qwen7b does not know: {json.dumps(normalizer):.200}")


def _steps(step: Any, *, within: str) -> list[Any]:
    """The steps of a sequence and of the sequences nested in it, or a single step as a list."""
    match step:
        case None:
            return []
        case {"type": "Sequence"}:
            return [inner for each in step[within] for inner in _steps(each, within=within)]
    return [step]
