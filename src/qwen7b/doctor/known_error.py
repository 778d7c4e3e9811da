"""The type of an entry in the tables of known errors."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownError:
    """An error that users ran into: how to recognize it, where it comes from and what to do."""

    name: str
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    source: str
    """Where it was reported; a bare #number is an issue of the original repository, QwenLM/Qwen."""


def known_error(name: str, *patterns: str, cause: str, remedy: str, source: str) -> KnownError:
    return KnownError(name, re.compile("|".join(patterns), re.IGNORECASE), cause, remedy, source)
