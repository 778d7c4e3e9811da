"""Finds out what kind of artefact a path holds, and diagnoses it."""

from __future__ import annotations

import shlex
from pathlib import Path

from qwen7b.checkpoint.checkpoint import open_checkpoint
from qwen7b.checkpoint.folders import gguf_instead
from qwen7b.doctor.adapter import diagnose_adapter
from qwen7b.doctor.findings import Diagnosis
from qwen7b.doctor.folder import diagnose_folder
from qwen7b.doctor.weights import diagnose_gguf
from qwen7b.files.file_names import is_weights
from qwen7b.files.gguf_parts import part_files
from qwen7b.files.weight_files import has_weights, open_weight_file
from qwen7b.system.regular_file import existing_path, folder_names
from qwen7b.text import load_tokenizer
from qwen7b.text.tokenizer_files import holds_tokenizer

_TOKENIZERS = (".tiktoken", "tokenizer.json", "vocab.json", "encoder.json")


def diagnose(path: str | Path, *, base: Path | None = None, tokenizer: Path | None = None) -> Diagnosis:
    """Diagnose a checkpoint folder, a GGUF file, an adapter or a tokenizer.

    `base` is the folder of an adapter's base model; `tokenizer` is a folder or file to repair a missing tokenizer
    with. Reads headers, settings, tokenizer and the smallest tensors, and compares with their checksums what has some:
    packed weights, copies of the model in the cache, and models known by name. Raises ModelNotFoundError where there
    is nothing.

    >>> diagnose("Qwen-7B-Chat").facts["parameters"]  # doctest: +SKIP
    7721324544
    """
    path = existing_path(path)
    diagnosis = Diagnosis(path=path)
    files = (
        part_files(path) if path.is_file() else [path / name for name in folder_names(path) if (path / name).is_file()]
    )
    diagnosis.facts |= {"files": len(files), "bytes": sum(file.stat().st_size for file in files)}
    if path.is_file():
        _diagnose_file(path, diagnosis)
    else:
        _diagnose_folder(path, diagnosis, base=base, tokenizer=tokenizer)
    if base and diagnosis.kind != "adapter":
        diagnosis.warn(f"{path} is not an adapter, so the base {base} was ignored: leave it out")
    return diagnosis


def _diagnose_file(path: Path, diagnosis: Diagnosis) -> None:
    if path.name.lower().endswith(_TOKENIZERS):
        _diagnose_tokenizer(path, diagnosis)
    elif path.suffix.lower() == ".json":
        diagnosis.attempt(lambda: open_checkpoint(path))
    elif is_weights(path.name):
        diagnosis.kind = "weight file"
        if tensors := diagnosis.attempt(lambda: open_weight_file(path)):
            diagnosis.facts["tensors"] = len(tensors)
        diagnosis.warn(f"{path} is one file of a checkpoint: give its folder, {path.parent}, to check all of it")
        diagnosis.usage = [f"qwen7b doctor {shlex.quote(str(path.parent))}"] if diagnosis.is_healthy else []
    else:
        diagnose_gguf(path, diagnosis)


def _diagnose_folder(path: Path, diagnosis: Diagnosis, *, base: Path | None, tokenizer: Path | None) -> None:
    if has_weights(path):
        diagnose_folder(path, diagnosis, tokenizer=tokenizer)
    elif (path / "adapter_config.json").exists():
        diagnose_adapter(path, diagnosis, base=base)
    elif holds_tokenizer(path) and not (path / "config.json").exists():
        _diagnose_tokenizer(path, diagnosis)
    elif file := diagnosis.attempt(lambda: gguf_instead(path)):
        diagnosis.path = file
        diagnose_gguf(file, diagnosis)
    elif diagnosis.is_healthy:
        diagnose_folder(path, diagnosis, tokenizer=tokenizer)


def _diagnose_tokenizer(path: Path, diagnosis: Diagnosis) -> None:
    diagnosis.kind = "tokenizer"
    if tokenizer := diagnosis.attempt(lambda: load_tokenizer(path)):
        diagnosis.facts |= {"tokens": tokenizer.vocab_size, "chatml": tokenizer.is_chatml}
        diagnosis.usage = [f"qwen7b tokenize --model {shlex.quote(str(path))} TEXT"]
