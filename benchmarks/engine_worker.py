"""What `benchmarks/engine.py` times, in a process of its own: a line of JSON in names the work, a line out its figures.

It runs on this engine, and on the closed batches that went before it, where those are installed instead.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch

import qwen7b
from qwen7b import Greedy, Sample, kernels
from qwen7b.evals import random_model

generate: Any = importlib.import_module("qwen7b.generate")
"""It has either `Engine` and `Request`, or `Batch`."""

Prompts = list[tuple[list[int], int]]
"""Token ids, and how many more there shall be in all."""


class Work:
    """The works, each a method that returns its figures. Prompts are random ids, so that no two begin alike."""

    def __init__(self, model: str, quantize: str) -> None:
        self.random = random.Random(0)
        kind, name = model.split(":")
        if kind == "shape":
            self.model = random_model(name, quantize=quantize)
        else:
            self.model = qwen7b.load(name, quantize=quantize, chat=True).model
        self.vocab_size = min(self.model.config.vocab_rows, 151_000)

    def prompt(self, length: int) -> list[int]:
        return [self.random.randrange(self.vocab_size) for _ in range(length)]

    def engine(self, **options: Any) -> Any:
        return generate.Engine(self.model, vocab_size=self.vocab_size, **options)

    def decode(self, count: int, prompt: int, new: int) -> dict[str, float]:
        """Tokens per second of so many sequences, once all their prompts are read."""
        prompts = [(self.prompt(prompt), prompt + new) for _ in range(count)]
        step = self._begin(prompts)
        step()  # the last prompt's first token
        started = time.perf_counter()
        for _ in range(new - 4):
            step()
        return {"tokens_per_second": count * (new - 4) / (time.perf_counter() - started)}

    def _begin(self, prompts: Prompts) -> Any:
        """Read prompts to their end, and return what takes all of them a token further."""
        if hasattr(generate, "Batch"):
            ids, lengths = zip(*prompts, strict=True)
            batch = generate.Batch(
                self.model, ids, sampling=Greedy(), max_lengths=lengths, vocab_size=self.vocab_size, ntk="reserve"
            )
            batch.step()
            return batch.step
        engine = self.engine()
        requests = [generate.Request(ids=list(ids), max_length=length, ntk="reserve") for ids, length in prompts]
        for request in requests:
            engine.add(request)
        while any(len(request.ids) == request.num_prompt for request in requests):
            engine.step()
        return engine.step

    def mixed(self, count: int, batch: int) -> dict[str, float]:
        """Seconds for prompts of 16 to 2,048 tokens, most of them short, and replies of 16 to 256, each as often.

        Closed batches take so many at a time, in the order of arrival.
        """
        chance = random.Random(1)
        prompts: Prompts = []
        for _ in range(count):
            length = int(2 ** chance.uniform(4, 11))
            prompts.append((self.prompt(length), length + chance.randint(16, 256)))
        started = time.perf_counter()
        if hasattr(generate, "Batch"):
            for first in range(0, count, batch):
                several, lengths = zip(*prompts[first : first + batch], strict=True)
                closed = generate.Batch(
                    self.model, several, sampling=Greedy(), max_lengths=lengths, vocab_size=self.vocab_size
                )
                while closed.active:
                    closed.step()
        else:
            engine = self.engine()
            requests = [generate.Request(ids=list(ids), max_length=length) for ids, length in prompts]
            for request in requests:
                engine.add(request)
            while engine.step():
                pass
            assert all(request.error is None for request in requests), [request.error for request in requests]
        return {"seconds": time.perf_counter() - started, "tokens": sum(n - len(ids) for ids, n in prompts)}

    def single(self, prompt: int, new: int) -> dict[str, float]:
        """Seconds for one request, from its start to its end."""
        ids, started = self.prompt(prompt), time.perf_counter()
        step = self._begin([(ids, prompt + new)])
        for _ in range(new - 1):
            step()
        return {"seconds": time.perf_counter() - started}

    def prefix(self, length: int, own: int) -> dict[str, float]:
        """Seconds to a first token: of a prompt that begins as no other does, and of one whose beginning is known."""
        beginning, engine = self.prompt(length), self.engine()
        cold, warm = (self._first_token(engine, beginning + self.prompt(own)) for _ in range(2))
        return {"cold": cold, "warm": warm}

    def saved(self, folder: str, seed: int, length: int, own: int) -> dict[str, float]:
        """Seconds to a first token behind a beginning by `seed`, which may lie in the folder and else is put there."""
        from qwen7b.files.tensor_folder import TensorFolder
        from qwen7b.generate.saved_prefixes import SavedPrefixes

        prefixes = SavedPrefixes(TensorFolder(Path(folder), max_bytes=10**9), self.model, weights="the benchmark's")
        chance = random.Random(seed)
        beginning = [chance.randrange(self.vocab_size) for _ in range(length)]
        return {"seconds": self._first_token(self.engine(saved=prefixes), beginning + self.prompt(own))}

    @staticmethod
    def _first_token(engine: Any, ids: list[int]) -> float:
        request = generate.Request(ids=ids, max_length=len(ids) + 1)
        started = time.perf_counter()
        engine.add(request)
        while not request.is_over:
            engine.step()
        return time.perf_counter() - started

    def stall(self, decoding: int, length: int) -> dict[str, float]:
        """Milliseconds between tokens of decoding requests, before a long prompt comes and while it is read.

        The worst gap before it is what pauses of the machine alone make of a step.
        """
        engine = self.engine()
        requests = [generate.Request(ids=self.prompt(32), max_length=20_000, ntk="original") for _ in range(decoding)]
        for request in requests:
            engine.add(request)
        for _ in range(20):
            engine.step()
        before, after = [], []
        for _ in range(500):
            before.append(self._timed(engine.step))
        long = generate.Request(ids=self.prompt(length), max_length=length + 1, ntk="original")
        engine.add(long)
        while not long.is_over:
            after.append(self._timed(engine.step))
        figures = {"median_before": median(before), "worst_before": max(before)}
        figures |= {"median_then": median(after), "worst": max(after)}
        return {name: 1e3 * seconds for name, seconds in figures.items()}

    def cancel(self, count: int) -> dict[str, int]:
        """Requests that were cancelled at random and still hold memory a step later, and those that never ended."""
        engine, held, requests = self.engine(), 0, list[Any]()
        while len(requests) < count or any(not request.is_over for request in requests):
            for _ in range(min(self.random.randrange(40), count - len(requests))):
                requests.append(generate.Request(ids=self.prompt(self.random.randrange(1, 9)), max_length=14))
                engine.add(requests[-1])
            cancelled = [request for request in requests if not request.is_over and self.random.random() < 0.3]
            for request in cancelled:
                engine.cancel(request)
            engine.step()
            held += sum(request.cache is not None for request in cancelled)
        return {"requests": len(requests), "held": held, "lost": len(engine.slots.busy)}

    def invariance(self, count: int) -> dict[str, int]:
        """Replies that differ from what they are alone, on one thread, whatever runs beside them.

        Requests come at random, begin as others do, in scarce memory, some with drafts, and with 1 or 2 threads.
        """
        chance, requests = random.Random(2), list[dict[str, Any]]()
        beginnings = [self.prompt(chance.randrange(8, 200)) for _ in range(9)]
        for number in range(count):
            ids = chance.choice(beginnings)[: chance.randrange(4, 200)] + self.prompt(chance.randrange(1, 30))
            sampling = chance.choice([Greedy(), Sample(seed=number, top_p=0.9), Greedy(repetition_penalty=1.2)])
            requests.append({"ids": ids, "max_length": len(ids) + chance.randrange(1, 24), "sampling": sampling})
        kernels.set_num_threads(1)
        alone = []
        for settings in requests:
            alone += self._run(self.engine(), [settings], chance)
        together: list[list[int]] = []
        for first in range(0, count, 100):
            room = self.model.cache_bytes(capacity=600) * chance.choice([4, 100])
            engine = self.engine(max_bytes=room, max_running=chance.choice([8, 64]), draft_model=self.model)
            drafters = [None, "ngram", "ngram-pool", "model"]
            drafted = [{**fields, "speculate": chance.choice(drafters)} for fields in requests[first : first + 100]]
            together += self._run(engine, drafted, chance)
        return {"replies": count, "differ": sum(a != b for a, b in zip(alone, together, strict=True))}

    def _run(self, engine: Any, settings: list[dict[str, Any]], chance: random.Random) -> list[list[int]]:
        waiting = [generate.Request(**{**fields, "ids": list(fields["ids"])}) for fields in settings]
        requests = list(waiting)
        while engine.step() or waiting:
            while waiting and (len(requests) == 1 or chance.random() < 0.4):
                engine.add(waiting.pop(0))
            if len(requests) > 1:
                kernels.set_num_threads(chance.choice([1, 2]))
        assert all(request.state == "done" for request in requests)
        return [request.ids for request in requests]

    def memory(self, chats: int) -> dict[str, float]:
        """Megabytes that the process holds after the first tenth of so many chats, and after all."""
        engine, held = self.engine(), []
        for _ in range(chats):
            ids = self.prompt(self.random.randrange(16, 400))
            engine.add(generate.Request(ids=ids, max_length=len(ids) + 8))
            while engine.step():
                pass
            held.append(psutil.Process().memory_info().rss / 1e6)
        return {"after_a_tenth": max(held[: chats // 10]), "at_the_end": max(held[-chats // 10 :])}

    @staticmethod
    def _timed(step: Any) -> float:
        started = time.perf_counter()
        step()
        return time.perf_counter() - started


def main() -> None:
    package, model, quantize = sys.argv[1:]
    assert Path(qwen7b.__file__).is_relative_to(package), f"{qwen7b.__file__} is not in {package}"
    work = Work(model, quantize)
    for line in sys.stdin:
        asked = json.loads(line)
        with torch.inference_mode():
            print(json.dumps(getattr(work, asked.pop("work"))(**asked)), flush=True)


if __name__ == "__main__":
    main()
