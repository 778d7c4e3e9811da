"""The perplexity of texts: exp of the mean negative log-likelihood of each next token.

A text is cut into windows of `length` tokens that do not overlap, each read with an empty cache; every token but a
window's first is scored. The GPTQ paper (https://arxiv.org/abs/2210.17323) and most papers since use these windows;
llama.cpp scores only the second half of a window. All lengths read the same part of a text: as many whole windows of
the longest length as it has. If a length does not divide the longest, less than one window is left out at the end.

If the tokenizer puts BOS before every text, it takes the place of each window's first token, as in llama.cpp.
A window is read in chunks, each with the NTK alpha of the whole window, which equals one full pass over it.
"""

from __future__ import annotations

import hashlib
import math
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.config.checked import whole_number
from qwen7b.errors import CheckpointError, PromptError, UnsupportedError, counted
from qwen7b.evals.journal import Journal
from qwen7b.evals.subject import Subject
from qwen7b.generate import Engine
from qwen7b.generate.scoring import ScoredSequence, Scoring
from qwen7b.generate.shared_engine import SharedEngine
from qwen7b.model import Transformer
from qwen7b.system.progress import progress
from qwen7b.system.regular_file import named_text
from qwen7b.text import Tokenizer

_MAX_NATS = 700.0
"""The largest plausible mean per token: exp(710) overflows a float, and 12 is already no better than guessing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Perplexity:
    """The perplexity of one text, in one precision, with one method, at one length."""

    file: str
    method: str
    """How positions past the trained length are treated; "none" treats them like all others."""
    precision: str
    """The format that the weights are packed in; "none" leaves them in `dtype`."""
    dtype: str
    length: int
    trained_length: int
    perplexity: float
    tokens_scored: int
    seconds: float
    seconds_per_token: float
    cache_bytes: int
    """The size of one window's keys and values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowScore:
    """The score of one window."""

    nats: float
    seconds: float
    cache_bytes: int
    dtype: str


def measure_perplexity(
    subject: Subject,
    files: Sequence[Path],
    *,
    max_tokens: int | None = None,
    max_windows: int | None = None,
    resume: Path | None = None,
) -> Iterator[Perplexity]:
    """Yield the perplexity of each file in each precision, with each method, at each length.

    `max_tokens` and `max_windows` (of the longest length) read only the beginning of each file. With `resume` every
    window's score is saved in that file, and scores that it already has are not measured again.

    Raises, before any weights are read, SettingError for a file that is not text and PromptError for one with fewer
    tokens than a window; raises CheckpointError if the model computes no valid probabilities.
    """
    longest = subject.lengths[-1]
    if max_tokens is not None:
        whole_number("max_tokens", max_tokens, minimum=longest)
    if max_windows is not None:
        whole_number("max_windows", max_windows, minimum=1)
    journal = Journal(resume)
    texts = {
        file: _read_ids(file, subject.tokenizer, length=longest, max_tokens=max_tokens, max_windows=max_windows)
        for file in files
    }
    for precision in subject.precisions:
        readings = [
            (file, method, length, _tasks(subject, ids, precision=precision, method=method, length=length))
            for file, ids in texts.items()
            for method in subject.methods
            for length in subject.lengths
        ]
        unknown = [
            length - 1 for *_, length, tasks in readings for _, task in tasks if not journal.find(task, WindowScore)
        ]
        if unknown:
            subject.model(precision, subject.methods[0], longest)  # loading has a progress bar of its own
        with progress(
            f"Reading {counted(len(readings), 'time')} with weights {precision}", sum(unknown), " tokens"
        ) as report:
            for file, method, length, tasks in readings:
                scores = []
                for window, task in tasks:
                    known = journal.find(task, WindowScore)
                    try:
                        score = known or read_window(subject.model(precision, method, length), window, report)
                    except UnsupportedError as error:  # logits that are no numbers
                        raise _no_probabilities(file) from error
                    if score.nats / (length - 1) > _MAX_NATS:
                        raise _no_probabilities(file)
                    if known is None:
                        journal.add(task, score)
                    scores.append(score)
                tokens_scored = len(scores) * (length - 1)
                seconds = sum(score.seconds for score in scores)
                yield Perplexity(
                    file=str(file),
                    method=method,
                    precision=precision,
                    dtype=scores[0].dtype,
                    length=length,
                    trained_length=subject.trained_length,
                    perplexity=math.exp(sum(score.nats for score in scores) / tokens_scored),
                    tokens_scored=tokens_scored,
                    seconds=seconds,
                    seconds_per_token=seconds / tokens_scored,
                    cache_bytes=scores[0].cache_bytes,
                )


def cut_windows(ids: Tensor, *, length: int, bos_id: int | None = None) -> list[Tensor]:
    """Cut ids into windows of `length`; with `bos_id` it replaces the first id of each.

    >>> cut_windows(torch.tensor([1, 2, 3, 4, 5]), length=2)
    [tensor([1, 2]), tensor([3, 4])]
    >>> cut_windows(torch.tensor([9, 1, 2, 3, 4]), length=2, bos_id=9)
    [tensor([9, 1]), tensor([9, 3])]
    """
    windows = ids[: len(ids) // length * length].view(-1, length).clone()
    if bos_id is not None:
        windows[:, 0] = bos_id
    return list(windows)


def read_window(model: Transformer, window: Tensor, report: Callable[[int], None] = lambda count: None) -> WindowScore:
    """Score all ids of the window (T,) but the first: the sum of -log p(id | the ids before it), in nats.

    All rows of the vocabulary have their share of the probability. `report` is called with the number of tokens that
    were scored since. Raises UnsupportedError where the model's logits are not finite.
    """
    start = time.perf_counter()
    cache_bytes = model.cache_bytes(capacity=len(window))
    engine = Engine(model, vocab_size=model.config.vocab_rows, max_bytes=cache_bytes)
    sequence = ScoredSequence(array("i", window.tolist()), start=1)
    ((_, score),) = Scoring(SharedEngine(engine), [sequence], report=report).stream()
    return WindowScore(
        nats=-score.logprob,
        seconds=time.perf_counter() - start,
        cache_bytes=cache_bytes,
        dtype=str(model.dtype).removeprefix("torch."),
    )


def _no_probabilities(file: Path) -> CheckpointError:
    return CheckpointError(
        f"the model gives no valid probabilities for {file}: its weights or settings are broken, so run qwen7b doctor "
        "on it"
    )


def _tasks(
    subject: Subject, ids: Tensor, *, precision: str, method: str, length: int
) -> list[tuple[Tensor, dict[str, object]]]:
    """A text's windows, each with everything that its score depends on, as the key in the journal."""
    common = subject.task(precision, method, length)
    windows = cut_windows(ids, length=length, bos_id=subject.tokenizer.bos_id)
    return [
        (window, {**common, "window": hashlib.sha256(window.numpy().tobytes()).hexdigest()[:16]}) for window in windows
    ]


def _read_ids(
    file: Path, tokenizer: Tokenizer, *, length: int, max_tokens: int | None, max_windows: int | None
) -> Tensor:
    """The ids of the part of a text that all lengths read: whole windows of the longest length."""
    ids = tokenizer.after_bos(tokenizer.encode(named_text(file)))
    if not ids:
        raise PromptError(f"{file} is empty: give a text of at least {counted(length, 'token')}")
    num_windows = len(ids[:max_tokens]) // length
    if not num_windows:
        raise PromptError(f"{file} has {counted(len(ids), 'token')}, fewer than a window of {length}: lower the length")
    if max_windows is not None:
        num_windows = min(num_windows, max_windows)
    return torch.tensor(ids[: num_windows * length])
