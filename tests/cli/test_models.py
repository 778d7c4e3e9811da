"""`models` and `pull`: what is known, what is cached, and fetching."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import qwen7b
import qwen7b.hub
from converting import write_source
from qwen7b.errors import ResourceError

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path))
    return tmp_path


def test_known_models_are_listed(run: Run) -> None:
    result = run("models")
    assert result.exit_code == 0
    header, *rows = result.stdout.partition("\n\n")[0].splitlines()
    assert header.split() == ["NAME", "CACHED", "SIZE", "LICENCE", "TITLE"]
    assert any(row.split()[:5] == ["demo", "no", "491", "MB", "Apache-2.0"] for row in rows)
    assert all(row == row.rstrip() for row in rows)


def test_json_lists_the_same(run: Run) -> None:
    demo = next(model for model in json.loads(run("models", "--json").stdout)["models"] if model["name"] == "demo")
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
    monkeypatch.setattr(qwen7b.hub, "locate", lambda name, **how: asked.append((name, how)) or Path("/models/demo"))  # type: ignore[func-returns-value]
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

    monkeypatch.setattr(qwen7b.hub, "locate", locate)
    assert run("pull", "demo").stderr == "error: 491 MB do not fit the 3 MB that are free: make room\n"


# Packed copies, and removing


@pytest.fixture
def packed(empty_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, of which the cache holds a packed copy."""
    source = write_source(tmp_path_factory.mktemp("models") / "Tiny-1.5", "qwen2")
    qwen7b.load(source, quantize="q8")
    return source


def kept(cache: Path) -> set[str]:
    return {path.suffix for path in (cache / "packed").iterdir() if path.name != ".lock"}


def test_packed_copies_and_disk_use_are_listed(run: Run, packed: Path, empty_cache: Path) -> None:
    document = json.loads(run("models", "--json").stdout)
    [copy] = document["packed"]
    [path] = (empty_cache / "packed").glob("*.safetensors")
    assert copy == {
        "name": "Tiny-1.5-q8",
        "format": "q8",
        "source": str(packed),
        "state": "current",
        "size": path.stat().st_size,
        "path": str(path),
    }
    assert document["disk_use"][str(empty_cache)] > path.stat().st_size
    shown = run("models").stdout
    assert (
        re.search("Tiny-1.5-q8 +q8 +0 MB +current", shown)
        and f"current  {packed}" in shown
        and re.search(f"\\d MB +{empty_cache}\n", shown)
    )


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_names_that_are_no_text_are_listed_and_removed(run: Run, packed: Path, empty_cache: Path) -> None:
    odd = packed.with_name("Tiny \udcff\x1b[31m")
    packed.rename(odd)
    qwen7b.load(odd, quantize="q8")
    names = [copy["name"] for copy in json.loads(run("models", "--json").stdout_bytes.decode("utf-8"))["packed"]]
    assert names == ["Tiny \udcff\x1b[31m-q8", "Tiny-1.5-q8"]
    assert json.loads(run("models", "rm", names[0], "--json").stdout)["freed"] > 0
    assert run("models", "prune").exit_code == 0 and kept(empty_cache) == set()


@pytest.mark.parametrize("name", ["Tiny-1.5-q8", "file"])
def test_a_packed_copy_is_removed_with_its_vocabulary_and_verdict(
    run: Run, packed: Path, empty_cache: Path, name: str
) -> None:
    before = sorted(packed.iterdir())
    if name == "file":
        [path] = (empty_cache / "packed").glob("*.safetensors")
        name = path.name
    assert "would be free" in run("models", "rm", name, "--dry-run").stdout and kept(empty_cache)
    report = json.loads(run("models", "rm", name, "--json").stdout)
    assert len(report["removed"]) == 3 and report["freed"] == sum(file["size"] for file in report["found"])
    assert kept(empty_cache) == set() and sorted(packed.iterdir()) == before


def test_a_vocabulary_stays_while_another_copy_needs_it(run: Run, packed: Path, empty_cache: Path) -> None:
    qwen7b.load(packed, quantize="nf4")
    assert run("models", "rm", "Tiny-1.5-q8").exit_code == 0
    assert kept(empty_cache) == {".safetensors", ".vocabulary", ".whole"}
    assert [copy["name"] for copy in json.loads(run("models", "--json").stdout)["packed"]] == ["Tiny-1.5-nf4"]


def test_what_cannot_be_removed_is_one_line_and_removes_nothing(run: Run, packed: Path, empty_cache: Path) -> None:
    wrong = {
        "tiny-1.5-q9": "did you mean 'Tiny-1.5-q8'?",
        str(packed): "qwen7b deletes only from its own cache",
        "org/model": "qwen7b deletes only from its own cache",
        "demo": "nothing of the name 'demo'",
        "..": "qwen7b deletes only from its own cache",
        "": "'' is no name",
    }
    for name, message in wrong.items():
        result = run("models", "rm", "Tiny-1.5-q8", name)
        assert (result.exit_code, result.stdout) == (1, ""), name
        assert message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert kept(empty_cache) == {".safetensors", ".vocabulary", ".whole"}
    result = run("models", "--json", "prune")
    assert result.exit_code == 1 and "--json" in result.stderr


def test_prune_takes_what_no_start_will_use(run: Run, packed: Path, empty_cache: Path) -> None:
    assert run("models", "prune").stdout == "Nothing to delete.\n"
    packed.rename(packed.with_name("moved"))
    unfinished = empty_cache / "models" / "demo" / "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf.part"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(bytes(1000))
    shown = run("models", "prune").stdout
    assert shown.count("source gone") == 3 and "unfinished download" in shown and "are free now" in shown
    assert kept(empty_cache) == set() and not unfinished.exists()


@pytest.mark.parametrize(("answer", "stays"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_at_a_terminal_it_asks(
    packed: Path, empty_cache: Path, answer: str, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix only")
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "qwen7b", "models", "rm", "Tiny-1.5-q8"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    screen = b""
    while b"Delete these?" not in screen:
        screen += os.read(keyboard, 4096)
    os.write(keyboard, answer.encode())
    process.wait(timeout=300)
    assert (kept(empty_cache) == {".safetensors", ".vocabulary", ".whole"}) == stays
