"""Reads JSON: files that hold an object, and JSON inside other untrusted files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError, quoted
from qwen7b.system.regular_file import read_whole

MAX_BYTES = 1 << 26
"""The largest JSON file that is read; the largest vocabularies take half of it."""
# As Python objects, small values take twenty times their bytes in the file.
_MAX_COLLECTIONS = 1 << 20
_MAX_VALUES = 1 << 22


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError if it is missing, unreadable, not JSON or not an object."""
    try:
        value = parse_json(read_whole(path, limit=MAX_BYTES))
    except FileNotFoundError:
        if path.is_symlink():
            raise CheckpointError(f"{path} is a link to a file that is not there: download it again") from None
        raise CheckpointError(
            f"{path.parent} has no {path.name}: the checkpoint is incomplete, so download it again"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}; download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} should hold a JSON object, found {type(value).__name__}")
    return value


def read_json_if_any(path: Path) -> dict[str, Any]:
    """The object as `read_json` reads it, or {} if there is no such file; a broken link is still an error."""
    return read_json(path) if os.path.lexists(path) else {}


def parse_json(data: bytes, *, unique: bool = False) -> Any:
    """Parse JSON. Raises ValueError if it is invalid or holds too many values.

    If an object has a name twice, the last value counts, as in other programs, unless names must be `unique`.
    """
    if data.count(b"[") + data.count(b"{") > _MAX_COLLECTIONS or data.count(b",") > _MAX_VALUES:
        raise ValueError(f"it holds more than {_MAX_VALUES:,} values or {_MAX_COLLECTIONS:,} lists and objects")
    try:
        return json.loads(data, object_pairs_hook=_unique if unique else None)
    except RecursionError as error:
        raise ValueError("its lists and objects are nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"an object has the name {quoted(name)} twice")
        fields[name] = value
    return fields
