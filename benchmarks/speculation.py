"""Measures what speculation brings: tokens per second with it over without, in replies that are the same.

    python benchmarks/speculation.py [--rounds 3] [--quick] [--json]

With and without take turns on every prompt, in one process, so that a slow minute affects both; the figure is the
median of the prompts' ratios. --quick leaves out the draft models, the last of which drafts for a 7B shape with random
weights: as its drafts would never be right there, some are made to be, and what it all takes is measured.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from prompts import PROMPTS

import qwen7b
from qwen7b import Qwen
from qwen7b.evals.shapes import random_model
from qwen7b.generate.engine import Engine
from qwen7b.generate.model_drafter import ModelDrafter
from qwen7b.generate.request import Request
from qwen7b.model import Transformer

EDITS = (
    (
        "Rename the parameter `lst` to `numbers` everywhere.",
        """def median(lst):
    if not lst:
        raise ValueError("median of an empty list")
    ordered = sorted(lst)
    middle = len(ordered) // 2
    if len(lst) % 2 == 1:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
""",
    ),
    (
        "Add type hints to all parameters and to the return value.",
        """def read_settings(path, encoding="utf-8", default=None):
    settings = dict(default or {})
    with open(path, encoding=encoding) as file:
        for line in file:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            name, _, value = line.partition("=")
            settings[name.strip()] = value.strip()
    return settings
""",
    ),
    (
        "Use `math.gcd` in place of the loop.",
        """import sys

def reduce_fraction(numerator, denominator):
    if denominator == 0:
        raise ZeroDivisionError("the denominator is zero")
    a, b = numerator, denominator
    while b:
        a, b = b, a % b
    if denominator < 0:
        a = -a
    return numerator // a, denominator // a

if __name__ == "__main__":
    print(reduce_fraction(int(sys.argv[1]), int(sys.argv[2])))
""",
    ),
    (
        "Add a docstring to each of the two methods.",
        """class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)
        if len(self.items) > 1000:
            raise OverflowError("the stack is full")

    def pop(self):
        if not self.items:
            raise IndexError("the stack is empty")
        return self.items.pop()
""",
    ),
    (
        "Make the search ignore upper and lower case.",
        """def find_lines(path, word):
    found = []
    with open(path) as file:
        for number, line in enumerate(file, start=1):
            if word in line:
                found.append((number, line.rstrip()))
    if not found:
        print(f"{word} is not in {path}")
    return found
""",
    ),
    (
        "Rename the class to `Temperature` and the method `to_f` to `to_fahrenheit`.",
        """class Temp:
    def __init__(self, celsius):
        if celsius < -273.15:
            raise ValueError("below absolute zero")
        self.celsius = celsius

    def to_f(self):
        return self.celsius * 9 / 5 + 32

    def __repr__(self):
        return f"Temp({self.celsius} C, {self.to_f()} F)"
""",
    ),
    (
        "Return None where the user is not found, and do not raise an error.",
        """def find_user(users, name):
    for user in users:
        if user["name"] == name:
            return {
                "id": user["id"],
                "name": user["name"],
                "email": user.get("email", ""),
                "groups": sorted(user.get("groups", [])),
            }
    raise KeyError(f"there is no user {name}")
""",
    ),
    (
        "Replace print by the logging module.",
        """import time

def wait_for(condition, timeout=10.0, interval=0.1):
    started = time.time()
    while not condition():
        if time.time() - started > timeout:
            print("gave up waiting")
            return False
        print("still waiting")
        time.sleep(interval)
    print("the condition is met")
    return True
""",
    ),
    (
        "Change the default page size from 20 to 50, and check that it is not above 100.",
        """def paginate(items, page=1, page_size=20):
    if page < 1:
        raise ValueError("pages are counted from 1")
    start = (page - 1) * page_size
    chosen = items[start : start + page_size]
    return {
        "page": page,
        "page_size": page_size,
        "num_pages": (len(items) + page_size - 1) // page_size,
        "items": chosen,
    }
""",
    ),
    (
        "Make this function async, with `await asyncio.sleep` in place of `time.sleep`.",
        """import time

def retry(function, attempts=3, delay=1.0):
    last_error = None
    for attempt in range(attempts):
        try:
            return function()
        except Exception as error:
            last_error = error
            print(f"attempt {attempt + 1} of {attempts} failed: {error}")
            time.sleep(delay * 2 ** attempt)
    raise last_error
""",
    ),
    (
        "Fix the bug: the last element is never compared.",
        """def bubble_sort(values):
    values = list(values)
    for end in range(len(values) - 1, 0, -1):
        swapped = False
        for index in range(end - 1):
            if values[index] > values[index + 1]:
                values[index], values[index + 1] = values[index + 1], values[index]
                swapped = True
        if not swapped:
            break
    return values
""",
    ),
    (
        'Add a parameter `separator` with the default "," and use it.',
        """def write_table(rows, path, header=None):
    with open(path, "w", encoding="utf-8") as file:
        if header is not None:
            file.write(",".join(header) + "\\n")
        for row in rows:
            cells = [str(cell).replace("\\n", " ") for cell in row]
            file.write(",".join(cells) + "\\n")
    return len(rows)
""",
    ),
    (
        "Translate the messages into German.",
        """def check_password(password):
    if len(password) < 12:
        return "The password is too short"
    if password.lower() == password:
        return "The password needs an upper case letter"
    if not any(character.isdigit() for character in password):
        return "The password needs a digit"
    if password.isalnum():
        return "The password needs a special character"
    return None
""",
    ),
    (
        "Turn the function into a method of a class `Inventory` that keeps `stock` as an attribute.",
        """def remove_item(stock, name, count=1):
    if name not in stock:
        raise KeyError(f"{name} is not in stock")
    if stock[name] < count:
        raise ValueError(f"only {stock[name]} of {name} are left")
    stock[name] -= count
    if stock[name] == 0:
        del stock[name]
    return stock
""",
    ),
    (
        "Also count words and characters.",
        """def describe(path):
    num_lines = 0
    longest = 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            num_lines += 1
            longest = max(longest, len(line.rstrip("\\n")))
    return {"path": path, "lines": num_lines, "longest": longest}
""",
    ),
    (
        "Use a dictionary comprehension where that is possible.",
        """def invert(mapping, strict=True):
    inverted = {}
    for key, value in mapping.items():
        inverted[value] = key
    if strict and len(inverted) != len(mapping):
        seen = set()
        for value in mapping.values():
            if value in seen:
                raise ValueError(f"{value} comes twice")
            seen.add(value)
    return inverted
""",
    ),
    (
        "Add an argument --verbose that prints every file that is deleted.",
        """import argparse
from pathlib import Path

def main():
    parser = argparse.ArgumentParser(description="Deletes old log files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    for path in sorted(arguments.folder.glob("*.log")):
        if age_in_days(path) > arguments.days:
            path.unlink()

if __name__ == "__main__":
    main()
""",
    ),
    (
        "Rename `x1`, `y1`, `x2`, `y2` to `left`, `top`, `right`, `bottom`.",
        """def intersection(a, b):
    x1 = max(a.x1, b.x1)
    y1 = max(a.y1, b.y1)
    x2 = min(a.x2, b.x2)
    y2 = min(a.y2, b.y2)
    if x1 >= x2 or y1 >= y2:
        return None
    return Box(x1, y1, x2, y2)
""",
    ),
    (
        "Remove the caching and keep everything else as it is.",
        """_cache = {}

def load_image(path, size=(256, 256)):
    key = (path, size)
    if key in _cache:
        return _cache[key]
    image = Image.open(path).convert("RGB")
    image = image.resize(size, Image.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255
    _cache[key] = pixels
    return pixels
""",
    ),
    (
        "Sort by the column `created_at`, the newest first, and select at most 100 rows.",
        """SELECT orders.id, orders.created_at, customers.name, customers.city,
       SUM(lines.quantity * lines.price) AS total
FROM orders
JOIN customers ON customers.id = orders.customer_id
JOIN lines ON lines.order_id = orders.id
WHERE orders.status = 'paid'
GROUP BY orders.id, orders.created_at, customers.name, customers.city
HAVING SUM(lines.quantity * lines.price) > 1000
""",
    ),
)
"""Twenty pieces of code, each with what is to be changed of it."""
RIGHT = 0.7
"""How often a drafted token of the model with random weights is made to be right."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    value: float
    goal: str
    figures: dict[str, float]


def edit_prompts() -> list[str]:
    return [f"{task} Reply with the whole code only.\n\n```\n{code}```" for task, code in EDITS]


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
    rows = []
    for line in table(rounds=arguments.rounds, quick=arguments.quick):
        rows.append(line)
        if not arguments.json:
            print(f"{line.value:9.3f}  {line.goal:<20} {line.what}  {line.figures}", flush=True)
    if arguments.json:
        print(json.dumps({"rows": [asdict(line) for line in rows]}, indent=1))


if __name__ == "__main__":
    main()
