"""The original vocabulary, for those who train on it."""

from __future__ import annotations

from text.conftest import qwen as qwen
from text.conftest import qwen_vocabulary as qwen_vocabulary
