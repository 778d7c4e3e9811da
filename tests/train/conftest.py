"""What tests of training share: a probe that takes no time, and the original vocabulary for those who train on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from text.conftest import qwen as qwen
from text.conftest import qwen_vocabulary as qwen_vocabulary


@pytest.fixture(scope="module")
def short_probe() -> Iterator[None]:
    """How fast the machine is does not matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qwen7b.train.precision._SECONDS", 0.01)
        yield
