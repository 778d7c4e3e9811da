"""The letter that a chat reply to a multiple-choice question means, by the original's rules.

The options' texts within the reply become their letters, then four patterns look for a letter, one after the other.
Where none finds one, the option most like the reply is taken, so that a reply is never counted as no answer: a reading
says whether it came about that way, so that a score can be given with and without this step.

The English rules (MMLU) stayed the same from 2023-08 to 2023-12. The Chinese ones (C-Eval, and CMMLU, for which the
original has no chat script) were widened on 2023-08-25: the first scores were published with `CHINESE_2023_08`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TypeAlias

from qwen7b.errors import MissingExtraError

Patterns: TypeAlias = tuple[re.Pattern[str], ...]
"""Patterns to be tried in turn, the first group of each a letter. Every repetition in them is of a few characters or of
one kind that nothing else matches, so that the time they take grows with a reply's length only."""

_FIRST_LETTER = r"(?<![a-zA-Z])([ABCD])(?![a-zA-Z=])"


def _compiled(*patterns: str) -> Patterns:
    return tuple(re.compile(pattern) for pattern in patterns)


ENGLISH = _compiled(
    # "the answer is A", "choose A"; a "not" soon after "answer" or "choice" speaks against it
    r"(?:[Cc]hoose|(?:[Aa]nswer|[Cc]hoice)(?![^ABCD]{0,20}?n(?:'|o)t)[^ABCD]{0,10}?\b(?:|is|:|be)\b)"
    r"[^ABCD]{0,20}?\b([ABCD])\b",
    # "A is correct"
    r"\b([ABCD])\b(?![^ABCD]{0,8}?n(?:'|o)t[^ABCD]{0,5}?(?:correct|right))[^ABCD]{0,10}?\b(?:correct|right)\b",
    # "A."
    r"^([ABCD])(?:[.,:]|$)",
    _FIRST_LETTER,
)
"""MMLU's chat rules. In "The answer is not B but C" the negation keeps the first from matching, and the letter that
comes first is read: B."""

CHINESE_2023_08 = _compiled(
    # "选A。", "答案是A"
    r"(?:选[择定]?|(?:答案|选项)(?![^ABCD]{0,10}?[不非][^ABCD]{0,10}?[是为：:】])[^ABCD]{0,10}?[是为：:】][^ABCD]{0,10}?)"
    r"([ABCD])(?:选项)?(?:[)。.，,．、ABCD]|$)",
    # "A选项正确"
    r"([ABCD])(?:选?项)?(?![^ABCD]{0,4}?[不非][^ABCD]{0,4}?(?:正确|对|符合))[^ABCD]{0,4}?(?:正确|对|符合)",
    # "A。"
    r"^([ABCD])(?:[。.，,．]|$)",
    _FIRST_LETTER,
)
"""C-Eval's chat rules at the release, 2023-08-04."""

CHINESE_2023_12 = _compiled(
    r"(?:选[择定]?[：:]?\s*"
    r"|(?:答案|选项)(?![^ABCD]{0,10}?[不非][^ABCD]{0,10}?[是选为：:】])[^ABCD]{0,10}?[是选为：:】][^ABCD]{0,10}?)"
    r"([ABCD])(?:选项)?(?:[)）。.，,．、：:ABCD]|$)",
    r"([ABCD])(?:选?项)?(?![^ABCD]{0,4}?[不非][^ABCD]{0,4}?(?:正确|对[的，。：]|符合))[^ABCD]{0,4}?(?:正确|对[的，。：]|符合)",
    r"^[(（]?([ABCD])(?:[。)）.，,．：:]|$)",
    _FIRST_LETTER,
)
"""C-Eval's chat rules from 2023-08-25 on. What they changed:

- "选：A" and "选 A": a colon and blanks may stand between 选 and the letter;
- "答案选A": 选 joins 是, 为, the colons and 】 as what leads from 答案 to the letter;
- the letter may be followed by a colon or "）", and stand in a bracket at the beginning of the reply;
- 对 means "right" only before 的, ，, 。 or ：, as "A对B" means something else.
"""


@dataclass(frozen=True, kw_only=True)
class ChoiceReading:
    """What a reply to a multiple-choice question answers."""

    letter: str
    fuzzy: bool
    """Whether the letter is that of the most similar option, as no pattern matched."""


def read_english_choice(reply: str, choices: Mapping[str, str]) -> ChoiceReading:
    """What a chat reply to an MMLU question answers; `choices` are the options' texts by their letters.

    An option is found in the reply in any case and without its closing full stops, the longest option first. The script
    of 2023-08 stops at an option that pandas takes for missing, "None"; here every option is text.
    """
    for letter, choice in _longest_first(choices):
        reply = re.sub(re.escape(choice.rstrip(".")), letter, reply, flags=re.IGNORECASE)
    return _read(reply, choices, ENGLISH)


def read_chinese_choice(reply: str, question: str, choices: Mapping[str, str], patterns: Patterns) -> ChoiceReading:
    """What a chat reply to a C-Eval or CMMLU question answers by `CHINESE_2023_08` or `CHINESE_2023_12`.

    A reply that repeats the question's last sentence says "答案是" instead: what stands before the sentence's first
    blank ("____") becomes that, and what stands after the last blank is left out, each if longer than 4 characters.

    >>> choices = {"A": "春季", "B": "夏季", "C": "秋季", "D": "冬季"}
    >>> read_chinese_choice("水稻的收割季节是秋季。", "水稻的收割季节是____。", choices, CHINESE_2023_08)
    ChoiceReading(letter='C', fuzzy=False)
    """
    parts = question.rstrip("。").split("。")[-1].split("_")
    before, after = parts[0], parts[-1]
    if len(before.strip()) > 4:
        reply = reply.replace(before, "答案是")
    if len(after.strip()) > 4:
        reply = reply.replace(after, "")
    for letter, choice in _longest_first(choices):
        reply = reply.replace(choice.rstrip("。"), letter)
    return _read(reply, choices, patterns)


def _longest_first(choices: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(choices.items(), key=lambda choice: len(choice[1]), reverse=True)


def _read(reply: str, choices: Mapping[str, str], patterns: Patterns) -> ChoiceReading:
    for pattern in patterns:
        if found := pattern.search(reply):
            return ChoiceReading(letter=found[1], fuzzy=False)
    return ChoiceReading(letter=_most_similar(reply, choices), fuzzy=True)


def check_fuzzy_match() -> None:
    """Raise MissingExtraError if the last step cannot be taken, so that no hours of work are lost to it."""
    _thefuzz()


def _most_similar(reply: str, choices: Mapping[str, str]) -> str:
    """The letter of the option most like the reply by thefuzz's default score; among equals the first.

    A version of thefuzz or rapidfuzz may score a near-tie otherwise than another does.
    """
    process = _thefuzz()
    if not process.default_processor(reply):
        return next(iter(choices))  # thefuzz says so too, as all scores are 0, and logs a warning of its own
    texts = list(choices.values())
    return list(choices)[texts.index(process.extractOne(reply, texts)[0])]


def _thefuzz() -> ModuleType:
    try:
        return import_module("thefuzz.process")
    except ImportError as error:
        raise MissingExtraError("thefuzz", extra="eval") from error
