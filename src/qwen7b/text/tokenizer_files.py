"""Which file of a folder holds its tokenizer: one of the usual names, or the one that looks like it."""

from __future__ import annotations

import warnings
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from qwen7b.errors import CheckpointError
from qwen7b.json_file import read_json
from qwen7b.regular_file import folder_names

_USUAL = ("qwen.tiktoken", "tokenizer.json", "vocab.json")
# Names that tools give, the likeliest first, as in qwen-7b.tiktoken; the last are of OpenAI's GPT-2.
_UNUSUAL = ("*.tiktoken", "*tokenizer.json", "*vocab.json", "encoder.json")
_DEPTH = 3  # folders below one without a tokenizer that are looked into, as in the hub's cache
_MOST_FOLDERS = 2000


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder has a file that might be a tokenizer, GGUF files aside."""
    return any(fnmatchcase(name, pattern) for name in folder_names(folder) for pattern in _UNUSUAL)


def usual_file(folder: Path) -> Path | None:
    """The file of a usual name, if there is one."""
    return next((folder / name for name in _USUAL if (folder / name).exists()), None)


def guessed_file(folder: Path) -> Path | None:
    """The one file that looks like a tokenizer by its name, or that of the one subfolder with one, with a warning.

    Raises CheckpointError where several files could be meant.
    """
    names, extra = folder_names(folder), named_extra_vocabulary(folder)
    for pattern in _UNUSUAL:
        found = [name for name in names if fnmatchcase(name, pattern) and folder / name != extra]
        if len(found) > 1:
            raise CheckpointError(
                f"{folder} has no {_USUAL[0]} but several files like it ({', '.join(found):.200}): give the right one "
                "that name"
            )
        if found:
            return _guessed(folder / found[0])
    below = [file for name in names if (folder / name).is_dir() and (file := usual_file(folder / name))]
    return _guessed(below[0]) if len(below) == 1 else None


def no_tokenizer(folder: Path) -> CheckpointError:
    folders = (path for depth in range(1, _DEPTH + 1) for path in folder.glob("*/" * depth))
    below = [path for path in islice(folders, _MOST_FOLDERS) if usual_file(path)]
    advice = f"; there is one in {below[0]}, so perhaps give that folder" if below else ""
    return CheckpointError(f"{folder} has no tokenizer: it should hold one of {', '.join(_USUAL)}{advice}")


def named_extra_vocabulary(folder: Path) -> Path | None:
    """The file of extra tokens that a folder's settings name."""
    config_path = folder / "tokenizer_config.json"
    name = read_json(config_path).get("extra_vocab_file") if config_path.exists() else None
    return None if name is None else folder / Path(str(name)).name


def _guessed(path: Path) -> Path:
    warnings.warn(f"{path} is taken for the tokenizer, as there is none of a usual name", stacklevel=4)
    return path
