"""Packed models: the native layers and the cache against their readable twins, and what must not matter."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch

from qwen7b import kernels
from qwen7b.adapters.beside import adapter_beside
from qwen7b.errors import SettingError
from qwen7b.model import Cache, SequenceCache, Transformer
from qwen7b.model.layers import run_layers
from random_adapters import write_random_adapter
from random_packed import random_model

needs_library = pytest.mark.skipif(kernels.instruction_set() is None, reason="needs the native library")
Hidden = Callable[..., torch.Tensor]


def by_reference(model: Transformer, compute: Hidden) -> torch.Tensor:
    native, model.runner = model.runner, run_layers
    try:
        return compute(model)
    finally:
        model.runner = native


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@needs_library
@pytest.mark.parametrize(
    "changes", [{"num_layers": 3}, {"head_size": 48}, {"head_size": 64, "num_heads": 3, "num_kv_heads": 3}], ids=str
)
@pytest.mark.parametrize("dtype", [torch.int8, torch.float16], ids=str)
@pytest.mark.parametrize("bits", [8, 4])
@torch.inference_mode()
def test_native_layers_equal_the_reference(changes: dict[str, int], dtype: torch.dtype, bits: int) -> None:
    model = random_model(bits=bits, **changes)
    model.cache_dtype = dtype
    ids = torch.randint(0, 320, (2, 30))

    def compute(model: Transformer) -> torch.Tensor:  # ragged, across the trained length of 24, then a step
        cache = model.new_cache(batch_size=2, max_length=40)
        first = model.hidden(ids, cache=cache, lengths=[30, 11])
        second = model.hidden(ids[:, :1], cache=cache)
        return torch.cat((first[0], first[1, :11], second[:, 0]))

    found, expected = compute(model), by_reference(model, compute)
    errors = (found - expected).norm(dim=1) / expected.norm(dim=1)
    # Where noise of the last bit decides how a number is rounded to int8, all later roundings may go another way.
    assert errors.max() < 0.03
    assert errors.quantile(0.2) < 1e-6


@needs_library
@pytest.mark.parametrize("num_rows", [1, 3, 70])
@pytest.mark.parametrize("bits", [8, 4])
@torch.inference_mode()
def test_native_adapters_equal_the_reference(tmp_path: Path, bits: int, num_rows: int) -> None:
    """Of one layer, with keys and values in 16 bits, in which sequences have adapters of several ranks, and none."""
    model = random_model(bits=bits, num_layers=1)
    model.cache_dtype = torch.float16
    ranks = {"a": 1, "b": 4, "c": 13}
    paths = [write_random_adapter(tmp_path / name, model.config, rank=rank) for name, rank in ranks.items()]
    adapters = [None, *(adapter_beside(model, path) for path in paths), None]
    ids = [torch.randint(0, 320, (num_rows,)) for _ in adapters]

    def compute(model: Transformer, *, adapted: bool = True) -> torch.Tensor:
        caches = [model.new_sequence_cache(capacity=num_rows, ntk="original") for _ in adapters]
        for cache, adapter in zip(caches, adapters, strict=True):
            cache.adapter = adapter if adapted else None
        ((_, hidden_RC),) = model.passes(ids, cache=Cache(caches))
        return hidden_RC.view(len(adapters), num_rows, -1)

    found, expected, plain = compute(model), by_reference(model, compute), compute(model, adapted=False)
    errors = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert errors.max() < 0.03 and errors.quantile(0.2) < 1e-6  # as above
    assert torch.equal(found[0], plain[0]) and torch.equal(found[-1], plain[-1])
    assert error(found[1:-1], plain[1:-1]) > 0.1


@needs_library
@pytest.mark.parametrize("head_size", [32, 48, 64])
@pytest.mark.parametrize("bits", [8, 4])
@torch.inference_mode()
def test_one_native_layer_equals_the_reference_closely(bits: int, head_size: int) -> None:
    """Of 32 rows, each alone in a layer with keys and values in 16 bits."""
    model = random_model(bits=bits, num_layers=1, head_size=head_size)
    model.cache_dtype = torch.float16
    errors = []
    for token in range(0, 320, 10):
        ids = torch.tensor([[token]])

        def compute(model: Transformer, ids: torch.Tensor = ids) -> torch.Tensor:
            return model.hidden(ids, cache=model.new_cache(max_length=1))

        found, expected = compute(model), by_reference(model, compute)
        errors.append(error(found, expected))
    # All but the few rows where noise of the last bit decided how a number is rounded to int8.
    assert sorted(errors)[-4] < 1e-6
    assert max(errors) < 0.02


@pytest.mark.parametrize("dtype", [torch.int8, torch.float16], ids=str)
@torch.inference_mode()
def test_a_packed_cache_is_close_to_none(dtype: torch.dtype) -> None:
    model = random_model()
    model.cache_dtype = dtype
    ids = torch.randint(0, 320, (1, 60))
    found = model.hidden(ids, cache=model.new_cache(max_length=64))
    assert error(found, model.hidden(ids)) < (0.03 if dtype == torch.int8 else 0.01)


@needs_library
@torch.inference_mode()
def test_neither_threads_nor_neighbours_nor_chunks_matter() -> None:
    model = random_model(trained_length=512)
    ids = torch.randint(0, 320, (3, 300))
    alone = model.hidden(ids[:1], cache=model.new_cache(max_length=300))
    before = kernels.num_threads()
    assert before is not None
    for count in (1, 3, 16):
        kernels.set_num_threads(count)
        assert torch.equal(model.hidden(ids[:1], cache=model.new_cache(max_length=300)), alone)
        assert torch.equal(model.hidden(ids, cache=model.new_cache(batch_size=3, max_length=333))[:1], alone)
        cache = model.new_cache(max_length=320)
        chunks = [model.hidden(chunk, cache=cache) for chunk in ids[:1].split([1, 2, 140, 1, 33, 122, 1], dim=1)]
        assert torch.equal(torch.cat(chunks, dim=1), alone)
    kernels.set_num_threads(before)


@torch.inference_mode()
def test_steps_across_the_trained_length_equal_one_pass() -> None:
    model = random_model()
    ids = torch.randint(0, 320, (1, 60))
    cache = model.new_cache(max_length=60)
    for step in ids.split(1, dim=1):
        last = model.hidden(step, cache=cache)
    assert error(last[:, -1], model.hidden(ids, cache=model.new_cache(max_length=60))[:, -1]) < 1e-5


@torch.inference_mode()
def test_sequences_of_unlike_capacity_go_on_in_any_company() -> None:
    model = random_model()
    ids = torch.randint(0, 320, (3, 20))
    caches = [model.new_sequence_cache(capacity=capacity) for capacity in (300, 26, 41)]
    whole, copied = Cache(caches), copy.deepcopy(Cache(caches))
    expected = torch.cat([model.hidden(ids, cache=whole), model.hidden(ids[:, :1], cache=whole)], dim=1)
    for row in (1, 2, 0):
        model.hidden(ids[row : row + 1, :15], cache=Cache([copied.sequences[row]]))
    rest = model.hidden(ids[[2, 0], 15:], cache=Cache([copied.sequences[2], copied.sequences[0]]))
    assert torch.equal(rest, expected[[2, 0], 15:20])
    model.hidden(ids[1:2, 15:], cache=Cache([copied.sequences[1]]))
    assert torch.equal(model.hidden(ids[:, :1], cache=copied), expected[:, 20:])


def test_heads_that_do_not_fit_the_blocks_have_an_ordinary_cache() -> None:
    model = random_model(head_size=24)
    cache = model.new_cache(max_length=8)
    assert type(cache.sequences[0]) is SequenceCache and cache.sequences[0].dtype == torch.float32
    with torch.inference_mode():
        assert model(torch.tensor([[1, 2]]), cache=cache).isfinite().all()


def replace_all(model: Transformer, other: Transformer) -> None:
    model.load_state_dict(other.state_dict(), assign=True)


def replace_in_place(model: Transformer, other: Transformer) -> None:
    model.load_state_dict(other.state_dict())


def replace_a_tensor(model: Transformer, other: Transformer) -> None:
    model.layers[1].attention.qkv.codes = other.layers[1].attention.qkv.codes


def replace_data(model: Transformer, other: Transformer) -> None:
    model.layers[1].attention_norm.weight.data = other.norm.weight.data * 2


def replace_a_module(model: Transformer, other: Transformer) -> None:
    model.layers[0].feed_forward.down = other.layers[0].feed_forward.down


def replace_a_layer(model: Transformer, other: Transformer) -> None:
    model.layers[0] = other.layers[0]


def replace_the_layers(model: Transformer, other: Transformer) -> None:
    model.layers = other.layers


def wrap_a_module(model: Transformer, other: Transformer) -> None:
    """As adapters do: no longer all packed, so that the readable loop runs."""
    linear = model.layers[1].feed_forward.up
    model.layers[1].feed_forward.up = torch.nn.Sequential(linear, torch.nn.Dropout(), torch.nn.Tanh()).eval()


REPLACEMENTS = [
    replace_all,
    replace_in_place,
    replace_a_tensor,
    replace_data,
    replace_a_module,
    replace_a_layer,
    replace_the_layers,
    wrap_a_module,
]


@needs_library
@pytest.mark.parametrize("replace", REPLACEMENTS, ids=lambda function: function.__name__)
@torch.inference_mode()
def test_what_is_replaced_after_a_run_is_seen(replace: Callable[[Transformer, Transformer], None]) -> None:
    model, other = random_model(), random_model()
    ids = torch.randint(0, 320, (1, 9))

    def compute(model: Transformer) -> torch.Tensor:
        return model.hidden(ids, cache=model.new_cache(max_length=9))

    before = compute(model)
    replace(model, other)
    found = compute(model)
    assert error(found, before) > 0.01
    assert error(found, by_reference(model, compute)) < 0.01


def _send(model: Transformer) -> None:
    ForkingPickler.dumps(model)  # as a pool of processes does


def _move(model: Transformer) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


@needs_library
@pytest.mark.parametrize("share", [Transformer.share_memory, _send, _move])
@torch.inference_mode()
def test_weights_that_are_shared_or_moved_are_found_where_they_are(share: Callable[[Transformer], object]) -> None:
    model = random_model()
    ids = torch.randint(0, 320, (1, 20))
    expected = model.hidden(ids, cache=model.new_cache(max_length=24))
    old = [(tensor.data_ptr(), tensor.nbytes) for tensor in model.layers.buffers()]
    share(model)
    assert share is _move or not {*old} & {(tensor.data_ptr(), tensor.nbytes) for tensor in model.layers.buffers()}
    fill = [torch.full((size,), 0x5A, dtype=torch.uint8) for _, size in old for _ in range(4)]  # of what became free
    assert torch.equal(model.hidden(ids, cache=model.new_cache(max_length=24)), expected) and fill


@needs_library
@torch.inference_mode()
def test_copies_have_their_own_weights_and_slots() -> None:
    model, ids = random_model(), torch.randint(0, 320, (1, 9))
    cache = model.new_cache(max_length=20)
    model.hidden(ids, cache=cache)
    copied, branch = copy.deepcopy(model), copy.deepcopy(cache)
    expected = model.hidden(ids, cache=cache)
    for layer in model.layers:
        layer.attention.qkv.codes.zero_()
    model.hidden(ids[:, :2], cache=cache)
    assert torch.equal(copied.hidden(ids, cache=branch), expected)
    assert torch.equal(pickle.loads(pickle.dumps(copied)).hidden(ids), copied.hidden(ids))


@needs_library
@torch.inference_mode()
def test_gates_far_from_zero() -> None:
    model = random_model()
    for layer in model.layers:
        layer.feed_forward.gate.scales *= 80
    ids = torch.randint(0, 320, (1, 20))

    def compute(model: Transformer) -> torch.Tensor:
        return model.hidden(ids, cache=model.new_cache(max_length=20))

    assert error(compute(model), by_reference(model, compute)) < 0.01


@torch.inference_mode()
def test_packed_weights_keep_their_formats() -> None:
    model = random_model()
    ids = torch.randint(0, 320, (1, 8))
    expected = model.hidden(ids, cache=model.new_cache(max_length=8))
    for change in (model.half, model.bfloat16, model.double):
        with pytest.raises(SettingError, match="packed weights compute in float32"):
            change()
    assert torch.equal(model.float().hidden(ids, cache=model.new_cache(max_length=8)), expected)


@pytest.mark.parametrize(("head_size", "dtype"), [(32, torch.bfloat16), (32, torch.float32), (24, torch.int8)])
def test_caches_of_other_dtypes_are_refused(head_size: int, dtype: torch.dtype) -> None:
    model = random_model(head_size=head_size)
    model.cache_dtype = dtype
    with pytest.raises(SettingError, match="cache_dtype must be"):
        model.new_cache(max_length=8)


@needs_library
@pytest.mark.parametrize("instruction_set", kernels.available_instruction_sets())
@torch.inference_mode()
def test_instruction_sets_agree(instruction_set: str) -> None:
    ids = torch.randint(0, 320, (2, 70))
    best = kernels.instruction_set()
    assert best is not None
    results = []
    for name in ("scalar", instruction_set):
        kernels.use_instruction_set(name)
        torch.manual_seed(0)
        model = random_model()  # put together anew: a set may have a layout of its own
        results.append(model.hidden(ids, cache=model.new_cache(batch_size=2, max_length=70)))
    kernels.use_instruction_set(best)
    expected, actual = results
    # Where a sum's order decides how a number is rounded to int8, later roundings may go another way.
    assert error(actual, expected) < 0.01
    if instruction_set == "row_major":  # of the self-test, adds up as the plain one does
        assert torch.equal(actual, expected)
