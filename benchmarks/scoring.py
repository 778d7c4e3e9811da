"""Measures `Qwen.score` on 5-shot questions against reading each question with each of its answers whole.

    python benchmarks/scoring.py [--rounds 5] [--model demo] [--quantize q8] [--questions 20] [--json]

A round scores all questions at once, by an engine that knows nothing yet, with answers of one token (A, B, C, D) or
with answers in words; and it reads a few of the same sequences whole, one after the other, each with a cache of its own
and the head for the answer's tokens only. Prints the medians of the seconds per sequence and of the rounds' ratios, and
fails where the scores differ by more than the noise of floats.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import sys
import time
from statistics import median
from typing import Any

import torch
from rows import Row, print_rows

import qwen7b

WHOLE_PER_ROUND = 4
"""Sequences that a round reads whole; all of them would take minutes."""
NUM_SHOTS = 5
THINGS = ("lamps", "pears", "stamps", "books", "shells", "coins", "bricks", "cups")
PLACES = ("harbour", "market", "museum", "village", "station", "library", "garden", "mill")
STORY = (
    "In the morning the {place} opened with {first} {thing} on its shelves, as the keeper had counted them the "
    "night before. By noon a merchant had brought {second} more, and had them carried in by two boys, who were "
    "paid with soup and bread and stayed until the rain was over. Nobody bought anything that day, because the "
    "road to the {place} was under water, and so the keeper had time to dust the shelves, to mend the door, to "
    "write a long letter to her sister, and to count the {thing} once more before the night. She put the number "
    "down in the large green book, under the date, with the ink that had been a present from the mayor, and "
    "closed the shutters."
)
QUESTION = "Question: How many {thing} were there in the evening?\n"


def question(generator: random.Random, *, is_answered: bool) -> tuple[str, list[str]]:
    """A question with four choices, and the choices as words."""
    first, second = generator.randrange(20, 80), generator.randrange(20, 80)
    names = {"first": first, "second": second, "thing": generator.choice(THINGS), "place": generator.choice(PLACES)}
    right = first + second
    numbers = generator.sample([right, right + 10, right - 10, second], 4)
    listed = "".join(f"{letter}. {number}\n" for letter, number in zip("ABCD", numbers, strict=True))
    answer = f" {'ABCD'[numbers.index(right)]}\n\n" if is_answered else ""
    text = STORY.format(**names) + "\n" + QUESTION.format(**names) + listed + "Answer:" + answer
    return text, [f" There were {number} of them." for number in numbers]


def questions(count: int) -> tuple[list[str], list[list[str]]]:
    """Questions behind five that are answered, and for each its answers in words."""
    generator = random.Random(0)
    shots = "".join(question(generator, is_answered=True)[0] for _ in range(NUM_SHOTS))
    asked = [question(generator, is_answered=False) for _ in range(count)]
    return [shots + text for text, _ in asked], [answers for _, answers in asked]


@torch.inference_mode()
def score_whole(qwen: qwen7b.Qwen, context: str, answer: str) -> float:
    """The log-probability of an answer, of whose sequence all is read."""
    model, vocab_size = qwen.model, qwen.tokenizer.vocab_size
    ids = qwen.tokenizer.encode(context + answer)
    start = len(qwen.tokenizer.encode(context))
    hidden_TC = model.hidden(torch.tensor([ids[:-1]]), cache=model.new_cache(max_length=len(ids)))[0, start - 1 :]
    logits_TV = model.head(hidden_TC)[:, :vocab_size].float()
    return sum(float(row[i] - row.logsumexp(0)) for row, i in zip(logits_TV, ids[start:], strict=True))


def timed(function: Any, *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def measure(qwen: qwen7b.Qwen, contexts: list[str], answers: list[list[str]], *, rounds: int) -> dict[str, float]:
    """The seconds per sequence of both ways, their ratio, and the largest difference of two scores."""
    pairs = [(context, answer) for context, own in zip(contexts, answers, strict=True) for answer in own]
    whole_seconds, shared_seconds, differences = [], [], []
    generator = random.Random(1)
    for number in range(rounds + 1):
        seconds, scores = timed(copy.copy(qwen).score, contexts, answers)  # a copy has an engine of its own
        found = [score.logprob for own in scores for score in own]
        chosen = generator.sample(range(len(pairs)), WHOLE_PER_ROUND)
        whole = [timed(score_whole, qwen, *pairs[index]) for index in chosen]
        differences += [abs(found[index] - score) for index, (_, score) in zip(chosen, whole, strict=True)]
        if number:  # the first round warms up
            shared_seconds.append(seconds / len(pairs))
            whole_seconds.append(sum(seconds for seconds, _ in whole) / len(whole))
    encode = qwen.tokenizer.encode
    return {
        "sequences": len(pairs),
        "tokens_per_sequence": round(sum(len(encode(context + answer)) for context, answer in pairs) / len(pairs)),
        "whole_seconds": round(median(whole_seconds), 4),
        "shared_seconds": round(median(shared_seconds), 4),
        "ratio": round(median(a / b for a, b in zip(whole_seconds, shared_seconds, strict=True)), 1),
        "largest_difference": max(differences),
    }


def row(answers: str, figures: dict[str, float], *, model: str) -> Row:
    if figures["largest_difference"] > 0.01:
        sys.exit(f"the scores of answers in {answers} differ by {figures['largest_difference']:.3f}")
    what = f"score of 5-shot questions with answers in {answers}, of the speed of reading each whole, {model}"
    return Row(what, figures["ratio"], ">= 5", {**figures, "load_average": round(os.getloadavg()[0], 1)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--quantize", default="q8")
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    qwen = qwen7b.load(arguments.model, quantize=arguments.quantize)
    contexts, in_words = questions(arguments.questions)
    letters = [[f" {letter}" for letter in "ABCD"]] * len(contexts)
    kinds = {"letters": letters, "words": in_words}
    rows = (
        row(
            name,
            measure(qwen, contexts, answers, rounds=arguments.rounds),
            model=f"{arguments.model} {arguments.quantize}",
        )
        for name, answers in kinds.items()
    )
    print_rows(rows, as_json=arguments.json)


if __name__ == "__main__":
    main()
