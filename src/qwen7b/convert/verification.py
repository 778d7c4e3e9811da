"""Checks a written target against its source: each number, the tokens, and the logits for a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from gguf import GGMLQuantizationType

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.checkpoint.parameters import Parameters, parameters_of
from qwen7b.checkpoint.position_fields import shortest_window
from qwen7b.convert.conversion import LogitsComparison, TypeComparison
from qwen7b.convert.encoding import TORCH_TYPES
from qwen7b.convert.target_files import TargetTensor
from qwen7b.errors import ResourceError
from qwen7b.files.stored import StoredTensor, row_ranges
from qwen7b.loading.streamed import streamed_model
from qwen7b.system.workers import Workers
from qwen7b.text import Tokenizer, load_tokenizer

CHECK_TEXT = (
    "The quick brown fox jumps over the lazy dog. In 1969, 3 people flew to the moon; it took them about 76 hours.\n"
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。请用一句话解释：为什么天空是蓝色的？\n"
    "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n"
)
_MAX_CHECK_TOKENS = 128


def compare_tensors(
    tensors: Sequence[TargetTensor],
    expected: Parameters,
    written: Checkpoint,
    threads: Workers,
    *,
    report: Callable[[int], None],
) -> dict[str, TypeComparison]:
    """Read the target back as any program would, and compare each number with the source's; results by number type.

    A float must equal the source's number in the target's type; for quantized numbers the result has the largest
    error. Raises ResourceError where a float differs.
    """
    actual = parameters_of(written)
    types = {tensor.parameter: tensor.type for tensor in tensors}
    errors: dict[GGMLQuantizationType, float] = {}
    for parameter, type in types.items():
        error = _compare(parameter, expected[parameter], actual[parameter], type, written.path, threads, report)
        errors[type] = max(errors.get(type, 0.0), error)
    return {
        type.name: TypeComparison(
            tensors=sum(tensor.type == type for tensor in tensors),
            largest_difference=error,
            is_float=type in TORCH_TYPES,
        )
        for type, error in errors.items()
    }


def _compare(
    name: str,
    expected: StoredTensor,
    actual: StoredTensor,
    type: GGMLQuantizationType,
    path: Path,
    threads: Workers,
    report: Callable[[int], None],
) -> float:
    def compare(start: int, stop: int) -> tuple[int, float]:
        source_rows, rows = expected.read_rows(start, stop), actual.read_rows(start, stop)
        if type in TORCH_TYPES and not torch.equal(source_rows.to(TORCH_TYPES[type]), rows):
            raise ResourceError(
                f"{path} holds other numbers in {name} than were written: the disk or memory is faulty, convert again"
            )
        if source_rows.dtype == rows.dtype and type in TORCH_TYPES:
            return rows.numel(), 0.0
        return rows.numel(), float((source_rows.float() - rows.float()).abs().max())

    largest = 0.0
    for count, error in threads.results(compare, row_ranges(expected)):
        largest = max(largest, error)
        report(count)
    return largest


@torch.inference_mode()
def compare_logits(
    source: Checkpoint, written: Checkpoint, tokenizer: Tokenizer, threads: Workers, *, text: str
) -> LogitsComparison:
    """How the logits differ over a text, in float32, up to the length at which the models may differ by design.

    Compared are the tokens that the tokenizer has: the rows of a matrix beyond them stand for none.
    """
    limit = min(_MAX_CHECK_TOKENS, source.config.trained_length, written.config.trained_length)
    if source.config.attention_windows != written.config.attention_windows:
        limit = min(limit, shortest_window(source.config.attention_windows) or limit)
    ids = tokenizer.encode(text)[:limit]
    all_source_logits, all_target_logits = (
        streamed_model(checkpoint, threads)(torch.tensor([ids]))[0, :, : tokenizer.vocab_size]
        for checkpoint in (source, written)
    )
    largest, same, divergence = 0.0, 0, 0.0
    for source_logits, target_logits in zip(
        all_source_logits, all_target_logits, strict=True
    ):  # one position at a time, as a vocabulary is large
        largest = max(largest, float((source_logits - target_logits).abs().max()))
        same += int(source_logits.argmax() == target_logits.argmax())
        source_logits, target_logits = source_logits.log_softmax(-1), target_logits.log_softmax(-1)
        divergence += float((source_logits.exp() * (source_logits - target_logits)).sum())
    return LogitsComparison(
        tokens=len(ids),
        largest_difference=largest,
        same_likeliest_token=same / len(ids),
        mean_kl_divergence=divergence / len(ids),
    )


def same_tokens(source: Tokenizer, path: Path, *, text: str) -> bool:
    """Whether the written tokenizer has the same ordinary tokens and encodes the text in the same way."""
    written = load_tokenizer(path)
    return written.vocabulary.ids == source.vocabulary.ids and written.encode(text) == source.encode(text)
