"""Beginnings that sequences have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from qwen7b.model.sequence_cache import SequenceCache


def find_prefix(
    ids: Sequence[int], caches: Iterable[SequenceCache], *, alpha: float
) -> tuple[SequenceCache | None, int]:
    """The cache that begins with most of these ids, read with this alpha of dynamic NTK, and how many they are."""
    best, length, array = None, 0, np.asarray(ids)
    for cache in caches:
        if cache.alpha != alpha:
            continue
        common = count_common(array, cache.ids[: cache.length].numpy())
        if common > length and cache.reaches_back(common):
            best, length = cache, common
    return best, length


def count_common(ids: Sequence[int] | np.ndarray, other_ids: Sequence[int] | np.ndarray) -> int:
    """How many ids two sequences begin with alike.

    >>> count_common([1, 2, 3], [1, 2, 4, 5])
    2
    """
    length = min(len(ids), len(other_ids))
    differ = np.asarray(ids[:length]) != np.asarray(other_ids[:length])
    return int(differ.argmax()) if differ.any() else length
