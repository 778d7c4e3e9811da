"""What a conversion did and found: the contents of conversion.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwen7b.checkpoint.own_config import config_fields
from qwen7b.config import ModelConfig
from qwen7b.convert.target_format import TargetFormat


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeComparison:
    """How the target's tensors of one number type differ from the source's."""

    tensors: int
    largest_difference: float
    is_float: bool
    """Whether the type is one of floats: then every number equals the source's in that type."""

    def as_document(self) -> dict[str, Any]:
        document = {"tensors": self.tensors, "largest_difference_from_source": self.largest_difference}
        return document | ({"equal_to_source_cast": True} if self.is_float else {})


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitsComparison:
    """How the two models' logits differ over the check text."""

    tokens: int
    largest_difference: float
    same_likeliest_token: float
    """The share of tokens after which both models find the same one likeliest."""
    mean_kl_divergence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """A finished conversion."""

    source: Path
    source_config: ModelConfig
    target: Path
    format: TargetFormat
    target_config: ModelConfig
    num_tensors: int
    """How many of the target's tensors were compared with the source's: all of them."""
    types: Mapping[str, TypeComparison]
    """The comparison's result by number type, under GGUF's name."""
    logits: LogitsComparison
    changed: list[str]
    """A sentence for each thing that is said otherwise, without changing the model."""
    lost: list[str]
    """A sentence for each thing that the target does not have."""
    writing_seconds: float
    checking_seconds: float
    versions: Mapping[str, str]
    """The versions of the packages that made it."""
    files: Mapping[str, WrittenFile]
    """What was written, by file name."""

    def as_document(self) -> dict[str, Any]:
        """The same as conversion.json has it."""
        return {
            "source": {"path": str(self.source), "config": config_fields(self.source_config)},
            "target": {
                "path": str(self.target),
                "format": self.format.value,
                "config": config_fields(self.target_config),
            },
            "tensors": {
                "checked": self.num_tensors,
                "types": {name: entry.as_document() for name, entry in self.types.items()},
            },
            "logits": asdict(self.logits),
            "changed": self.changed,
            "lost": self.lost,
            "seconds": {"writing": self.writing_seconds, "checking": self.checking_seconds},
            "versions": dict(self.versions),
            "files": {name: asdict(file) for name, file in self.files.items()},
        }
