"""lm-eval's own tasks on local files: what its prompts are, and what it makes of replies; and a model for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from qwen7b.convert import convert


def harness_task(
    name: str, config: str, files: dict[str, Path], folder: Path, *, chat: bool, shots: int | None = None
) -> Any:
    """One of lm-eval's tasks with its requests built, as `lm_eval run` does; in a chat they are messages as JSON."""
    lm_eval: Any = pytest.importorskip("lm_eval", reason="needs the extra lm-eval")
    tasks: Any = pytest.importorskip("lm_eval.api.task")
    own = Path(lm_eval.__file__).parent / "tasks" / name
    settings = read_settings(own / f"{config}.yaml")
    if base := settings.pop("include", None):
        settings = read_settings(own / base) | settings
    data_files = {split: str(path) for split, path in files.items()}
    settings |= {"dataset_path": "json", "dataset_name": None}
    settings["dataset_kwargs"] = {"data_files": data_files, "cache_dir": str(folder)}
    if shots is not None:
        settings["num_fewshot"] = shots
    task = tasks.ConfigurableTask(config=settings)
    task.set_fewshot_seed(1234)  # the harness's default
    task.build_all_requests(
        rank=0,
        world_size=1,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        chat_template=_as_json if chat else None,
        tokenizer_name="none" if chat else "",
    )
    return task


def read_settings(path: Path) -> dict[str, Any]:
    """A task's settings, but for its functions, whose module wants the network."""
    yaml: Any = pytest.importorskip("yaml")
    loader: Any = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!function", lambda loader, node: lambda *arguments, **named: None)
    settings: dict[str, Any] = yaml.load(path.read_text("utf-8"), loader)
    return settings


def _as_json(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
    return json.dumps({"messages": messages, "is_open": not add_generation_prompt})


def write_whole_vocabulary(folder: Path, *, context_length: int) -> Path:
    """A first-generation model, converted to Qwen2, of whose vocabulary every row is a token.

    Transformers gives rows that are no tokens their share of the probability, and the engine gives them none.
    """
    torch.manual_seed(0)
    vocabulary = len(tiny.vocabulary()) + len(tiny.CONTROL)
    tensors = tiny.qwen_tensors()
    for name in ("transformer.wte.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:vocabulary].clone()
    config = {
        **tiny.V11_CONFIG,
        "vocab_size": vocabulary,
        "seq_length": context_length,
        "max_position_embeddings": context_length,
        "use_dynamic_ntk": False,
        "use_logn_attn": False,
    }
    generation = {"chat_format": "chatml", "eos_token_id": 266, "do_sample": False}
    source = tiny.write_folder(folder / "qwen", config, tensors, tokenizer=True, generation=generation)
    convert(source, folder / "qwen2", to="qwen2")
    return folder / "qwen2"
