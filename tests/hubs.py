"""Fixtures for tests that fetch: a cache of their own, a stand-in of a hub, and none of the user's settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qwen7b.hub.known import KNOWN_MODELS, HubFile, KnownModel, Wheels
from standins import HuggingFaceHandler, StandIn, serving

FETCH_VARIABLES = (
    "QWEN7B_OFFLINE",
    "HF_HUB_OFFLINE",
    "QWEN7B_HUB",
    "HF_ENDPOINT",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    for name in FETCH_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("QWEN7B_CACHE", str(folder))
    return folder


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A Hugging Face hub of our own, and an empty cache for its library."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    with serving(HuggingFaceHandler) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def know(monkeypatch: pytest.MonkeyPatch) -> Callable[..., KnownModel]:
    """know(content, *sources) adds a known model named "tiny"."""

    def add(content: bytes, *sources: HubFile | Wheels) -> KnownModel:
        model = KnownModel(
            name="tiny",
            title="A tiny model",
            licence="MIT",
            file="tiny.gguf",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            sources=sources,
        )
        monkeypatch.setitem(KNOWN_MODELS, "tiny", model)
        return model

    return add


@pytest.fixture
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
