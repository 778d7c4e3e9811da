"""The two names of the cache: Transformers calls it `cache` since 5.24 and called it `past_key_values` before."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from transformers import Cache, __version__
from transformers.masking_utils import create_causal_mask

from qwen7b.errors import SettingError, UnsupportedError
from qwen7b.installation import install_command

CACHE_NAME = "cache" if "cache" in signature(create_causal_mask).parameters else "past_key_values"
"""The cache's name in this Transformers, as an argument and in outputs."""


def choose_cache(past_key_values: Any, cache: Any, *, others: Mapping[str, Any]) -> Cache | None:
    """The cache that a caller passed by either name; `others` are arguments that are only passed on.

    Raises SettingError for two caches and for anything that is no cache. Raises UnsupportedError for a cache under a
    third name: without it the model would run, and be wrong in silence.
    """
    if past_key_values is not None and cache is not None and past_key_values is not cache:
        raise SettingError("past_key_values and cache are two names of one argument: give only one of them")
    if unknown := [name for name, value in others.items() if isinstance(value, Cache)]:
        raise UnsupportedError(
            f"transformers {__version__} passes the cache as {unknown[0]!r}, which qwen7b.hf does not know yet: run "
            + install_command("hf", upgrade=True)
        )
    chosen = past_key_values if cache is None else cache
    if chosen is not None and not isinstance(chosen, Cache):
        raise SettingError(
            f"{CACHE_NAME} must be a Cache, found a {type(chosen).__name__}: pass what an earlier call returned, or "
            "begin with transformers.DynamicCache(), as tuples of keys and values are no caches in Transformers 5"
        )
    return chosen
