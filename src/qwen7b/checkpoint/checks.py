"""Checks that a checkpoint fills its model, for loading and for the doctor."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch

from qwen7b.checkpoint.checkpoint import Checkpoint
from qwen7b.config import ModelConfig
from qwen7b.errors import CheckpointError, Report, and_more, counted, fail, quoted
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.text import Tokenizer


def check_weights(checkpoint: Checkpoint, *, may_lack: bool = False, report: Report = fail) -> None:
    """Check that the tensors fill the model and are valid; `may_lack` skips the check that all are there."""
    check_shapes(checkpoint, report=report)
    if not may_lack:
        check_complete(checkpoint, report=report)
    check_numbers(checkpoint, report=report)


def check_shapes(checkpoint: Checkpoint, *, report: Report = fail) -> None:
    """Check that each tensor has a place in the model, and the shape that the config requires there."""
    shapes = parameter_shapes(checkpoint.config)
    unknown = [name for name, (place, _) in checkpoint.tensors.items() if place.parameter not in shapes]
    if unknown:
        report(
            CheckpointError(
                f"{checkpoint.path} has a tensor {quoted(unknown[0])} that its config of "
                f"{counted(checkpoint.config.num_layers, 'layer')} leaves no place for{and_more(len(unknown))}: "
                "take the config and the weights from the same source"
            )
        )
    mismatched = []
    for name, (place, stored) in checkpoint.tensors.items():
        if place.parameter in shapes:
            full_shape = shapes[place.parameter]
            expected = (place.num_rows or full_shape[0], *full_shape[1:])
            if stored.shape != expected:
                mismatched.append((name, stored.shape, expected))
    if mismatched:
        name, actual, expected = mismatched[0]
        report(
            CheckpointError(
                f"{checkpoint.path}: tensor {quoted(name)} is of shape {list(actual)}, but the config asks for "
                f"{list(expected)}{and_more(len(mismatched))}: take both from the same source"
            )
        )


def check_complete(checkpoint: Checkpoint, *, report: Report = fail) -> None:
    """Check that every parameter is filled completely, and only once."""
    shapes = parameter_shapes(checkpoint.config)
    filled: Counter[str] = Counter()
    for place, _ in checkpoint.tensors.values():
        if place.parameter in shapes:
            filled[place.parameter] += place.num_rows or shapes[place.parameter][0]
    twice = [parameter for parameter, shape in shapes.items() if filled[parameter] > shape[0]]
    if twice:
        report(
            CheckpointError(
                f"{checkpoint.path} has the rows of {twice[0]} twice, in tensors of several forms"
                f"{and_more(len(twice))}: leave only one of them"
            )
        )
    incomplete = [parameter for parameter, shape in shapes.items() if filled[parameter] < shape[0]]
    if not incomplete:
        return
    if all(parameter.endswith("attention.qkv.bias") and not filled[parameter] for parameter in incomplete):
        report(
            CheckpointError(
                f"{checkpoint.path} lacks the biases of query, key and value in {len(incomplete)} of "
                f"{counted(checkpoint.config.num_layers, 'layer')}: a conversion dropped them, and zeros would make it "
                "another model, so convert the original checkpoint again"
            )
        )
        return
    first = incomplete[0]
    report(
        CheckpointError(
            f"{checkpoint.path} lacks tensors for {first} ({filled[first]} of {shapes[first][0]} rows are present)"
            f"{and_more(len(incomplete))}: it is incomplete, download it again"
        )
    )


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, *, source: Path) -> None:
    """Check that every token has a row in the model."""
    if tokenizer.vocab_size > config.vocab_rows:
        raise CheckpointError(
            f"{source} has a tokenizer of {tokenizer.vocab_size} tokens but a model of {config.vocab_rows} rows: "
            "they do not belong together, so take both from the same source"
        )


def check_numbers(checkpoint: Checkpoint, *, report: Report = fail) -> None:
    """Check that norms and biases are finite, and no norm is all zeros: they are quick to read."""
    not_finite, all_zero = [], []
    for name, (place, stored) in checkpoint.tensors.items():
        if len(stored.shape) == 1:
            values = stored.read_rows(0, stored.shape[0])
            if not torch.isfinite(values.float()).all():
                not_finite.append(name)
            elif place.parameter.endswith("norm.weight") and not values.any():
                all_zero.append(name)
    if not_finite:
        report(
            CheckpointError(
                f"{checkpoint.path}: tensor {not_finite[0]!r:.200} holds inf or nan{and_more(len(not_finite))}: "
                "training diverged or the file is damaged, so take an earlier save or download it again"
            )
        )
    if all_zero:
        report(
            CheckpointError(
                f"{checkpoint.path}: tensor {all_zero[0]!r:.200} is all zeros{and_more(len(all_zero))}: the weights "
                "were never gathered when it was saved, so save it again"
            )
        )
