"""The public face: these names, and every one of them resolves."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qwen7b

PUBLIC = [
    "chat_prompt",
    "CheckpointError",
    "DownloadError",
    "Greedy",
    "load",
    "load_model",
    "load_tokenizer",
    "Message",
    "MissingExtraError",
    "ModelConfig",
    "ModelNotFoundError",
    "Piece",
    "PromptError",
    "Qwen",
    "Qwen7bError",
    "Reply",
    "ResourceError",
    "Sample",
    "SettingError",
    "UnsupportedError",
]


def test_the_public_names_are_these_and_sorted() -> None:
    assert qwen7b.__all__ == PUBLIC == sorted(PUBLIC, key=str.casefold)
    assert set(PUBLIC) <= set(dir(qwen7b))


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_resolves(name: str) -> None:
    assert getattr(qwen7b, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        qwen7b.lod  # noqa: B018


WATCH = """
import gc
FREEZE
looks = []
gc.callbacks.append(lambda phase, info: looks.append(info["generation"]) if phase == "start" else None)
import qwen7b
looks.clear()
frozen, enabled = gc.get_freeze_count(), gc.isenabled()
qwen7b.Greedy
assert len(looks) <= MOST, looks
assert gc.get_freeze_count() >= frozen * 0.9 and gc.isenabled() == enabled
import torch
assert "torch" in dir() and len(gc.get_objects()) > 100_000
"""


@pytest.mark.parametrize(("freeze", "most"), [("", 0), ("gc.freeze()", 1), ("gc.disable()", 0)])
def test_no_garbage_is_looked_for_while_torch_is_imported(freeze: str, most: int) -> None:
    program = WATCH.replace("FREEZE", freeze).replace("MOST", str(most))
    subprocess.run([sys.executable, "-c", program], check=True)
