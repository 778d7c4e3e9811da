"""The loop: gradients of a whole step, clipped, spikes left out, and what is no number named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from qwen7b.errors import TrainingError
from qwen7b.model import Transformer
from qwen7b.train.loop import Spikes, computing_gradients, take_step
from qwen7b.train.loss import head_loss, summed_loss
from qwen7b.train.micro_batch import NO_TARGET, MicroBatch, labelled
from qwen7b.train.optimizer_settings import AdamW, Muon
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.run_log import StepRecord
from train.tiny_training import random_batches, settings, small_model


def step_of(model: Transformer, batches: list[MicroBatch], *, step: int = 5, **changes: Any) -> StepRecord:
    """A step after the warm-up."""
    recipe = settings(**changes)
    spikes = Spikes(recipe.spike_factor)
    return take_step(model, Optimizers(recipe.optimizer, model), batches, recipe, step=step, spikes=spikes)


def merged(batches: list[MicroBatch]) -> MicroBatch:
    return MicroBatch(
        sequences=tuple(one for batch in batches for one in batch.sequences),
        targets=torch.cat([batch.targets for batch in batches]),
    )


def test_the_loss_is_what_the_model_s_forward_says() -> None:
    model, (batch, _) = small_model().train(), random_batches(0)
    logits = torch.cat([model(ids[None])[0] for ids in batch.sequences])
    expected = F.cross_entropy(logits, batch.targets, ignore_index=NO_TARGET, reduction="sum")
    torch.testing.assert_close(summed_loss(model, batch), expected)


def test_labels_stand_at_their_own_token() -> None:
    ids, labels = torch.tensor([5, 6, 7, 8]), torch.tensor([NO_TARGET, NO_TARGET, 7, 8])
    batch = labelled([ids, ids[:2]], [labels, ids[:2]])
    assert batch.targets.tolist() == [NO_TARGET, 7, 8, NO_TARGET, 6, NO_TARGET]
    assert (batch.num_tokens, batch.num_targets) == (6, 3)


def test_sequences_of_a_micro_batch_see_nothing_of_each_other() -> None:
    model = small_model()
    ids = torch.arange(1, 30)
    parts = [ids[:10], ids[10:13], ids[13:]]
    together = summed_loss(model, labelled(parts, parts))
    alone = sum(summed_loss(model, labelled([part], [part])) for part in parts)
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("optimizer", [AdamW(), Muon()], ids=["adamw", "muon"])
def test_a_step_in_parts_is_the_step_in_one(optimizer: AdamW | Muon) -> None:
    batches = random_batches(0, parts=4, rows=1)
    models = [small_model(), small_model()]
    records = [
        step_of(model, parts, optimizer=optimizer)
        for model, parts in zip(models, (batches, [merged(batches)]), strict=True)
    ]
    assert records[0].loss == pytest.approx(records[1].loss, abs=1e-6)
    assert records[0].grad_norm == pytest.approx(records[1].grad_norm, rel=1e-5)
    assert (records[0].tokens, records[0].targets) == (48, 44)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_parts_of_different_numbers_of_targets_weigh_as_much_as_their_targets() -> None:
    """What a mean of means would get wrong."""
    ids = torch.arange(1, 21)
    few = torch.full((20,), NO_TARGET)
    few[3] = ids[3]
    parts = [labelled([ids], [few]), labelled([ids + 30], [ids + 30])]
    losses = [summed_loss(small_model(), part).item() for part in parts]
    assert step_of(small_model(), parts).loss == pytest.approx(sum(losses) / 20)


def test_a_micro_batch_without_a_target_is_harmless() -> None:
    ids = torch.arange(1, 10)
    empty = labelled([ids], [torch.full_like(ids, NO_TARGET)])
    models = [small_model(), small_model()]
    batches = random_batches(0)
    records = [step_of(model, parts) for model, parts in zip(models, (batches, [empty, *batches]), strict=True)]
    assert records[0].loss == records[1].loss and records[0].targets == records[1].targets
    assert all(torch.equal(*pair) for pair in zip(*(model.parameters() for model in models), strict=True))


def test_a_step_without_a_target_is_refused() -> None:
    ids = torch.arange(1, 10)
    with pytest.raises(TrainingError, match="step 6 has no token to learn"):
        step_of(small_model(), [labelled([ids], [torch.full_like(ids, NO_TARGET)])])


def test_layers_that_are_computed_again_have_the_same_gradients() -> None:
    models = [small_model(), small_model()]
    records = [
        step_of(model, random_batches(0), activation_checkpointing=again)
        for model, again in zip(models, (False, True), strict=True)
    ]
    assert records[0] == records[1]
    assert all(torch.equal(*pair) for pair in zip(*(model.parameters() for model in models), strict=True))
    assert models[1].runner is models[0].runner


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_head_s_loss_is_the_same_in_parts(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen7b.train.loss._CHUNK_LOGITS", 3 * 50)  # three rows
    hidden, weight = torch.randn(20, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    targets = torch.randint(0, 50, (20,))
    actual = head_loss(hidden, weight, targets, dtype=dtype)
    actual_grads = torch.autograd.grad(actual, (hidden, weight))
    expected = F.cross_entropy(F.linear(hidden.to(dtype), weight.to(dtype)).float(), targets, reduction="sum")
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-5)
    close = {"atol": 1e-5, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 2e-2, "rtol": 2e-2}
    for one, other in zip(actual_grads, torch.autograd.grad(expected, (hidden, weight)), strict=True):
        torch.testing.assert_close(one, other, **close)


def test_bfloat16_learns_about_the_same() -> None:
    model = small_model()
    exact, rounded = (
        summed_loss(model, random_batches(0)[0], dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    assert rounded.dtype == torch.float32 and rounded.item() == pytest.approx(exact.item(), rel=1e-3)
    rounded.backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


def gradient(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


@pytest.mark.parametrize("share", [0.3, 0.9, 2.0])
def test_gradients_are_cut_down_to_the_limit_of_their_common_norm(share: float) -> None:
    """As torch's own function cuts those of the step's mean loss; a limit above the norm changes nothing."""
    model, reference, batches = small_model(), small_model(), random_batches(0)
    with computing_gradients(reference, again=False):
        total = torch.stack([summed_loss(reference, batch) for batch in batches]).sum()
        (total / sum(batch.num_targets for batch in batches)).backward()
    parameters = [*reference.parameters()]
    norm = torch.nn.utils.get_total_norm([gradient(parameter) for parameter in parameters]).item()
    torch.nn.utils.clip_grad_norm_(parameters, share * norm)
    kept: list[torch.Tensor] = []

    class Kept(Optimizers):
        def step(self, *, rate: float) -> None:
            kept.extend(map(gradient, self.trained.values()))

    recipe = settings(max_grad_norm=share * norm)
    record = take_step(model, Kept(AdamW(), model), batches, recipe, step=5, spikes=Spikes(10.0))
    assert record.grad_norm == pytest.approx(norm, rel=1e-5)  # as it was
    for actual, parameter in zip(kept, parameters, strict=True):
        torch.testing.assert_close(actual, parameter.grad, atol=1e-8, rtol=1e-4)


def test_a_spike_changes_nothing() -> None:
    recipe = settings(steps=100, spike_factor=4.0)
    model = small_model()
    optimizers, spikes = Optimizers(recipe.optimizer, model), Spikes(recipe.spike_factor)
    for _ in range(16):
        spikes.note(1e-6)
    before = [parameter.clone() for parameter in model.parameters()]
    record = take_step(model, optimizers, random_batches(0), recipe, step=50, spikes=spikes)
    assert record.skipped and record.entry()["skipped"] is True
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    assert optimizers.tensors() == {}


def test_of_few_steps_none_is_a_spike_and_of_many_the_median_counts() -> None:
    spikes = Spikes(2.0)
    for _ in range(15):
        spikes.note(1.0)
        assert not spikes.is_spike(1000.0)
    spikes.note(1.0)
    assert spikes.is_spike(2.1) and not spikes.is_spike(1.9)


def test_an_infinite_weight_is_named_with_its_step() -> None:
    model = small_model()
    with torch.no_grad():
        model.layers[1].feed_forward.gate.weight[3, 4] = torch.inf
    with pytest.raises(TrainingError, match=r"step 6 .*the weight layers\.1\.feed_forward\.gate\.weight is not finite"):
        step_of(model, random_batches(0))


def test_the_first_layer_whose_output_overflows_is_named() -> None:
    model = small_model()
    with torch.no_grad():
        model.layers[1].attention.output.weight.fill_(1e38)
        model.layers[1].attention.qkv.weight.fill_(1e20)
    with pytest.raises(TrainingError, match=r"the output of layers\.1\.attention\.\w+ is not finite, in micro-batch 0"):
        step_of(model, random_batches(0))


def test_the_last_layer_whose_gradient_overflows_is_named() -> None:
    model = small_model()
    weight = model.layers[0].feed_forward.down.weight
    weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(TrainingError, match=r"the gradient of layers\.0\.feed_forward\.down\.weight is not finite"):
        step_of(model, random_batches(0))


def test_muon_has_the_layers_matrices_and_adamw_the_rest() -> None:
    model = small_model()
    optimizers = Optimizers(Muon(), model)
    step_of_all = take_step(
        model, optimizers, random_batches(0), settings(optimizer=Muon()), step=3, spikes=Spikes(10.0)
    )
    assert not step_of_all.skipped
    kinds = {key.partition(".")[2].rpartition(".")[0]: key.partition(".")[0] for key in optimizers.tensors()}
    assert kinds.keys() == dict(model.named_parameters()).keys()
    matrices = {name for name, kind in kinds.items() if kind == "muon"}
    assert matrices == {
        f"layers.{layer}.{part}.weight"
        for layer in range(2)
        for part in ("attention.qkv", "attention.output", "feed_forward.gate", "feed_forward.up", "feed_forward.down")
    }


def test_only_what_requires_gradients_is_trained() -> None:
    model = small_model()
    model.requires_grad_(False)
    model.norm.weight.requires_grad_(True)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    step_of(model, random_batches(0))
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {"norm.weight"}
