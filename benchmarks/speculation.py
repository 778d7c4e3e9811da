"""Measures what speculation brings: tokens per second with it over without, in replies that are the same.

    python benchmarks/speculation.py [--rounds 3] [--quick] [--json]

With and without take turns on every prompt, in one process, so that a slow minute affects both; the figure is the
median of the prompts' ratios. --quick leaves out the draft models, the last of which drafts for a 7B shape with random
weights: as its drafts would never be right there, some are made to be, and what it all takes is measured.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from code_edits import edit_prompts
from prompts import PROMPTS
from rows import Row, print_rows

import qwen7b
from qwen7b import Qwen
from qwen7b.evals.shapes import random_model
from qwen7b.generate.engine import Engine
from qwen7b.generate.model_drafter import ModelDrafter
from qwen7b.generate.request import Request
from qwen7b.model import Transformer

RIGHT = 0.7
"""How often a drafted token of the model with random weights is made to be right."""


def seconds_of_decoding(qwen: Qwen, prompt: str, *, speculate: str | None, max_new_tokens: int) -> tuple[float, str]:
    """How long a reply took behind its first piece, and what it says."""
    pieces = qwen.stream(prompt, max_new_tokens=max_new_tokens, temperature=0, speculate=speculate)
    next(pieces)
    started = time.perf_counter()
    *_, last = pieces
    assert last.reply is not None
    return time.perf_counter() - started, last.reply.text


def ratios(qwen: Qwen, prompts: Sequence[str], *, rounds: int, max_new_tokens: int) -> tuple[list[float], int]:
    """Seconds without speculation over those with it, of every prompt; and how many replies differ."""
    qwen.chat("Hello", max_new_tokens=4)
    found, num_different = [], 0
    for prompt in prompts:
        with_it: list[float] = []
        without: list[float] = []
        texts: set[str] = set()
        for turn in range(rounds):
            for speculate in (None, "none") if turn % 2 else ("none", None):
                seconds, text = seconds_of_decoding(qwen, prompt, speculate=speculate, max_new_tokens=max_new_tokens)
                (without if speculate == "none" else with_it).append(seconds)
                texts.add(text)
        found.append(median(without) / median(with_it))
        num_different += len(texts) > 1
    return found, num_different


def row(what: str, goal: str, measured: tuple[list[float], int]) -> Row:
    found, num_different = measured
    figures = {"lowest": min(found), "highest": max(found), "prompts": len(found), "different": num_different}
    return Row(what, median(found), goal, {name: round(value, 3) for name, value in figures.items()})


def lookups(rounds: int) -> Iterator[Row]:
    qwen = qwen7b.load("demo", quantize="q4", speculate="ngram")
    yield row(
        "n-gram speculation on 20 code edits, demo q4",
        ">= 2",
        ratios(qwen, edit_prompts(), rounds=rounds, max_new_tokens=200),
    )
    yield row(
        "n-gram speculation on 20 questions, demo q4",
        ">= 0.97",
        ratios(qwen, PROMPTS, rounds=rounds, max_new_tokens=100),
    )


def draft_models(rounds: int) -> Iterator[Row]:
    draft = qwen7b.load("smollm2", quantize="q4")
    qwen = qwen7b.load("smollm2", quantize="none", speculate=draft)
    english = [prompt for prompt in PROMPTS if prompt.isascii()]
    yield row(
        "SmolLM2 in q4 drafting for its own float weights",
        "> 1",
        ratios(qwen, english, rounds=rounds, max_new_tokens=100),
    )


class OftenRight(ModelDrafter):
    """Takes the time of its model, but drafts what comes with a given probability: random weights never would."""

    def __init__(self, model: Transformer, *, vocab_size: int, text: list[int]) -> None:
        super().__init__(model, vocab_size=vocab_size)
        self.text = text
        self.generator = random.Random(0)

    def _next(self, new_ids: Mapping[Request, Sequence[int]]) -> list[int]:
        super()._next(new_ids)
        coming = [self.text[self._caches[request].length] for request in new_ids]
        return [id if self.generator.random() < RIGHT else (id + 1) % self.vocab_size for id in coming]


def shapes(rounds: int, *, large: str = "7b", small: str = "1.8b", num_tokens: int = 48) -> Row:
    """What a draft model takes, where it is right about as often as a chat model of a quarter of the size."""
    target, draft = random_model(large, quantize="q4"), random_model(small, quantize="q4")
    vocab_size = target.config.vocab_rows
    engine = Engine(target, vocab_size=vocab_size, draft_model=draft)
    seconds: dict[str | None, list[float]] = {None: [], "model": []}
    for _ in range(rounds):
        for speculate, taken in seconds.items():
            request = Request(ids=[5, 6, 7, 8], max_length=4 + num_tokens, speculate=speculate)
            engine.add(request)
            engine.step()
            started = time.perf_counter()
            while engine.step():
                pass
            taken.append((time.perf_counter() - started) / (num_tokens - 1))
            engine.speculation.drafters["model"] = OftenRight(draft, vocab_size=vocab_size, text=request.ids)
    plain, drafted = median(seconds[None]), median(seconds["model"])
    return Row(
        f"{small} shape drafting for the {large} shape in q4, were {RIGHT:.0%} of its tokens right",
        plain / drafted,
        "-",
        {"seconds a token": round(plain, 4), "with drafts": round(drafted, 4)},
    )


def table(*, rounds: int, quick: bool) -> Iterator[Row]:
    yield from lookups(rounds)
    if not quick:
        yield from draft_models(rounds)
        yield shapes(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print_rows(table(rounds=arguments.rounds, quick=arguments.quick), as_json=arguments.json)


if __name__ == "__main__":
    main()
