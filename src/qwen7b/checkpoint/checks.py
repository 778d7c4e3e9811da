"""Whether a checkpoint fills its model: each rule once, for loading and for the doctor."""

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
    """The tensors fill the model and make sense; `may_lack` where it is known that some lack."""
    check_shapes(checkpoint, report=report)
    if not may_lack:
        check_complete(checkpoint, report=report)
    check_numbers(checkpoint, report=report)


def check_shapes(checkpoint: Checkpoint, *, report: Report = fail) -> None:
    """Every tensor has a place in the model, and the shape that the config asks for there."""
    shapes = parameter_shapes(checkpoint.config)
    homeless = [name for name, (place, _) in checkpoint.tensors.items() if place.parameter not in shapes]
    if homeless:
        report(
            CheckpointError(
                f"{checkpoint.path} has a tensor {quoted(homeless[0])} that its config of "
                f"{counted(checkpoint.config.num_layers, 'layer')} leaves no place for{and_more(len(homeless))}: "
                "the config is of another model"
            )
        )
    wrong = []
    for name, (place, stored) in checkpoint.tensors.items():
        if place.parameter in shapes:
            whole = shapes[place.parameter]
            expected = (place.num_rows or whole[0], *whole[1:])
            if stored.shape != expected:
                wrong.append((name, stored.shape, expected))
    if wrong:
        name, found, expected = wrong[0]
        report(
            CheckpointError(
                f"{checkpoint.path}: tensor {quoted(name)} is of shape {list(found)}, but the config asks for "
                f"{list(expected)}{and_more(len(wrong))}: the config is of another model or generation"
            )
        )


def check_complete(checkpoint: Checkpoint, *, report: Report = fail) -> None:
    """Every parameter is filled wholly."""
    shapes = parameter_shapes(checkpoint.config)
    filled: Counter[str] = Counter()
    for place, _ in checkpoint.tensors.values():
        if place.parameter in shapes:
            filled[place.parameter] += place.num_rows or shapes[place.parameter][0]
    lacking = [parameter for parameter, shape in shapes.items() if filled[parameter] < shape[0]]
    if not lacking:
        return
    if all(parameter.endswith("attention.qkv.bias") and not filled[parameter] for parameter in lacking):
        report(
            CheckpointError(
                f"{checkpoint.path} lacks the biases of query, key and value in {len(lacking)} of "
                f"{counted(checkpoint.config.num_layers, 'layer')}: a conversion dropped them, and zeros would make it "
                "another model, so convert the original checkpoint again"
            )
        )
        return
    first = lacking[0]
    report(
        CheckpointError(
            f"{checkpoint.path} lacks tensors for {first} ({filled[first]} of {shapes[first][0]} rows are there)"
            f"{and_more(len(lacking))}: it is incomplete, download it again"
        )
    )


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, *, source: Path) -> None:
    """Every token has a row in the model."""
    if tokenizer.vocab_size > config.vocab_rows:
        raise CheckpointError(
            f"{source} has a tokenizer of {tokenizer.vocab_size} tokens but a model of {config.vocab_rows} rows: "
            "they do not belong together"
        )


def check_numbers(checkpoint: Checkpoint, *, report: Report = fail) -> None:
    """Norms and biases are numbers, and no norm is all zeros: they cost little to read, and broken training shows."""
    broken, empty = [], []
    for name, (place, stored) in checkpoint.tensors.items():
        if len(stored.shape) == 1:
            values = stored.read_rows(0, stored.shape[0])
            if not torch.isfinite(values.float()).all():
                broken.append(name)
            elif place.parameter.endswith("norm.weight") and not values.any():
                empty.append(name)
    if broken:
        report(
            CheckpointError(
                f"{checkpoint.path}: tensor {broken[0]!r:.200} holds inf or nan{and_more(len(broken))}: training "
                "diverged or the file is damaged, so take an earlier save or download it again"
            )
        )
    if empty:
        report(
            CheckpointError(
                f"{checkpoint.path}: tensor {empty[0]!r:.200} is all zeros{and_more(len(empty))}: the weights were "
                "never gathered when it was saved, so save it again"
            )
        )
