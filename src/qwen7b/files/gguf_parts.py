"""A model in several GGUF files, as `llama-gguf-split` and the converters split it: any part in, all parts out.

Only the first part holds the model's metadata; each part states its number and how many parts there are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError, quoted
from qwen7b.files.file_names import GGUF_PART, gguf_models, is_gguf
from qwen7b.files.gguf_header import GGUFHeader, read_gguf_header
from qwen7b.system.regular_file import folder_names

# A piece of a file that was cut at some byte, as some publishers do with files too large for a hub.
_PIECE = re.compile(r"(?P<whole>.+\.gguf)[-._](split-?[a-z0-9]+|part-?[a-z0-9]+|\d{1,3})", re.IGNORECASE)


def read_gguf_parts(path: Path, *, vocabulary: bool = True) -> list[tuple[Path, GGUFHeader]]:
    """All files of the model that this file belongs to, in order, with their headers. Most models are one file.

    Without `vocabulary` the tokens and merges are skipped.

    Raises CheckpointError where parts are missing or contradict each other, and what `read_gguf_header` raises.
    """
    if piece := _PIECE.fullmatch(path.name):
        raise CheckpointError(
            f"{path} is a piece of {piece['whole']}, which was cut into bytes: join its pieces in their order, as in "
            f"'cat {piece['whole']}{path.name[len(piece['whole'])]}* > {piece['whole']}', and give that file"
        )
    header = read_gguf_header(path, vocabulary=vocabulary)
    count = _number(path, header.metadata, "split.count", default=1)
    if count <= 1:
        return [(path, header)]
    own = _number(path, header.metadata, "split.no", default=0)
    parts = {own: (path, header)}
    for other in _companions(path):
        other_header = read_gguf_header(other, vocabulary=vocabulary)
        if _number(other, other_header.metadata, "split.count", default=1) == count:
            number = _number(other, other_header.metadata, "split.no", default=0)
            if number in parts:
                raise CheckpointError(
                    f"{other} and {parts[number][0].name} both say that they are part {number + 1} of {count}: keep "
                    "the parts of one model in a folder of their own"
                )
            parts[number] = (other, other_header)
    missing = [number for number in range(count) if number not in parts]
    if missing:
        numbers = ", ".join(str(number + 1) for number in missing[:8]) + (" …" if len(missing) > 8 else "")
        raise CheckpointError(
            f"{path} is part {own + 1} of {count}, but part {numbers} is not beside it: put all parts into one folder"
        )
    return [parts[number] for number in range(count)]


def gguf_in(folder: Path) -> Path | None:
    """The first file of the GGUF model in a folder; None where there is none.

    Raises CheckpointError where there are several models.
    """
    models = gguf_models(folder_names(folder))
    if len(models) > 1:
        raise CheckpointError(
            f"{folder} holds several models ({', '.join(models):.300}): give one of these files, as in "
            f"{folder / next(iter(models))}"
        )
    return folder / next(iter(models)) if models else None


def part_files(path: Path) -> list[Path]:
    """All files of the model that this file belongs to, judging by their names; opens none."""
    return sorted([path, *_companions(path)]) if GGUF_PART.fullmatch(path.name) else [path]


def _companions(path: Path) -> list[Path]:
    """The other files that may be parts of the model: by their names, or all where this one was renamed."""
    others = [path.with_name(name) for name in folder_names(path.parent) if is_gguf(name) and name != path.name]
    own = GGUF_PART.fullmatch(path.name)
    if own is None:
        return others
    named = [(GGUF_PART.fullmatch(file.name), file) for file in others]
    return [file for part, file in named if part and (part["stem"], part["count"]) == (own["stem"], own["count"])]


def _number(path: Path, metadata: dict[str, Any], key: str, *, default: int) -> int:
    value = metadata.get(key, default)
    if type(value) is not int or not 0 <= value < 1 << 16:
        raise CheckpointError(f"{path} is damaged: {key} is {quoted(value)}, not a number of parts; download it again")
    return value
