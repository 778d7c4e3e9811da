"""An adapter beside a model, whose weights stay as they are: several serve one model, each for some rows of a pass."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from qwen7b.adapters.adapter_files import read_adapter
from qwen7b.adapters.placed import PlacedAdapter, place_adapter
from qwen7b.checkpoint.tensor_names import Place
from qwen7b.errors import UnsupportedError
from qwen7b.files.checksums import bytes_of
from qwen7b.kernels.constants import LANES
from qwen7b.kernels.matrix import num_blocks
from qwen7b.model import Transformer
from qwen7b.model.adapter_weights import AdapterWeights, LowRankProduct, OwnRows
from qwen7b.model.parameter_shapes import parameter_shapes
from qwen7b.system.memory import require_memory

_Part = tuple[int, Tensor, Tensor]
"""The first row, and the factors A and B, of what is added to a part of a linear module."""


def adapter_beside(model: Transformer, path: str | Path) -> AdapterWeights:
    """The adapter in a folder, for a model that serves others as well.

    Raises what `read_adapter` raises, CheckpointError where it was trained on another base, UnsupportedError for one
    that replaces whole tensors, of which each would be as large as the model's own, and ResourceError where it does not
    fit into the device's memory.
    """
    adapter = read_adapter(path)
    placed = place_adapter(adapter, model.config, name=str(path), base="the model")
    others = [place.parameter for place, _ in placed.factors if not place.parameter.startswith("layers.")]
    if wrong := [*[place.parameter for place, _ in placed.whole], *others]:
        raise UnsupportedError(
            f"{path} changes the whole {wrong[0]}, which only an adapter does that is added to the weights: load it by "
            "itself with adapter=, or merge it by 'qwen7b train merge'"
        )
    require_memory(
        _held_bytes(model, placed),
        device=model.device,
        what=f"the adapter {path} beside the model",
        remedy="remove another adapter, or free some memory",
    )
    own = {place.parameter: OwnRows(ids=ids, rows=rows) for place, (ids, rows) in placed.token_rows}
    own = {name: OwnRows(ids=each.ids.to(model.device), rows=_like(model, each.rows)) for name, each in own.items()}
    embedding = own.get("embedding.weight")
    return AdapterWeights(
        layers=_products(model, placed, scale=adapter.settings.scale),
        embedding=embedding,
        head=embedding if model.config.tied_head else own.get("head.weight"),
        digest=_digest(placed, scale=adapter.settings.scale),
    )


def _parts(placed: PlacedAdapter) -> dict[str, list[_Part]]:
    """The parts of each linear module, by the name of its weight."""
    parts: defaultdict[str, list[_Part]] = defaultdict(list)
    for place, (a, b) in placed.factors:
        parts[place.parameter].append((place.first_row, a, b))
    return parts


def _held_bytes(model: Transformer, placed: PlacedAdapter) -> int:
    """What the products and the rows of tokens will take."""
    shapes = parameter_shapes(model.config)
    count = sum(rows.numel() for _, (_, rows) in placed.token_rows)
    for parameter, parts in _parts(placed).items():
        num_rows, num_columns = shapes[parameter]
        count += _rank(parts) * (num_columns + num_blocks(num_rows) * LANES)
    return count * model.dtype.itemsize


def _rank(parts: Sequence[_Part]) -> int:
    """The rank of one product for all parts: query, key and value have ranks of their own, one after the other."""
    return sum(len(a) for _, a, _ in parts)


def _products(model: Transformer, placed: PlacedAdapter, *, scale: float) -> list[dict[str, LowRankProduct]]:
    """The products of each layer, by the names of its linear modules."""
    shapes = parameter_shapes(model.config)
    layers: list[dict[str, LowRankProduct]] = [{} for _ in range(model.config.num_layers)]
    for parameter, parts in _parts(placed).items():
        _, layer, module = parameter.removesuffix(".weight").split(".", maxsplit=2)
        layers[int(layer)][module] = _joined(model, parts, num_rows=shapes[parameter][0], scale=scale)
    return layers


def _joined(model: Transformer, parts: Sequence[_Part], *, num_rows: int, scale: float) -> LowRankProduct:
    """One product for all parts of a module."""
    rank = _rank(parts)
    whole = torch.zeros(num_blocks(num_rows) * LANES, rank)
    start = 0
    for first_row, a, b in parts:
        whole[first_row : first_row + len(b), start : start + len(a)] = b * scale
        start += len(a)
    blocks = whole.view(-1, LANES, rank).transpose(1, 2)
    a = torch.cat([a for _, a, _ in parts])
    return LowRankProduct(a=_like(model, a), b=_like(model, blocks), num_rows=num_rows)


def _like(model: Transformer, values: Tensor) -> Tensor:
    return values.to(model.device, model.dtype).contiguous()


def _digest(placed: PlacedAdapter, *, scale: float) -> str:
    digest = hashlib.sha256(repr(scale).encode())

    def key(pair: tuple[Place, tuple[Tensor, Tensor]]) -> tuple[str, int]:
        return pair[0].parameter, pair[0].first_row

    for place, tensors in sorted((*placed.factors, *placed.token_rows), key=key):
        digest.update(repr((place, *(tuple(tensor.shape) for tensor in tensors))).encode())
        for tensor in tensors:
            digest.update(bytes_of(tensor))
    return digest.hexdigest()
