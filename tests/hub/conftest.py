"""The stand-in of a hub, and an empty cache."""

from hubs import cache, here, hub, know  # noqa: F401  # fixtures
