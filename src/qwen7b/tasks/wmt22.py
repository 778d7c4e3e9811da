"""WMT22: news, talk and shops' texts, from English to Chinese and back (Kocmi et al. 2022).

The original ran lm-eval 0.3.0, which shows examples out of the very texts to translate, and cuts Chinese into words
for a tokenizer that knows none. The standard procedure words its prompts as lm-eval 0.4.13 does those of WMT16, shows
examples only out of other texts, and scores Chinese by characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from qwen7b.errors import PromptError, SettingError
from qwen7b.tasks import translation_scores as scores
from qwen7b.tasks.homes import Home
from qwen7b.tasks.item import Item, Outcome, Reading, Summary, Text
from qwen7b.tasks.procedure import TaskPlan
from qwen7b.tasks.table_files import read_lines
from qwen7b.tasks.task import Task

_LANGUAGES = {"en": "English", "zh": "Chinese"}
_NUM_EXAMPLES = 5
_ORIGINAL_SEED = 42
_STANDARD_SEED = 1234
_MAX_NEW_TOKENS = 256
_HAN = re.compile("[\u4e00-\u9fff]")
_FILES = (("{pair}.src.{source}", "{pair}.ref.{target}"), ("wmt22.{pair}.src", "wmt22.{pair}.ref-A"))
"""Names of the source and the reference: an own choice, and what sacrebleu calls those that it has fetched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextPair:
    """A text and its translation, line by line."""

    source: Path
    reference: Path

    def read(self) -> list[tuple[str, str]]:
        """The segments with their translations. Raises PromptError where lines are missing in one or both files."""
        source, reference = ([line.rstrip() for line in read_lines(path)] for path in (self.source, self.reference))
        if len(source) != len(reference):
            raise PromptError(
                f"{self.source} has {len(source):,} lines and {self.reference} has {len(reference):,}: a line should "
                "be the translation of the other file's line of the same number"
            )
        if source == [""]:
            raise PromptError(f"{self.source} is empty: is the download whole?")
        for path, lines in ((self.source, source), (self.reference, reference)):
            if "" in lines:
                raise PromptError(f"{path}, line {lines.index('') + 1}: the line is empty: is the download whole?")
        return list(zip(source, reference, strict=True))


class Wmt22(Task):
    """One direction. `texts` are the files to translate, where not those of the folder; `examples` are others."""

    source: ClassVar[str]
    target: ClassVar[str]
    packages = ("sacrebleu", "jieba")

    def __init__(self, texts: TextPair | None = None, examples: TextPair | None = None) -> None:
        self.texts = texts
        self.examples = examples

    def completed(self, plan: TaskPlan) -> TaskPlan:
        plan = super().completed(plan)
        if plan.procedure.is_original and self.examples:
            raise SettingError(
                f"{self.name} by {plan.procedure} takes its examples from the texts to translate: drop the other "
                "texts, or choose the procedure standard"
            )
        if not plan.procedure.is_original and bool(plan.shots) != bool(self.examples):
            raise SettingError(
                f"{self.name} shows {plan.shots} examples, and texts to take them from are "
                f"{'given' if self.examples else 'missing'}: give both or neither (--shots, --shots-src, --shots-ref)"
            )
        return plan

    def check_libraries(self, plan: TaskPlan) -> None:
        scores.check_libraries()

    def seed(self, plan: TaskPlan) -> int | None:
        if not plan.shots:
            return None
        return _ORIGINAL_SEED if plan.procedure.is_original else _STANDARD_SEED

    def usual_shots(self, plan: TaskPlan) -> tuple[int, ...]:
        return (_NUM_EXAMPLES,) if plan.procedure.is_original or self.examples else (0,)

    @property
    def pair(self) -> str:
        return f"{self.source}-{self.target}"

    def home(self) -> Home | None:
        return super().home() if self.texts is None else None

    def files(self, folder: Path, plan: TaskPlan) -> list[Path]:
        pairs = [self._texts(folder), *([self.examples] if self.examples else [])]
        return [path for pair in pairs for path in (pair.source, pair.reference)]

    def _texts(self, folder: Path) -> TextPair:
        if self.texts is not None:
            return self.texts
        names = {"pair": self.pair, "source": self.source, "target": self.target}
        found = [
            TextPair(source=folder / source.format(**names), reference=folder / reference.format(**names))
            for source, reference in _FILES
        ]
        return next((pair for pair in found if pair.source.exists()), found[0])

    def items(self, folder: Path, plan: TaskPlan) -> list[Item]:
        texts = self._checked(self._texts(folder))
        drawn = self._drawn_as_originally(texts, plan) if plan.procedure.is_original else self._drawn(texts, plan)
        return [
            Item(
                subject=self.pair,
                row=row,
                prompt="".join(self._phrase(pair, plan) for pair in examples) + self._question(texts[row][0]),
                answer=texts[row][1],
                source={"source": texts[row][0], "reference": texts[row][1]},
            )
            for row, examples in drawn
        ]

    def _checked(self, files: TextPair) -> list[tuple[str, str]]:
        """The segments. Raises PromptError where the file of the one language has that of the other."""
        segments = files.read()
        num_source, num_target = (sum(len(_HAN.findall(text)) for text in side) for side in zip(*segments, strict=True))
        if num_source > num_target if self.target == "zh" else num_target > num_source:
            raise PromptError(
                f"{files.source} should be {_LANGUAGES[self.source]} and {files.reference} "
                f"{_LANGUAGES[self.target]}, and the first has {num_source:,} Chinese characters and the second "
                f"{num_target:,}: are they swapped, or of the other direction?"
            )
        return segments

    def _drawn_as_originally(
        self, texts: Sequence[tuple[str, str]], plan: TaskPlan
    ) -> Iterator[tuple[int, list[tuple[str, str]]]]:
        """The rows in the order in which lm-eval 0.3.0 takes them, each with its examples.

        One generator first shuffles the rows, and then draws one example more than needed, in case it is the row's own.
        """
        shots = plan.shots or 0
        if len(texts) <= shots:
            raise PromptError(
                f"{self.name} by {plan.procedure} shows {shots} other lines before each, and there are {len(texts)}: "
                "give the whole file"
            )
        random = Random(_ORIGINAL_SEED)
        rows = list(range(len(texts)))
        random.shuffle(rows)
        for row in rows[: plan.limit]:
            drawn = random.sample(texts, shots + 1)
            yield row, [pair for pair in drawn if pair != texts[row]][:shots]

    def _drawn(self, texts: Sequence[tuple[str, str]], plan: TaskPlan) -> Iterator[tuple[int, list[tuple[str, str]]]]:
        """The rows in the file's order, each with examples as lm-eval 0.4.13 draws them."""
        pool = self._checked(self.examples) if self.examples else []
        if len(pool) < (plan.shots or 0):
            where = self.examples.source if self.examples else "nothing"
            raise PromptError(f"{where} has {len(pool)} lines, fewer than the {plan.shots} to show")
        if set(texts) <= set(pool):
            assert self.examples is not None
            raise PromptError(
                f"{self.examples.source} has all lines of the texts to translate, and {self.examples.reference} their "
                "translations: take the examples from other texts"
            )
        random = Random(_STANDARD_SEED)
        for row in range(len(texts))[: plan.limit]:
            yield row, random.sample(pool, plan.shots or 0)

    def _phrase(self, pair: tuple[str, str], plan: TaskPlan) -> str:
        # lm-eval 0.4.13 puts its usual space before a translation that begins with one.
        space = " " if plan.procedure.is_original else "  "
        return f"{self._question(pair[0])}{space}{pair[1]}\n\n"

    def _question(self, source: str) -> str:
        return f"{_LANGUAGES[self.source]} phrase: {source}\n{_LANGUAGES[self.target]} phrase:"

    def wanted(self, plan: TaskPlan) -> Text:
        return Text(max_new_tokens=_MAX_NEW_TOKENS, stop=("\n",))

    def read(self, item: Item, output: str, plan: TaskPlan) -> Reading:
        return Reading(predicted=self._scored_text(output, plan), correct=None)

    def _scored_text(self, text: str, plan: TaskPlan) -> str:
        is_cut = self.target == "zh" and plan.procedure.is_original
        return scores.spaced_words(text) if is_cut else text.strip()

    def _tokenizer(self, plan: TaskPlan) -> str:
        return "zh" if self.target == "zh" and not plan.procedure.is_original else "13a"

    def scored_by(self, plan: TaskPlan) -> str:
        return scores.bleu_signature(self._tokenizer(plan))

    def remark(self, plan: TaskPlan) -> str:
        if not plan.procedure.is_original:
            return ""
        remarks = []
        if plan.chat:
            remarks += [
                "The original let base models translate, and never asked in a chat: that is a choice of qwen7b."
            ]
        if self.target == "zh":
            remarks += [
                "This BLEU is of words that jieba cut, with examples from the texts to translate: it cannot be "
                "compared with any BLEU of Chinese by sacrebleu's tokenizer zh."
            ]
        return " ".join(remarks)

    def summarize(self, outcomes: Sequence[Outcome], plan: TaskPlan) -> Summary:
        if not outcomes:
            return Summary(score=None, interval=None, groups={})
        texts = [outcome.reading.predicted for outcome in outcomes]
        references = [self._scored_text(outcome.item.answer, plan) for outcome in outcomes]
        score, interval = scores.bleu(texts, references, tokenizer=self._tokenizer(plan))
        return Summary(score=score, interval=interval, groups={}, more={"chrF": scores.chrf(texts, references)})


class Wmt22EnglishChinese(Wmt22):
    name = "wmt22-en-zh"
    title = "WMT22 en-zh"
    source, target = "en", "zh"


class Wmt22ChineseEnglish(Wmt22):
    name = "wmt22-zh-en"
    title = "WMT22 zh-en"
    source, target = "zh", "en"


DIRECTIONS: dict[str, type[Wmt22]] = {task.name: task for task in (Wmt22EnglishChinese, Wmt22ChineseEnglish)}
