"""A LoRA adapter as PEFT saves it, and whether it fits its base model. https://arxiv.org/abs/2106.09685"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from qwen7b.adapters.adapter_files import open_adapter_weights
from qwen7b.adapters.tensor_roles import CONFIG_FILE, read_role
from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.tensor_names import Place, folder_names, place_of
from qwen7b.doctor.findings import Diagnosis
from qwen7b.errors import and_more, quoted
from qwen7b.files.stored import StoredTensor
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.system.json_file import read_json


def diagnose_adapter(path: Path, diagnosis: Diagnosis, *, base: Path | None) -> None:
    """Diagnose an adapter on its `base`, by default the base that it names if that is a local folder."""
    diagnosis.kind = "adapter"
    fields = diagnosis.attempt(lambda: read_json(path / CONFIG_FILE)) or {}
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
    tensors = diagnosis.attempt(lambda: open_adapter_weights(path))
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
        given = f" --base {shlex.quote(str(base))}" if base is not None else ""
        diagnosis.usage = [
            "import peft, transformers, qwen7b.hf",
            f"model = transformers.AutoModelForCausalLM.from_pretrained({where})",
            f"model = peft.PeftModel.from_pretrained(model, {str(path)!r})",
            "# or in qwen7b alone:",
            f"qwen = qwen7b.load({where}, adapter={str(path)!r})",
            "# or merged into a model of its own, by a command:",
            f"# qwen7b train merge {shlex.quote(str(path))} {shlex.quote(f'{path}-merged')}{given}",
        ]


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
        role = read_role(name)
        place = None if role is None else place_of(f"{role.stem}.{role.kind}", names=names, config=base.config)
        if role is None or place is None or place.parameter not in shapes:
            unmatched.append(name if role is None else role.stem)
        elif 0 not in stored.shape:  # an empty one has been reported
            expected = _shape_in_base(place, shapes)
            # Slices instead of items, as either tensor may have too few axes.
            if any(stored.shape[axis:][:1] != expected[of_base:][:1] for axis, of_base in role.axes.items()):
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


def _shape_in_base(place: Place, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    whole = shapes[place.parameter]
    return place.num_rows or whole[0], *whole[1:]
