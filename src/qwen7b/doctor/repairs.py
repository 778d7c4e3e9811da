"""The repairs of a folder, applied to a copy: each function edits the copy and returns what it did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qwen7b.doctor.findings import Repair
from qwen7b.doctor.fix import copy_file
from qwen7b.errors import Qwen7bError, counted
from qwen7b.files.file_names import is_safetensors
from qwen7b.files.weight_files import numbered_shards, open_weight_file
from qwen7b.system.json_file import read_json
from qwen7b.text.reading import tokenizer_copies
from qwen7b.text.tokenizer_files import TOKENIZER_FILES

_SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json")
_CODE_SUFFIXES = (".py", ".cpp", ".cu", ".cuh")


def write_json(path: Path, fields: dict[str, Any]) -> None:
    text = json.dumps(fields, ensure_ascii=False, indent=2) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")  # lone surrogates are written as JSON escapes


def write_config(fields: dict[str, Any], folder: Path) -> str:
    write_json(folder / "config.json", fields)
    return "rewrote config.json's sizes and names from the shapes of the tensors"


def write_stop_ids(stop_ids: Sequence[int], folder: Path) -> str:
    path = folder / "generation_config.json"
    write_json(path, {**read_json(path), "eos_token_id": list(stop_ids)})
    return f"completed eos_token_id in generation_config.json to {', '.join(map(str, stop_ids))}"


def index_repair(folder: Path) -> Repair | None:
    """The repair that writes the index of numbered shards; None if there is one already or a shard is damaged."""
    shards = numbered_shards(folder)
    if not shards or any(folder.glob("*.index.json")):
        return None
    weight_map: dict[str, str] = {}
    for shard in shards:
        try:
            weight_map |= dict.fromkeys(open_weight_file(shard), shard.name)
        except Qwen7bError:
            return None
    whole = "model.safetensors" if is_safetensors(shards[0].name) else "pytorch_model.bin"

    def write_index(folder: Path) -> str:
        index = folder / f"{whole}.index.json"
        write_json(index, {"metadata": {}, "weight_map": dict(sorted(weight_map.items()))})
        return f"wrote {index.name} from {counted(len(shards), 'shard')}"

    return write_index


def copy_tokenizer(source: Path, folder: Path) -> str:
    """Replace the folder's tokenizer by a copy of another."""
    files = tokenizer_copies(source)
    for name in TOKENIZER_FILES:
        (folder / name).unlink(missing_ok=True)
    for name, file in files.items():
        copy_file(file, folder / name)
    _drop_auto_map(folder)
    return f"took {', '.join(files)} from {source}"


def remote_code(folder: Path) -> list[str]:
    """The files with code, and the settings that make other programs run them."""
    files = sorted(file.name for file in folder.iterdir() if file.suffix in _CODE_SUFFIXES)
    return files + [f"auto_map in {name}" for name in _files_with_auto_map(folder)]


def drop_remote_code(folder: Path) -> str:
    dropped = remote_code(folder)
    for file in folder.iterdir():
        if file.suffix in _CODE_SUFFIXES:
            file.unlink()
    _drop_auto_map(folder)
    return f"left out {', '.join(dropped)}"


def _drop_auto_map(folder: Path) -> None:
    for name in _files_with_auto_map(folder):
        write_json(folder / name, {key: value for key, value in read_json(folder / name).items() if key != "auto_map"})


def _files_with_auto_map(folder: Path) -> list[str]:
    names = []
    for name in _SETTINGS:
        try:
            if "auto_map" in read_json(folder / name):
                names.append(name)
        except Qwen7bError:  # a missing or damaged file is reported elsewhere
            continue
    return names
