"""Keys balanced for int8: attention does not notice, outliers stay exact, and what is small is not rounded away."""

from __future__ import annotations

import torch

from qwen7b.kernels.constants import NUM_WIDE_AXES
from qwen7b.model.rotary import rotary_frequencies, rotary_tables, rotate
from qwen7b.packed.key_balance import KeyBalance, pair_sizes
from qwen7b.packed.packed_cache import PackedSequenceCache
from random_packed import random_model

HEADS, SIZE = 2, 32


def sizes_with_outliers(*pairs: int) -> torch.Tensor:
    """(2, K, D/2): queries of size 1, keys of size 1 but for some pairs."""
    sizes = torch.ones(2, HEADS, SIZE // 2)
    sizes[1, :, pairs] = 200
    return sizes


def test_sizes_are_those_of_outputs_for_inputs_of_size_one() -> None:
    torch.manual_seed(0)
    weight, bias, norm = torch.randn(HEADS * SIZE, 50), torch.randn(HEADS * SIZE) * 9, torch.rand(50) + 0.5
    found = pair_sizes(weight, bias, norm=norm, head_size=SIZE)
    outputs = (torch.randn(200_000, 50) * norm) @ weight.T + bias
    pairs = outputs.square().mean(0).view(HEADS, 2, SIZE // 2).sum(1).sqrt()
    torch.testing.assert_close(found, pairs, rtol=0.02, atol=0)
    without = pair_sizes(weight, None, norm=norm, head_size=SIZE)
    torch.testing.assert_close(without.square() + bias.square().view(HEADS, 2, -1).sum(1), found.square())


def test_attention_does_not_notice_the_factors() -> None:
    torch.manual_seed(0)
    balance = KeyBalance.from_pair_sizes([torch.rand(2, HEADS, SIZE // 2) * 100])
    factors = balance.factors[0]
    assert torch.equal(factors.log2(), factors.log2().round()) and len(factors.unique()) > 3
    cos, sin = rotary_tables(torch.arange(7)[None], rotary_frequencies([1.0], base=10000.0, head_size=SIZE))
    query, key = torch.randn(2, 1, 7, HEADS, SIZE)
    torch.testing.assert_close(rotate(query, cos=cos, sin=sin) * factors, rotate(query * factors, cos=cos, sin=sin))
    balanced = (query * factors * (key / factors)).sum(-1)
    torch.testing.assert_close(balanced, (query * key).sum(-1))


def test_the_largest_pairs_stay_wide() -> None:
    balance = KeyBalance.from_pair_sizes([sizes_with_outliers(3, 5, 8, 11)])
    assert balance.wide_axes.shape == (1, HEADS, NUM_WIDE_AXES)
    assert all(set(axes.tolist()) == {3, 5, 8, 11, 19, 21, 24, 27} for axes in balance.wide_axes[0])


def test_small_numbers_beside_outliers_survive() -> None:
    torch.manual_seed(0)
    config = random_model(head_size=SIZE, num_kv_heads=HEADS, num_heads=HEADS, num_layers=1).config
    keys = torch.randn(HEADS, 16, SIZE)
    keys[..., [3, 8, 19, 24]] *= 200

    def errors(sizes: torch.Tensor) -> torch.Tensor:
        balance = KeyBalance.from_pair_sizes([sizes])
        cache = PackedSequenceCache.empty(config, capacity=16, dtype=torch.int8, balance=balance)
        read, _ = cache.write(0, 0, keys, keys)
        return (read - keys).abs()

    known, blind = errors(sizes_with_outliers(3, 8)), errors(torch.ones(2, HEADS, SIZE // 2))
    small = [axis for axis in range(SIZE) if axis not in (3, 8, 19, 24)]
    assert known[..., small].max() < 0.03 and blind[..., small].max() > 0.5
    assert (known / keys.abs())[..., [3, 8, 19, 24]].max() < 1e-3
