"""Packed conversations: the same loss and gradients as one by one, in an order that is a function of the step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tiny
from qwen7b.errors import SettingError
from qwen7b.train.example_batches import ExampleBatches, ExampleOrder
from qwen7b.train.labels import TrainingExample
from qwen7b.train.loss import summed_loss
from qwen7b.train.micro_batch import NO_TARGET, labelled

VOCABULARY = 97


def example(length: int, *, seed: int, targets: bool = True) -> TrainingExample:
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCABULARY, length).astype(np.int32)
    labels = np.where(random.random(length) < 0.6, ids, NO_TARGET).astype(np.int32)
    labels[-1] = ids[-1]
    return TrainingExample(
        input_ids=ids, labels=labels if targets else np.full_like(ids, NO_TARGET), place=f"example {seed}"
    )


EXAMPLES = [example(length, seed=seed) for seed, length in enumerate([7, 12, 3, 12, 5, 30, 2])]


def plain_loss(model: torch.nn.Module, one: TrainingExample) -> torch.Tensor:
    """The sum over one example's targets, as a textbook has it."""
    logits = model(torch.from_numpy(one.input_ids).long()[None])[0, :-1]
    return F.cross_entropy(logits, torch.from_numpy(one.labels).long()[1:], ignore_index=NO_TARGET, reduction="sum")


@pytest.mark.parametrize("changes", [{"family": "qwen"}, {"family": "qwen2", "num_kv_heads": 2, "tied_head": True}])
def test_packed_equals_unpacked(changes: dict) -> None:
    model = tiny.model(**changes, trained_length=8, attention_windows=(0, 4)).train()
    batches = ExampleBatches(ExampleOrder(EXAMPLES, rows=len(EXAMPLES), micro_tokens=40, seed=0))(0)
    assert len(batches) > 1 and max(len(batch.sequences) for batch in batches) > 2
    packed = sum(summed_loss(model, batch) for batch in batches)
    packed.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    unpacked = sum(plain_loss(model, one) for one in EXAMPLES)
    unpacked.backward()
    torch.testing.assert_close(packed, unpacked, rtol=1e-5, atol=1e-5)
    for name, parameter in model.named_parameters():
        scale = float(parameter.grad.abs().max())
        assert float((parameter.grad - gradients[name]).abs().max()) <= 1e-5 * scale, name


def test_a_micro_batch_without_a_target_is_harmless() -> None:
    model = tiny.model(family="qwen2").train()
    nothing = example(6, seed=9, targets=False)
    batch = labelled([torch.from_numpy(nothing.input_ids).long()], [torch.from_numpy(nothing.labels).long()])
    loss = summed_loss(model, batch)
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_every_epoch_reads_every_example_once_in_an_order_of_its_own() -> None:
    order = ExampleOrder(EXAMPLES, rows=2, micro_tokens=99, seed=3)
    read = [one.place for step in range(7) for one in order.chosen(step)]
    names = sorted(one.place for one in EXAMPLES)
    first, second = read[:7], read[7:]
    assert sorted(first) == sorted(second) == names and first != second
    again = ExampleOrder(EXAMPLES, rows=2, micro_tokens=99, seed=3)
    assert [one.place for step in (5, 2) for one in again.chosen(step)] == [*read[10:12], *read[4:6]]
    other = ExampleOrder(EXAMPLES, rows=7, micro_tokens=99, seed=4)
    assert [one.place for one in other.chosen(0)] != first


def test_micro_batches_hold_all_tokens_of_a_step_and_no_more_than_asked() -> None:
    batches = ExampleBatches(ExampleOrder(EXAMPLES, rows=7, micro_tokens=20, seed=0))(0)
    assert sum(batch.num_tokens for batch in batches) == sum(len(one.input_ids) for one in EXAMPLES)
    assert sum(batch.num_targets for batch in batches) == sum(one.num_targets for one in EXAMPLES)
    assert all(batch.num_tokens <= 20 or len(batch.sequences) == 1 for batch in batches)


def test_what_makes_no_batches_is_refused() -> None:
    with pytest.raises(SettingError, match="no example"):
        ExampleOrder([], rows=1, micro_tokens=1, seed=0)
    with pytest.raises(SettingError, match="rows"):
        ExampleOrder(EXAMPLES, rows=0, micro_tokens=1, seed=0)
