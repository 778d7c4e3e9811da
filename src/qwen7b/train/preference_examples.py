"""Pairs of answers as a model compares them: their ids, and which of these are the answer's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qwen7b.errors import PromptError
from qwen7b.train.labels import Labelling, TrainingExample
from qwen7b.train.micro_batch import NO_TARGET
from qwen7b.train.preferences import PreferencePair


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PreferenceExample:
    """Two examples with the same beginning, in which only what the assistant writes behind it is a target."""

    chosen: TrainingExample
    rejected: TrainingExample

    @property
    def num_tokens(self) -> int:
        return self.chosen.num_tokens + self.rejected.num_tokens


def label_pair(pair: PreferencePair, labelling: Labelling) -> PreferenceExample:
    """The example that a pair makes. Raises PromptError where an answer is too long, and what `label` raises."""
    asked = labelling.prompt_ids(pair.prompt, pair.chosen)
    chosen, rejected = (labelling.label(conversation) for conversation in (pair.chosen, pair.rejected))
    for name, example in (("chosen", chosen), ("rejected", rejected)):
        if example.num_cut_turns:
            raise PromptError(
                f"{example.place}: with the {name} answer it has more than the {labelling.max_length} tokens that an "
                "example may have, and an answer cannot be cut: raise the length, or drop the pair"
            )
    start = min(_shared(asked, chosen.input_ids), _shared(asked, rejected.input_ids))
    return PreferenceExample(chosen=_learned_from(chosen, start), rejected=_learned_from(rejected, start))


def label_pairs(pairs: Iterable[PreferencePair], labelling: Labelling) -> list[PreferenceExample]:
    """The examples of all pairs. Raises what `label_pair` raises."""
    return [label_pair(pair, labelling) for pair in pairs]


def _shared(ids: Sequence[int], others: np.ndarray) -> int:
    """How many ids two sequences have in common at their beginning."""
    count = min(len(ids), len(others))
    differs = np.flatnonzero(np.asarray(ids[:count]) != others[:count])
    return int(differs[0]) if len(differs) else count


def _learned_from(example: TrainingExample, start: int) -> TrainingExample:
    labels = example.labels.copy()
    labels[:start] = NO_TARGET
    return replace(example, labels=labels)
