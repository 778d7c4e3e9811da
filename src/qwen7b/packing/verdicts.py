"""Whether packed weights are what was written: read through once, then noted in the cache until the file changes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from qwen7b.files.checksums import check_tensors
from qwen7b.packing.places import exact_identity, noted, verdict_path
from qwen7b.system.whole_file import write_text_whole


def check_once(weights: Path) -> None:
    """Compare a packed file with its checksums, unless that was done since it was last changed.

    One of an earlier release has none, and passes. Raises CheckpointError where it is damaged.
    """
    state = exact_identity(weights)  # before it is read
    if noted(verdict_path(weights)) != state and check_tensors(weights):
        _note(weights, state)


def note_whole(weights: Path) -> None:
    """Note that a packed file is what was written, as whoever has just written it knows."""
    _note(weights, exact_identity(weights))


def _note(weights: Path, state: str) -> None:
    with suppress(OSError):  # a cache that cannot be written costs a reading a start
        path = verdict_path(weights)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_whole(path, state)
