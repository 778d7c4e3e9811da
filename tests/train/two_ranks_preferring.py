"""Preferences learned by two ranks: tests that both of them run, which test_ranks.py starts by torchrun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from qwen7b.adapters.settings import LoraSettings
from qwen7b.train.example_batches import ExampleOrder
from qwen7b.train.labels import TrainingExample
from qwen7b.train.mesh_settings import MeshSettings
from qwen7b.train.micro_batch import NO_TARGET
from qwen7b.train.preference_batches import PreferenceBatches
from qwen7b.train.preference_examples import PreferenceExample
from qwen7b.train.preference_loss import NO_PAIR, PreferenceBatch, PreferenceObjective, pairs_batch
from qwen7b.train.preference_recipe import PreferenceRecipe
from qwen7b.train.preferring import prefer
from qwen7b.train.ranks import ALONE, Ranks
from qwen7b.train.run_log import read_log
from train.tiny_training import small_model
from train.together import StoppedError, contents, gradients_of, stop_at

OBJECTIVE = PreferenceObjective(beta=0.3)


def pair(seed: int) -> PreferenceExample:
    drawn = np.random.default_rng(seed)
    prompt = drawn.integers(0, 97, 3)

    def answered() -> TrainingExample:
        answer = drawn.integers(0, 97, int(drawn.integers(1, 9)))
        ids = np.array([*prompt, *answer], np.int32)
        labels = np.where(np.arange(len(ids)) < len(prompt), NO_TARGET, ids)
        return TrainingExample(input_ids=ids, labels=labels, place=f"pair {seed}")

    return PreferenceExample(chosen=answered(), rejected=answered())


PAIRS = [pair(seed) for seed in range(5)]


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_one_process_with_two_accumulations(ranks: Ranks, recompute: bool) -> None:
    torch.manual_seed(0)
    parts = [pairs_batch(some, -5 * torch.rand(2, len(some))) for some in (PAIRS[:2], PAIRS[2:])]
    free: dict[str, Any] = {"objective": OBJECTIVE, "max_grad_norm": 1e9, "activation_checkpointing": recompute}
    record, expected = gradients_of(small_model(), parts, ALONE, **free)
    shared, actual = gradients_of(small_model(ranks=ranks), parts, ranks, **free)
    assert (shared.loss, shared.targets) == (record.loss, record.targets) and shared.logged == record.logged
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    clipped = {**free, "max_grad_norm": 0.01}
    _, expected = gradients_of(small_model(), parts, ALONE, **clipped)
    _, actual = gradients_of(small_model(ranks=ranks), parts, ranks, **clipped)
    for name in expected:
        assert (actual[name] - expected[name]).abs().max() <= 1e-6 * 0.01


def test_each_pair_counts_the_same_where_a_rank_has_fewer_or_none(ranks: Ranks) -> None:
    """A mean over ranks would weigh them wrongly; where the parts run out a rank computes nothing of use."""
    parts = [pairs_batch(some, torch.zeros(2, len(some))) for some in (PAIRS[:1], PAIRS[1:4], PAIRS[4:])]
    settings: dict[str, Any] = {"objective": OBJECTIVE, "nothing": NO_PAIR, "max_grad_norm": 1e9}
    for some in (parts, parts[:1]):
        record, expected = gradients_of(small_model(), some, ALONE, **settings)
        shared, actual = gradients_of(small_model(ranks=ranks), some, ranks, **settings)
        assert shared.loss == pytest.approx(record.loss, rel=1e-12) and shared.targets == record.targets
        assert shared.logged == pytest.approx(record.logged, rel=1e-6)
        for name in expected:
            torch.testing.assert_close(actual[name], expected[name], rtol=1e-5, atol=1e-7)


def test_every_rank_knows_the_reference_of_all_pairs(ranks: Ranks) -> None:
    order = ExampleOrder(PAIRS, rows=3, micro_tokens=22, seed=1)
    assert {len(order.parts(step)) for step in range(2, 6)} == {2, 3}
    alone, shared = PreferenceBatches(order), PreferenceBatches(order, ranks)
    alone.read_reference(small_model(), range(2, 6), dtype=torch.float32)
    shared.read_reference(small_model(ranks=ranks), range(2, 6), dtype=torch.float32)
    for step in range(2, 6):
        own = alone(step)[ranks.rank :: 2]
        for mine, expected in zip(shared(step), own, strict=False):
            assert isinstance(mine, PreferenceBatch) and isinstance(expected, PreferenceBatch)
            assert torch.equal(mine.reference, expected.reference)
        assert all(batch.num_terms == 0 for batch in shared(step)[len(own) :])


LORA = LoraSettings(targets=("q_proj", "down_proj"), rank=2, dropout=0.0)


@pytest.mark.parametrize(
    ("shards", "changes"),
    [(2, {}), (1, {}), (2, {"lora": LORA}), (2, {"lora": LORA, "quantize": "q8"})],
    ids=["sharded", "copied", "an adapter", "an adapter beside 8 bits"],
)
def test_a_run_goes_on_with_another_number_of_ranks(
    joined: Ranks,
    shards: int,
    changes: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two ranks, one process, two ranks: the same bits as an unbroken run, as a step has two parts."""
    monkeypatch.setattr("qwen7b.train.precision._SECONDS", 0.01)
    folder = Path(joined.on_first(lambda: str(tmp_path_factory.mktemp("preferring"))))
    monkeypatch.setenv("QWEN7B_CACHE", str(folder / f"cache{joined.rank}"))

    def write() -> None:
        tiny.write_folder(folder / "base", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)
        lines = [{"prompt": f"the {n}", "chosen": "hell " * n, "rejected": "her " * (4 - n)} for n in (1, 2, 3)]
        (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    joined.on_first(write)
    recipe = PreferenceRecipe(
        model=str(folder / "base"),
        data=(str(folder / "data.jsonl"),),
        rows=2,
        micro_tokens=1,  # a part for each pair
        steps=3,
        save_every=1,
        keep=1,
        beta=0.001,  # whose gradients are too small to be clipped, by a norm with another last digit
        learning_rate=1e-4,
        precision="float32",
        **changes,
    )

    def together(name: str) -> None:
        prefer(recipe, folder / name, device="cpu", mesh=MeshSettings(shards=shards))

    def alone(name: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORLD_SIZE", "1")
            prefer(recipe, folder / name, device="cpu")

    def alone_until_stopped(name: str) -> None:
        with pytest.raises(StoppedError):
            alone(name)

    joined.on_first(lambda: alone("alone"))
    together("shared")
    stop_at(1, monkeypatch)
    with pytest.raises(StoppedError):
        together("changing")
    stop_at(2, monkeypatch)
    joined.on_first(lambda: alone_until_stopped("changing"))
    stop_at(3, monkeypatch)
    together("changing")
    assert contents(folder / "changing") == contents(folder / "shared") == contents(folder / "alone")
    logs = [[*read_log(folder / name / "log.jsonl")] for name in ("alone", "shared", "changing")]
    for one, *others in zip(*logs, strict=True):
        assert one["accuracy"] <= 1 and one["grad_norm"] < 1
        for key in one:
            assert [other[key] for other in others] == pytest.approx([one[key]] * 2, rel=1e-5, abs=1e-9)
