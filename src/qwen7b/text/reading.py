"""Finds the tokenizer that a path holds, whatever its format."""

from __future__ import annotations

import warnings
from pathlib import Path

from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.files.file_names import is_gguf
from qwen7b.files.gguf_parts import gguf_in
from qwen7b.system.regular_file import existing_path
from qwen7b.text.gguf_vocabulary import read_gguf_vocabulary
from qwen7b.text.qwen_tiktoken import read_qwen_tiktoken
from qwen7b.text.tokenizer import Tokenizer
from qwen7b.text.tokenizer_files import (
    files_by_usual_name,
    guessed_file,
    named_extra_vocabulary,
    no_tokenizer_error,
    usual_file,
)
from qwen7b.text.tokenizer_json import read_tokenizer_json
from qwen7b.text.vocab_json import read_vocab_json
from qwen7b.text.vocabulary import Vocabulary


def load_tokenizer(path: str | Path, *, extra_vocabulary: str | Path | None = None) -> Tokenizer:
    """The tokenizer in a `.tiktoken`, `.gguf`, `tokenizer.json` or `vocab.json` file, or in a checkpoint's folder.

    `extra_vocabulary` names a file of extra tokens for `qwen.tiktoken`; in a folder it defaults to what
    `tokenizer_config.json` calls `extra_vocab_file`. A file under an unusual name is accepted with a
    warning. Raises ModelNotFoundError where there is nothing, CheckpointError for a damaged file and UnsupportedError
    for a tokenizer of another kind.

    >>> load_tokenizer("qwen.tiktoken").encode("你好，世界！")  # doctest: +SKIP
    [108386, 3837, 99489, 6313]
    """
    path = existing_path(path)
    extra = None if extra_vocabulary is None else Path(extra_vocabulary)
    if path.is_dir():
        path = tokenizer_file(path)
        if _is_tiktoken(path) and extra is None:
            extra = named_extra_vocabulary(path.parent)
    return Tokenizer(_read_vocabulary(path, extra))


def _read_vocabulary(path: Path, extra: Path | None) -> Vocabulary:
    if _is_tiktoken(path):
        return read_qwen_tiktoken(path, extra=extra)
    if extra is not None:
        raise SettingError(f"extra_vocabulary needs a .tiktoken file, found {path}: leave extra_vocabulary out")
    if is_gguf(path.name):
        return read_gguf_vocabulary(path)
    if path.name.lower().endswith(("vocab.json", "encoder.json")):
        return read_vocab_json(path)
    if path.suffix.lower() == ".json":
        return read_tokenizer_json(path)
    raise UnsupportedError(
        f"{path} is not a tokenizer: give a .tiktoken, .gguf, tokenizer.json or vocab.json, or a folder"
    )


def _is_tiktoken(path: Path) -> bool:
    return path.suffix.lower() == ".tiktoken"


def tokenizer_file(path: Path) -> Path:
    """The file that holds a path's tokenizer. Raises CheckpointError where there is none, or several."""
    if not path.is_dir():
        return path
    folder = path
    if file := usual_file(folder):
        return file
    if file := gguf_in(folder):
        return file
    if file := guessed_file(folder):
        return file
    raise no_tokenizer_error(folder)


def tokenizer_copies(path: Path) -> dict[str, Path]:
    """The files to copy so that another folder has this path's tokenizer, by the names that they should have there.

    A GGUF file keeps its name. This does not warn of a guessed file, since loading the tokenizer has done so.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        file = tokenizer_file(path)
    return {file.name: file} if is_gguf(file.name) else files_by_usual_name(file)
