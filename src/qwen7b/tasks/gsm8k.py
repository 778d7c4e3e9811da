"""GSM8K: word problems of school arithmetic (Cobbe et al. 2021, https://arxiv.org/abs/2110.14168)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from qwen7b.errors import PromptError, counted
from qwen7b.tasks.cuts import GSM8K_ORIGINAL_CUTS, GSM8K_STANDARD_CUTS
from qwen7b.tasks.homes import HOMES
from qwen7b.tasks.intervals import wilson_interval
from qwen7b.tasks.item import Item, Outcome, Reading, Summary, Text, text_hash
from qwen7b.tasks.number_reading import (
    NumberReading,
    read_base_number,
    read_chat_number_2023_08,
    read_chat_number_2023_12,
    read_flexible_number,
    read_strict_number,
)
from qwen7b.tasks.procedure import ORIGINAL_TOKENS, Procedure, TaskPlan
from qwen7b.tasks.table_files import Row, check_unique, read_json_lines
from qwen7b.tasks.task import Task

_HOME = HOMES["gsm8k"]
NUM_TRAIN = 7473
"""How many items the official training file has."""
_EXAMPLES = {
    8: (
        *("d97272d2652ff205", "d9655201db60eabf", "9ecbe4ab23b0051f", "9e72bae569796cdf"),
        *("17ce48ef200c6aff", "0326094058f9ca38", "dbd9ea0def142666", "22f45bbd4a6f44e7"),
    ),
    4: ("40c1a60c6ce4f679", "be2aceb8a7f5f0ac", "e8d5da7770dac5e8", "b6468982b0e9dcb0"),
}
"""The training items that the original's scripts show, by how many they show: beginnings of the questions' SHA-256."""
_SEED = 1234
"""What lm-eval draws its examples with."""
_CALCULATION = re.compile("<<.*?>>")
_STANDARD_TOKENS = 256
_MARK = "\n#### "
"""What stands before the number at the end of every official answer."""
_NUMBER_AT_END = re.compile(r"\n#### .*\d.*\Z")


class Gsm8k(Task):
    """A question's fields are question and answer, which ends in the number."""

    name = "gsm8k"
    title = "GSM8K"

    def usual_shots(self, plan: TaskPlan) -> tuple[int, ...]:
        if plan.procedure.is_original:
            return (0, 4) if plan.chat else (8,)
        return (5,)

    def files(self, folder: Path, plan: TaskPlan) -> list[Path]:
        return [folder / "test.jsonl", *([_train_path(folder)] if plan.shots else [])]

    def items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        rows = _test_rows(folder / "test.jsonl")[: plan.limit]
        train = _rows(_train_path(folder)) if plan.shots else []
        if plan.shots:
            _check_others(train, rows, path=_train_path(folder))
        ask = _original_item if plan.procedure.is_original else _standard_item
        examples = _examples(train, len(rows), plan, path=_train_path(folder))
        return [ask(row.cells, number, examples[number], plan) for number, row in enumerate(rows)]

    def seed(self, plan: TaskPlan) -> int | None:
        return _SEED if plan.shots and not plan.procedure.is_original else None

    def wanted(self, plan: TaskPlan) -> Text:
        if not plan.procedure.is_original:
            return Text(max_new_tokens=_STANDARD_TOKENS, stop=GSM8K_STANDARD_CUTS)
        return Text(max_new_tokens=ORIGINAL_TOKENS, stop=() if plan.chat else GSM8K_ORIGINAL_CUTS)

    def read(self, item: Item, output: str, plan: TaskPlan) -> Reading:
        found = _reader(plan)(output, item.source["answer"])
        return Reading(predicted=found.predicted or "", correct=found.correct)

    def summarize(self, outcomes: Sequence[Outcome], plan: TaskPlan) -> Summary:
        num_correct, num_items = sum(outcome.reading.correct is True for outcome in outcomes), len(outcomes)
        more: dict[str, float | None] = {}
        remark = ""
        if not plan.procedure.is_original:
            others = [read_flexible_number(outcome.output, outcome.item.source["answer"]) for outcome in outcomes]
            more["flexible-extract"] = 100 * sum(reading.correct is True for reading in others) / num_items
        elif num_fatal := sum(outcome.reading.correct is None for outcome in outcomes):
            left = num_items - num_fatal
            more["without items that stop the original"] = 100 * num_correct / left if left else None
            remark = f"The original's script would stop at {counted(num_fatal, 'item')}, counted as wrong here."
        return Summary(
            score=100 * num_correct / num_items,
            interval=wilson_interval(num_correct, num_items),
            groups={},
            more=more,
            remark=remark,
        )


def _train_path(folder: Path) -> Path:
    """The training file; without it one with its beginning, which the standard procedure can draw from."""
    whole, head = folder / "train.jsonl", folder / "train_head.jsonl"
    return head if head.exists() and not whole.exists() else whole


def _rows(path: Path) -> list[Row]:
    """The questions of a file."""
    rows = list(check_unique(read_json_lines(path, ("question", "answer")), "question"))
    if not rows:
        raise PromptError(f"{path} has no questions: is the download whole?")
    for row in rows:
        if not _NUMBER_AT_END.search(row.cells["answer"]):
            raise row.error("the answer should end in a line with '#### ' and a number")
    return rows


def _test_rows(path: Path) -> list[Row]:
    rows, known = _rows(path), {digest for digests in _EXAMPLES.values() for digest in digests}
    for row in rows:
        if _digest(row.cells) in known:
            raise row.error("this question is in the official train.jsonl: are the two files swapped?")
    return rows


def _check_others(train: Sequence[Row], rows: Sequence[Row], *, path: Path) -> None:
    """Raise PromptError where the training file has all the questions that are to be answered."""
    known = {row.cells["question"] for row in train}
    if all(row.cells["question"] in known for row in rows):
        raise PromptError(
            f"{path} has the questions of {rows[0].path} too, with their answers: {_HOME.advice(path.parent)}"
        )


def _digest(row: Mapping[str, str]) -> str:
    return text_hash(row["question"])


def _examples(train: Sequence[Row], num_items: int, plan: TaskPlan, *, path: Path) -> list[list[dict[str, str]]]:
    """The solved examples that are shown before each item."""
    shots = plan.shots or 0
    if not shots:
        return [[] for _ in range(num_items)]
    cells = [row.cells for row in train]
    if plan.procedure.is_original:
        by_hash = {_digest(row): row for row in cells}
        shown = [by_hash[digest] for digest in _EXAMPLES[shots] if digest in by_hash]
        if len(shown) < shots:
            raise PromptError(
                f"{path} has {len(shown)} of the {shots} examples that the original shows: {_HOME.advice(path.parent)}"
            )
        return [shown] * num_items
    if len(cells) < shots:
        raise PromptError(f"{path} has {len(cells)} questions, fewer than the {shots} to show")
    if len(cells) != NUM_TRAIN:
        warnings.warn(
            f"{path} has {len(cells):,} questions and not the official {NUM_TRAIN:,}, so that other examples are drawn "
            "than lm-eval's",
            stacklevel=2,
        )
    random = Random(_SEED)
    return [random.sample(cells, shots) for _ in range(num_items)]


def _original_item(row: Mapping[str, str], number: int, examples: Sequence[Mapping[str, str]], plan: TaskPlan) -> Item:
    prompt = row["question"]
    if examples:
        shown = "".join(f"{_original_question(example)}\n{_in_words(example['answer'])}\n\n" for example in examples)
        prompt = shown + _original_question(row) + ("" if plan.chat else "\n")
    return _item(row, number, prompt)


def _original_question(row: Mapping[str, str]) -> str:
    return f"Question: {row['question']}\nLet's think step by step"


def _in_words(answer: str) -> str:
    r"""An official answer without the notes for a calculator, and with its number in a sentence.

    >>> _in_words("3 + 4 = <<3+4=7>>7 eggs\n#### 7")
    '3 + 4 = 7 eggs\nThe answer is 7'
    """
    return _CALCULATION.sub("", answer).replace(_MARK, "\nThe answer is ")


def _standard_item(row: Mapping[str, str], number: int, examples: Sequence[Mapping[str, str]], plan: TaskPlan) -> Item:
    turns = tuple((_standard_question(example), example["answer"]) for example in examples)
    if plan.chat:
        return _item(row, number, _standard_question(row), turns)
    return _item(row, number, "".join(f"{asked} {told}\n\n" for asked, told in turns) + _standard_question(row))


def _standard_question(row: Mapping[str, str]) -> str:
    return f"Question: {row['question']}\nAnswer:"


def _item(row: Mapping[str, str], number: int, prompt: str, turns: tuple[tuple[str, str], ...] = ()) -> Item:
    answer = row["answer"].rpartition(_MARK)[2]
    return Item(subject=Gsm8k.name, row=number, prompt=prompt, turns=turns, answer=answer, source=row)


def _reader(plan: TaskPlan) -> Callable[[str, str], NumberReading]:
    if not plan.procedure.is_original:
        return read_strict_number
    if not plan.chat:
        return read_base_number
    return read_chat_number_2023_08 if plan.procedure is Procedure.ORIGINAL_2023_08 else read_chat_number_2023_12
