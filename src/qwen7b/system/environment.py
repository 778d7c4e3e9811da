"""The environment variables about fetching: where the cache is, which hub to ask, whether to stay offline."""

from __future__ import annotations

import os
from pathlib import Path

from qwen7b.errors import SettingError

_TRUE = {"1", "true", "yes", "on"}


def cache_folder() -> Path:
    """Where known models are kept: QWEN7B_CACHE, else the platform's cache folder (~/.cache/qwen7b on Linux)."""
    chosen = os.environ.get("QWEN7B_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen)).absolute()
    import platformdirs

    return platformdirs.user_cache_path("qwen7b", appauthor=False)


def is_offline(offline: bool | None = None) -> bool:
    """Whether only the caches may be used: the argument if given, else QWEN7B_OFFLINE or HF_HUB_OFFLINE."""
    if offline is not None:
        return offline
    return any(os.environ.get(name, "").lower() in _TRUE for name in ("QWEN7B_OFFLINE", "HF_HUB_OFFLINE"))


def hub_name() -> str:
    """The hub to ask, from QWEN7B_HUB: "huggingface" (the default) or "modelscope"."""
    name = os.environ.get("QWEN7B_HUB", "").lower() or "huggingface"
    if name not in ("huggingface", "modelscope"):
        raise SettingError(f"QWEN7B_HUB is {name!r}: set it to huggingface or modelscope, or leave it out")
    return name
