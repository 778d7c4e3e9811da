"""What a program may use."""

from __future__ import annotations

from dataclasses import dataclass

from qwen7b.config.checked import positive_number, whole_number

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramLimits:
    """The most that a program and all that it starts may use together; whatever exceeds them is killed whole."""

    seconds: float = 10.0
    """Time on the wall, from the program's first line."""
    memory_bytes: int = 1024 * _MIB
    """Memory: each process's address space at once, and what all hold together, as it is looked at."""
    disk_bytes: int = 64 * _MIB
    """The files in its folder; a file counts as one block at least."""
    output_bytes: int = _MIB
    """Standard output, and as many of standard error."""
    processes: int = 32
    """Processes and threads."""

    def __post_init__(self) -> None:
        positive_number("seconds", self.seconds)
        # Python itself takes 30 MiB of address space.
        whole_number("memory_bytes", self.memory_bytes, minimum=64 * _MIB)
        whole_number("disk_bytes", self.disk_bytes, minimum=1 << 16)
        whole_number("output_bytes", self.output_bytes, minimum=0)
        whole_number("processes", self.processes, minimum=1, maximum=4096)
