"""What the tests of the Transformers integration share."""

from __future__ import annotations

from pathlib import Path

import pytest

from originals import write_original
from text.conftest import chatty, qwen_vocabulary  # noqa: F401  # fixtures


@pytest.fixture(scope="session")
def qwen_chat_folder(tmp_path_factory: pytest.TempPathFactory, qwen_vocabulary: Path) -> Path:  # noqa: F811
    """A tiny Qwen-7B-Chat as its makers released it."""
    return write_original(tmp_path_factory.mktemp("qwen-chat"), qwen_vocabulary)


@pytest.fixture(scope="session")
def qwen_base_folder(tmp_path_factory: pytest.TempPathFactory, qwen_vocabulary: Path) -> Path:  # noqa: F811
    """A tiny Qwen-7B as its makers released it."""
    return write_original(tmp_path_factory.mktemp("qwen-base"), qwen_vocabulary, chat=False)
