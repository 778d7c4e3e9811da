"""Perplexity of texts: how surprised a model is by each next token, as exp of the mean negative log-likelihood.

A text is cut into windows of `length` tokens that do not overlap, each read with an empty cache; every token but a
window's first is scored, and what is left behind the last whole window is not read. These are the windows of the GPTQ
paper (https://arxiv.org/abs/2210.17323) and most that followed; llama.cpp scores only the second half of a window.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from qwen7b.checked import whole_number
from qwen7b.errors import PromptError, SettingError
from qwen7b.generate.engine import PREFILL_CHUNK
from qwen7b.model import Transformer
from qwen7b.text import load_tokenizer
from qwen7b.weights import load_model, locate, open_checkpoint
from qwen7b.weights.checks import check_vocabulary
from qwen7b.weights.progress import progress

HEAD_ROWS = 128
"""Positions that go through the head at a time: the logits of 2,048 would take 1.2 GB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Perplexity:
    """One text, read by one model in one precision."""

    file: str
    method: str
    """How positions past the trained length are treated; "none": like all others."""
    precision: str
    """What the weights are rounded to; "none": nothing but `dtype`."""
    dtype: str
    length: int
    perplexity: float
    tokens_scored: int
    seconds: float


def measure_perplexity(
    model: str | Path,
    files: Sequence[Path],
    *,
    precisions: Sequence[str] = ("none",),
    length: int = 2048,
    max_windows: int | None = None,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    offline: bool | None = None,
) -> Iterator[Perplexity]:
    """The perplexity of each file in each precision, as they come; `max_windows` reads only so many of each file.

    Raises SettingError for a file that is no text and PromptError for one that has fewer tokens than a window, before
    any weights are read.
    """
    whole_number("length", length, least=2)
    checkpoint = open_checkpoint(locate(model, offline=offline))
    tokenizer = load_tokenizer(checkpoint.path)
    check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path)
    texts = {file: _read_windows(file, tokenizer.encode, length=length, max_windows=max_windows) for file in files}
    for precision in precisions:
        if precision == "none":
            loaded = load_model(checkpoint, dtype=dtype, device=device)
        else:
            loaded = load_model(checkpoint, quantize=precision, device=device, keep=True)
        loaded.config = replace(loaded.config, dynamic_ntk=False, logn=False)
        for file, windows in texts.items():
            tokens_scored = len(windows) * (length - 1)
            start, total = time.perf_counter(), 0.0
            with progress(f"Reading {file}, weights {precision}", tokens_scored, " tokens") as report:
                for window in windows:
                    total += negative_log_likelihood(loaded, window)
                    report(length - 1)
            yield Perplexity(
                file=str(file),
                method="none",
                precision=precision,
                dtype=str(loaded.dtype).removeprefix("torch."),
                length=length,
                perplexity=math.exp(total / tokens_scored),
                tokens_scored=tokens_scored,
                seconds=time.perf_counter() - start,
            )
        del loaded  # two models need not fit side by side


def cut_windows(ids: Sequence[int], *, length: int, max_windows: int | None = None) -> list[Tensor]:
    """
    >>> cut_windows([1, 2, 3, 4, 5], length=2)
    [tensor([1, 2]), tensor([3, 4])]
    """
    windows = torch.tensor(ids)[: len(ids) // length * length].view(-1, length)
    return list(windows[:max_windows])


@torch.inference_mode()
def negative_log_likelihood(model: Transformer, window: Tensor) -> float:
    """Sum of -log p(id | the ids before it) in nats, over all ids of the window (T,) but the first."""
    cache = model.new_cache(max_length=len(window))
    cache.plan([len(window)])
    total = 0.0
    for ids, targets in zip(
        torch.split(window[:-1], PREFILL_CHUNK), torch.split(window[1:], PREFILL_CHUNK), strict=True
    ):
        hidden_TC = model.hidden(ids[None], cache=cache)[0]
        for rows, wanted in zip(torch.split(hidden_TC, HEAD_ROWS), torch.split(targets, HEAD_ROWS), strict=True):
            logits = model.head(rows).float()
            total += float(F.cross_entropy(logits, wanted.to(logits.device), reduction="sum"))
    return total


def _read_windows(
    file: Path, encode: Callable[[str], list[int]], *, length: int, max_windows: int | None
) -> list[Tensor]:
    try:
        ids = encode(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{file} cannot be read as UTF-8 text: {error}") from error
    windows = cut_windows(ids, length=length, max_windows=max_windows)
    if not windows:
        raise PromptError(f"{file} has {len(ids)} tokens, fewer than a window of {length}: lower the length")
    return windows
