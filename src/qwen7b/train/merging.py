"""A run's result as a checkpoint of its own: the adapter added to its base, or the trained weights, in any format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from qwen7b.adapters.adapter_files import base_of, is_adapter
from qwen7b.checkpoint import Checkpoint, open_checkpoint
from qwen7b.config import Family
from qwen7b.convert import Conversion, PackedFolder, TargetFormat, convert, quantize
from qwen7b.errors import SettingError
from qwen7b.files.file_names import is_gguf
from qwen7b.files.stored import DTYPES
from qwen7b.files.views import dtype_of
from qwen7b.hub.locate import locate
from qwen7b.hub.saved_steps import last_step
from qwen7b.system.regular_file import existing_path
from qwen7b.text import load_tokenizer
from qwen7b.train.checkpoints import RunFolder
from qwen7b.train.recipe_file import read_table


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trained:
    """What is merged.

    source     the base, or the trained checkpoint itself
    adapter    what is added to it; None where the weights themselves were trained
    packed_as  the format in which the base was held while the adapter was trained; None for its own
    """

    source: str | Path
    adapter: Path | None
    packed_as: str | None
    checkpoint: Checkpoint

    @property
    def settings(self) -> dict[str, Any]:
        """How the result is made, whatever it becomes: a base model that was trained on a chat format chats."""
        chats = True if load_tokenizer(self.checkpoint.path).chat_format is not None else None
        return {"adapter": self.adapter, "packed_as": self.packed_as, "chat": chats}


def merge(
    run: str | Path,
    target: str | Path,
    *,
    base: str | Path | None = None,
    to: TargetFormat | str | None = None,
    dtype: str | None = None,
    quantize: str | None = None,
    offline: bool | None = None,
) -> Conversion:
    """Write what a run has trained as a checkpoint, with its tokenizer and settings, and check it.

    `run` is a run's folder, of which the last saved step is taken, or an adapter's or checkpoint's own. An adapter is
    added to what it was trained on: the model that it names, with weights rounded as the run held them. `base` is
    another, which is taken as it is. `to` and `quantize` are as for `convert`; by default the target is a folder in the
    base's own layout, or GGUF where its name says so. Numbers keep the base's type (float32 where it is quantized)
    unless `dtype` says another. A base model that was trained on a chat format is said to chat.

    Raises what `convert` raises, and SettingError where a run has no saved step.
    """
    trained = _find_trained(run, base=base, offline=offline)
    if to is None:
        own = TargetFormat.QWEN if trained.checkpoint.config.family is Family.QWEN else TargetFormat.QWEN2
        to = TargetFormat.GGUF if is_gguf(Path(target).name) else own
    if dtype is None and quantize is None:
        dtype = {type: name for name, type in DTYPES.items()}[_exact_dtype(trained)]
    return convert(trained.source, target, to=to, dtype=dtype, quantize=quantize, offline=offline, **trained.settings)


def merge_packed(
    run: str | Path, target: str | Path, *, format: str, base: str | Path | None = None, offline: bool | None = None
) -> PackedFolder:
    """Write what a run has trained as a folder of weights packed as q8, q4 or nf4; `run` and `base` as for `merge`.

    Raises what `quantize` raises, and SettingError where a run has no saved step.
    """
    trained = _find_trained(run, base=base, offline=offline)
    return quantize(trained.source, target, format=format, offline=offline, **trained.settings)


def _find_trained(run: str | Path, *, base: str | Path | None, offline: bool | None) -> _Trained:
    step = last_step(existing_path(run))
    adapter = step if is_adapter(step) else None
    if adapter is None and base is not None:
        raise SettingError(f"{step} holds whole weights, which have no base, found base {base}: leave it out")
    source = step if adapter is None else base if base is not None else base_of(step)
    if source is None:
        raise SettingError(f"{step} does not say which model it is for: give the base")
    checkpoint = open_checkpoint(locate(source, offline=offline))
    packed_as = None
    recipe = RunFolder(step.parent.parent).recipe_path
    if adapter is not None and base is None and checkpoint.packed is None and recipe.exists():
        packed_as = read_table(recipe).get("quantize")
    return _Trained(source=source, adapter=adapter, packed_as=packed_as, checkpoint=checkpoint)


def _exact_dtype(trained: _Trained) -> torch.dtype:
    """The type that holds the base's numbers: its embedding's, but float32 where a matrix is quantized."""
    if trained.packed_as is not None:
        return torch.float32
    placed = trained.checkpoint.tensors.values()
    types = {place.parameter: dtype_of(stored) for place, stored in placed if len(stored.shape) == 2}
    return torch.float32 if torch.float32 in types.values() else types["embedding.weight"]
