"""Which file of a folder holds its tokenizer, by its usual name or a similar one, and which files belong to it."""

from __future__ import annotations

import os
import warnings
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from qwen7b.errors import CheckpointError
from qwen7b.system.json_file import read_json_if_any
from qwen7b.system.regular_file import folder_names

_USUAL_NAMES = ("qwen.tiktoken", "tokenizer.json", "vocab.json")
# Names that tools give, the likeliest first, as in qwen-7b.tiktoken, and the usual ones; the last is of OpenAI's GPT-2.
_SIMILAR = {
    "*.tiktoken": "qwen.tiktoken",
    "*tokenizer.json": "tokenizer.json",
    "*vocab.json": "vocab.json",
    "encoder.json": "vocab.json",
}
_SETTINGS = (
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json"),
)
TOKENIZER_FILES = (*_USUAL_NAMES, "merges.txt", *_SETTINGS)
"""The usual names of all files that a folder's tokenizer may consist of."""
_DEPTH = 3  # folders below one without a tokenizer that are looked into, as in the hub's cache
_MAX_FOLDERS = 2000


def holds_tokenizer(folder: Path) -> bool:
    """Tell whether a folder has a file that might be a tokenizer, GGUF files aside."""
    return any(fnmatchcase(name.lower(), pattern) for name in folder_names(folder) for pattern in _SIMILAR)


def usual_file(folder: Path) -> Path | None:
    """The file of a usual name, if there is one."""
    return next((folder / name for name in _USUAL_NAMES if os.path.lexists(folder / name)), None)


def guessed_file(folder: Path) -> Path | None:
    """The one file whose name looks like a tokenizer's, else the tokenizer of the only subfolder with one; warns.

    Raises CheckpointError where several files could be meant.
    """
    names, extra = folder_names(folder), named_extra_vocabulary(folder)
    for pattern in _SIMILAR:
        matches = [name for name in names if fnmatchcase(name.lower(), pattern) and folder / name != extra]
        if len(matches) > 1:
            raise CheckpointError(
                f"{folder} has no {_USUAL_NAMES[0]} but several files like it ({', '.join(matches):.200}): give the "
                "right one that name"
            )
        if matches:
            return _warn_of_guess(folder / matches[0])
    below = [file for name in names if (folder / name).is_dir() and (file := usual_file(folder / name))]
    return _warn_of_guess(below[0]) if len(below) == 1 else None


def files_by_usual_name(file: Path) -> dict[str, Path]:
    """A tokenizer's file and the files that belong to it, by the names under which any program finds them.

    A folder has one tokenizer, perhaps in several formats: those that are looked for after this one are included.
    """
    patterns = (pattern for pattern in _SIMILAR if fnmatchcase(file.name.lower(), pattern))
    usual = _SIMILAR[next(patterns, "*tokenizer.json")]
    formats = _USUAL_NAMES[_USUAL_NAMES.index(usual) + 1 :] if file.name == usual else ()
    files = {name: file.with_name(name) for name in formats} | {"merges.txt": merges_file(file)}
    files |= {name: beside(file, name) for name in _SETTINGS}
    if usual == "qwen.tiktoken" and (extra := named_extra_vocabulary(file.parent)):
        files[extra.name] = extra
    return {usual: file, **{name: path for name, path in files.items() if path.is_file()}}


def merges_file(vocabulary: Path) -> Path:
    """The file with the merges of a `vocab.json`."""
    return vocabulary.with_name("vocab.bpe") if vocabulary.name == "encoder.json" else beside(vocabulary, "merges.txt")


def beside(vocabulary: Path, name: str) -> Path:
    """A file that belongs to a `vocab.json`; its name may have the same prefix."""
    before = vocabulary.name.removesuffix("vocab.json")
    own = vocabulary.with_name(before + name)
    return own if before != vocabulary.name and own.exists() else vocabulary.with_name(name)


def no_tokenizer_error(folder: Path) -> CheckpointError:
    folders = (path for depth in range(1, _DEPTH + 1) for path in folder.glob("*/" * depth))
    below = [path for path in islice(folders, _MAX_FOLDERS) if usual_file(path)]
    advice = f"; there is one in {below[0]}, so perhaps give that folder" if below else ""
    return CheckpointError(f"{folder} has no tokenizer: it should hold one of {', '.join(_USUAL_NAMES)}{advice}")


def named_extra_vocabulary(folder: Path) -> Path | None:
    """The file of extra tokens that a folder's settings name."""
    config_path = folder / "tokenizer_config.json"
    name = read_json_if_any(config_path).get("extra_vocab_file")
    return None if name is None else folder / Path(str(name)).name


def _warn_of_guess(path: Path) -> Path:
    warnings.warn(f"{path} is taken for the tokenizer, as there is no file with a usual name", stacklevel=4)
    return path
