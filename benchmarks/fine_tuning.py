"""Teaches a model a task that can be checked, quantities to strict JSON in two languages, and counts what it gets.

    python benchmarks/fine_tuning.py [--model demo] [--steps 60] [--work FOLDER] [--json]

A program writes 2,000 examples to learn from and 200 others to ask. An adapter is trained on some of the first by
`qwen7b train sft --lora`; then both models answer the others greedily, and a reply counts if it is the JSON itself, to
the character. The run is merged into a checkpoint, whose logits are compared with those of base and adapter; twenty of
its replies are compared with those of Transformers on the same folder and of llama.cpp (PyPI xllamacpp, in an
environment of its own) on the GGUF file that it converts to. All that is compared is float32.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from environments import make_environment
from llama_cpp_agreement import REQUIREMENT, ask_llama_cpp
from rows import Row, print_rows

import qwen7b
from qwen7b.adapters.adapted_modules import add_adapter, fill_adapter
from qwen7b.adapters.adapter_files import read_adapter
from qwen7b.adapters.settings import DEFAULT_TARGETS, LoraSettings
from qwen7b.checkpoint import open_checkpoint
from qwen7b.generate import Qwen
from qwen7b.hub.locate import locate
from qwen7b.loading import load_model
from qwen7b.text.chat_prompt import chat_prompt
from qwen7b.train.finetune_recipe import FinetuneRecipe
from qwen7b.train.finetuning import finetune
from qwen7b.train.merging import merge

UNITS = {
    "kg": ("kilograms", "公斤"),
    "km": ("kilometres", "公里"),
    "l": ("litres", "升"),
    "min": ("minutes", "分钟"),
    "m2": ("square metres", "平方米"),
    "°C": ("degrees Celsius", "摄氏度"),
    "km/h": ("kilometres an hour", "公里每小时"),
    "kWh": ("kilowatt hours", "度电"),
}
SENTENCES = {
    "en": (
        "It was {}.",
        "We need {} by Monday.",
        "Only {} left!",
        "I measured {}, give or take.",
        "About {}, she said.",
    ),
    "zh": ("一共{}。", "周一之前需要{}。", "只剩{}了！", "我测得{}左右。", "她说大约{}。"),
}
NEW_TOKENS = 24


def examples(seed: int, count: int) -> list[tuple[str, str]]:
    """Texts with a quantity each, and the JSON for them; no text comes twice."""
    chance, found = random.Random(seed), dict[str, str]()
    while len(found) < count:
        unit, (english, chinese) = chance.choice([*UNITS.items()])
        number = chance.choice([chance.randint(1, 9_999), round(chance.uniform(0.1, 500), 1)])
        if chance.random() < 0.5:
            text = chance.choice(SENTENCES["en"]).format(f"{number:,} {english}")
        else:
            text = chance.choice(SENTENCES["zh"]).format(f"{number}{chinese}")
        found[text] = json.dumps({"value": number, "unit": unit}, ensure_ascii=False)
    return [*found.items()]


def share_right(qwen: Qwen, asked: Sequence[tuple[str, str]]) -> float:
    replies = qwen.chat_batch([text for text, _ in asked], sampling=qwen7b.Greedy(), max_new_tokens=NEW_TOKENS)
    return sum(reply.text == answer for reply, (_, answer) in zip(replies, asked, strict=True)) / len(asked)


def transformers_replies(folder: Path, prompts: Sequence[Sequence[int]], *, stop: Sequence[int]) -> list[list[int]]:
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    replies = []
    for ids in prompts:
        out = model.generate(
            torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=[*stop], pad_token_id=stop[0]
        )
        replies.append(out[0, len(ids) :].tolist())
    return replies


def table(arguments: argparse.Namespace, work: Path) -> Iterator[Row]:
    everything = examples(0, 2_200)
    learned, asked = everything[200:], everything[:200]
    data = work / "quantities.jsonl"
    with data.open("w", encoding="utf-8") as lines:
        for text, answer in learned:
            messages = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
            print(json.dumps({"messages": messages}, ensure_ascii=False), file=lines)
    base = qwen7b.load(arguments.model, quantize="none", dtype="float32")
    before = share_right(base, asked)
    recipe = FinetuneRecipe(
        model=arguments.model,
        data=(str(data),),
        max_length=128,
        rows=8,
        steps=arguments.steps,
        lora=LoraSettings(targets=DEFAULT_TARGETS[base.config.family], rank=8),
    )
    started = time.perf_counter()
    finetune(recipe, work / "run")
    minutes = (time.perf_counter() - started) / 60
    adapted = qwen7b.load(arguments.model, adapter=work / "run", quantize="none", dtype="float32")
    figures = {"before": before, "minutes": minutes, "steps": arguments.steps}
    yield Row("of 200 unseen texts answered by the right JSON", share_right(adapted, asked), ">= 0.95", figures)
    del base, adapted  # memory may not suffice for all that is compared

    folder, file = work / "merged", work / "merged.gguf"
    merge(work / "run", folder, to="qwen2", dtype="float32")
    merge(work / "run", file, dtype="float32")
    merged = qwen7b.load(folder, quantize="none", dtype="float32")
    prompts = [chat_prompt(merged.tokenizer, [{"role": "user", "content": text}]) for text, _ in asked[:20]]
    beside = load_model(open_checkpoint(locate(arguments.model)), dtype="float32", quantize="none")
    adapter = read_adapter(work / "run")
    add_adapter(beside, adapter.settings)
    fill_adapter(beside, adapter, settings=adapter.settings, source=str(work / "run"))
    with torch.inference_mode():
        pairs = [(merged.model(ids), beside(ids)) for ids in (torch.tensor([prompt]) for prompt in prompts)]
    largest = max(float((one - other).abs().max()) for one, other in pairs)
    yield Row("largest difference of merged logits from those of base and adapter", largest, "<= 1e-4", {})

    settings: Any = {"sampling": qwen7b.Greedy(), "max_new_tokens": NEW_TOKENS}
    own = [list(merged.complete(prompt, **settings).token_ids) for prompt in prompts]
    stop = merged.stop_ids
    theirs = transformers_replies(folder, prompts, stop=[*stop])
    yield Row("replies of 20 that are Transformers' too", count_equal(own, theirs, stop=stop), "20", {})
    python = make_environment(work / "xllamacpp", REQUIREMENT)
    answers = ask_llama_cpp(python, file=str(file), prompts=prompts, max_new_tokens=NEW_TOKENS, threads=1)
    theirs = [[token["id"] for token in answer] for answer in answers]
    yield Row("replies of 20 that are llama.cpp's too", count_equal(own, theirs, stop=stop), "20", {})


def count_equal(own: Sequence[Sequence[int]], others: Sequence[Sequence[int]], *, stop: Collection[int]) -> int:
    """How many replies are the same; programs differ in whether the token that ends one is part of it."""

    def content(ids: Sequence[int]) -> list[int]:
        return [*itertools.takewhile(lambda id: id not in stop, ids)]

    return sum(content(one) == content(other) for one, other in zip(own, others, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--work", type=Path, help="the folder for all files; by default they go at the end")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_rows(table(arguments, arguments.work or Path(folder)), as_json=arguments.json)


if __name__ == "__main__":
    main()
