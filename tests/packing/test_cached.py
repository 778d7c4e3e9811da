"""What may go from the cache and what never does: links, other people's files, what is of use, what others write."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converting import write_source
from qwen7b.hub.known import KNOWN_MODELS
from qwen7b.loading import load_model
from qwen7b.packed.version import VERSION, VERSION_FIELD
from qwen7b.packing import cached
from qwen7b.packing.cached import CURRENT, folder_size, leftovers, list_packed
from qwen7b.packing.kept_tokenizer import kept_tokenizer
from qwen7b.packing.places import verdict_path
from qwen7b.packing.removal import named_files, remove
from qwen7b.system.storage import only_one_process

DEMO = KNOWN_MODELS["demo"]


@pytest.fixture
def source(tmp_path: Path, cache: Path) -> Path:
    path = write_source(tmp_path / "source", "qwen2")
    load_model(path, quantize="q8", keep=True)
    kept_tokenizer(path)
    return path


@pytest.fixture
def demo_folder(cache: Path) -> Path:
    folder = cache / "models" / "demo"
    folder.mkdir(parents=True)
    return folder


def states() -> list[str]:
    return [copy.state for copy in list_packed()]


def names(files: list) -> set[str]:
    return {file.path.name for file in files}


def test_what_is_of_use_is_no_leftover(source: Path) -> None:
    assert states() == [CURRENT] and leftovers() == []


def test_a_changed_source(source: Path) -> None:
    os.utime(source / "config.json", ns=(1, 1))
    assert states() == ["source changed"]
    assert {file.reason for file in leftovers()} == {"source changed"} and len(leftovers()) == 3


def test_other_weights_of_the_same_size_and_time(source: Path) -> None:
    weights = source / "model.safetensors"
    before, content = weights.stat(), weights.read_bytes()
    weights.write_bytes(content[: len(content) // 4] + bytes(byte ^ 1 for byte in content[len(content) // 4 :]))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert states() == ["source changed"]


def test_another_version(source: Path, cache: Path) -> None:
    [path] = (cache / "packed").glob("*.safetensors")
    field = f'"{VERSION_FIELD}":"%s"'
    path.write_bytes(path.read_bytes().replace((field % VERSION).encode(), (field % 0).encode()))
    assert states() == ["of another version"] and names(leftovers()) == {path.name, verdict_path(path).name}


@pytest.mark.parametrize("content", [b"", b"{}", bytes(8), b"\xff" * 100])
def test_damaged_files(source: Path, cache: Path, content: bytes) -> None:
    for path in (cache / "packed").iterdir():
        path.write_bytes(content)
    assert states() == ["damaged"]
    assert [file.reason for file in leftovers()] == ["damaged"] * 3


def test_copies_of_sources_with_one_name(source: Path, tmp_path: Path) -> None:
    other = write_source(tmp_path / "elsewhere" / "source", "qwen2")
    load_model(other, quantize="q8", keep=True)
    copies = list_packed()
    assert len({copy.name for copy in copies}) == 2 and {copy.source for copy in copies} == {source, other}
    [file] = named_files([copies[0].name])[:1]
    assert file.path == copies[0].path


def test_unfinished_files(source: Path, cache: Path, demo_folder: Path) -> None:
    [path] = (cache / "packed").glob("*.safetensors")
    packing = path.with_name(path.name + ".part")
    fresh, old = cache / "packed" / ".0123456789abcdef.part", cache / "packed" / ".fedcba9876543210.part"
    download, damaged = demo_folder / f"{DEMO.file}.part", demo_folder / f"{DEMO.file}.damaged"
    for file in (packing, fresh, old, download, damaged):
        file.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    scratch = demo_folder / "pip-abc"
    (scratch / "tmp").mkdir(parents=True)
    assert names(leftovers()) == {packing.name, old.name, download.name, damaged.name, scratch.name}
    remove(leftovers(), still=leftovers)
    assert leftovers() == [] and fresh.exists() and states() == [CURRENT]


def test_files_that_are_not_ours_stay(source: Path, cache: Path, demo_folder: Path) -> None:
    own = [
        cache / "packed" / "mine.safetensors",
        cache / "packed" / "notes.part",
        demo_folder / "my.gguf",
        cache / "x.part",
    ]
    (cache / "models" / "mine").mkdir()
    own.append(cache / "models" / "mine" / "model.part")
    for file in own:
        file.write_bytes(b"x")
    assert leftovers() == []
    (demo_folder / DEMO.file).write_bytes(b"x")
    found = named_files(["demo", "source-q8"])
    assert DEMO.file in names(found) and not names(found) & {file.name for file in own}


def test_links_are_never_followed(source: Path, cache: Path, tmp_path: Path, demo_folder: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    weights = precious / DEMO.file
    weights.write_bytes(b"x")
    (precious / f"{DEMO.file}.part").write_bytes(b"x")
    demo_folder.rmdir()
    demo_folder.symlink_to(precious, target_is_directory=True)
    assert leftovers() == []
    with pytest.raises(Exception, match="nothing of the name 'demo'"):
        named_files(["demo"])
    demo_folder.unlink()
    demo_folder.mkdir()
    (demo_folder / DEMO.file).symlink_to(weights)
    (demo_folder / "pip-link").symlink_to(precious, target_is_directory=True)
    assert leftovers() == []
    remove(named_files(["demo"]), still=lambda: named_files(["demo"]))
    assert not (demo_folder / DEMO.file).is_symlink() and weights.read_bytes() == b"x"
    (cache / "packed").rename(tmp_path / "packed")
    (cache / "packed").symlink_to(tmp_path / "packed", target_is_directory=True)
    assert list_packed() == []


def test_a_process_that_writes_is_waited_for_and_what_it_wrote_stays(source: Path, cache: Path) -> None:
    os.utime(source / "config.json", ns=(1, 1))
    stale = leftovers()
    removed: list = []
    with only_one_process(cache / "packed", what="a model"):
        thread = threading.Thread(target=lambda: removed.extend(remove(stale, still=leftovers)))
        thread.start()
        time.sleep(0.3)
        assert removed == [] and thread.is_alive()
        os.utime(source / "config.json", ns=(2, 2))
        expected = {file.path for file in stale}
        for path in expected:  # as packing anew would
            path.touch()
    thread.join(30)
    assert {file.path for file in removed} == expected


def test_a_model_that_runs_keeps_running(source: Path, cache: Path) -> None:
    import torch

    model = load_model(source, quantize="q8", keep=True)
    ids = torch.arange(1, 20)[None]
    with torch.inference_mode():
        expected = model(ids)
        remove(named_files(["source-q8"]), still=lambda: named_files(["source-q8"]))
        assert list_packed() == [] and torch.equal(model(ids), expected)


def test_sizes_count_links_as_links(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(100_000))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "big")
    (folder / "loop").symlink_to(folder)
    assert folder_size(folder) < 1000 < folder_size(tmp_path)


def test_what_another_process_removes_meanwhile(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (cache / "packed" / f".{number:016}.part").write_bytes(b"x")
    own_entries, folder = cached.entries, cache / "packed"
    other = folder.with_name("other")
    shutil.copytree(folder, other)

    def entries_that_go(folder: Path) -> Iterator[Path]:
        found = list(own_entries(folder))
        shutil.rmtree(folder, ignore_errors=True)
        return iter(found)

    monkeypatch.setattr(cached, "entries", entries_that_go)
    monkeypatch.setattr(Path, "is_file", lambda path: True)  # it was a moment ago
    assert [copy.size for copy in list_packed()] == [0]
    other.rename(folder)
    assert sum(file.size for file in leftovers()) == 0
