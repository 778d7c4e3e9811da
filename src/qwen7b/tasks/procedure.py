"""Procedures: named ways of testing, each with its own prompts, readings and arithmetic. They are never mixed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from qwen7b.config.checked import whole_number
from qwen7b.errors import SettingError

ORIGINAL_TOKENS = 512
"""The longest reply by the original's procedures: max_new_tokens of the released checkpoints."""


class Procedure(StrEnum):
    """A published score stands only beside one of the same procedure and split."""

    ORIGINAL_2023_08 = "original-2023-08"
    """What the scripts of the original's release did."""
    ORIGINAL_2023_12 = "original-2023-12"
    """What its last scripts did: they read numbers and letters out of replies better."""
    STANDARD = "standard"
    """What lm-eval 0.4.13 does today."""

    @property
    def is_original(self) -> bool:
        return self is not Procedure.STANDARD


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPlan:
    """What is run of a task, and how. A value of None is the task's own, which `Task.completed` fills in."""

    procedure: Procedure = Procedure.STANDARD
    chat: bool = False
    """Whether the prompt is a user's message, as for a model that was trained to chat."""
    split: str | None = None
    shots: int | None = None
    """How many solved examples are shown before each question."""
    subjects: tuple[str, ...] | None = None
    limit: int | None = None
    """How many items of each subject are run, from its start; None for all."""

    def __post_init__(self) -> None:
        if self.shots is not None:
            whole_number("shots", self.shots, minimum=0)
        if self.limit is not None:
            whole_number("limit", self.limit, minimum=1)

    def chosen_subjects(self, known: Sequence[str], *, task: str) -> list[str]:
        """The subjects to run, in the order of `known`. Raises SettingError for another name."""
        if self.subjects is None:
            return list(known)
        if unknown := [name for name in self.subjects if name not in known]:
            near = difflib.get_close_matches(unknown[0].lower().replace(" ", "_"), known, n=3)
            choice = " or ".join(near) if near else f"among {', '.join(known)}"
            raise SettingError(f"{task} has no subject {unknown[0]!r}: choose {choice}")
        return [name for name in known if name in self.subjects]
