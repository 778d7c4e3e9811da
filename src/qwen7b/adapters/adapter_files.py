"""Adapters on the disk, as PEFT's `save_pretrained` writes them and `from_pretrained` reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from qwen7b.adapters.adapter import Adapter
from qwen7b.adapters.settings import LoraSettings
from qwen7b.adapters.tensor_roles import CONFIG_FILE, PREFIX, WEIGHT_FILES, factor_names, read_role, token_rows_name
from qwen7b.config.fields import Fields
from qwen7b.errors import CheckpointError, SettingError, UnsupportedError, quoted
from qwen7b.files.stored import StoredTensor
from qwen7b.files.weight_files import open_weight_file
from qwen7b.hub.saved_steps import last_step
from qwen7b.system.json_file import read_json
from qwen7b.system.memory import require_memory
from qwen7b.system.regular_file import existing_path
from qwen7b.system.whole_file import write_text_whole, written_whole

_NOT_READ = ("use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "layer_replication", "target_parameters")
"""Settings that change what an adapter's numbers mean, and that are not read here."""


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (path / CONFIG_FILE).is_file()


def base_of(path: str | Path) -> str | None:
    """The name or folder of the model that an adapter was trained on, as it says itself."""
    base = read_json(existing_path(path) / CONFIG_FILE).get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None


def open_adapter_weights(path: Path) -> dict[str, StoredTensor]:
    """The tensors of an adapter's folder by name. Raises CheckpointError where their file is missing or damaged."""
    for name in WEIGHT_FILES:
        if (path / name).exists():
            return open_weight_file(path / name)
    raise CheckpointError(
        f"{path} has an {CONFIG_FILE} but neither {' nor '.join(WEIGHT_FILES)}: copy the missing file"
    )


def adapter_folder(path: str | Path) -> Path:
    """The folder of an adapter, or of the last one that a run saved.

    Raises ModelNotFoundError where there is nothing, and CheckpointError where it is no adapter.
    """
    path = last_step(existing_path(path))
    if not is_adapter(path):
        raise CheckpointError(
            f"{path} has no {CONFIG_FILE}, so it is no adapter: give the folder of a step that was saved"
        )
    return path


def read_adapter(path: str | Path) -> Adapter:
    """Read an adapter's folder, or the last one that a run saved.

    Raises what `adapter_folder` raises, CheckpointError where it is damaged or incomplete, UnsupportedError for an
    adapter of another kind, and ResourceError where it does not fit into memory.
    """
    path = adapter_folder(path)
    fields = read_json(path / CONFIG_FILE)
    settings = _read_settings(path, fields)
    sides: dict[str, dict[str, Tensor]] = {}
    token_rows, whole = {}, {}
    weights = open_adapter_weights(path)
    require_memory(
        sum(math.prod(stored.shape) for stored in weights.values()) * torch.float32.itemsize,
        device=torch.device("cpu"),
        what=f"reading the adapter {path}",
        remedy="free some memory",
    )
    for name, stored in weights.items():
        role, values = read_role(name), stored.read_rows(0, stored.shape[0])
        if role is None or role.role in ("embedding A", "embedding B", "magnitude"):
            raise UnsupportedError(
                f"{path} holds {quoted(name)}, which qwen7b does not add to a model: merge it with the program that "
                "made it"
            )
        if role.role == "whole":
            whole[f"{role.stem}.{role.kind}"] = values
        elif role.role == "token rows":
            token_rows[role.stem] = values.float()
        else:
            sides.setdefault(role.stem, {})[role.role] = values.float()
    for stem, pair in sides.items():
        if pair.keys() != {"A", "B"} or pair["A"].shape[:1] != pair["B"].shape[1:] or pair["A"].dim() != 2:
            raise CheckpointError(f"{path} lacks half of {quoted(stem)}, or its halves do not fit: save it again")
    token_ids = _read_token_ids(path, fields, token_rows)
    return Adapter(
        settings=settings,
        factors={stem: (pair["A"], pair["B"]) for stem, pair in sides.items()},
        token_rows=token_rows,
        token_ids=token_ids,
        whole=whole,
    )


def _read_settings(path: Path, fields: Mapping[str, Any]) -> LoraSettings:
    kind = fields.get("peft_type")
    if kind != "LORA":
        raise UnsupportedError(
            f"{path} is a {kind} adapter: qwen7b knows only LoRA, so merge it with the program that made it"
        )
    if others := [name for name in _NOT_READ if fields.get(name)]:
        raise UnsupportedError(
            f"{path / CONFIG_FILE} sets {others[0]} to {quoted(fields[others[0]])}, which qwen7b does not add to a "
            "model: merge it with the program that made it"
        )
    read, targets = Fields(fields, source=str(path / CONFIG_FILE)), fields.get("target_modules") or ()
    try:
        return LoraSettings(
            rank=read.number(int, "r"),
            alpha=read.number(float, "lora_alpha"),
            targets=tuple(targets) if isinstance(targets, list) else (str(targets),),
            dropout=fields.get("lora_dropout") or 0.0,
            scaled_by_root=bool(fields.get("use_rslora")),
        )
    except SettingError as error:
        raise CheckpointError(f"{path / CONFIG_FILE} is wrong: {error}") from error


def _read_token_ids(
    path: Path, fields: Mapping[str, Any], token_rows: Mapping[str, Tensor]
) -> dict[str, tuple[int, ...]]:
    """The ids of each module's trained rows: one list for the embedding, or a list by the end of the module's name."""
    listed = fields.get("trainable_token_indices")
    by_module = {}
    for stem, rows in token_rows.items():
        ids = listed
        if isinstance(listed, dict):
            ids = next((ids for name, ids in listed.items() if stem == name or stem.endswith(f".{name}")), None)
        if not isinstance(ids, list) or len(ids) != rows.shape[0] or not all(type(id) is int and id >= 0 for id in ids):
            raise CheckpointError(
                f"{path} has {rows.shape[0]} trained rows of {quoted(stem)}, and trainable_token_indices says "
                f"{quoted(ids)}: save it again"
            )
        by_module[stem] = tuple(ids)
    return by_module


def write_adapter(folder: Path, adapter: Adapter, *, base: str | None) -> None:
    """Write an adapter of the model `base`, a name or a folder, if it has one. Raises OSError."""
    tensors = {f"{PREFIX}{name}": values for name, values in adapter.whole.items()}
    for stem, pair in adapter.factors.items():
        tensors |= dict(zip(factor_names(stem), pair, strict=True))
    tensors |= {token_rows_name(stem): rows for stem, rows in adapter.token_rows.items()}
    settings = adapter.settings
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": _plain_number(settings.alpha),
        "lora_dropout": _plain_number(settings.dropout),
        "target_modules": list(settings.targets),
        "trainable_token_indices": {_last(stem): list(ids) for stem, ids in adapter.token_ids.items()} or None,
        "use_rslora": settings.scaled_by_root,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / WEIGHT_FILES[0]) as partial:
        partial.write_bytes(save({name: _plain(tensor) for name, tensor in tensors.items()}, metadata={"format": "pt"}))
    write_text_whole(folder / CONFIG_FILE, json.dumps(fields, ensure_ascii=False, indent=2) + "\n")


def _plain_number(value: float) -> float:
    """A whole number without a fraction, as PEFT writes it, however it was given."""
    return int(value) if value == int(value) else value


def _last(stem: str) -> str:
    """The last part of a module's name, by which PEFT finds it."""
    return stem.rpartition(".")[2]


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous().clone()
