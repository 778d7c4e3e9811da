"""Properties of the model: any chunking equals one pass, and a row of a batch equals the row alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from qwen7b.config.rotary_scaling import DynamicNtk
from qwen7b.errors import PromptError, ResourceError, SettingError
from qwen7b.model import Cache, Transformer, transformer
from qwen7b.model.rotary import logn_scale, ntk_alpha

TRAINED, ROWS = 16, 97


def make_model(*, kv_heads: int = 4, long: bool = True, tied: bool = False) -> Transformer:
    scaling = DynamicNtk() if long else None
    return tiny.model(num_kv_heads=kv_heads, tied_head=tied, rotary_scaling=scaling, logn=long)


LONG, GROUPED = make_model(), make_model(kv_heads=2, long=False)


def test_no_weights_are_drawn_where_there_is_no_memory_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda weight, **_: pytest.fail("drawn"))
    with torch.device("meta"):
        assert all(parameter.is_meta for parameter in Transformer(LONG.config).parameters())


def ids_of(length: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(ROWS, (1, length), generator=torch.Generator().manual_seed(seed))


def assert_close(ours: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(ours, expected, atol=2e-4, rtol=2e-4)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 30), min_size=1, max_size=6), model=st.sampled_from([LONG, GROUPED]))
@torch.inference_mode()
def test_any_chunking_equals_one_pass(cuts: list[int], model: Transformer) -> None:
    ids = ids_of(sum(cuts))
    cache = model.new_cache(max_length=sum(cuts))
    done = 0
    for cut in cuts:
        logits = model(ids[:, done : done + cut], cache=cache)
        done += cut
        assert_close(logits[:, -1], model(ids[:, :done])[:, -1])
    assert cache.lengths == [sum(cuts)]


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 30), min_size=2, max_size=5))
@torch.inference_mode()
def test_planned_chunks_equal_one_pass_at_every_position(cuts: list[int]) -> None:
    ids = ids_of(sum(cuts))
    cache = LONG.new_cache(max_length=sum(cuts))
    cache.plan([sum(cuts)])
    chunks = [LONG(chunk, cache=cache) for chunk in ids.split(cuts, dim=1)]
    assert_close(torch.cat(chunks, dim=1), LONG(ids))


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    steps=st.integers(0, 8),
    model=st.sampled_from([LONG, GROUPED]),
)
@torch.inference_mode()
def test_row_of_a_ragged_batch_equals_the_row_alone(lengths: list[int], steps: int, model: Transformer) -> None:
    rows = [ids_of(length + steps, seed) for seed, length in enumerate(lengths)]
    padded = torch.full((len(rows), max(lengths)), 5)
    for row, (ids, length) in enumerate(zip(rows, lengths, strict=True)):
        padded[row, :length] = ids[0, :length]
    cache = model.new_cache(batch_size=len(rows), max_length=max(lengths) + steps)
    logits = model(padded, cache=cache, lengths=lengths)
    uncached = model(padded, lengths=lengths)
    for row, (ids, length) in enumerate(zip(rows, lengths, strict=True)):
        alone = model(ids[:, :length])[0]
        assert_close(logits[row, :length], alone)
        assert_close(uncached[row, :length], alone)
    for step in range(steps):
        new = torch.cat([ids[:, length + step, None] for ids, length in zip(rows, lengths, strict=True)])
        logits = model(new, cache=cache)
        for row, (ids, length) in enumerate(zip(rows, lengths, strict=True)):
            assert_close(logits[row, -1], model(ids[:, : length + step + 1])[0, -1])


@torch.inference_mode()
def test_interleaved_conversations_do_not_touch_each_other() -> None:
    short, long = ids_of(10, 1), ids_of(60, 2)
    caches = [LONG.new_cache(max_length=80) for _ in range(2)]
    LONG(short, cache=caches[0])
    LONG(long, cache=caches[1])
    new = ids_of(1, 3)
    assert_close(LONG(new, cache=caches[0])[:, -1], LONG(torch.cat((short, new), 1))[:, -1])
    assert_close(LONG(new, cache=caches[1])[:, -1], LONG(torch.cat((long, new), 1))[:, -1])


@torch.inference_mode()
def test_chosen_sequences_go_on_by_themselves() -> None:
    batch = torch.cat([ids_of(12, seed) for seed in range(3)])
    cache = GROUPED.new_cache(batch_size=3, max_length=20)
    GROUPED(batch, cache=cache)
    new = torch.tensor([[7], [9]])
    logits = GROUPED(new, cache=Cache([cache.sequences[2], cache.sequences[0]]))
    assert_close(logits[:, -1], GROUPED(torch.cat((batch[[2, 0]], new), 1))[:, -1])
    assert cache.lengths == [13, 12, 13]


@torch.inference_mode()
def test_reading_again_is_said_once() -> None:
    transformer.warn_of_recompute.cache_clear()
    cache = LONG.new_cache(max_length=4 * TRAINED)
    LONG(ids_of(TRAINED), cache=cache)

    def read_on() -> None:
        LONG(ids_of(1), cache=cache)
        LONG.hidden(ids_of(TRAINED), cache=cache)

    with pytest.warns(UserWarning, match="a sequence outgrew the length that its rotary base was chosen for") as said:
        read_on()
    assert len(said) == 1


@torch.inference_mode()
def test_what_is_read_again_has_the_alpha_that_is_recorded() -> None:
    ids = ids_of(5 * TRAINED)
    model = make_model()
    cache = model.new_cache(max_length=200, ntk="reserve")
    model.train()(ids[:, :20], cache=cache)
    logits = model.eval()(ids[:, 20:30], cache=cache)
    whole = model(ids[:, :30], cache=model.new_cache(max_length=200, ntk="reserve"))
    assert_close(logits, whole[:, 20:])
    cache = model.new_cache(max_length=200, ntk="reserve")
    cache.plan([10])
    model(ids[:, :10], cache=cache)
    cache.plan([20])
    logits = model(ids[:, 10:], cache=cache)
    planned = model.new_cache(max_length=200, ntk="reserve")
    planned.plan([20])
    assert_close(logits, model(ids, cache=planned)[:, 10:])


@torch.inference_mode()
def test_reserve_fixes_alpha_for_the_whole_cache() -> None:
    ids = ids_of(TRAINED)
    cache = LONG.new_cache(max_length=4 * TRAINED, ntk="reserve")
    LONG(ids, cache=cache)
    assert cache.alphas == [ntk_alpha(4 * TRAINED, trained_length=TRAINED)] == [7.0]


@torch.inference_mode()
def test_half_precision_is_near_float32() -> None:
    expected = GROUPED(ids_of(12))
    for dtype in (torch.bfloat16, torch.float16):
        half = make_model(kv_heads=2, long=False).to(dtype)
        logits = half(ids_of(12))
        assert logits.dtype == dtype
        assert torch.nn.functional.cosine_similarity(logits.float(), expected, dim=-1).min() > 0.99


def test_training_has_neither_ntk_nor_logn() -> None:
    model = make_model()
    plain = make_model(long=False)
    ids = ids_of(3 * TRAINED)
    with torch.no_grad():
        assert not torch.allclose(model(ids), plain(ids))
        assert torch.equal(model.train()(ids), plain(ids))
        assert torch.equal(model(ids, cache=model.new_cache(max_length=3 * TRAINED)), plain(ids))


def test_tied_head_is_the_embedding() -> None:
    model = make_model(tied=True)
    assert model.head.weight is model.embedding.weight


def test_logn_scale_of_known_positions() -> None:
    scale = logn_scale(torch.tensor([[0, 15, 16, 255]]), trained_length=16).flatten()
    torch.testing.assert_close(scale, torch.tensor([1.0, 1.0, 1.0219, 2.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.tensor([[1, ROWS]]), f"token id {ROWS} is outside the model's {ROWS} rows"),
        (torch.tensor([[-1]]), "token id -1"),
        (torch.tensor([1, 2]), "shape"),
        (torch.empty((1, 0), dtype=torch.long), "not empty"),
        (torch.tensor([[0.5]]), "tensor of int64 or int32, found torch.float32"),
        ([[1, 2]], "found list"),
    ],
)
def test_wrong_ids_are_refused(ids: torch.Tensor, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        GROUPED(ids)


def test_cache_refuses_what_does_not_fit_or_match() -> None:
    with pytest.raises(PromptError, match="9 tokens do not fit a cache of 8"):
        GROUPED(ids_of(9), cache=GROUPED.new_cache(max_length=8))
    with pytest.raises(SettingError, match="2 sequences cannot continue 1"):
        GROUPED(ids_of(3), cache=GROUPED.new_cache(batch_size=2, max_length=8))
    with pytest.raises(SettingError, match="a plan needs 1 length, one a sequence, found 2"):
        GROUPED.new_cache(max_length=8).plan([1, 2])
    with pytest.raises(SettingError, match="a planned length must be a whole number"):
        GROUPED.new_cache(max_length=8).plan([-5])
    with pytest.raises(SettingError, match="ntk must be one of"):
        GROUPED.new_cache(max_length=8, ntk="never")  # type: ignore[arg-type]
    with pytest.raises(ResourceError, match=r"a cache of 1 x 1000000000000 tokens needs \d+\.\d GB"):
        GROUPED.new_cache(max_length=10**12)
    with pytest.raises(SettingError, match="lengths must be 1 numbers"):
        GROUPED(ids_of(3), lengths=[4])
