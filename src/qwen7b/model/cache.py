"""The caches of the sequences that a pass works on together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from qwen7b.config.checked import whole_number
from qwen7b.errors import PromptError, SettingError, counted
from qwen7b.model.adapter_weights import AdapterWeights
from qwen7b.model.sequence_cache import SequenceCache


class Cache:
    """The sequences of a pass, each with a cache and a capacity of its own. It is cheap to make anew for each pass."""

    def __init__(self, sequences: Sequence[SequenceCache]) -> None:
        assert sequences
        self.sequences = list(sequences)

    @property
    def lengths(self) -> list[int]:
        """How many tokens of each sequence are in its cache."""
        return [sequence.length for sequence in self.sequences]

    @property
    def alphas(self) -> list[float]:
        """The NTK alpha of each sequence."""
        return [sequence.alpha for sequence in self.sequences]

    @property
    def adapters(self) -> list[AdapterWeights | None]:
        """The adapter of each sequence."""
        return [sequence.adapter for sequence in self.sequences]

    @property
    def max_pass_tokens(self) -> int:
        """The most tokens of a sequence that one pass adds."""
        return min(sequence.max_pass_tokens for sequence in self.sequences)

    @property
    def num_bytes(self) -> int:
        return sum(sequence.num_bytes for sequence in self.sequences)

    def plan(self, lengths: Sequence[int]) -> None:
        """Set how long each sequence will be with its whole prompt, so that alpha is chosen once for all its chunks.

        With ntk="reserve" it is the length at the very end, with the reply.
        """
        if len(lengths) != len(self.sequences):
            raise SettingError(
                f"a plan needs {counted(len(self.sequences), 'length')}, one a sequence, found {len(lengths)}"
            )
        planned = [whole_number("a planned length", length, minimum=0) for length in lengths]
        for sequence, length in zip(self.sequences, planned, strict=True):
            sequence.planned_length = length

    def lengths_after(self, counts: Sequence[int]) -> list[int]:
        """The sequences' lengths after `counts` more tokens each. Raises PromptError if one does not fit."""
        new_lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]
        for length, sequence in zip(new_lengths, self.sequences, strict=True):
            if length > sequence.capacity:
                raise PromptError(
                    f"{length} tokens do not fit a cache of {sequence.capacity}: make one with a larger max_length"
                )
        return new_lengths

    def choose_alphas(self, new_lengths: Sequence[int]) -> list[float]:
        """The NTK alpha of each sequence for a pass after which it has the length in `new_lengths`."""
        return [sequence.choose_alpha(length) for sequence, length in zip(self.sequences, new_lengths, strict=True)]

    def make_room(self, counts: Sequence[int]) -> None:
        """Give up the old positions whose slots a pass over so many new tokens takes."""
        for sequence, count in zip(self.sequences, counts, strict=True):
            sequence.make_room(count)

    def advance(self, new_ids: Sequence[Tensor], alphas: Sequence[float]) -> None:
        """Record the tokens of a finished pass, (T,) of each sequence, as part of the cache."""
        for sequence, ids, alpha in zip(self.sequences, new_ids, alphas, strict=True):
            sequence.advance(ids, alpha)
