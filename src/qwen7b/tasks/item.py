"""Items: the questions of a task, what the model is asked for, and what is made of its output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from qwen7b.config.checked import SAMPLING_CHECKS, positive_number, whole_number


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
    earlier: tuple[tuple[str, str], ...] = ()
    """With chat, what else was said before the prompt: roles and contents."""
    opening: str = ""
    """With chat, how the reply begins; the model goes on from there."""
    tools: str = field(default="", repr=False)
    """With chat, the tools that the reply may call: a list in OpenAI's form, as JSON."""
    sample: int | None = None
    """Which of several outputs for the question this is, from 0."""

    @property
    def id(self) -> str:
        own = self.name or f"{self.subject}/{self.row}"
        return own if self.sample is None else f"{own}#{self.sample}"

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as a chat, with what comes before and after it."""
        said = [text for turn in self.turns for text in turn] + [self.prompt] + [self.opening] * bool(self.opening)
        spoken = [{"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(said)]
        # Examples alternate, and `earlier` stands alone: no task has both.
        earlier = [{"role": role, "content": content} for role, content in self.earlier]
        return [{"role": "system", "content": self.system}] * bool(self.system) + earlier + spoken

    @property
    def prompt_hash(self) -> str:
        is_bare = not (self.system or self.turns or self.earlier or self.opening)
        return text_hash((self.prompt if is_bare else json.dumps(self.messages)) + self.tools)

    @property
    def asked(self) -> dict[str, object]:
        """What the model is given, as JSON values."""
        before: dict[str, object] = {"system": self.system} if self.system else {}
        if self.turns:
            before["turns"] = [list(turn) for turn in self.turns]
        if self.earlier:
            before["earlier"] = [list(message) for message in self.earlier]
        after = {"opening": self.opening} if self.opening else {}
        if self.tools:
            after["tools"] = self.tools
        return {**before, "prompt": self.prompt, **after}

    @property
    def question_hash(self) -> str:
        """What tells the question from others, however it is asked."""
        return text_hash(json.dumps(dict(self.source), sort_keys=True))


def text_hash(text: str) -> str:
    """What tells a text from others: the beginning of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
class Draws:
    """Several texts for each item, drawn at random; the defaults are those of lm-eval's humaneval_64."""

    samples: int = 1
    temperature: float = 0.2
    top_p: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("samples", self.samples, minimum=1)
        positive_number("temperature", self.temperature)
        SAMPLING_CHECKS["top_p"]("top_p", self.top_p)
        whole_number("seed", self.seed, minimum=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """The model is asked for a text, chosen greedily where there are no draws."""

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    """The text ends before the first of these."""
    draws: Draws | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Calls(Text):
    """The model is asked for calls of the item's tools, which are read as the dialect writes them.

    The output is the calls that it makes, as JSON: [{"name": …, "arguments": …}]. Arguments are an object, or the text
    that they are where that is none.
    """

    dialect: str | None = None
    """How tools are described and called; None for the model's own way."""
    is_constrained: bool = True
    """Whether masks hold calls to the tools' names and schemas."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """Code out of an output, and trusted code that calls it and raises where it is wrong.

    Without a check the code itself is to be trusted: what it prints tells the task more.
    """

    code: str
    check: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedTexts:
    """Two texts, of which ROUGE-L is a score. Which tokens they have only the model's tokenizer can say."""

    text: str
    reference: str
    score: str
    """The name of the score."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What an output answers."""

    predicted: str
    """The answer read out of the output; empty where there is none."""
    correct: bool | None
    """None where it cannot be told: the file has no answer, only all outputs together have a score, or a program has
    to run first."""
    is_guess: bool = False
    """Whether the output names no answer, and the likest one was taken."""
    program: Program | None = field(default=None, repr=False)
    """What decides whether the output is right, where reading it does not."""
    comparison: ComparedTexts | None = field(default=None, repr=False)
    """What the output has to be like, where that has a score of its own."""
    checked: Mapping[str, object] | None = field(default=None, repr=False)
    """What the task's checker is told, where that decides whether the output is right."""
    error: str = ""
    """What the checker finds wrong."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Scores of this output alone, by name, as far as they are known."""


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
