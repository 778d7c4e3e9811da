"""An empty cache, and small vocabularies of every kind."""

from hubs import cache  # noqa: F401  # fixtures
from text.conftest import ours, reference, reference_json, style  # noqa: F401
