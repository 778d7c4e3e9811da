"""Items: the questions of a task, what the model is asked for, and what is made of its output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One question. `prompt` is the whole text given to the model, or with chat the user's message."""

    subject: str
    row: int
    """Its place among the items of the subject's file, from 0."""
    prompt: str
    answer: str
    """What is right; empty where the file does not say."""
    source: Mapping[str, str] = field(repr=False)
    """The question as it stands in the file, its fields by name."""
    name: str = ""
    """What the file calls it, if that is unique."""
    system: str = ""
    """With chat, the system message; empty for the model's usual one."""
    turns: tuple[tuple[str, str], ...] = ()
    """With chat, solved examples: a user's messages and their replies, which come before the prompt."""

    @property
    def id(self) -> str:
        return self.name or f"{self.subject}/{self.row}"

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as a chat, with what comes before it."""
        said = [text for turn in self.turns for text in turn] + [self.prompt]
        spoken = [{"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(said)]
        return [{"role": "system", "content": self.system}] * bool(self.system) + spoken

    @property
    def prompt_hash(self) -> str:
        asked = json.dumps(self.messages) if self.system or self.turns else self.prompt
        return hashlib.sha256(asked.encode()).hexdigest()[:16]

    @property
    def asked(self) -> dict[str, object]:
        """What the model is given, as JSON values."""
        before: dict[str, object] = {"system": self.system} if self.system else {}
        if self.turns:
            before["turns"] = [list(turn) for turn in self.turns]
        return {**before, "prompt": self.prompt}

    @property
    def question_hash(self) -> str:
        """What tells the question from others, however it is asked."""
        return hashlib.sha256(json.dumps(dict(self.source), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Letters:
    """The model is asked which of four texts it thinks the likeliest after the prompt."""

    texts: tuple[str, ...]
    """What each of A, B, C, D is as a text after the prompt."""
    is_rounded: bool = False
    """Whether probabilities are normalized twice in bfloat16, so that near ones tie and the first of them counts."""
    max_prompt_tokens: int | None = None
    """A prompt of more tokens keeps only its last `max_prompt_tokens - 1`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """The model is asked for a text, chosen greedily."""

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    """The text ends before the first of these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What an output answers."""

    predicted: str
    """The answer read out of the output; empty where there is none."""
    correct: bool | None
    """None where it cannot be told: the file has no answer, or only all outputs together have a score."""
    is_guess: bool = False
    """Whether the output names no answer, and the likest one was taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """An item with what was read out of the model's output."""

    item: Item
    output: str
    reading: Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The score of a run, in percent or, for translations, in BLEU; `groups` has those of its parts by name."""

    score: float | None
    interval: tuple[float, float] | None
    """Between these the score of endlessly many such items lies with a probability of 95 %."""
    groups: Mapping[str, float | None]
    more: Mapping[str, float | None] = field(default_factory=dict)
    """Other scores of the same outputs, such as chrF, by name."""
    remark: str = ""
    """What must be known beside the score; empty where that is nothing."""
