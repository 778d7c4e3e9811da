"""The doctor against the program: what it calls healthy is used as it says, what it calls broken fails as it says."""

from __future__ import annotations

import json
import shlex
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import qwen7b
import tiny
from qwen7b.cli.app import app
from qwen7b.convert import convert, quantize
from qwen7b.doctor import diagnose, fix
from qwen7b.errors import Qwen7bError

CHAT = {"chat_format": "chatml", "eos_token_id": [266, 267, 268], "max_new_tokens": 4}


def folder(path: Path, **changes: Any) -> Path:
    """A sound chat model, with other settings for `write_folder` where given."""
    settings = {"tokenizer": True, "generation": CHAT, **changes}
    config, tensors = settings.pop("config", tiny.V11_CONFIG), settings.pop("tensors", None)
    return tiny.write_folder(path, config, tiny.qwen_tensors() if tensors is None else tensors, **settings)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors")
    return path


def without(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).unlink()
    return path


def renamed(path: Path, old: str, new: str) -> Path:
    (path / old).rename(path / new)
    return path


def stale_index(path: Path) -> Path:
    (folder(path) / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    return path


def as_gguf(path: Path) -> Path:
    path.mkdir()
    convert(folder(path.with_name("source")), path / "model.gguf", to="gguf")
    return path


def packed(path: Path) -> Path:
    quantize(folder(path.with_name("source")), path, format="q8")
    return path


def qwen2(path: Path, **changes: Any) -> Path:
    return folder(path, config=tiny.QWEN2_CONFIG, tensors=tiny.qwen2_tensors(), **changes)


HEALTHY: dict[str, Callable[[Path], Path]] = {
    "chat": folder,
    "shards": lambda path: folder(path, shards=3),
    "pickled": lambda path: folder(path, config=tiny.V10_CONFIG, pickled=True),
    "transposed": lambda path: transposed(path),
    "base": lambda path: folder(path, generation={"chat_format": "raw"}),
    "silent": lambda path: folder(path, generation=None),
    "qwen2": qwen2,
    "llama": lambda path: folder(path, config=tiny.LLAMA_CONFIG, tensors=tiny.qwen2_tensors(bias=False, head=True)),
    "no index": lambda path: without(folder(path, shards=2), "model.safetensors.index.json"),
    "stale index": stale_index,
    "odd name": lambda path: renamed(folder(path), "model.safetensors", "merged.safetensors"),
    "odd tokenizer": lambda path: renamed(folder(path), "tokenizer.json", "qwen_tokenizer.json"),
    "gguf": lambda path: as_gguf(path) / "model.gguf",
    "gguf in a folder": as_gguf,
    "packed": packed,
    "a name with spaces": lambda path: folder(path.with_name("it's my model")),
    "ends at end of text": lambda path: folder(path, generation={**CHAT, "eos_token_id": 266}),
    "tokenizer": lambda path: tiny.write_tokenizer_json(path.with_name("tokenizer.json")),
    "one file": lambda path: folder(path) / "model.safetensors",
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_healthy_is_used_as_recommended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("QWEN7B_OFFLINE", "1")
    found = diagnose(HEALTHY[name](tmp_path / "model"))
    assert found.is_healthy and found.usage, [finding.message for finding in found.findings]
    for line in found.usage:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            if line.startswith("qwen7b "):
                verb, *arguments = shlex.split(line)[1:]
                more = {"chat": ["hello", "--max-new-tokens", "2"], "complete": ["hello", "--max-new-tokens", "2"]}
                result = CliRunner().invoke(app, [verb, *arguments, *more.get(verb, [])])
                assert result.exit_code == 0, result.output
            else:
                qwen = eval(line, {"qwen7b": qwen7b})
                answer = qwen.chat if qwen.is_chat else qwen.complete
                assert answer("hello", max_new_tokens=2).usage.completion_tokens > 0


def spoil(path: Path) -> Path:
    return edit_tensors(path, lambda tensors: tensors["transformer.ln_f.weight"].fill_(float("nan")))


def emptied(path: Path) -> Path:
    return edit_tensors(path, lambda tensors: tensors["transformer.ln_f.weight"].zero_())


def rewritten(path: Path, name: str, content: str) -> Path:
    (path / name).write_text(content)
    return path


def changed(path: Path, name: str, **changes: Any) -> Path:
    edit(path / name, **changes)
    return path


def few_rows(path: Path) -> Path:
    tensors = tiny.qwen_tensors()
    tensors |= {name: tensors[name][:200].clone() for name in ("transformer.wte.weight", "lm_head.weight")}
    return folder(path, config={**tiny.V11_CONFIG, "vocab_size": 200}, tensors=tensors)


def cached(path: Path) -> Path:
    folder(path / "models--Qwen--Qwen-7B" / "snapshots" / "0123")
    return path / "models--Qwen--Qwen-7B"


def less_beside_a_missing_shard(path: Path) -> Path:
    without(folder(path, shards=3), "model-00002-of-00003.safetensors")
    save_file({"lm_head.weight": torch.zeros(2, 2)}, path / "model.safetensors")
    return path


def transposed(path: Path) -> Path:
    tensors = tiny.qwen_tensors()
    tensors["lm_head.weight"] = tensors["lm_head.weight"].t().contiguous().t()
    return folder(path, tensors=tensors, pickled=True)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"

BROKEN: dict[str, Callable[[Path], Path]] = {
    "no tokenizer": lambda path: without(folder(path), "tokenizer.json"),
    "damaged tokenizer": lambda path: rewritten(folder(path), "tokenizer.json", "{}"),
    "no config": lambda path: without(folder(path), "config.json"),
    "no weights": lambda path: without(folder(path), "model.safetensors"),
    "missing shard": lambda path: without(folder(path, shards=3), "model-00002-of-00003.safetensors"),
    "pointer": lambda path: rewritten(folder(path), "model.safetensors", POINTER),
    "not a number": lambda path: spoil(folder(path)),
    "zeros": lambda path: emptied(folder(path)),
    "few rows": few_rows,
    "other sizes": lambda path: folder(path, config={**tiny.V11_CONFIG, "num_hidden_layers": 5}),
    "other family": lambda path: folder(path, config=tiny.QWEN2_CONFIG),
    "other model": lambda path: folder(path, config={**tiny.V11_CONFIG, "model_type": "bert"}),
    "vision": lambda path: folder(path, config={**tiny.V11_CONFIG, "visual": {"width": 9}}),
    "generation": lambda path: changed(folder(path), "generation_config.json", eos_token_id="x"),
    "sampling": lambda path: changed(folder(path), "generation_config.json", do_sample=True, top_p=7.0),
    "parent": lambda path: folder(path / "checkpoint-9").parent,
    "cache": cached,
    "dropped biases": lambda path: folder(path, config=tiny.QWEN2_CONFIG, tensors=tiny.qwen2_tensors(bias=False)),
    "nothing": lambda path: (path.mkdir(), path)[1],  # type: ignore[func-returns-value]
    "one of its files": lambda path: folder(path) / "config.json",
    "less beside a missing shard": less_beside_a_missing_shard,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_fails_with_the_same_words(tmp_path: Path, name: str) -> None:
    path = BROKEN[name](tmp_path / "model")
    found = diagnose(path)
    errors = [finding.message for finding in found.findings if finding.severity == "error"]
    assert errors and not found.usage
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(Qwen7bError) as failure:
            qwen7b.load(path).chat("hello", max_new_tokens=1)
    assert any(str(failure.value) in error for error in errors), (str(failure.value), errors)
    repairs = fix(found, tmp_path / "mended")
    if any(finding.repair for finding in found.findings):
        assert repairs
    if repairs and diagnose(tmp_path / "mended").is_healthy:
        assert qwen7b.load(tmp_path / "mended").chat("hello", max_new_tokens=1).token_ids


def test_the_recommended_repair_of_a_missing_tokenizer(tmp_path: Path) -> None:
    broken, base = BROKEN["no tokenizer"](tmp_path / "model"), folder(tmp_path / "base")
    [error] = [finding.message for finding in diagnose(broken).findings]
    command = error[error.index("'qwen7b ") + 1 :].partition("' ")[0]
    target = tmp_path / "mended"
    arguments = shlex.split(command.replace("NEW_FOLDER", str(target)).replace("BASE", str(base)))[1:]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    shutil.rmtree(base)
    assert diagnose(target).is_healthy
