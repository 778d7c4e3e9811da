"""What a model puts out for the items of a task: the likeliest letter, or a text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import torch

from qwen7b.errors import PromptError
from qwen7b.generate import Greedy, Qwen, Sample
from qwen7b.sampling.sampling import Sampling
from qwen7b.tasks.choice import LETTERS
from qwen7b.tasks.item import Draws, Item, Letters, Text
from qwen7b.text import chat_prompt
from qwen7b.text.completion_prompt import completion_prompt

_WHOLE_HISTORY = 1 << 62
"""No example is left out; a prompt that is too long loses its beginning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """The model's output for one item."""

    text: str
    """The text, or the letter that the model thinks the likeliest."""
    prompt_tokens: int
    truncated: bool = False
    """Whether the beginning of the prompt was cut off, as it was too long."""
    logprobs: tuple[float, ...] = ()
    """The log-probability of each letter, in nats."""
    margin: float | None = None
    """How far the likeliest letter's is above the next."""
    is_tie: bool = False
    """Whether rounding made others as likely as the letter, which is the first of them."""
    reply: str | None = None
    """All that the model wrote, where the text is only what was read out of it."""
    finish_reason: str | None = None
    completion_tokens: int = 0


def outputs(
    qwen: Qwen, items: Sequence[Item], wanted: Letters | Text, *, chat: bool
) -> Generator[tuple[Item, Output], None, None]:
    """Yield each item with the model's output, in the order in which they are done.

    Raises PromptError where the model's context has no room for what is wanted.
    """
    reply_tokens = max(map(len, _letter_ids(qwen, wanted))) if isinstance(wanted, Letters) else wanted.max_new_tokens
    room = qwen.context_length - reply_tokens
    if room < 1:
        raise PromptError(
            f"the model's context of {qwen.context_length} tokens has no room for a reply of {reply_tokens}: load it "
            "with a larger context_length (--context-length)"
        )
    whole = [_prompt_ids(qwen, item, chat=chat) for item in items]
    prompts = [_cut(ids, wanted, room=room) for ids in whole]
    answers = (
        _chosen_letters(qwen, prompts, wanted)
        if isinstance(wanted, Letters)
        else _written_texts(qwen, prompts, items, wanted)
    )
    with closing(answers):
        for index, output in answers:
            yield items[index], replace(output, truncated=len(prompts[index]) < len(whole[index]))


def _chosen_letters(
    qwen: Qwen, prompts: Sequence[list[int]], wanted: Letters
) -> Generator[tuple[int, Output], None, None]:
    """Yield each prompt's number with the letter that is the likeliest after it."""
    letters = _letter_ids(qwen, wanted)
    for index, scores in qwen.stream_scores(prompts, [letters] * len(prompts)):
        logprobs = tuple(score.logprob for score in scores)
        letter, is_tie = likeliest(logprobs, is_rounded=wanted.is_rounded)
        first, second = sorted(logprobs, reverse=True)[:2]
        yield (
            index,
            Output(
                text=letter,
                prompt_tokens=len(prompts[index]),
                logprobs=logprobs,
                margin=first - second,
                is_tie=is_tie,
            ),
        )


def _written_texts(
    qwen: Qwen, prompts: Sequence[list[int]], items: Sequence[Item], wanted: Text
) -> Generator[tuple[int, Output], None, None]:
    """Yield each prompt's number with the text that follows it."""
    settings = {"max_new_tokens": wanted.max_new_tokens, "stop": list(wanted.stop)}
    samplings = [_sampling(item, wanted.draws) for item in items]
    for index, reply in qwen.answers("complete", prompts, settings, samplings=samplings).stream_whole():
        yield (
            index,
            Output(
                text=reply.text,
                prompt_tokens=len(prompts[index]),
                finish_reason=reply.finish_reason,
                completion_tokens=reply.usage.completion_tokens,
            ),
        )


def _sampling(item: Item, draws: Draws | None) -> Sampling:
    """How an item's text is chosen. Each is drawn with a seed of its own; a run with another seed has others."""
    if draws is None:
        return Greedy()
    digest = hashlib.sha256(f"{draws.seed} {item.id}".encode()).digest()
    seed = int.from_bytes(digest[:7], "big")
    return Sample(temperature=draws.temperature, top_p=draws.top_p, seed=seed)


def _letter_ids(qwen: Qwen, wanted: Letters) -> list[list[int]]:
    return [qwen.tokenizer.encode(text) for text in wanted.texts]


def _prompt_ids(qwen: Qwen, item: Item, *, chat: bool) -> list[int]:
    if chat:
        return chat_prompt(qwen.tokenizer, item.messages, history_token_limit=_WHOLE_HISTORY)
    return completion_prompt(qwen.tokenizer, item.prompt, control_tokens=False)


def _cut(ids: list[int], wanted: Letters | Text, *, room: int) -> list[int]:
    """The end of a prompt that is too long, where its question stands."""
    limit = wanted.max_prompt_tokens if isinstance(wanted, Letters) else None
    if limit is not None and len(ids) > limit:
        ids = ids[1 - limit :]
    return ids[-room:]


def likeliest(logprobs: Sequence[float], *, is_rounded: bool) -> tuple[str, bool]:
    """The letter with the highest log-probability, the first of equals; and whether there are equals."""
    values = torch.tensor(logprobs, dtype=torch.float64)
    if is_rounded:  # the original's scripts take the softmax of four probabilities, and both in its checkpoint's dtype
        probabilities = values.exp().bfloat16()
        values = torch.softmax(probabilities, dim=0).double()
    best = values.max().item()
    assert math.isfinite(best)
    alike = (values == best).nonzero().flatten().tolist()
    return LETTERS[alike[0]], len(alike) > 1
