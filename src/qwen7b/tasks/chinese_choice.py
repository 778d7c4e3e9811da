"""What the two Chinese benchmarks of multiple choice, C-Eval and CMMLU, have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from qwen7b.tasks.choice import LETTERS, ChoiceTask, options_of, options_text
from qwen7b.tasks.choice_reading import CHINESE_2023_08, CHINESE_2023_12, ChoiceReading, read_chinese_choice
from qwen7b.tasks.item import Item
from qwen7b.tasks.procedure import Procedure, TaskPlan


class ChineseChoiceTask(ChoiceTask):
    """The original shows no introduction, asks for a letter without a space, and averages over subjects."""

    standard_introduction: ClassVar[str]
    """What the standard procedure begins with, with {} for the subject's Chinese name."""
    chinese_names: ClassVar[Mapping[str, str]]
    is_mean_of_subjects = True

    def introduction(self, subject: str, plan: TaskPlan) -> str:
        if plan.procedure.is_original:
            return ""
        return self.standard_introduction.format(self.chinese_names[subject]) + "\n\n"

    def question(self, row: Mapping[str, str], plan: TaskPlan, *, answer: str | None) -> str:
        if plan.procedure.is_original:
            if plan.chat:
                return f"{row['question']}\n\n{options_text(row)}\n"
            asked, space = f"问题：{row['question']}", ""
        else:
            asked, space = row["question"].strip(), " "
        text = f"{asked}\n{options_text(row)}\n答案："
        return text if answer is None else f"{text}{space}{answer}\n\n"

    def letter_texts(self, plan: TaskPlan) -> tuple[str, ...]:
        return LETTERS if plan.procedure.is_original else super().letter_texts(plan)

    def letter(self, item: Item, reply: str, plan: TaskPlan) -> ChoiceReading:
        patterns = CHINESE_2023_08 if plan.procedure is Procedure.ORIGINAL_2023_08 else CHINESE_2023_12
        return read_chinese_choice(reply, item.source["question"], options_of(item.source), patterns)


def subjects_of(named: str) -> list[str]:
    """
    >>> subjects_of("law:法学 logic:逻辑学")
    ['law', 'logic']
    """
    return [pair.partition(":")[0] for pair in named.split()]


def names_of(groups: Mapping[str, str]) -> dict[str, str]:
    """The Chinese name of each subject."""
    return dict(pair.split(":") for named in groups.values() for pair in named.split())
