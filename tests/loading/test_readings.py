"""What a start reads and builds, it reads and builds once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import qwen7b
from converting import write_source
from qwen7b.checkpoint import open_checkpoint
from qwen7b.convert import quantize
from qwen7b.loading import load_model
from qwen7b.model import Transformer
from qwen7b.system import json_file


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each JSON file was read, by its name."""
    counts: Counter[str] = Counter()
    read_whole = json_file.read_whole  # type: ignore[attr-defined]

    def counted(path: Path, **limits: Any) -> bytes:
        counts[path.name] += 1
        return read_whole(path, **limits)

    monkeypatch.setattr(json_file, "read_whole", counted)
    return counts


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Transformer]:
    """Every model that was built, empty ones too."""
    models: list[Transformer] = []
    build = Transformer.__init__

    def counted(self: Transformer, *args: Any, **settings: Any) -> None:
        models.append(self)
        build(self, *args, **settings)

    monkeypatch.setattr(Transformer, "__init__", counted)
    return models


@pytest.fixture(params=["qwen", "qwen2", "packed"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param != "packed":
        return write_source(tmp_path / "source", request.param)
    quantize(write_source(tmp_path / "source", "qwen"), tmp_path / "packed", format="q8")
    return tmp_path / "packed"


def test_opening_and_loading_reads_the_config_once_and_builds_one_model(
    folder: Path, readings: Counter[str], built: list[Transformer]
) -> None:
    readings.clear()
    built.clear()
    checkpoint = open_checkpoint(folder)
    assert built == []
    model = load_model(checkpoint)
    assert (readings["config.json"], built) == (1, [model])


def test_a_start_reads_the_config_once_and_builds_one_model(
    folder: Path, readings: Counter[str], built: list[Transformer]
) -> None:
    qwen = qwen7b.load(folder, quantize=None if folder.name == "packed" else "q8")
    readings.clear()
    built.clear()
    qwen = qwen7b.load(folder, quantize=None if folder.name == "packed" else "q8")  # what is kept is there
    assert (readings["config.json"], built) == (1, [qwen.model])


def test_packing_builds_one_model(tmp_path: Path, built: list[Transformer]) -> None:
    model = load_model(write_source(tmp_path / "source", "qwen"), quantize="q8")
    assert built == [model]
