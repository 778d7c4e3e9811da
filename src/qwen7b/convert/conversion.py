"""The result of a conversion, which is also the content of conversion.json."""

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
    """True for a floating-point type: then every number equals the source's number cast to it."""

    def as_document(self) -> dict[str, Any]:
        document = {"tensors": self.tensors, "largest_difference_from_source": self.largest_difference}
        return document | ({"equal_to_source_cast": True} if self.is_float else {})


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitsComparison:
    """How the two models' logits differ over the check text."""

    tokens: int
    largest_difference: float
    same_likeliest_token: float
    """The share of positions at which both models have the same likeliest next token."""
    mean_kl_divergence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """The size and hash of a file of the target."""

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
    """How the tensors compare, by number type under its GGUF name."""
    logits: LogitsComparison
    changed: list[str]
    """A sentence for each thing that the target expresses differently, without changing the model."""
    lost: list[str]
    """A sentence for each thing that the target has lost."""
    writing_seconds: float
    checking_seconds: float
    versions: Mapping[str, str]
    """The versions of the packages that did the conversion."""
    files: Mapping[str, WrittenFile]
    """The files that were written, by name."""

    def as_document(self) -> dict[str, Any]:
        """The conversion as conversion.json has it."""
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
