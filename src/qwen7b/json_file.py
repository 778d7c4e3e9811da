"""Reads a JSON file that holds an object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qwen7b.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """Raises CheckpointError for a file that is not there, cannot be read, is not JSON, or is not an object."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}: it is not a whole checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}; download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} should hold a JSON object, found {type(value).__name__}")
    return value
