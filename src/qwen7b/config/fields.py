"""Reads the fields of settings files with checks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from qwen7b.errors import CheckpointError, UnsupportedError, quoted

Number = TypeVar("Number", int, float)

MAX_WHOLE = 1 << 63
"""The largest whole number that a settings file may hold: its product with a factor still fits a float."""


class Fields:
    """The fields of one file; a failed check names the file and the field."""

    def __init__(self, fields: Mapping[str, Any], *, source: str) -> None:
        self.fields = fields
        self.source = source

    def number(self, kind: type[Number], *names: str, default: Number | None = None) -> Number:
        """The first of `names` that is present, or the default. Raises CheckpointError where there is no number."""
        largest = MAX_WHOLE if kind is int else sys.float_info.max
        for name in names:
            if (value := self.fields.get(name)) is not None:
                is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if is_number and abs(value) <= largest and kind(value) == value:  # nan equals nothing
                    return kind(value)
                raise CheckpointError(
                    f"{self.source}: {name} must be a number ({kind.__name__}), found {quoted(value)}"
                )
        if default is None:
            raise CheckpointError(f"{self.source} does not say {' or '.join(names)}: complete it or download it again")
        return default

    def count(self, name: str) -> int | None:
        """A number of tokens; None where the field is absent or 0."""
        value = self.number(int, name, default=0)
        if value < 0:
            raise CheckpointError(f"{self.source}: {name} must not be negative, found {value}")
        return value or None

    def flag(self, name: str) -> bool:
        """Whether a field is true; an absent one is not. Raises CheckpointError where it is neither."""
        value = self.fields.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise CheckpointError(f"{self.source}: {name} must be true or false, found {quoted(value)}")
        return value

    def refuse(self, name: str, *, unless: object, reason: str) -> None:
        """Raise UnsupportedError where a field asks for something that qwen7b does not compute."""
        if (value := self.fields.get(name)) not in (None, unless):
            raise UnsupportedError(f"{self.source} sets {name} to {quoted(value)}: {reason}")
