"""MMLU: 57 subjects in English, from school to profession (Hendrycks et al. 2021, https://arxiv.org/abs/2009.03300)."""

from __future__ import annotations

from collections.abc import Mapping

from qwen7b.tasks.choice import ChoiceTask, options_of, options_text, words
from qwen7b.tasks.choice_reading import ChoiceReading, read_english_choice
from qwen7b.tasks.item import Item
from qwen7b.tasks.procedure import TaskPlan

_INTRODUCTION = "The following are multiple choice questions (with answers) about {}.\n\n"
_CHAT = (
    "The following is a multiple-choice question. Please choose the most suitable one among A, B, C and D as the "
    "answer to this question.\n\n"
)
_CONTEXT = 2048
"""The context of the original's script."""


class Mmlu(ChoiceTask):
    name = "mmlu"
    title = "MMLU"
    splits = ("test", "val")
    columns = ("question", "A", "B", "C", "D", "answer")
    has_header = False
    groups = {
        "STEM": words(
            "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science "
            "college_mathematics college_physics computer_security conceptual_physics electrical_engineering "
            "elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science "
            "high_school_mathematics high_school_physics high_school_statistics machine_learning"
        ),
        "Humanities": words(
            "formal_logic high_school_european_history high_school_us_history high_school_world_history "
            "international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory "
            "professional_law world_religions"
        ),
        "Social Sciences": words(
            "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics "
            "high_school_microeconomics high_school_psychology human_sexuality professional_psychology "
            "public_relations security_studies sociology us_foreign_policy"
        ),
        "Other": words(
            "business_ethics college_medicine human_aging management marketing medical_genetics miscellaneous "
            "nutrition professional_accounting professional_medicine virology global_facts clinical_knowledge"
        ),
    }

    def introduction(self, subject: str, plan: TaskPlan) -> str:
        if plan.chat and plan.procedure.is_original:
            return _CHAT
        return _INTRODUCTION.format(subject.replace("_", " "))

    def question(self, row: Mapping[str, str], plan: TaskPlan, *, answer: str | None) -> str:
        if plan.chat and plan.procedure.is_original:
            return f"{row['question']}\n{options_text(row)}\n"
        asked = f"Question: {row['question']}" if plan.procedure.is_original else row["question"].strip()
        text = f"{asked}\n{options_text(row)}\nAnswer:"
        return text if answer is None else f"{text} {answer}\n\n"

    def max_prompt_tokens(self, plan: TaskPlan) -> int | None:
        return _CONTEXT if plan.procedure.is_original else None

    def letter(self, item: Item, reply: str, plan: TaskPlan) -> ChoiceReading:
        return read_english_choice(reply, options_of(item.source))
