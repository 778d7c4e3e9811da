"""A name in, a path out: known and official models, hub ids and addresses, downloaded where they are not cached yet.

Knows how files are named, but not what is in them, and needs no torch.
"""

from __future__ import annotations

from qwen7b.hub.fetch import fetch
from qwen7b.hub.known import KNOWN_MODELS
from qwen7b.hub.listing import ListedModel, list_models, list_official_models
from qwen7b.hub.locate import locate

__all__ = ["KNOWN_MODELS", "ListedModel", "fetch", "list_models", "list_official_models", "locate"]
