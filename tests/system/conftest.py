"""An empty cache."""

from hubs import cache  # noqa: F401  # fixtures
