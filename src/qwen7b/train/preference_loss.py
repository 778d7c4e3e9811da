"""Direct preference optimization: the chosen answer of a pair becomes likelier than the rejected one.

    reward  = beta · (ln p(answer | prompt) - ln p_reference(answer | prompt)), summed over the answer's tokens
    loss    = -ln sigmoid(reward of the chosen - reward of the rejected), the mean over pairs

Likelier is measured against a reference, the model before training. Rafailov et al., https://arxiv.org/abs/2305.18290
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qwen7b.model import Transformer
from qwen7b.train.example_batches import examples_batch
from qwen7b.train.loss import target_losses
from qwen7b.train.micro_batch import NO_TARGET, NOTHING, MicroBatch
from qwen7b.train.objective import BatchLoss
from qwen7b.train.preference_examples import PreferenceExample


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceBatch(MicroBatch):
    """Pairs of sequences: first all that were chosen, then all that were rejected.

    reference  (2, pairs) ln p of each under the reference
    """

    reference: Tensor

    @property
    def num_terms(self) -> int:
        return len(self.sequences) // 2


NO_PAIR = PreferenceBatch(sequences=NOTHING.sequences, targets=NOTHING.targets, reference=torch.zeros(2, 0))
"""One token that belongs to no pair."""


def preference_loss(logprobs: Tensor, reference: Tensor, *, beta: float) -> tuple[Tensor, Tensor]:
    """The loss (pairs) and the rewards (2, pairs) of ln p (2, pairs) of what was chosen and of what was rejected."""
    rewards = beta * (logprobs - reference)
    return -F.logsigmoid(rewards[0] - rewards[1]), rewards


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceObjective:
    """The sum over pairs of their loss; logged are the rewards, their margin, and the share of pairs it is positive."""

    beta: float

    def __call__(self, model: Transformer, batch: MicroBatch, *, dtype: torch.dtype) -> BatchLoss:
        assert isinstance(batch, PreferenceBatch)
        logprobs = pair_logprobs(model, batch, dtype=dtype)
        losses, rewards = preference_loss(logprobs, batch.reference.to(logprobs.device), beta=self.beta)
        chosen, rejected = rewards.detach()
        logged = {
            "reward_chosen": chosen,
            "reward_rejected": rejected,
            "margin": chosen - rejected,
            "accuracy": (chosen > rejected).float(),
        }
        return BatchLoss(total=losses.sum(), logged={name: value.sum().item() for name, value in logged.items()})


def pair_logprobs(model: Transformer, batch: MicroBatch, *, dtype: torch.dtype) -> Tensor:
    """ln p (2, pairs) of what was chosen and of what was rejected, all targets of a sequence together, as float32."""
    losses = target_losses(model, batch, dtype=dtype)
    lengths = torch.tensor([len(ids) for ids in batch.sequences])
    sequences = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[batch.targets != NO_TARGET]
    logprobs = -losses.new_zeros(len(lengths)).index_add(0, sequences.to(losses.device), losses)
    return logprobs[: 2 * batch.num_terms].view(2, -1)


def pairs_batch(examples: Sequence[PreferenceExample], reference: Tensor) -> PreferenceBatch:
    """The micro-batch of some pairs, whose reference (2, pairs) is known."""
    batch = examples_batch([*(one.chosen for one in examples), *(one.rejected for one in examples)])
    return PreferenceBatch(sequences=batch.sequences, targets=batch.targets, reference=reference)
