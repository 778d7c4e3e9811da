"""The adapters of a model, by the names that requests choose them by."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from qwen7b.adapters.beside import adapter_beside
from qwen7b.errors import SettingError, quoted
from qwen7b.model import Transformer
from qwen7b.model.adapter_weights import AdapterWeights

NONE = "none"
"""The name of the model itself, without an adapter."""


class NamedAdapters:
    """The adapters beside a model. Any thread may add and remove them while an engine runs.

    A request keeps the adapter that it was added with: to remove a name, or to give it to another adapter, changes no
    reply that is under way.
    """

    def __init__(self, model: Transformer, paths: Mapping[str, str | Path] | None = None) -> None:
        self.model = model
        self._by_name: dict[str, AdapterWeights] = {}
        self.num_removed = 0
        """How often one was removed: what is kept of it is then of no more use."""
        for name, path in (paths or {}).items():
            self.add(name, path)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._by_name))

    def __contains__(self, adapter: object) -> bool:
        return adapter in self._by_name.values()

    @property
    def digests(self) -> dict[str, str]:
        """What tells each adapter's numbers from all others', by name."""
        return {name: adapter.digest for name, adapter in self._by_name.items()}

    def add(self, name: str, path: str | Path) -> None:
        """Read an adapter's folder. Raises SettingError for a name that is taken, and what `adapter_beside` raises."""
        if not isinstance(name, str) or not name or name == NONE:
            raise SettingError(f"an adapter's name should be a text other than {NONE!r}, found {quoted(name)}")
        if name in self._by_name:
            raise SettingError(f"there is an adapter {quoted(name)} already: choose another name, or remove it first")
        self._by_name[name] = adapter_beside(self.model, path)

    def remove(self, name: str) -> None:
        """Forget an adapter; its memory is free once the replies that are under way with it have ended."""
        self.find(name)
        del self._by_name[name]
        self.num_removed += 1

    def find(self, name: str | None) -> AdapterWeights | None:
        """The adapter of that name; None for "none". Raises SettingError for a name that is unknown."""
        if name is None or name == NONE:
            return None
        if not isinstance(name, str) or (adapter := self._by_name.get(name)) is None:
            known = ", ".join(map(quoted, self)) or "none: load them with adapters=, or by add_adapter"
            near = difflib.get_close_matches(str(name), self, n=1)
            guess = f"; did you mean {quoted(near[0])}?" if near else ""
            raise SettingError(f"there is no adapter {quoted(name)}; those of this model are {known}{guess}")
        return adapter
