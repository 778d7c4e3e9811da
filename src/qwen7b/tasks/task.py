"""What a task is: its files, its prompts, what the model is asked for, and how an output is read and scored."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from qwen7b.errors import PromptError, SettingError
from qwen7b.tasks.homes import Home, benchmark_folder, home_of
from qwen7b.tasks.item import Item, Letters, Outcome, Reading, Summary, Text
from qwen7b.tasks.procedure import TaskPlan

_MAX_NEAR = 100
"""In how many folders within one that lacks the files they are looked for."""


class Task(ABC):
    """A benchmark. Methods take a plan that `completed` returned."""

    name: ClassVar[str]
    title: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ("test",)
    """The parts that can be run, the usual one first."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Libraries that readings or scores depend on."""
    runs_code: ClassVar[bool] = False
    """Whether outputs are code that has to run, as `Reading.program`."""

    def completed(self, plan: TaskPlan) -> TaskPlan:
        """The plan with the task's own values for what it leaves open. Raises SettingError for what it cannot have."""
        if plan.subjects is not None and not self.subjects():
            raise SettingError(f"{self.name} has no subjects: drop them")
        split = plan.split or self.splits[0]
        if split not in self.splits:
            raise SettingError(f"{self.name} has no split {split!r}: choose {' or '.join(self.splits)}")
        usual = self.usual_shots(plan)
        shots = usual[0] if plan.shots is None else plan.shots
        if plan.procedure.is_original and shots not in usual:
            raise SettingError(
                f"{self.name} by {plan.procedure}{' with chat' if plan.chat else ''} shows "
                f"{' or '.join(map(str, usual))} examples, found {shots}: drop shots, or choose the procedure standard"
            )
        return replace(plan, split=split, shots=shots)

    def check_libraries(self, plan: TaskPlan) -> None:
        """Raise MissingExtraError for a library that readings or scores need: rather than after hours of replies."""
        return None

    def subjects(self) -> list[str]:
        """The subjects that a plan may choose among, if the task has any."""
        return []

    def seed(self, plan: TaskPlan) -> int | None:
        """The seed by which examples or completions are drawn; None where nothing is."""
        return None

    def scored_by(self, plan: TaskPlan) -> str | None:
        """What a library that scores says of its settings; None where none does."""
        return None

    def remark(self, plan: TaskPlan) -> str:
        """What must be known beside the score; empty where that is nothing."""
        return ""

    @abstractmethod
    def usual_shots(self, plan: TaskPlan) -> tuple[int, ...]:
        """How many examples the plan's procedure shows, its default first; the original ones show no other number."""

    @abstractmethod
    def files(self, folder: Path, plan: TaskPlan) -> list[Path]:
        """The files that the items come from."""

    @abstractmethod
    def items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        """The questions. Raises PromptError, with the file and line, for a file that is missing or damaged."""

    def found_items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        """The questions. Raises PromptError as `items` does; for a file that is not there, with how to get it."""
        home = self.home()
        missing = next((path for path in self.files(folder, plan) if not path.exists()), None)
        if missing is not None and home is not None:
            if folder.is_file():
                raise PromptError(f"{folder} is a file: name the folder that has the files of {self.name}")
            if near := self._near(folder, plan):
                raise PromptError(f"{missing} is not there, and {near} has the files of {self.name}: name that folder")
            raise PromptError(f"{missing} is not there: {home.advice(folder)}")
        return self.items(folder, plan)

    def _near(self, folder: Path, plan: TaskPlan) -> Path | None:
        """A folder that has the files, where `folder` is too high or too low by a level or two."""
        near = [folder.parent, folder.parent.parent] if folder.is_dir() else []
        for pattern in ("*", "*/*"):
            with suppress(OSError):  # a folder that may not be read has nothing for us
                near += sorted(itertools.islice(filter(Path.is_dir, folder.glob(pattern)), _MAX_NEAR))
        return next((other for other in near if all(path.exists() for path in self.files(other, plan))), None)

    def home(self) -> Home | None:
        """Where the files come from, if they have a public home."""
        return home_of(self.name)

    def folder_name(self) -> str:
        """What the folder of its files is called, beside those of other tasks."""
        home = self.home()
        return home.name if home else self.name

    def default_folder(self) -> Path:
        """Where the files are looked for if no folder is named."""
        return benchmark_folder(self.folder_name())

    @abstractmethod
    def wanted(self, plan: TaskPlan) -> Letters | Text:
        """What the model is asked for after each prompt."""

    @abstractmethod
    def read(self, item: Item, output: str, plan: TaskPlan) -> Reading:
        """What an output answers: a text of the model, or the letter that it thinks the likeliest."""

    def checker(self, folder: Path) -> list[str] | None:
        """A program that says which calls are right, with its arguments, where the task has one.

        It is a Python script that needs nothing of qwen7b: for each line of JSON, a reading's `checked`, it writes one
        with "valid" and "error".
        """
        return None

    def decide(
        self, item: Item, output: str, plan: TaskPlan, reading: Reading, *, passed: bool, printed: str
    ) -> Reading:
        """The reading of an output whose program has run: whether that passed, and what it wrote."""
        return replace(reading, correct=passed)

    @abstractmethod
    def summarize(self, outcomes: Sequence[Outcome], plan: TaskPlan) -> Summary:
        """The score of outcomes, which need not be all."""
