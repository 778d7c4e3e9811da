"""An adapter beside a model computes what it does in the weights, for its own rows only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from qwen7b.adapters.beside import adapter_beside
from qwen7b.errors import CheckpointError, ResourceError, UnsupportedError
from qwen7b.loading import load_model
from qwen7b.model import Transformer
from qwen7b.model.adapter_weights import AdapterWeights
from qwen7b.model.cache import Cache
from random_adapters import write_random_adapter

TOKENS = (3, 318)
LAYOUTS: dict[str, tuple[dict[str, Any], Any]] = {
    "qwen": ({**tiny.V11_CONFIG, "use_dynamic_ntk": False, "use_logn_attn": False}, tiny.qwen_tensors),
    "qwen2": (tiny.QWEN2_CONFIG, tiny.qwen2_tensors),
    "untied": ({**tiny.QWEN2_CONFIG, "tie_word_embeddings": False}, lambda: tiny.qwen2_tensors(head=True)),
}


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(1)
    config, tensors = LAYOUTS[request.param]
    return tiny.write_folder(tmp_path / "base", config, tensors())


every_layout = pytest.mark.parametrize("folder", list(LAYOUTS), indirect=True)
qwen = pytest.mark.parametrize("folder", ["qwen"], indirect=True)


@torch.inference_mode()
def logits_beside(model: Transformer, adapters: list[AdapterWeights | None], ids: torch.Tensor) -> list[torch.Tensor]:
    """The logits of sequences with the same ids in one pass, each with another adapter."""
    caches = [model.new_sequence_cache(capacity=len(ids)) for _ in adapters]
    for cache, adapter in zip(caches, adapters, strict=True):
        cache.adapter = adapter
    ((_, hidden_RC),) = model.passes([ids] * len(adapters), cache=Cache(caches))
    rows = [adapter for adapter in adapters for _ in ids]
    return list(torch.split(model.logits(hidden_RC, rows), len(ids)))


@every_layout
def test_sequences_of_one_pass_have_adapters_of_their_own(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, dtype="float32")
    first = write_random_adapter(tmp_path / "first", model.config, seed=1, token_ids=TOKENS)
    second = write_random_adapter(tmp_path / "second", model.config, seed=2, rank=3)
    ids = torch.cat([tiny.IDS[0], torch.tensor(TOKENS)])
    beside = [adapter_beside(model, first), None, adapter_beside(model, second), adapter_beside(model, first)]
    mine, base, other, again = logits_beside(model, beside, ids)
    with torch.inference_mode():
        torch.testing.assert_close(base, model(ids[None])[0], atol=1e-4, rtol=1e-4)
        for path, actual in ((first, mine), (first, again), (second, other)):
            expected = load_model(folder, dtype="float32", adapter=path)(ids[None])[0]
            torch.testing.assert_close(actual, expected, atol=1e-3, rtol=1e-3)
            assert (expected - base).norm() > 0.1 * base.norm()


@pytest.mark.parametrize("quantize", ["q8", "q4", "nf4"])
@pytest.mark.parametrize("folder", ["qwen", "qwen2"], indirect=True)
def test_packed_weights_are_shared_with_others(folder: Path, tmp_path: Path, quantize: str) -> None:
    floats, model = load_model(folder, dtype="float32"), load_model(folder, quantize=quantize)
    adapter = adapter_beside(model, write_random_adapter(tmp_path / "a", model.config, token_ids=TOKENS))
    ids = torch.cat([tiny.IDS[0], torch.tensor(TOKENS)])
    mine, base = logits_beside(model, [adapter, None], ids)
    with torch.inference_mode():
        exact, plain = (load_model(folder, dtype="float32", adapter=tmp_path / "a")(ids[None])[0], floats(ids[None])[0])
        # Rounding the base's weights costs an adapted model about what it costs the base.
        assert (mine - exact).norm() / exact.norm() < 2 * (base - plain).norm() / plain.norm()


@qwen
def test_what_tells_an_adapter_from_others_is_its_content(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, dtype="float32")
    paths = [write_random_adapter(tmp_path / str(n), model.config, seed=n, token_ids=TOKENS) for n in (1, 1, 2)]
    digests = [adapter_beside(model, path).digest for path in paths]
    assert digests[0] == digests[1] != digests[2]
    tensors = load_file(paths[0] / "adapter_model.safetensors")
    token_rows = next(name for name in tensors if "trainable_tokens" in name)
    tensors[token_rows][0, 0] += 1
    save_file(tensors, paths[0] / "adapter_model.safetensors")
    assert adapter_beside(model, paths[0]).digest not in digests


@qwen
def test_adapters_that_cannot_stand_beside_others_are_refused(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, dtype="float32")
    path = write_random_adapter(tmp_path / "a", model.config)
    tensors = load_file(path / "adapter_model.safetensors")
    name = "base_model.model.lm_head.weight"
    save_file({**tensors, name: torch.zeros(tiny.ROWS, tiny.HIDDEN)}, path / "adapter_model.safetensors")
    with pytest.raises(UnsupportedError, match=r"changes the whole head\.weight, which only .* load it by itself with"):
        adapter_beside(model, path)
    of_head = {f"base_model.model.lm_head.lora_{side}.weight": torch.zeros(shape) for side, shape in SHAPES.items()}
    save_file({**tensors, **of_head}, path / "adapter_model.safetensors")
    with pytest.raises(UnsupportedError, match=r"changes the whole head\.weight"):
        adapter_beside(model, path)
    other = write_random_adapter(tmp_path / "b", tiny.config(hidden_size=48, num_layers=2))
    with pytest.raises(CheckpointError, match=r"does not fit the model: .* trained on another base"):
        adapter_beside(model, other)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@every_layout
def test_an_adapter_that_does_not_fit_into_memory_is_refused_before_it_takes_any(
    folder: Path, tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(folder, dtype=dtype)
    path = write_random_adapter(tmp_path / "a", model.config, token_ids=TOKENS)
    read = sum(tensor.nbytes for tensor in load_file(path / "adapter_model.safetensors").values())
    weights = adapter_beside(model, path)
    products = [product for layer in weights.layers for product in layer.values()]
    own = {id(rows): rows.rows.nbytes for rows in (weights.embedding, weights.head) if rows is not None}
    held = sum(product.a.nbytes + product.b.nbytes for product in products) + sum(own.values())
    free = iter([read, held, read - 1, read, held - 1])
    monkeypatch.setattr("qwen7b.system.memory.available_bytes", lambda device: next(free))
    adapter_beside(model, path)
    with pytest.raises(
        ResourceError, match=r"^reading the adapter .*a needs 0\.0 GB, but .* are free: free some memory"
    ):
        adapter_beside(model, path)
    with pytest.raises(ResourceError, match=r"^the adapter .*a beside the model needs .*: remove another adapter, or"):
        adapter_beside(model, path)


SHAPES = {"A": (4, tiny.HIDDEN), "B": (tiny.ROWS, 4)}
