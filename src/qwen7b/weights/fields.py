"""Reads the fields of settings files, whatever they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from qwen7b.errors import CheckpointError, UnsupportedError

Number = TypeVar("Number", int, float)


class Settings:
    """A config's fields, read with checks that name the file and the field."""

    def __init__(self, fields: Mapping[str, Any], *, source: str) -> None:
        self.fields = fields
        self.source = source

    def number(self, kind: type[Number], *names: str, default: Number | None = None) -> Number:
        """The first of `names` that is there. Raises CheckpointError where none is or it is not a number."""
        for name in names:
            if (value := self.fields.get(name)) is not None:
                try:
                    if not isinstance(value, bool) and isinstance(value, (int, float)) and kind(value) == value:
                        return kind(value)
                except (OverflowError, ValueError):  # infinite, no number, or past what a float holds
                    pass
                raise CheckpointError(f"{self.source}: {name} must be a number ({kind.__name__}), found {value!r:.40}")
        if default is None:
            raise CheckpointError(f"{self.source} does not say {' or '.join(names)}: complete it or download it again")
        return default

    def count(self, name: str) -> int | None:
        """A number of tokens; None where the field is absent or 0."""
        value = self.number(int, name, default=0)
        if value < 0:
            raise CheckpointError(f"{self.source}: {name} must not be negative, found {value}")
        return value or None

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.fields.get(name, default)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise CheckpointError(f"{self.source}: {name} must be true or false, found {value!r}")
        return value

    def refuse(self, name: str, *, unless: object, reason: str) -> None:
        """Raise UnsupportedError where a field says what qwen7b does not compute."""
        if (value := self.fields.get(name)) not in (None, unless):
            raise UnsupportedError(f"{self.source} sets {name} to {value!r}: {reason}")
