"""Packed weights whose bytes have changed are an error or the same weights, and reading them through happens once."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import tiny
from converting import write_source
from qwen7b.checkpoint.packed_folder import WEIGHTS
from qwen7b.config import ModelConfig
from qwen7b.convert import convert, quantize
from qwen7b.doctor import diagnose
from qwen7b.errors import CheckpointError, Qwen7bError
from qwen7b.loading import load_model
from qwen7b.packed.formats import FORMATS
from qwen7b.packing import verdicts
from qwen7b.packing.cached import leftovers
from qwen7b.packing.places import kept_path, verdict_path
from qwen7b.packing.removal import named_files

Contents = tuple[ModelConfig, dict[str, torch.Tensor]]


@pytest.fixture
def source(tmp_path: Path, cache: Path) -> Path:
    return write_source(tmp_path / "source", "llama")


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    quantize(source, tmp_path / "packed", format="q8")
    return tmp_path / "packed"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that was read through."""
    found: list[Path] = []
    check_tensors = verdicts.check_tensors  # type: ignore[attr-defined]

    def check_and_tell(path: Path) -> bool:
        found.append(path)
        return bool(check_tensors(path))

    monkeypatch.setattr(verdicts, "check_tensors", check_and_tell)
    return found


@contextmanager
def flipped(path: Path, position: int) -> Iterator[None]:
    """A bit of a byte is another meanwhile, and neither size nor time of the file are."""
    times = path.stat()
    with path.open("r+b", buffering=0) as file:

        def flip() -> None:
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1 << position % 8]))
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

        flip()
        yield
        flip()


def places_of(path: Path) -> dict[str, tuple[int, int]]:
    """Where each tensor begins and ends in a file."""
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    del header["__metadata__"]
    return {name: tuple(begin + at for at in entry["data_offsets"]) for name, entry in header.items()}  # type: ignore[misc]


def load(path: Path) -> Contents:
    model = load_model(path)
    return model.config, dict(model.state_dict())


def assert_same(found: Contents, expected: Contents) -> None:
    assert found[0] == expected[0] and found[1].keys() == expected[1].keys()
    assert all(torch.equal(found[1][name], tensor) for name, tensor in expected[1].items())


# What is damaged


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_flipped_byte_of_a_tensor_is_an_error_that_names_it(source: Path, tmp_path: Path, format: str) -> None:
    folder = tmp_path / "packed"
    quantize(source, folder, format=format, calibration_text="" if format == "q4" else None)
    weights, pick = folder / WEIGHTS, random.Random(0)
    places = places_of(weights)
    kinds = {name.rpartition(".")[2] for name in places}
    assert kinds == {"codes", "scales", "weight", "pair_sizes"} | ({"codebook"} if format != "q8" else set())
    for name, (begin, end) in places.items():
        with flipped(weights, pick.randrange(begin, end)), pytest.raises(CheckpointError) as caught:
            load_model(folder)
        # Of a number that is none any more, the check of norms says so first.
        assert str(weights.parent) in str(caught.value) and f"tensor '{name}'" in str(caught.value), name
    load_model(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_flipped_byte_elsewhere_is_an_error_or_changes_nothing(folder: Path, name: str) -> None:
    """In the header with its sizes, names, settings and checksums, and in config.json."""
    path = folder / name
    end = min(begin for begin, _ in places_of(path).values()) if name == WEIGHTS else path.stat().st_size
    expected, refused = load(folder), 0
    positions = range(0, end, 5 if name == WEIGHTS else 1)
    for position in positions:
        with flipped(path, position):
            try:
                found = load(folder)
            except Qwen7bError:
                refused += 1
            else:
                assert_same(found, expected)
    assert refused > len(positions) // 2


def test_the_settings_that_weights_were_written_with_are_those_of_config_json(folder: Path) -> None:
    fields = json.loads((folder / "config.json").read_text())
    fields["model"]["rope_base"] = 20000.0
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=r"rope_base is 20000\.0, and the weights were written with 10000\.0"):
        load_model(folder)
    assert not diagnose(folder).is_healthy


def test_other_programs_read_the_checksums(folder: Path) -> None:
    import zlib

    with safe_open(folder / WEIGHTS, framework="pt") as file:
        metadata = file.metadata()
        for name in file.keys():  # noqa: SIM118
            data = file.get_tensor(name).contiguous().view(torch.uint8).numpy().tobytes()
            assert metadata[f"{name}.crc32"] == f"{zlib.crc32(data):08x}"


def rewrite(folder: Path, keep: Callable[[str], bool]) -> None:
    """Write a folder's weights anew, with the metadata that `keep` takes."""
    weights = folder / WEIGHTS
    with safe_open(weights, framework="pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if keep(name)}
    save_file(dict(load_file(weights)), weights, metadata=metadata)


def test_files_of_earlier_releases_have_no_checksums_and_load(folder: Path, source: Path) -> None:
    expected = load(folder)
    rewrite(folder, lambda name: name != "model" and not name.endswith(".crc32"))
    assert_same(load(folder), expected)
    assert diagnose(folder).facts["checksums"] is False


def test_a_checksum_that_alone_is_missing_is_an_error(folder: Path) -> None:
    rewrite(folder, lambda name: name != "layers.1.attention.qkv.scales.crc32")
    with pytest.raises(CheckpointError, match=r"tensor 'layers\.1\.attention\.qkv\.scales' is not what its checksum"):
        load_model(folder)


# When it is looked for


def test_a_file_is_read_through_once(folder: Path, readings: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    weights = folder / WEIGHTS
    capsys.readouterr()
    load_model(folder)
    assert readings == [weights] and capsys.readouterr().err.startswith(f"Checking {weights} by its checksums (")
    load_model(folder)
    assert readings == [weights] and capsys.readouterr().err == ""
    weights.write_bytes(weights.read_bytes())
    load_model(folder)
    assert len(readings) == 2
    folder.rename(folder.with_name("moved"))
    load_model(folder.with_name("moved"))
    assert len(readings) == 3


def test_a_cache_that_cannot_be_written_costs_a_reading_a_start(
    folder: Path, cache: Path, readings: list[Path]
) -> None:
    cache.write_text("a file where the folder should be")
    load_model(folder)
    load_model(folder)
    assert len(readings) == 2


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{"])
def test_a_verdict_that_makes_no_sense_is_none(folder: Path, readings: list[Path], content: bytes) -> None:
    load_model(folder)
    verdict_path(folder / WEIGHTS).write_bytes(content)
    load_model(folder)
    load_model(folder)
    assert len(readings) == 2


def test_a_damaged_packed_folder_is_not_converted(folder: Path, tmp_path: Path) -> None:
    begin, _ = places_of(folder / WEIGHTS)["layers.0.attention.qkv.codes"]
    with flipped(folder / WEIGHTS, begin), pytest.raises(CheckpointError, match=r"layers\.0\.attention\.qkv\.codes"):
        convert(folder, tmp_path / "out", to="qwen2")
    assert not (tmp_path / "out").exists()


def test_the_doctor_reads_a_folder_whatever_the_verdict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a disk that rots changes no entry."""
    load_model(folder)
    assert diagnose(folder).facts["checksums"] is True
    begin, _ = places_of(folder / WEIGHTS)["embedding.scales"]
    with flipped(folder / WEIGHTS, begin):
        found = diagnose(folder)
    [finding] = found.findings
    assert not found.is_healthy and "tensor 'embedding.scales' is not what its checksum was made of" in finding.message
    assert "checksums" not in found.facts and not found.usage


# Copies in the cache


def test_a_kept_copy_with_a_flipped_byte_is_packed_again(
    source: Path, readings: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model(source, quantize="q8", keep=True)
    expected = model(tiny.IDS)
    kept = kept_path(source, "q8")
    load_model(source, quantize="q8", keep=True)
    assert readings == []  # as it was written by qwen7b itself
    begin, _ = places_of(kept)["layers.1.feed_forward.up.codes"]
    with kept.open("r+b") as file:
        file.seek(begin)
        file.write(b"\x7f")
    capsys.readouterr()
    assert torch.equal(load_model(source, quantize="q8", keep=True)(tiny.IDS), expected)
    assert capsys.readouterr().err.count("packing them again") == 1


def test_the_doctor_reads_kept_copies_of_what_it_is_asked_for(source: Path) -> None:
    load_model(source, quantize="q8", keep=True)
    assert diagnose(source).is_healthy
    kept = kept_path(source, "q8")
    begin, _ = places_of(kept)["norm.weight"]
    with flipped(kept, begin):
        [finding] = diagnose(source).findings
    assert f"{kept} is damaged: tensor 'norm.weight'" in finding.message
    assert "'qwen7b models rm source-q8' deletes it" in finding.message


def test_verdicts_go_with_what_they_are_on(folder: Path, source: Path) -> None:
    load_model(source, quantize="q8", keep=True)
    load_model(folder)
    assert leftovers() == []
    kept, weights = kept_path(source, "q8"), folder / WEIGHTS
    assert {file.path for file in named_files(["source-q8"])} == {kept, verdict_path(kept)}
    os.utime(weights)
    assert [(file.path, file.reason) for file in leftovers()] == [(verdict_path(weights), "source changed")]
    weights.unlink()
    assert [(file.path, file.reason) for file in leftovers()] == [(verdict_path(weights), "source gone")]
