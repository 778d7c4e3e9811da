"""An empty cache for what is fetched."""

from hubs import cache  # noqa: F401  # a fixture
