"""What a reader does about a problem: raise it, as loading wants, or tell it and go on, as the doctor wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from qwen7b.errors import Qwen7bError

Report: TypeAlias = Callable[[Qwen7bError], None]
"""Is told each problem. Readers that take one go on after it returns, as well as they can."""


def fail(error: Qwen7bError) -> None:
    raise error


def and_more(count: int) -> str:
    """
    >>> f"a tensor is missing{and_more(3)}"
    'a tensor is missing (and 2 more like it)'
    """
    return f" (and {count - 1} more like it)" if count > 1 else ""
