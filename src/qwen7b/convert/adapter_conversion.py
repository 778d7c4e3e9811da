"""An adapter in Qwen2's layout, for a base that was converted so: the form that vLLM serves beside its base.

vLLM reads PEFT's folders, but of the modules that it knows only pairs of A and B, of the RANKS; rows of tokens and
whole tensors it refuses. https://docs.vllm.ai/en/latest/features/lora.html
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from qwen7b.adapters.adapter import Adapter
from qwen7b.adapters.adapter_files import adapter_folder, base_of, is_adapter, read_adapter, write_adapter
from qwen7b.adapters.placed import PlacedAdapter, place_adapter
from qwen7b.checkpoint.checkpoint import Checkpoint, open_checkpoint
from qwen7b.checkpoint.parameters import parameters_of
from qwen7b.checkpoint.tensor_names import QWEN2, Place, tensors_of
from qwen7b.config import Family, ModelConfig
from qwen7b.convert.converting import check_target
from qwen7b.convert.target import target_config
from qwen7b.convert.target_format import TargetFormat
from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.files.weight_files import has_weights
from qwen7b.hub.locate import locate
from qwen7b.system.storage import storage_errors
from qwen7b.system.whole_file import written_folder

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The limits that vLLM's --max-lora-rank takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedAdapter:
    """An adapter that was written in another layout."""

    source: Path
    base: str
    """The model that it was trained on, by name or folder."""
    target: Path
    rank: int
    num_layers: int
    """The linear layers that it changes."""
    max_lora_rank: int
    """The least that vLLM has to be started with."""

    def as_document(self) -> dict[str, Any]:
        return asdict(self) | {"source": str(self.source), "target": str(self.target)}


def stands_alone(path: Path) -> bool:
    """Whether a folder is an adapter's and no whole model's."""
    return path.is_dir() and is_adapter(path) and not has_weights(path)


def convert_adapter(
    source: str | Path,
    target: str | Path,
    *,
    to: TargetFormat | str = TargetFormat.QWEN2,
    base: str | Path | None = None,
    offline: bool | None = None,
) -> ConvertedAdapter:
    """Write an adapter, or a run's last one, for its base as `convert` writes that to qwen2; it computes the same.

    `base` is the model that it was trained on, by default the one that it names. Raises UnsupportedError for what is
    more than pairs of A and B for linear layers, SettingError for another layout and a target that exists, and what
    `read_adapter`, `place_adapter` and `open_checkpoint` raise.
    """
    target = Path(target).expanduser()
    if (to := check_target(target, to=to)) is not TargetFormat.QWEN2:
        raise SettingError(f"adapters are written in Qwen2's layout only, found {to}: convert to qwen2, or merge it")
    path = adapter_folder(source)
    adapter = read_adapter(path)
    if (named := base if base is not None else base_of(path)) is None:
        raise SettingError(f"{path} does not say which model it is for: give the base")
    checkpoint = open_checkpoint(locate(named, offline=offline))
    placed = place_adapter(adapter, checkpoint.config, name=str(path), base=str(checkpoint.path))
    limit = _check(path, placed, rank=adapter.settings.rank)
    factors = _factors(placed, _target_config(path, checkpoint))
    targets = tuple(dict.fromkeys(stem.rpartition(".")[2] for stem in factors))
    written = Adapter(settings=replace(adapter.settings, targets=targets, token_ids=()), factors=factors)
    # A first-generation base has other names, so that the adapter is for no model but the converted one.
    own_base = None if checkpoint.config.family is Family.QWEN else str(named)
    with storage_errors(target.parent, variable=None):
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_folder(target) as folder:
            write_adapter(folder, written, base=own_base)
    return ConvertedAdapter(
        source=path,
        base=str(named),
        target=target,
        rank=adapter.settings.rank,
        num_layers=len(factors),
        max_lora_rank=limit,
    )


def _check(path: Path, placed: PlacedAdapter, *, rank: int) -> int:
    """Refuse what vLLM would; returns the least limit of ranks that it has to be started with."""
    others = [place for place, _ in (*placed.whole, *placed.token_rows, *placed.factors)]
    others = [place for place in others if not place.parameter.startswith("layers.")]
    if others or placed.whole:
        what = "rows of tokens" if placed.token_rows else "whole tensors" if placed.whole else others[0].parameter
        raise UnsupportedError(
            f"{path} changes {what}, which vLLM does not take beside a model: merge it by 'qwen7b train merge', or "
            "train one of linear layers only (--no-control-rows)"
        )
    if rank > RANKS[-1]:
        raise UnsupportedError(f"{path} is of rank {rank}, and vLLM takes {RANKS[-1]} at most: merge it, or train less")
    return next(limit for limit in RANKS if limit >= rank)


def _target_config(path: Path, checkpoint: Checkpoint) -> ModelConfig:
    """The config of the converted base. Raises UnsupportedError where that merges heads, which the adapter keeps."""
    config = target_config(checkpoint.config, parameters_of(checkpoint), to=TargetFormat.QWEN2)
    if config.num_kv_heads != checkpoint.config.num_kv_heads:
        raise UnsupportedError(
            f"{checkpoint.path} becomes a model of {config.num_kv_heads} key-value heads in Qwen2's layout, as others "
            f"are their copies, but {path} was trained on {checkpoint.config.num_kv_heads}: merge it into the model"
        )
    return config


def _factors(placed: PlacedAdapter, config: ModelConfig) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors by Qwen2's names: query, key and value share the A of a joint layer, and divide its B."""

    def part(own: Place, place: Place, b: Tensor) -> Tensor | None:
        first = place.first_row - own.first_row
        num_rows = place.num_rows or b.shape[0]
        is_inside = own.parameter == place.parameter and first >= 0 and first + num_rows <= b.shape[0]
        return b[first : first + num_rows] if is_inside else None

    factors = {}
    for name, place in tensors_of(config, names=QWEN2).items():
        for own, (a, b) in placed.factors:
            if (rows := part(own, place, b)) is not None:
                factors[name.removesuffix(".weight")] = a, rows
    return factors
