"""What the loader says of a checkpoint that it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b import CheckpointError, load_model


def refused(path: Path, kind: type[Exception] = CheckpointError) -> str:
    with pytest.raises(kind) as error:
        load_model(path)
    message = str(error.value)
    assert "\n" not in message
    return message
