"""A needle in a haystack: does a model find a number that a long text mentions once, at some depth?

The haystack is a part of a real text; the fact is inserted between two of its sentences, and the question follows at
the end: a chat model gets all of it as one message, a base model the beginning of a sentence to complete. The prompt
and the reserve for the reply have exactly `length` tokens together, so that NTK's alpha is that of the length. Each
trial has its own fact and its own part of the text, the same at each length and depth.
After https://github.com/gkamradt/LLMTest_NeedleInAHaystack
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
from qwen7b.model.empty_model import empty_model
from qwen7b.system.progress import progress
from qwen7b.system.regular_file import named_text
from qwen7b.text import Message, Tokenizer
from qwen7b.text.chat_prompt import chat_format_of

REPLY_TOKENS = 24
"""The tokens reserved for the reply, which contains a number of six digits."""
_SENTENCE = re.compile(r".+?(?:[。！？]+[”’」』]*|[.!?]+[”’\"')]*(?=\s)|\Z)", re.DOTALL)
_SENTENCE_TOKENS = 1000
"""If sentences are longer than this on average, the text has too few places to insert a fact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """The fact, the question, and the cue for a base model, in one language."""

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
    """The result of all trials at one length and depth."""

    method: str
    precision: str
    length: int
    depth: int
    """The percentage of the haystack that comes before the fact."""
    trained_length: int
    accuracy: float
    """The share of the trials whose reply contains the number."""
    trials: int
    seconds: float
    replies: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The model's answer in one trial."""

    reply: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A fact, and the offset at which its part of the text begins."""

    thing: str
    number: str
    start: int


class Haystack:
    """A long text as tokens, with the offsets of its sentences. Raises PromptError for a text with too few
    sentences."""

    def __init__(self, text: str, tokenizer: Tokenizer, *, is_chat: bool) -> None:
        self.tokenizer = tokenizer
        self.is_chat = is_chat
        self.wording = CHINESE if sum("\u4e00" <= char <= "\u9fff" for char in text) > len(text) // 10 else ENGLISH
        self.ids: list[int] = []
        self.starts: list[int] = []
        for sentence in _SENTENCE.findall(text):  # encoded one by one, so that no token spans two
            self.starts.append(len(self.ids))
            self.ids += tokenizer.encode(sentence)
        if len(self.ids) > _SENTENCE_TOKENS * len(self.starts):
            raise PromptError(
                f"the haystack has {counted(len(self.starts), 'sentence')} in {len(self.ids)} tokens: give a text of "
                "ordinary sentences, between which a fact can be inserted"
            )

    def trial(self, number: int, *, seed: int, longest: int) -> Trial:
        """Draw a fact and the offset of a part of `longest` tokens, the same for the same seed and number."""
        random = Random(f"{seed} {number}")
        return Trial(
            start=random.choice([start for start in self.starts if start + longest <= len(self.ids)]),
            thing=random.choice(self.wording.things),
            number=str(random.randrange(100_000, 1_000_000)),
        )

    def prompt(self, trial: Trial, *, length: int, depth: int) -> list[int]:
        """Build a prompt of exactly `length` - REPLY_TOKENS ids; the fact comes before the sentence at `depth` %."""
        fact = self.tokenizer.encode(self.wording.fact.format(thing=trial.thing, number=trial.number))
        question_ids, before, after = self._prompt_frame(trial)
        num_text_tokens = length - REPLY_TOKENS - len(before) - len(fact) - len(question_ids) - len(after)
        if num_text_tokens < 0:
            raise PromptError(
                f"a length of {length} leaves no room for a haystack: use a length of at least "
                f"{length - num_text_tokens}"
            )
        target_offset = trial.start + num_text_tokens * depth // 100
        offset = self.starts[bisect_right(self.starts, target_offset) - 1]
        text = self.ids
        return (
            before
            + text[trial.start : offset]
            + fact
            + text[offset : trial.start + num_text_tokens]
            + question_ids
            + after
        )

    def _prompt_frame(self, trial: Trial) -> tuple[list[int], list[int], list[int]]:
        """The ids of the question after the haystack, and those of the frame before and after both."""
        if not self.is_chat:
            bos_id = self.tokenizer.bos_id
            cue = self.tokenizer.encode(self.wording.cue.format(thing=trial.thing))
            return cue, [] if bos_id is None else [bos_id], []
        question = self.wording.question.format(thing=trial.thing)
        # The frame comes from rendering the question alone, without its newlines, since a format that is encoded as one
        # text would merge them with its own.
        message: Message = {"role": "user", "content": question.strip()}
        rendered = chat_format_of(self.tokenizer).render(self.tokenizer, [message], add_generation_prompt=True)
        span = rendered.spans[0]
        if span is None or self.tokenizer.decode(rendered.ids[span]) != message["content"]:
            raise PromptError(
                f"the chat format of {self.tokenizer.vocabulary.source} merges a question with the text around it, so "
                "that no haystack can be inserted: pass chat=False (--base)"
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
    """Yield the accuracy in each precision, with each method, at each length and depth (percent).

    `chat` says whether the model was trained to chat, if its files are wrong about it. With `resume` every reply is
    saved in that file, and replies that it already has are not generated again. Raises, before any weights are read,
    SettingError or PromptError for a haystack that is no text or too short, and for a length too short for fact and
    question.
    """
    whole_number("trials", trials, minimum=1)
    depths = sorted({whole_number("a depth", depth, minimum=0, maximum=100) for depth in depths})
    journal, longest = Journal(resume), subject.lengths[-1]
    checkpoint, tokenizer = subject.checkpoint, subject.tokenizer
    # A Qwen without weights already knows whether it chats and what ends its replies.
    qwen = Qwen(empty_model(checkpoint.config), tokenizer, generation=checkpoint.generation, chat=chat)
    text = Haystack(named_text(haystack), tokenizer, is_chat=qwen.is_chat)
    if len(text.ids) < longest:
        raise PromptError(
            f"{haystack} has {counted(len(text.ids), 'token')}, fewer than the length {longest}: lower the length"
        )
    drawn_trials = [text.trial(number, seed=seed, longest=longest) for number in range(trials)]
    prompts = {
        (length, depth): [text.prompt(trial, length=length, depth=depth) for trial in drawn_trials]
        for length in subject.lengths
        for depth in depths
    }
    for precision in subject.precisions:
        engine = None  # the last precision's would keep its model in memory
        cells = [(method, *length_and_depth) for method in subject.methods for length_and_depth in prompts]
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
                        model = subject.model(precision, method, length)
                        # One engine for all: what a trial's prompts begin with alike is read once.
                        engine = engine or Engine(
                            model, vocab_size=tokenizer.vocab_size, unused_ids=tokenizer.unused_ids
                        )
                        reply = _reply(engine, ids, length=length, qwen=qwen)
                        answer = Answer(reply=reply, seconds=time.perf_counter() - start)
                        journal.add(task, answer)
                        report(length)
                    answers.append(answer)
                replies = tuple(answer.reply for answer in answers)
                is_found = [
                    trial.number in reply.replace(",", "") for trial, reply in zip(drawn_trials, replies, strict=True)
                ]
                yield Retrieval(
                    method=method,
                    precision=precision,
                    length=length,
                    depth=depth,
                    trained_length=subject.trained_length,
                    accuracy=sum(is_found) / trials,
                    trials=trials,
                    seconds=sum(answer.seconds for answer in answers),
                    replies=replies,
                )


def _task(subject: Subject, precision: str, method: str, length: int, prompt: list[int]) -> dict[str, Any]:
    """Everything that a reply depends on, as the key in the journal."""
    digest = hashlib.sha256(json.dumps(prompt).encode()).hexdigest()[:16]
    return {**subject.task(precision, method, length), "prompt": digest}


def _reply(engine: Engine, prompt: list[int], *, length: int, qwen: Qwen) -> str:
    """The greedy continuation, up to `length` tokens in total."""
    request = Request(ids=list(prompt), max_length=length, stop_ids=qwen.stop_ids, ntk="reserve")
    engine.add(request)
    try:
        while engine.step():
            pass
    finally:
        engine.cancel(request)
    if request.error:
        raise request.error
    return qwen.tokenizer.decode([token_id for token_id in request.ids[len(prompt) :] if token_id not in qwen.stop_ids])
