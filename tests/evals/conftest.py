"""A small model that answers tasks, and an empty cache for what is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

import qwen7b
from hubs import cache  # noqa: F401  # a fixture
from qwen7b import Qwen


@pytest.fixture(scope="module")
def qwen(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="q8", context_length=2048)
