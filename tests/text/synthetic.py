"""Small vocabularies of the kinds that qwen7b reads, trained on noise by the tokenizers library, and texts to try."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

# Written out, not imported: what tokenizer.json files of Qwen1.5 to Qwen2.5 say.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
GGUF_NAMES = {"qwen": "qwen2", "gpt2": "gpt-2", "smollm": "smollm"}
STYLES = list(GGUF_NAMES)

# Where the ways of cutting text differ: white space of all sorts, digits, contractions, marks, astral characters.
_TRICKY = " \n\r\t\u00a0\u3000\u0085'sStTdDmlLvVeErRa1234²½٣Ⅷé\u0301ſK你好世界👩\u200d!.,<|>_=-\u0000\u0004\U000e0067"
# Unassigned characters are left out: engines differ in the version of Unicode that they know.
texts = st.text(st.sampled_from(_TRICKY) | st.characters(exclude_categories=["Cs", "Cn"]), max_size=60)


def train(style: str) -> Tokenizer:
    """A tokenizer of a few hundred tokens; SmolLM's has its control tokens first and lacks some bytes."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=style != "qwen")
    firsts: dict[str, list[Any]] = {
        "qwen": [pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated")],
        "gpt2": [],
        "smollm": [pre_tokenizers.Digits(individual_digits=True)],
    }
    first = firsts[style]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*first, byte_level]) if first else byte_level
    if style == "qwen":
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        show_progress=False,
        initial_alphabet=[] if style == "smollm" else pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=CONTROL if style == "smollm" else [],
    )
    noise = random.Random(style)
    corpus = ["".join(noise.choices(_TRICKY[:-2], k=30)) for _ in range(600)]
    tokenizer.train_from_iterator(corpus, trainer)
    if style != "smollm":
        tokenizer.add_special_tokens(CONTROL)
    return tokenizer


def write_gguf(
    path: Path, tokenizer: Tokenizer, *, pre: str | None, architecture: str = "qwen2", **others: Any
) -> Path:
    """Write a tokenizer as GGUF has it, padded with two unused tokens. `others` replace metadata."""
    import gguf

    vocabulary = tokenizer.get_vocab()
    tokens = [*sorted(vocabulary, key=vocabulary.__getitem__), "[PAD1]", "[PAD2]"]
    types = [gguf.TokenType.CONTROL if token in CONTROL else gguf.TokenType.NORMAL for token in tokens[:-2]]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model(others.get("model", "gpt2"))
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(others.get("tokens", tokens))
    writer.add_token_types(others.get("types", [*types, gguf.TokenType.UNUSED, gguf.TokenType.UNUSED]))
    writer.add_token_merges(others.get("merges", [" ".join(merge) for merge in merges]))
    for field in ("bos", "eos", "eot", "eom"):
        if field in others:
            writer.add_uint32(f"tokenizer.ggml.{field}_token_id", others[field])
    if "add_bos" in others:
        writer.add_add_bos_token(others["add_bos"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path
