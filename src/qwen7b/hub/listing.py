"""The models that can be run: the known ones, and those already in the Hugging Face cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qwen7b.errors import CheckpointError
from qwen7b.hub import huggingface
from qwen7b.hub.fetch import model_path
from qwen7b.hub.known import KNOWN_MODELS
from qwen7b.hub.official import OFFICIAL_MODELS
from qwen7b.system.json_file import read_json
from qwen7b.system.storage import size_of

_MODEL_TYPES = {"qwen", "qwen2", "llama"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedModel:
    """A model as `qwen7b models` lists it."""

    name: str
    """The name by which it is loaded."""
    title: str
    licence: str | None
    size: int
    """Its size in bytes, on the disk or to be downloaded."""
    path: Path | None
    """Where it is cached; None if it is not."""

    @property
    def is_cached(self) -> bool:
        return self.path is not None


def list_models() -> list[ListedModel]:
    """The known models, then those in the Hugging Face cache; uses no network and reads no weights."""
    known = []
    for model in KNOWN_MODELS.values():
        path = model_path(model)
        is_cached = size_of(path) == model.size
        known.append(
            ListedModel(
                name=model.name,
                title=model.title,
                licence=model.licence,
                size=model.size,
                path=path if is_cached else None,
            )
        )
    return known + sorted(list_hub_models(), key=lambda model: model.name)


def list_official_models() -> list[ListedModel]:
    """The first-generation models that can be downloaded by their official names, cached or not."""
    cached = {model.name.lower(): model.path for model in list_hub_models()}
    return [
        ListedModel(
            name=model.name,
            title=model.title,
            licence=model.licence,
            size=model.size,
            path=cached.get(model.repository.lower()),
        )
        for model in OFFICIAL_MODELS.values()
    ]


def list_hub_models() -> Iterator[ListedModel]:
    """The models in the Hugging Face cache that can be run."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(huggingface.cache_folder()).repos
    except (CacheNotFound, ValueError, OSError):  # there is no readable cache, so nothing to list
        return
    for repository in repositories:
        for revision in repository.revisions:
            if repository.repo_type == "model" and is_runnable(revision.snapshot_path):
                name = repository.repo_id if "main" in revision.refs else f"{repository.repo_id}@{revision.commit_hash}"
                yield ListedModel(
                    name=name,
                    title=repository.repo_id,
                    licence=None,
                    size=revision.size_on_disk,
                    path=revision.snapshot_path,
                )


def is_runnable(snapshot: Path) -> bool:
    """Whether a snapshot's config.json names a family that qwen7b runs."""
    with suppress(CheckpointError):
        config = read_json(snapshot / "config.json")
        return config.get("model_type") in _MODEL_TYPES
    return False
