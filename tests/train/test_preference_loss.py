"""Direct preference optimization: the loss is the paper's and TRL's, and its gradients a textbook's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tiny
from qwen7b.loading import load_model
from qwen7b.model import Transformer
from qwen7b.train.labels import TrainingExample
from qwen7b.train.micro_batch import NO_TARGET
from qwen7b.train.preference_examples import PreferenceExample
from qwen7b.train.preference_loss import PreferenceObjective, pair_logprobs, pairs_batch, preference_loss

BETA = 0.3
PAIRS = [([1, 2, 3], [4, 5, 9, 11], [6]), ([7, 8], [9], [10, 11, 40])]
"""Prompts, chosen and rejected answers."""
TRL_VALUES = {"loss": 0.9524621, "reward_chosen": -0.7115135, "reward_rejected": -0.25598, "margin": -0.4555335}
"""What TRL 1.16.0 makes of them, with torch 2.13.0: `test_trl_computes_the_same` where it is installed."""


def example(prompt: list[int], answer: list[int]) -> TrainingExample:
    ids = np.array([*prompt, *answer], np.int32)
    return TrainingExample(
        input_ids=ids, labels=np.where(np.arange(len(ids)) < len(prompt), NO_TARGET, ids), place="here"
    )


EXAMPLES = [
    PreferenceExample(chosen=example(prompt, chosen), rejected=example(prompt, rejected))
    for prompt, chosen, rejected in PAIRS
]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A reference, and a model that has moved away from it."""
    torch.manual_seed(0)
    tensors = tiny.qwen2_tensors()
    moved = {name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in tensors.items()}
    return (
        tiny.write_folder(tmp_path / "reference", tiny.QWEN2_CONFIG, tensors, tokenizer=True),
        tiny.write_folder(tmp_path / "model", tiny.QWEN2_CONFIG, moved, tokenizer=True),
    )


def our_loss(model: Transformer, reference: Transformer) -> tuple[torch.Tensor, dict[str, float]]:
    """The mean loss over the pairs, and the means of what is logged."""
    with torch.no_grad():
        before = pair_logprobs(reference, pairs_batch(EXAMPLES, torch.zeros(2, 2)), dtype=torch.float32)
    batch = pairs_batch(EXAMPLES, before)
    loss = PreferenceObjective(beta=BETA)(model, batch, dtype=torch.float32)
    assert (batch.num_terms, batch.num_targets) == (2, 9)
    return loss.total / 2, {name: value / 2 for name, value in loss.logged.items()}


def test_the_loss_and_its_gradients_are_a_textbook_s(folders: tuple[Path, Path]) -> None:
    reference, model = (load_model(folder, dtype="float32") for folder in folders)
    ours, logged = our_loss(model, reference)

    def logprob(model: Transformer, prompt: list[int], answer: list[int]) -> torch.Tensor:
        ids = torch.tensor([[*prompt, *answer]])
        likely = model(ids)[0, :-1].log_softmax(-1)
        return likely.gather(1, ids[0, 1:, None])[len(prompt) - 1 :].sum()

    losses, margins = [], []
    for prompt, *answers in PAIRS:
        chosen, rejected = (
            BETA * (logprob(model, prompt, answer) - logprob(reference, prompt, answer).detach()) for answer in answers
        )
        margins.append((chosen - rejected).item())
        losses.append(-F.logsigmoid(chosen - rejected))
    theirs = torch.stack(losses).mean()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    assert logged["margin"] == pytest.approx(sum(margins) / 2, abs=1e-5)
    assert logged["margin"] == pytest.approx(logged["reward_chosen"] - logged["reward_rejected"], abs=1e-6)
    assert logged["accuracy"] == sum(margin > 0 for margin in margins) / 2
    parameters = [*model.parameters()]
    for one, other in zip(*(torch.autograd.grad(loss, parameters) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=1e-4)


def test_a_model_that_is_its_own_reference_is_undecided(folders: tuple[Path, Path]) -> None:
    model = load_model(folders[1], dtype="float32")
    loss, logged = our_loss(model, model)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6) and set(logged.values()) == {0.0}
    losses, rewards = preference_loss(torch.tensor([[-1.0], [-9.0]]), torch.tensor([[-2.0], [-7.0]]), beta=0.5)
    assert rewards.tolist() == [[0.5], [-1.0]]
    assert losses.item() == pytest.approx(-math.log(1 / (1 + math.exp(-1.5))), abs=1e-6)


def test_the_values_are_those_of_trl(folders: tuple[Path, Path]) -> None:
    reference, model = (load_model(folder, dtype="float32") for folder in folders)
    loss, logged = our_loss(model, reference)
    assert {"loss": loss.item(), **logged} == pytest.approx({**TRL_VALUES, "accuracy": 0.0}, abs=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_trl_computes_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="TRL is not installed: pip install trl")
    datasets, transformers = pytest.importorskip("datasets"), pytest.importorskip("transformers")
    reference, model = (
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in folders
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folders[0] / "tokenizer.json"), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    settings: dict[str, Any] = {"use_cpu": True, "bf16": False, "report_to": []}
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=reference,
        args=trl.DPOConfig(output_dir=str(tmp_path / "out"), beta=BETA, **settings),
        train_dataset=datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=tokenizer,
    )
    fields = ("prompt_ids", "chosen_ids", "rejected_ids")
    inputs = trainer.data_collator([dict(zip(fields, pair, strict=True)) for pair in PAIRS])
    theirs = trainer.compute_loss(trainer.model.train(), dict(inputs))
    theirs.backward()
    own_reference, own = (load_model(folder, dtype="float32") for folder in folders)
    ours, logged = our_loss(own, own_reference)
    ours.backward()
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-5, rtol=0)
    metrics = trainer._metrics["train"]
    for name, metric in (("reward_chosen", "chosen"), ("reward_rejected", "rejected"), ("margin", "margins")):
        assert logged[name] == pytest.approx(metrics[f"rewards/{metric}"][0], abs=1e-5)
    theirs_grad = trainer.model.get_input_embeddings().weight.grad
    torch.testing.assert_close(own.embedding.weight.grad, theirs_grad, atol=1e-5, rtol=1e-4)
