"""`models` and `pull`: what is known, what is cached, and fetching."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import qwen7b.weights
from qwen7b.errors import ResourceError

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path))
    return tmp_path


def test_known_models_are_listed(run: Run) -> None:
    result = run("models")
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["NAME", "CACHED", "SIZE", "LICENCE", "TITLE"]
    assert any(row.split()[:5] == ["demo", "no", "491", "MB", "Apache-2.0"] for row in rows)
    assert all(row == row.rstrip() for row in rows)


def test_json_lists_the_same(run: Run) -> None:
    demo = next(model for model in json.loads(run("models", "--json").stdout) if model["name"] == "demo")
    assert demo == {
        "name": "demo",
        "title": "Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
        "licence": "Apache-2.0",
        "size": 491400064,
        "cached": False,
        "path": None,
    }


def test_pull_prints_the_path(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(qwen7b.weights, "locate", lambda name, **how: asked.append((name, how)) or Path("/models/demo"))
    assert run("pull", "demo").stdout == "/models/demo\n"
    assert asked == [("demo", {"offline": None})]


@pytest.mark.parametrize("arguments", [["pull", "dmeo"], ["pull", "demo", "--offline"]])
def test_what_cannot_be_pulled_is_one_line(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and "demo" in result.stderr and result.stderr.count("\n") == 1


def test_a_full_disk_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def locate(name: str, **_: object) -> Path:
        raise ResourceError("491 MB do not fit the 3 MB that are free: make room")

    monkeypatch.setattr(qwen7b.weights, "locate", locate)
    assert run("pull", "demo").stderr == "error: 491 MB do not fit the 3 MB that are free: make room\n"
