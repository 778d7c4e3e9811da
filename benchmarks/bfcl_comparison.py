"""Compares calls by each dialect with those of Transformers: the same weights and questions, and the same checker.

    pip install --no-deps --target bfcl bfcl-eval==2026.3.23
    python benchmarks/bfcl_comparison.py --data bfcl [--limit 10] [--dialects coder,tool_call] [--unconstrained]
        [--categories simple,multiple,parallel,irrelevance] [--model demo] [--work FOLDER] [--json]

Transformers computes in float32 on the checkpoint that `qwen7b convert --to qwen2` makes of the model's own, writes the
prompt by the model's own template and picks the likeliest token; its calls are read by the rules of vLLM's parser
"hermes", which are those that vLLM's documentation names for these models. Ours computes in float32 too. Prints for
each the share of right replies, with that of each category.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from lm_eval_reference import converted
from rows import Row, print_rows

import qwen7b
from qwen7b.dialects.registry import DIALECTS
from qwen7b.evals.call_outputs import call_outputs
from qwen7b.evals.output_reader import OutputReader
from qwen7b.tasks.bfcl import Bfcl
from qwen7b.tasks.item import Item, Outcome
from qwen7b.tasks.procedure import TaskPlan

CATEGORIES = "simple,multiple,parallel,irrelevance"
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*)", re.DOTALL)


def hermes_calls(text: str) -> list[dict[str, Any]]:
    """The calls of a reply by vLLM's rules: none at all where one of them cannot be read.

    https://github.com/vllm-project/vllm/blob/main/vllm/tool_parsers/hermes_tool_parser.py
    """
    try:
        found = [json.loads(whole or rest) for whole, rest in _CALL.findall(text)]
        return [{"name": call["name"], "arguments": call["arguments"]} for call in found]
    except (ValueError, KeyError, TypeError):
        return []


def transformers_outputs(folder: Path, items: Sequence[Item], *, max_new_tokens: int) -> Iterator[tuple[Item, str]]:
    """Each item with the calls of Transformers' reply, as `eval bfcl` records calls."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for item in items:
        prompt = tokenizer.apply_chat_template(
            item.messages, tools=json.loads(item.tools), add_generation_prompt=True, return_tensors="pt"
        )["input_ids"]
        ids = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=max_new_tokens
        )[0, prompt.shape[1] :]
        # The marks of calls are control tokens, which are not special in the model's own files.
        yield item, json.dumps(hermes_calls(tokenizer.decode(ids, skip_special_tokens=True)))


def share_right(
    what: str, answers: Iterator[tuple[Item, str]], task: Bfcl, plan: TaskPlan, reader: OutputReader
) -> Row:
    outcomes = [Outcome(item=item, output=output, reading=reader.read(item, output)) for item, output in answers]
    summary = task.summarize(outcomes, plan)
    assert summary.score is not None
    shares = {category: share for category, share in summary.groups.items() if share is not None}
    return Row(f"% right, {what}", summary.score, "", {**shares, "items": len(outcomes)})


def table(arguments: argparse.Namespace) -> Iterator[Row]:
    qwen = qwen7b.load(arguments.model, dtype=torch.float32)
    plan = TaskPlan(subjects=tuple(arguments.categories.split(",")), limit=arguments.limit)
    for dialect in arguments.dialects.split(","):
        task = Bfcl(dialect=dialect, is_constrained=not arguments.unconstrained)
        plan = task.completed(plan)
        items = task.found_items(arguments.data, plan)
        with OutputReader(task, plan, qwen.tokenizer, arguments.data) as reader:
            answers = ((item, output.text) for item, output in call_outputs(qwen, items, task.wanted(plan)))
            yield share_right(dialect, answers, task, plan, reader)
    folder = converted(arguments.model, arguments.work)
    with OutputReader(task, plan, qwen.tokenizer, arguments.data) as reader:
        theirs = transformers_outputs(folder, items, max_new_tokens=task.wanted(plan).max_new_tokens)
        yield share_right("Transformers, own template, hermes", theirs, task, plan, reader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with bfcl-eval")
    parser.add_argument("--limit", type=int, help="so many questions of each category")
    parser.add_argument("--dialects", default=",".join(DIALECTS))
    parser.add_argument("--categories", default=CATEGORIES)
    parser.add_argument("--unconstrained", action="store_true")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "bfcl-comparison"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print_rows(table(arguments), as_json=arguments.json)


if __name__ == "__main__":
    main()
