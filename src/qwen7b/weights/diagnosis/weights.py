"""What folders and GGUF files have in common: tensors that should fill a model, and a tokenizer that should fit it."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import torch

from qwen7b.errors import Qwen7bError
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.weights.checkpoint import Checkpoint, open_checkpoint
from qwen7b.weights.checks import check_complete, check_shapes, check_vocabulary
from qwen7b.weights.diagnosis.findings import Diagnosis
from qwen7b.weights.gguf_file import GGUFTensor
from qwen7b.weights.gptq import GPTQTensor
from qwen7b.weights.parameters import empty_model
from qwen7b.weights.problems import and_more
from qwen7b.weights.stored import RawTensor, StoredTensor

_MODELS = {
    "qwen": "first-generation Qwen",
    "qwen2": "Qwen1.5, Qwen2 or Qwen2.5 (dense)",
    "llama": "Llama-shaped",
}


def diagnose_gguf(path: Path, diagnosis: Diagnosis) -> None:
    checkpoint = diagnosis.attempt(lambda: open_checkpoint(path))
    if checkpoint or path.suffix == ".gguf":
        diagnosis.kind = "GGUF file"
    if checkpoint is None:
        return
    for problem in weight_problems(checkpoint):
        diagnosis.error(problem)
    note_model(checkpoint, diagnosis)
    look_at_small_tensors(checkpoint, diagnosis)
    kinds = {stored.info.type: stored for _, stored in checkpoint.tensors.values() if isinstance(stored, GGUFTensor)}
    for stored in kinds.values():
        diagnosis.attempt(lambda stored=stored: stored.read_rows(0, 1))  # type: ignore[misc]
    look_at_tokenizer(checkpoint, diagnosis.attempt(lambda: load_tokenizer(path)), diagnosis)
    note_usage(checkpoint, diagnosis)


def weight_problems(checkpoint: Checkpoint, *, may_lack: bool = False) -> list[Qwen7bError]:
    """Why the tensors do not fill the model, as loading would say it; `may_lack` where it is known that some lack."""
    problems: list[Qwen7bError] = []
    shapes = {name: parameter.shape for name, parameter in empty_model(checkpoint.config).named_parameters()}
    check_shapes(checkpoint, shapes, report=problems.append)
    if not may_lack:
        check_complete(checkpoint, shapes, report=problems.append)
    return problems


def note_model(checkpoint: Checkpoint, diagnosis: Diagnosis) -> None:
    config, tensors = checkpoint.config, [stored for _, stored in checkpoint.tensors.values()]
    sizes: Counter[str] = Counter()
    for stored in tensors:
        precision = checkpoint.packed.format.name if checkpoint.packed else _precision(stored)
        sizes[precision] += math.prod(stored.shape)
    total = sum(sizes.values())
    diagnosis.facts |= {
        "family": config.family,
        "model": _MODELS[config.family],
        "parameters": total,
        "precision": [name for name, size in sizes.most_common() if size * 100 >= total],
        "layers": config.num_layers,
        "rows": config.vocab_rows,
        "trained_length": config.trained_length,
        "context_length": config.context_length,
    }


def _precision(stored: StoredTensor) -> str:
    match stored:
        case RawTensor():
            return str(stored.dtype).removeprefix("torch.")
        case GGUFTensor():
            return stored.info.type.name
        case GPTQTensor():
            return f"GPTQ Int{stored.quantization.bits}"
    raise AssertionError(f"{type(stored).__name__} has no precision")


def look_at_small_tensors(checkpoint: Checkpoint, diagnosis: Diagnosis) -> None:
    """Norms and biases cost little to read, and training that broke shows in them."""
    broken, empty = [], []
    for name, (place, stored) in checkpoint.tensors.items():
        if len(stored.shape) == 1:
            values = diagnosis.attempt(lambda stored=stored: stored.read_rows(0, stored.shape[0]))  # type: ignore[misc]
            if values is None:
                return  # the file cannot be read, which has been said
            if not torch.isfinite(values.float()).all():
                broken.append(name)
            elif place.parameter.endswith("norm.weight") and not values.any():
                empty.append(name)
    if broken:
        diagnosis.error(
            f"tensor {broken[0]!r} holds inf or nan{and_more(len(broken))}: training diverged or the file is damaged, "
            "so take an earlier save or download it again"
        )
    if empty:
        diagnosis.error(
            f"tensor {empty[0]!r} is all zeros{and_more(len(empty))}: the weights were never gathered when it was "
            "saved, so save it again"
        )


def look_at_tokenizer(checkpoint: Checkpoint, tokenizer: Tokenizer | None, diagnosis: Diagnosis) -> None:
    generation = checkpoint.generation
    is_chat = generation.is_chat
    if tokenizer is not None:
        diagnosis.facts["tokens"] = tokenizer.vocab_size
        diagnosis.attempt(lambda: check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path))
        if is_chat is None and tokenizer.im_end_id is not None and generation.stop_ids:
            is_chat = tokenizer.im_end_id in generation.stop_ids
    if is_chat is not None:
        diagnosis.facts["chat"] = is_chat


def note_usage(checkpoint: Checkpoint, diagnosis: Diagnosis) -> None:
    if diagnosis.is_healthy:
        verb = "complete" if diagnosis.facts.get("chat") is False else "chat"
        diagnosis.usage = [f"qwen7b {verb} --model {checkpoint.path}", f"qwen7b.load({str(checkpoint.path)!r})"]
