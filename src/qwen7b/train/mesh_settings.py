"""How the ranks of a run stand to each other, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from qwen7b.config.checked import positive_number, whole_number
from qwen7b.errors import SettingError


@dataclass(frozen=True, kw_only=True, slots=True)
class MeshSettings:
    """How ranks stand to each other. It is no part of a recipe: a run may go on with another number of ranks."""

    shards: int | None = None
    """The ranks that share one copy of weights, gradients and optimizer: all, or fewer, so that each such group holds
    a copy of its own (HSDP)."""
    timeout: float = 600.0
    """The seconds without an answer from another rank after which a run ends."""

    def __post_init__(self) -> None:
        if self.shards is not None:
            whole_number("shards", self.shards, minimum=1)
        positive_number("timeout", self.timeout)

    def shape(self, num_ranks: int) -> tuple[int, int]:
        """(copies, shards of each). Raises SettingError where the ranks do not fill it."""
        shards = self.shards or num_ranks
        if num_ranks % shards:
            raise SettingError(
                f"{num_ranks} ranks cannot stand in groups of {shards} shards: choose shards that divide their number"
            )
        return num_ranks // shards, shards


ONE_COPY = MeshSettings()
