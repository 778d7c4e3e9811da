"""A LoRA adapter as PEFT saves it, and whether it fits its base model. https://arxiv.org/abs/2106.09685"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.tensor_names import Place, folder_names, place_of
from qwen7b.doctor.findings import Diagnosis
from qwen7b.errors import CheckpointError, and_more, quoted
from qwen7b.files.stored import StoredTensor
from qwen7b.files.weight_files import open_weight_file
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.system.json_file import read_json

_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_FACTOR = re.compile(r"(?P<stem>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.[^.]+)?(\.weight)?")
_MAGNITUDE = re.compile(r"(?P<stem>.+)\.lora_magnitude_vector(\.[^.]+)?(\.weight)?")  # DoRA's
_WHOLE = re.compile(r"(?P<stem>.+?)(\.base_layer)?(\.modules_to_save)?(\.default)?\.(?P<kind>weight|bias)")


def diagnose_adapter(path: Path, diagnosis: Diagnosis, *, base: Path | None) -> None:
    """Diagnose an adapter on its `base`, by default the base that it names if that is a local folder."""
    diagnosis.kind = "adapter"
    fields = diagnosis.attempt(lambda: read_json(path / "adapter_config.json")) or {}
    named = fields.get("base_model_name_or_path")
    facts = {
        "adapter": fields.get("peft_type"),
        "base": named,
        "target_modules": fields.get("target_modules"),
        "modules_to_save": fields.get("modules_to_save"),
        "rank": fields.get("r"),
        "alpha": fields.get("lora_alpha"),
    }
    diagnosis.facts |= {name: value for name, value in facts.items() if value is not None}
    if fields and fields.get("peft_type") != "LORA":
        diagnosis.error(
            f"{path} is a {fields.get('peft_type')} adapter: qwen7b knows only LoRA, so use it with the program "
            "that made it"
        )
    tensors = diagnosis.attempt(lambda: _open_adapter(path))
    if tensors is not None:
        diagnosis.facts["parameters"] = sum(math.prod(stored.shape) for stored in tensors.values())
        _look_at_tensors(path, tensors, diagnosis)
    folder = base or (Path(named) if isinstance(named, str) and os.path.isdir(named) else None)
    if folder is None:
        diagnosis.warn(
            f"{path} is an adapter for {quoted(named)}, which is not a local folder: give --base to check that it fits"
        )
    elif checkpoint := diagnosis.attempt(lambda: open_checkpoint(folder)):
        _compare(path, tensors or {}, checkpoint, diagnosis)
    if diagnosis.is_healthy:
        where = repr(str(folder or named))
        merged = f"{path}-merged"
        diagnosis.usage = [
            "import peft, transformers, qwen7b.hf",
            f"model = transformers.AutoModelForCausalLM.from_pretrained({where})",
            f"model = peft.PeftModel.from_pretrained(model, {str(path)!r})",
            "# or merged into a folder that qwen7b.load takes:",
            f"model.merge_and_unload().save_pretrained({merged!r})",
            f"transformers.AutoTokenizer.from_pretrained({where}).save_pretrained({merged!r})",
        ]


def _open_adapter(path: Path) -> dict[str, StoredTensor]:
    for name in _FILES:
        if (path / name).exists():
            return open_weight_file(path / name)
    raise CheckpointError(
        f"{path} has an adapter_config.json but neither {' nor '.join(_FILES)}: copy the missing file"
    )


def _look_at_tensors(path: Path, tensors: Mapping[str, StoredTensor], diagnosis: Diagnosis) -> None:
    if not tensors:
        diagnosis.error(f"{path} holds no tensors: save the adapter again")
    empty = [name for name, stored in tensors.items() if 0 in stored.shape]
    if empty:
        diagnosis.error(
            f"tensor {quoted(empty[0])} is empty{and_more(len(empty))}: DeepSpeed ZeRO-3 saved it without gathering "
            "it, so save it again with stage3_gather_16bit_weights_on_model_save, or train with ZeRO-2"
        )


def _compare(path: Path, tensors: Mapping[str, StoredTensor], base: Checkpoint, diagnosis: Diagnosis) -> None:
    """Check that each tensor of the adapter has its layer in the base, with the same sizes."""
    names = folder_names(base.config)
    shapes = parameter_shapes(base.config)
    unmatched, mismatched = [], []
    for name, stored in tensors.items():
        stem, kind, axes = _target(name)
        place = place_of(f"{stem}.{kind}", names=names, config=base.config)
        if place is None or place.parameter not in shapes:
            unmatched.append(stem)
        elif 0 not in stored.shape:  # an empty one has been reported
            expected = _shape_in_base(place, shapes)
            # Slices instead of items, as either tensor may have too few axes.
            if any(stored.shape[axis:][:1] != expected[of_base:][:1] for axis, of_base in axes.items()):
                mismatched.append((name, stored.shape, expected))
    advice = "the adapter is for another base, so give the one that it was trained on as --base"
    if unmatched:
        diagnosis.error(
            f"{path} trains {quoted(unmatched[0])}, which {base.path} does not have{and_more(len(unmatched))}: {advice}"
        )
    if mismatched:
        name, actual, expected = mismatched[0]
        diagnosis.error(
            f"{path}: tensor {quoted(name)} is of shape {list(actual)}, but {base.path} has {list(expected)} there"
            f"{and_more(len(mismatched))}: {advice}"
        )


def _target(name: str) -> tuple[str, str, dict[int, int]]:
    """The base's module, "weight" or "bias", and for axes of the tensor the base's axes of the same size."""
    name = name.removeprefix(_PREFIX)
    if factor := _FACTOR.fullmatch(name):
        if factor["embedding"]:  # A is (rank, rows) and B (columns, rank)
            return factor["stem"], "weight", {1: 0} if factor["side"] == "A" else {0: 1}
        return factor["stem"], "weight", {1: 1} if factor["side"] == "A" else {0: 0}
    if magnitude := _MAGNITUDE.fullmatch(name):
        return magnitude["stem"], "weight", {0: 0}
    if whole := _WHOLE.fullmatch(name):
        return whole["stem"], whole["kind"], {0: 0}
    return name, "weight", {}


def _shape_in_base(place: Place, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    whole = shapes[place.parameter]
    return place.num_rows or whole[0], *whole[1:]
