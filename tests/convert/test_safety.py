"""Whatever goes wrong: one clear sentence, the source untouched, nothing half-written under the target's name."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
from collections import namedtuple
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from filelock import FileLock

import tiny
from converting import snapshot, write_source
from qwen7b.convert import convert, workplace
from qwen7b.convert.conversion import WrittenFile
from qwen7b.convert.workplace import Workplace
from qwen7b.errors import CheckpointError, Qwen7bError, ResourceError, SettingError, UnsupportedError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "source", "qwen", shards=2)


def refusal(kind: type[Qwen7bError], source: Path, target: Path, **settings: Any) -> str:
    """The message of a conversion that fails and leaves everything as it was, but for a partial target."""
    before = snapshot(source) if source.is_dir() else source.read_bytes()
    existed = target.exists()
    with pytest.raises(kind) as error:
        convert(source, target, **{"to": "qwen2", **settings})
    message = str(error.value)
    assert "\n" not in message
    assert (snapshot(source) if source.is_dir() else source.read_bytes()) == before
    assert target.exists() == existed
    return message


def untouched(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_a_target_that_exists(source: Path, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "target")
    assert "target exists already" in refusal(SettingError, source, tmp_path / "target")
    assert untouched(tmp_path) == ["source", "target"]


def test_a_target_that_is_the_source_or_lies_in_it(source: Path, tmp_path: Path) -> None:
    assert "exists already" in refusal(SettingError, source, source)
    assert "lies in the source" in refusal(SettingError, source, source / "deep" / "target")
    assert "lies in the source" in refusal(SettingError, source, tmp_path / "x" / ".." / "source" / "target")


def test_a_target_of_the_wrong_kind(source: Path, tmp_path: Path) -> None:
    assert "is a file that ends in .gguf" in refusal(SettingError, source, tmp_path / "target", to="gguf")
    assert "is a folder" in refusal(SettingError, source, tmp_path / "target.gguf")


def test_another_architecture(source: Path, tmp_path: Path) -> None:
    (source / "config.json").write_text(json.dumps({"model_type": "mistral"}))
    assert "model_type 'mistral'" in refusal(UnsupportedError, source, tmp_path / "target")
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "mamba")
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "architecture 'mamba'" in refusal(UnsupportedError, tmp_path / "other.gguf", tmp_path / "target")
    assert untouched(tmp_path) == ["other.gguf", "source"]


def test_a_half_downloaded_source(source: Path, tmp_path: Path) -> None:
    shard = source / "model-00002-of-00002.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    assert "damaged or incomplete" in refusal(CheckpointError, source, tmp_path / "target")
    shard.unlink()
    assert "lacks 1 of 2 shards" in refusal(CheckpointError, source, tmp_path / "target")
    assert untouched(tmp_path) == ["source"]


def test_a_source_without_some_tensors_or_a_tokenizer(tmp_path: Path) -> None:
    tensors = tiny.qwen_tensors()
    del tensors["transformer.h.1.mlp.w2.weight"]
    source = write_source(tmp_path / "source", "qwen", tensors=tensors)
    assert "feed_forward.gate.weight" in refusal(CheckpointError, source, tmp_path / "target")
    source = write_source(tmp_path / "mute", "qwen", tokenizer=False)
    assert "has no tokenizer" in refusal(CheckpointError, source, tmp_path / "target")
    assert untouched(tmp_path) == ["mute", "source"]


def test_gguf_of_a_type_that_cannot_be_read(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    convert(source, file, to="gguf", quantize="q8_0")
    content = file.read_bytes()
    name = b"blk.1.ffn_up.weight"
    at = content.index(name) + len(name) + 4 + 2 * 8
    assert content[at : at + 4] == bytes([8, 0, 0, 0])
    for type_id, found in ((9, "Q8_1"), (199, "type 199")):
        file.write_bytes(content[:at] + bytes([type_id, 0, 0, 0]) + content[at + 4 :] + bytes(10_000))
        assert found in refusal(UnsupportedError, file, tmp_path / "target")
    assert not (tmp_path / "target.partial").exists()


def test_too_little_room(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**6, 10**6, 1000))
    message = refusal(ResourceError, source, tmp_path / "deep" / "target")
    assert "not enough disk space" in message and "and 1,000 are free" in message
    assert untouched(tmp_path) == ["source"]


class Trouble:
    """Fails when the n-th block is encoded, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, *, at: int) -> None:
        self.blocks, self.error, self.at = 0, error, at
        self.real = workplace.encode  # type: ignore[attr-defined]
        monkeypatch.setattr(workplace, "encode", self)
        monkeypatch.setattr(workplace, "BYTES_BETWEEN_SAVES", 1)

    def __call__(self, *args: Any, **named: Any) -> bytes:
        self.blocks += 1
        if self.blocks == self.at:
            raise self.error
        return self.real(*args, **named)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("to", ["qwen2", "gguf"])
def test_a_disk_that_fills_up(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: Any
) -> None:
    target = tmp_path / ("target.gguf" if to == "gguf" else "target")
    trouble = Trouble(monkeypatch, FULL, at=11)
    message = refusal(ResourceError, source, target, to=to)
    assert "is full: make room and run the same command again" in message and f"{target.name}.partial" in message
    capsys.readouterr()
    report = convert(source, target, to=to)
    assert "Continuing in" in capsys.readouterr().err
    # Ten were done, the eleventh failed and came again.
    assert trouble.blocks == report.num_tensors + 1
    assert convert_afresh(source, tmp_path, to) == report.files
    assert not (tmp_path / f"{target.name}.partial").exists()


def convert_afresh(source: Path, tmp_path: Path, to: Any) -> Mapping[str, WrittenFile]:
    folder = tmp_path / "afresh"
    folder.mkdir()
    files = convert(source, folder / ("target.gguf" if to == "gguf" else "target"), to=to).files
    return files


@pytest.fixture
def interrupted(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The partial target of a conversion that Ctrl-C ended in the middle."""
    Trouble(monkeypatch, KeyboardInterrupt(), at=20)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "target", to="qwen2")
    monkeypatch.undo()
    assert not (tmp_path / "target").exists()
    return tmp_path / "target.partial"


def test_what_was_damaged_meanwhile_is_written_again(
    source: Path, interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = interrupted / "files" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    files = convert(source, tmp_path / "target", to="qwen2").files
    assert "model.safetensors has changed since it was written: writing it again" in capsys.readouterr().err
    assert convert_afresh(source, tmp_path, "qwen2") == files


def test_a_flipped_byte_of_the_progress_changes_no_target(source: Path, interrupted: Path, tmp_path: Path) -> None:
    expected, progress = convert_afresh(source, tmp_path, "qwen2"), interrupted / "progress.json"
    content, pick = progress.read_bytes(), random.Random(0)
    kept = tmp_path / "kept"
    shutil.copytree(interrupted, kept)
    for position in pick.sample(range(len(content)), 40):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        progress.write_bytes(changed)
        assert convert(source, tmp_path / "target", to="qwen2").files == expected, bytes(changed)
        shutil.rmtree(tmp_path / "target")
        shutil.copytree(kept, interrupted)


@pytest.mark.parametrize("change", ["dtype", "source"])
def test_another_source_or_setting_begins_anew(
    source: Path, interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    settings: dict[str, Any] = {"to": "qwen2"}
    if change == "dtype":
        settings["dtype"] = "bfloat16"
    else:
        os.utime(source / "config.json", (0, 0))
    convert(source, tmp_path / "target", **settings)
    said = capsys.readouterr().err
    assert "made from another source or with other settings: starting over" in said and "Continuing" not in said


def test_a_folder_of_the_users_is_in_the_way(source: Path, tmp_path: Path) -> None:
    (tmp_path / "other.partial").write_text("mine")
    assert "is in the way" in refusal(SettingError, source, tmp_path / "other")
    (tmp_path / "target.partial").mkdir()
    (tmp_path / "target.partial" / "thesis.txt").write_text("mine")
    assert "in the way" in refusal(SettingError, source, tmp_path / "target")
    assert (tmp_path / "target.partial" / "thesis.txt").read_text() == "mine"


def test_two_conversions_to_one_target(source: Path, interrupted: Path, tmp_path: Path) -> None:
    with FileLock(interrupted / ".lock"):
        assert "another process is converting" in refusal(ResourceError, source, tmp_path / "target")


def test_a_target_that_comes_to_exist_meanwhile(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Workplace.finish

    def late(self: Workplace, *names: str) -> None:
        self.target.write_text("another's")
        finish(self, *names)

    monkeypatch.setattr(Workplace, "finish", late)
    with pytest.raises(SettingError, match="was created by something else meanwhile"):
        convert(source, tmp_path / "target", to="qwen2")
    assert (tmp_path / "target").read_text() == "another's"


def test_numbers_that_come_back_changed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Workplace.write

    def faulty(self: Workplace, file: Any, *others: Any, **named: Any) -> str:
        digest = write(self, file, *others, **named)
        path = self.files / file.name
        content = bytearray(path.read_bytes())
        content[-7] ^= 1
        path.write_bytes(content)
        return digest

    monkeypatch.setattr(Workplace, "write", faulty)
    assert "holds other numbers in" in refusal(ResourceError, source, tmp_path / "target")
    monkeypatch.undo()
    convert(source, tmp_path / "target", to="qwen2")


def test_a_place_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in refusal(ResourceError, source, tmp_path / "file" / "target")


def _progress(folder: Path) -> dict[str, Any]:
    progress: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    return progress


SHA_OF_NOTHING = hashlib.sha256().hexdigest()
FILES: list[Any] = [None, 5, [], "x", {"model.safetensors": 5}, {"model.safetensors": {}}, {"x": {"bytes": "1"}}]
FILES += [{"model.safetensors": {"bytes": size, "sha256": SHA_OF_NOTHING}} for size in (-1, 0, 1.5, True, 10**400)]
FILES += [{"model.safetensors": {"bytes": 7, "sha256": 5}}]


@pytest.mark.parametrize("files", FILES, ids=[f"{files!r:.40}" for files in FILES])
def test_progress_that_no_conversion_wrote(source: Path, interrupted: Path, tmp_path: Path, files: Any) -> None:
    progress = _progress(interrupted)
    (interrupted / "progress.json").write_text(json.dumps({**progress, "files": files}))
    assert convert(source, tmp_path / "target", to="qwen2").files == convert_afresh(source, tmp_path, "qwen2")


@pytest.mark.parametrize("size", [1, 100, 5000, 10_000_000])
def test_progress_between_two_tensors_or_behind_the_last(
    source: Path, interrupted: Path, tmp_path: Path, size: int
) -> None:
    path, progress = interrupted / "files" / "model.safetensors", _progress(interrupted)
    content = path.read_bytes()[:size].ljust(size, b"\0")
    path.write_bytes(content)
    entry = {"bytes": size, "sha256": hashlib.sha256(content).hexdigest()}
    (interrupted / "progress.json").write_text(json.dumps({**progress, "files": {path.name: entry}}))
    assert convert(source, tmp_path / "target", to="qwen2").files == convert_afresh(source, tmp_path, "qwen2")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"[" * 10**6, b"\0" * 100])
def test_progress_that_is_no_object(source: Path, interrupted: Path, tmp_path: Path, content: bytes) -> None:
    (interrupted / "progress.json").write_bytes(content)
    assert convert(source, tmp_path / "target", to="qwen2").files == convert_afresh(source, tmp_path, "qwen2")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
@pytest.mark.parametrize("name", ["progress.json", "files/model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link"])
def test_what_is_no_file_where_a_partial_one_was(
    source: Path, interrupted: Path, tmp_path: Path, name: str, kind: str
) -> None:
    path, precious = interrupted / name, tmp_path / "precious"
    precious.write_text("mine")
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else precious)
    assert convert(source, tmp_path / "target", to="qwen2").files == convert_afresh(source, tmp_path, "qwen2")
    assert precious.read_text() == "mine"
