"""A needle in a haystack: does a model find a number that a long text mentions once, at some depth?

The haystack's sentences are real ones, cut to size; the fact stands between two of them, and the question follows the
text: to a chat model as one message, to a base model as the beginning of a sentence. The prompt and the room for the
reply have exactly `length` tokens together, so that NTK's alpha is that of the length. A trial has its own fact and its
own part of the haystack, the same at each length and depth. After https://github.com/gkamradt/LLMTest_NeedleInAHaystack
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from qwen7b.config.checked import whole_number
from qwen7b.errors import PromptError, counted
from qwen7b.evals.journal import Journal
from qwen7b.evals.subject import Subject
from qwen7b.generate import Engine, Qwen, Request
from qwen7b.model import Transformer
from qwen7b.model.empty_model import empty_model
from qwen7b.system.progress import progress
from qwen7b.system.regular_file import named_text
from qwen7b.text import Message, Tokenizer
from qwen7b.text.chat_prompt import chat_format_of

REPLY_TOKENS = 24
"""Room for a reply, which has a number of six digits to say."""
_SENTENCE = re.compile(r".+?(?:[。！？]+[”’」』]*|[.!?]+[”’\"')]*(?=\s)|\Z)", re.DOTALL)
_SENTENCE_TOKENS = 1000
"""A text whose sentences are longer than this on average has none to put a fact between."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """How one language puts the fact, the question, and a base model's cue."""

    things: tuple[str, ...]
    fact: str
    question: str
    cue: str


ENGLISH = Wording(
    things=("lighthouse", "old mill", "blue house", "railway station", "town library", "stone bridge", "north gate"),
    fact=" The secret number of the {thing} is {number}.",
    question="\n\nWhat is the secret number of the {thing}? Answer with the number only.",
    cue="\n\nAs said above, the secret number of the {thing} is",
)
CHINESE = Wording(
    things=("灯塔", "老磨坊", "蓝房子", "火车站", "图书馆", "石桥", "北城门"),
    fact="{thing}的秘密号码是{number}。",
    question="\n\n{thing}的秘密号码是多少？请只回答号码。",
    cue="\n\n上文说过，{thing}的秘密号码是",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieval:
    """All trials at one length and depth."""

    method: str
    precision: str
    length: int
    depth: int
    """Percent of the haystack that stands before the fact."""
    trained_length: int
    accuracy: float
    """Share of the trials whose reply has the number."""
    trials: int
    seconds: float
    replies: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the model said in one trial."""

    reply: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A fact, and where its part of the haystack begins."""

    thing: str
    number: str
    start: int


class Haystack:
    """A long text as tokens, which knows where sentences begin. Raises PromptError where they hardly ever do."""

    def __init__(self, text: str, tokenizer: Tokenizer, *, is_chat: bool) -> None:
        self.tokenizer = tokenizer
        self.is_chat = is_chat
        self.wording = CHINESE if sum("\u4e00" <= char <= "\u9fff" for char in text) > len(text) // 10 else ENGLISH
        self.ids: list[int] = []
        self.starts: list[int] = []
        for sentence in _SENTENCE.findall(text):  # each encoded by itself, so that no token reaches into the next
            self.starts.append(len(self.ids))
            self.ids += tokenizer.encode(sentence)
        if len(self.ids) > _SENTENCE_TOKENS * len(self.starts):
            raise PromptError(
                f"the haystack has {counted(len(self.starts), 'sentence')} in {len(self.ids)} tokens: give a text of "
                "ordinary sentences, between which a fact can stand"
            )

    def trial(self, number: int, *, seed: int, longest: int) -> Trial:
        """A fact and the beginning of a part of `longest` tokens, the same for the same seed and number."""
        random = Random(f"{seed} {number}")
        return Trial(
            start=random.choice([start for start in self.starts if start + longest <= len(self.ids)]),
            thing=random.choice(self.wording.things),
            number=str(random.randrange(100_000, 1_000_000)),
        )

    def prompt(self, trial: Trial, *, length: int, depth: int) -> list[int]:
        """Exactly `length` - REPLY_TOKENS ids; the fact stands before the sentence that `depth` % falls in."""
        fact = self.tokenizer.encode(self.wording.fact.format(thing=trial.thing, number=trial.number))
        asked, before, after = self._around(trial)
        room = length - REPLY_TOKENS - len(before) - len(fact) - len(asked) - len(after)
        if room < 0:
            raise PromptError(f"a length of {length} leaves no room for a haystack: take at least {length - room}")
        sought = trial.start + room * depth // 100
        place = self.starts[bisect_right(self.starts, sought) - 1]
        text = self.ids
        return before + text[trial.start : place] + fact + text[place : trial.start + room] + asked + after

    def _around(self, trial: Trial) -> tuple[list[int], list[int], list[int]]:
        """The ids that ask, behind the haystack, and those of the frame before and behind both."""
        if not self.is_chat:
            bos_id = self.tokenizer.bos_id
            cue = self.tokenizer.encode(self.wording.cue.format(thing=trial.thing))
            return cue, [] if bos_id is None else [bos_id], []
        question = self.wording.question.format(thing=trial.thing)
        # The frame is that of the question alone, without its newlines, which a format that is encoded as one text
        # would join with its own.
        alone: Message = {"role": "user", "content": question.strip()}
        rendered = chat_format_of(self.tokenizer).render(self.tokenizer, [alone], add_generation_prompt=True)
        span = rendered.spans[0]
        if span is None or self.tokenizer.decode(rendered.ids[span]) != alone["content"]:
            raise PromptError(
                f"the chat format of {self.tokenizer.vocabulary.source} joins a question with what stands around it, "
                "so that no text can be put there: give chat=False (--base)"
            )
        return self.tokenizer.encode(question), rendered.ids[: span.start], rendered.ids[span.stop :]


def measure_retrieval(
    subject: Subject,
    haystack: Path,
    *,
    depths: Sequence[int] = (0, 25, 50, 75, 100),
    trials: int = 3,
    seed: int = 0,
    resume: Path | None = None,
    chat: bool | None = None,
) -> Iterator[Retrieval]:
    """The accuracy in each precision, with each method, at each length and depth (percent), as they come.

    `chat` says whether the model was trained to chat, where its files say it wrongly. With `resume` every reply is kept
    in that file as it comes, and none that is there is asked for again. Raises SettingError or PromptError, before any
    weights are read, for a haystack that is no text or too short, and for a length too short for fact and question.
    """
    whole_number("trials", trials, minimum=1)
    depths = sorted({whole_number("a depth", depth, minimum=0, maximum=100) for depth in depths})
    journal, longest = Journal(resume), subject.lengths[-1]
    checkpoint, tokenizer = subject.checkpoint, subject.tokenizer
    # A Qwen without weights knows already whether it chats and what ends its replies.
    qwen = Qwen(empty_model(checkpoint.config), tokenizer, generation=checkpoint.generation, chat=chat)
    text = Haystack(named_text(haystack), tokenizer, is_chat=qwen.is_chat)
    if len(text.ids) < longest:
        raise PromptError(
            f"{haystack} has {counted(len(text.ids), 'token')}, fewer than the length {longest}: lower the length"
        )
    asked = [text.trial(number, seed=seed, longest=longest) for number in range(trials)]
    prompts = {
        (length, depth): [text.prompt(trial, length=length, depth=depth) for trial in asked]
        for length in subject.lengths
        for depth in depths
    }
    for precision in subject.precisions:
        cells = [(method, *place) for method in subject.methods for place in prompts]
        tasks = {
            (method, length, depth): [_task(subject, precision, method, length, ids) for ids in prompts[length, depth]]
            for method, length, depth in cells
        }
        unknown = [cell[1] for cell in cells for task in tasks[cell] if not journal.find(task, Answer)]
        if unknown:
            subject.model(precision, subject.methods[0], longest)  # loading has a progress bar of its own
        with progress(
            f"Reading {counted(len(cells) * trials, 'prompt')} with weights {precision}", sum(unknown), " tokens"
        ) as report:
            for method, length, depth in cells:
                answers = []
                for ids, task in zip(prompts[length, depth], tasks[method, length, depth], strict=True):
                    answer = journal.find(task, Answer)
                    if answer is None:
                        start = time.perf_counter()
                        reply = _reply(subject.model(precision, method, length), ids, length=length, qwen=qwen)
                        answer = Answer(reply=reply, seconds=time.perf_counter() - start)
                        journal.add(task, answer)
                        report(length)
                    answers.append(answer)
                replies = tuple(answer.reply for answer in answers)
                found = [trial.number in reply.replace(",", "") for trial, reply in zip(asked, replies, strict=True)]
                yield Retrieval(
                    method=method,
                    precision=precision,
                    length=length,
                    depth=depth,
                    trained_length=subject.trained_length,
                    accuracy=sum(found) / trials,
                    trials=trials,
                    seconds=sum(answer.seconds for answer in answers),
                    replies=replies,
                )


def _task(subject: Subject, precision: str, method: str, length: int, prompt: list[int]) -> dict[str, Any]:
    """All that a reply depends on."""
    digest = hashlib.sha256(json.dumps(prompt).encode()).hexdigest()[:16]
    return {**subject.task(precision, method, length), "prompt": digest}


def _reply(model: Transformer, prompt: list[int], *, length: int, qwen: Qwen) -> str:
    """The likeliest continuation, up to `length` tokens in all."""
    tokenizer = qwen.tokenizer
    engine = Engine(model, vocab_size=tokenizer.vocab_size, unused_ids=tokenizer.unused_ids)
    request = Request(ids=list(prompt), max_length=length, stop_ids=qwen.stop_ids, ntk="reserve")
    engine.add(request)
    while engine.step():
        pass
    if request.error:
        raise request.error
    return tokenizer.decode([token_id for token_id in request.ids[len(prompt) :] if token_id not in qwen.stop_ids])
