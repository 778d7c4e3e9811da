"""One entry of the table of known errors."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownError:
    name: str
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    source: str
    """Reports of it: a bare #number is one of the original repository, QwenLM/Qwen."""


def known_error(name: str, *patterns: str, cause: str, remedy: str, source: str) -> KnownError:
    return KnownError(name, re.compile("|".join(patterns), re.IGNORECASE), cause, remedy, source)
