"""Multiple choice: questions with four options, by subject. What MMLU, C-Eval and CMMLU have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from qwen7b.errors import PromptError
from qwen7b.tasks.choice_reading import ChoiceReading, check_fuzzy_match
from qwen7b.tasks.cuts import chat_text
from qwen7b.tasks.intervals import share_right
from qwen7b.tasks.item import Item, Letters, Outcome, Reading, Summary, Text
from qwen7b.tasks.procedure import ORIGINAL_TOKENS, Procedure, TaskPlan
from qwen7b.tasks.table_files import Row, check_unique, read_csv
from qwen7b.tasks.task import Task

LETTERS = ("A", "B", "C", "D")
NUM_EXAMPLES = 5
"""How many solved examples each subject of the official files has."""


class ChoiceTask(Task):
    """A question's fields are question, A, B, C, D and answer."""

    columns: ClassVar[tuple[str, ...]]
    """The names of these fields in the files, in that order."""
    id_column: ClassVar[str | None] = None
    has_header: ClassVar[bool] = True
    groups: ClassVar[Mapping[str, Sequence[str]]]
    """The subjects of each group; a subject may belong to several."""
    is_mean_of_subjects: ClassVar[bool] = False
    """Whether the original's score is the mean over subjects, not over items."""
    packages = ("thefuzz", "rapidfuzz")
    answerless_split: ClassVar[str] = ""
    """The split whose answers are not public."""

    def subjects(self) -> list[str]:
        return list(dict.fromkeys(subject for group in self.groups.values() for subject in group))

    def usual_shots(self, plan: TaskPlan) -> tuple[int, ...]:
        return (0,) if plan.chat and plan.procedure.is_original else (NUM_EXAMPLES,)

    def completed(self, plan: TaskPlan) -> TaskPlan:
        plan = super().completed(plan)
        return replace(plan, subjects=tuple(plan.chosen_subjects(self.subjects(), task=self.name)))

    def check_libraries(self, plan: TaskPlan) -> None:
        if isinstance(self.wanted(plan), Text):
            check_fuzzy_match()

    def path(self, folder: Path, split: str, subject: str) -> Path:
        """Where a subject's questions are."""
        return folder / split / f"{subject}_{split}.csv"

    def files(self, folder: Path, plan: TaskPlan) -> list[Path]:
        splits = ["dev", str(plan.split)] if plan.shots else [str(plan.split)]
        return [self.path(folder, split, subject) for subject in plan.subjects or () for split in splits]

    def items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        return [item for subject in plan.subjects or () for item in self._subject_items(folder, subject, plan)]

    def _subject_items(self, folder: Path, subject: str, plan: TaskPlan) -> list[Item]:
        split = str(plan.split)
        rows = self._rows(folder, split, subject, has_answers=split != self.answerless_split)
        # Without examples too: the questions of a folder that is swapped with dev's would pass for the test.
        is_there = self.path(folder, "dev", subject).is_file()
        examples = self._examples(folder, subject) if plan.shots or is_there else []
        if len(examples) < (plan.shots or 0):
            raise PromptError(
                f"{self.path(folder, 'dev', subject)} has {len(examples)} solved examples, fewer than the "
                f"{plan.shots} to show"
            )
        examples = examples[: plan.shots]
        system, before = "", self.introduction(subject, plan)
        turns: tuple[tuple[str, str], ...] = ()
        if plan.chat and not plan.procedure.is_original:  # as lm-eval does with --apply_chat_template
            system, before = before, ""
            turns = tuple((self.question(row, plan, answer=None), row["answer"]) for row in examples)
        else:
            before += "".join(self.question(row, plan, answer=row["answer"]) for row in examples)
        return [
            Item(
                subject=subject,
                row=number,
                system=system,
                turns=turns,
                prompt=before + self.question(row.cells, plan, answer=None),
                answer=row.cells.get("answer", ""),
                source=row.cells,
            )
            for number, row in enumerate(rows[: plan.limit])
        ]

    def _examples(self, folder: Path, subject: str) -> list[dict[str, str]]:
        rows = self._rows(folder, "dev", subject)
        if len(rows) > NUM_EXAMPLES:
            raise PromptError(
                f"{self.path(folder, 'dev', subject)} should have {NUM_EXAMPLES} solved examples, found {len(rows)} "
                "rows: are the folders of two splits swapped?"
            )
        return [row.cells for row in rows]

    def _rows(self, folder: Path, split: str, subject: str, *, has_answers: bool = True) -> list[Row]:
        path = self.path(folder, split, subject)
        columns = [*self.columns, *([self.id_column] if self.id_column is not None else [])]
        answer = self.columns[-1]
        rows = read_csv(path, columns, has_header=self.has_header, optional=() if has_answers else (answer,))
        if not rows:
            raise PromptError(f"{path} has no questions: is the download whole?")
        if self.id_column is not None:
            rows = list(check_unique(rows, self.id_column))
        return [self._question_row(row, has_answer=has_answers) for row in rows]

    def _question_row(self, row: Row, *, has_answer: bool) -> Row:
        """The row with our names of its fields."""
        names = dict(zip(self.columns, _FIELDS, strict=True))
        cells = {names.get(column, "id"): cell for column, cell in row.cells.items()}
        if has_answer and cells["answer"] not in LETTERS:
            raise row.error(f"the answer should be A, B, C or D, found {cells['answer']!r}")
        if not cells["question"].strip():
            raise row.error("the question is empty: is the download whole?")
        return Row(cells, row.path, row.line)

    def introduction(self, subject: str, plan: TaskPlan) -> str:
        """What comes before the examples."""
        return ""

    @abstractmethod
    def question(self, row: Mapping[str, str], plan: TaskPlan, *, answer: str | None) -> str:
        """One question as the plan's procedure words it: an example with its answer, or the last one without."""

    def wanted(self, plan: TaskPlan) -> Letters | Text:
        if plan.chat and plan.procedure.is_original:
            return Text(max_new_tokens=ORIGINAL_TOKENS)
        # After a chat's own frame the reply begins with the letter itself.
        texts = LETTERS if plan.chat else self.letter_texts(plan)
        return Letters(
            texts=texts, is_rounded=plan.procedure.is_original, max_prompt_tokens=self.max_prompt_tokens(plan)
        )

    def letter_texts(self, plan: TaskPlan) -> tuple[str, ...]:
        """What A to D are as texts after a prompt that ends in "Answer:"."""
        return tuple(f" {letter}" for letter in LETTERS)

    def max_prompt_tokens(self, plan: TaskPlan) -> int | None:
        return None

    def read(self, item: Item, output: str, plan: TaskPlan) -> Reading:
        letter, is_guess = output, False
        if isinstance(self.wanted(plan), Text):
            read = self.letter(item, chat_text(output), plan)
            letter, is_guess = read.letter, read.fuzzy
        return Reading(predicted=letter, correct=letter == item.answer if item.answer else None, is_guess=is_guess)

    @abstractmethod
    def letter(self, item: Item, reply: str, plan: TaskPlan) -> ChoiceReading:
        """The letter that a chat's reply means."""

    def averages_subjects(self, procedure: Procedure) -> bool:
        """Whether the score is the mean over subjects, not over items."""
        return self.is_mean_of_subjects and procedure.is_original

    def summarize(self, outcomes: Sequence[Outcome], plan: TaskPlan) -> Summary:
        known = [outcome for outcome in outcomes if outcome.reading.correct is not None]
        if not known:
            return Summary(score=None, interval=None, groups={})
        by_subject = _grouped(known, lambda reading: bool(reading.correct))
        is_mean = self.averages_subjects(plan.procedure)
        score, interval = share_right(list(by_subject.values()), is_mean=is_mean)
        groups = {
            name: share_right(own, is_mean=is_mean)[0]
            for name, members in self.groups.items()
            if (own := [by_subject[subject] for subject in members if subject in by_subject])
        }
        groups |= {subject: share_right([own], is_mean=is_mean)[0] for subject, own in by_subject.items()}
        more = {}
        if isinstance(self.wanted(plan), Text):
            strict = _grouped(known, lambda reading: bool(reading.correct) and not reading.is_guess)
            more["without guesses"] = share_right(list(strict.values()), is_mean=is_mean)[0]
        return Summary(score=score, interval=interval, groups=groups, more=more)


_FIELDS = ("question", *LETTERS, "answer")


def words(text: str) -> list[str]:
    """The names in a text, which blanks part."""
    return text.split()


def options_of(row: Mapping[str, str]) -> dict[str, str]:
    return {letter: row[letter] for letter in LETTERS}


def options_text(row: Mapping[str, str]) -> str:
    """The four options, a line each."""
    return "\n".join(f"{letter}. {row[letter]}" for letter in LETTERS)


def _grouped(outcomes: Iterable[Outcome], is_right: Callable[[Reading], bool]) -> dict[str, list[bool]]:
    """What is right, by subjects."""
    groups: dict[str, list[bool]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.item.subject, []).append(is_right(outcome.reading))
    return groups
