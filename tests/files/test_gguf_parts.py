"""GGUF models in several files, and in folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import pytest
import torch

import tiny
from gguf_files import write_gguf
from qwen7b.checkpoint import open_checkpoint
from qwen7b.errors import CheckpointError, UnsupportedError
from qwen7b.loading import load_model
from qwen7b.packing.places import identity
from qwen7b.text import load_tokenizer
from text import synthetic
from tiny import logits_of

TENSORS = 2 + 12 * tiny.LAYERS


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return tiny.qwen2_tensors()


@pytest.fixture(scope="module")
def expected(tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    path = tmp_path_factory.mktemp("whole") / "model.gguf"
    return logits_of(write_gguf(path, tensors, family="qwen2"))


@pytest.fixture
def parts(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> list[Path]:
    (tmp_path / "model").mkdir()
    write_gguf(tmp_path / "model" / "qwen.gguf", tensors, family="qwen2", part_tensors=10)
    files = sorted((tmp_path / "model").iterdir())
    assert [file.name for file in files] == [f"qwen-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    return files


def test_any_part_and_the_folder_give_the_model(parts: list[Path], expected: torch.Tensor) -> None:
    for given in (*parts, parts[0].parent):
        checkpoint = open_checkpoint(given)
        assert checkpoint.path == parts[0] and len(checkpoint.tensors) == TENSORS
        assert torch.equal(logits_of(given), expected)


def test_renamed_parts(parts: list[Path], expected: torch.Tensor) -> None:
    for number, part in enumerate(parts):
        part.rename(part.with_name(f"part-{'cab'[number]}.gguf"))
    assert torch.equal(logits_of(parts[0].with_name("part-a.gguf")), expected)


def test_a_part_that_is_missing(parts: list[Path]) -> None:
    parts[1].unlink()
    with pytest.raises(CheckpointError, match=r"part 3 of 3, but part 2 is not beside it: put all parts into one"):
        load_model(parts[2])


def test_parts_of_two_models(parts: list[Path]) -> None:
    shutil.copy(parts[1], parts[1].with_name("copy.gguf"))
    parts[0].rename(parts[0].with_name("first.gguf"))
    with pytest.raises(CheckpointError, match="both say that they are part 2 of 3"):
        load_model(parts[0].with_name("first.gguf"))
    parts[1].with_name("copy.gguf").unlink()
    shutil.copy(parts[0].with_name("first.gguf"), parts[0])
    with pytest.raises(CheckpointError, match=r"several models .*give one"):
        load_model(parts[0].parent)


def test_parts_tell_themselves_from_what_they_were(parts: list[Path]) -> None:
    before = identity(parts[0])
    parts[2].write_bytes(parts[2].read_bytes() + b" ")
    assert identity(parts[0]) != before


def test_pieces_that_were_cut_by_bytes(parts: list[Path]) -> None:
    for name in ("qwen.gguf-split-a", "qwen.gguf.part1of2", "qwen.gguf.001"):
        piece = shutil.copy(parts[0], parts[0].with_name(name))
        with pytest.raises(CheckpointError, match=r"is a piece of qwen.gguf.*'cat qwen.gguf"):
            load_model(piece)


def test_a_folder_with_one_gguf(tmp_path: Path, tensors: dict[str, torch.Tensor], expected: torch.Tensor) -> None:
    file = write_gguf(tmp_path / "Model-Q8_0.gguf", tensors, family="qwen2")
    (tmp_path / "README.md").touch()
    (tmp_path / "mmproj-model-f16.gguf").write_bytes(b"GGUF")
    (tmp_path / "config.json").write_text("{}")
    assert open_checkpoint(tmp_path).path == file
    assert torch.equal(logits_of(tmp_path), expected)


def test_a_folder_with_several_gguf_models_lists_them(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf", "c-00001-of-00002.gguf", "c-00002-of-00002.gguf"):
        (tmp_path / name).touch()
    for read in (open_checkpoint, load_tokenizer):
        with pytest.raises(CheckpointError, match=r"several models \(a.gguf, b.gguf, c-00001-of-00002.gguf\)"):
            read(tmp_path)


def test_weights_of_their_own_come_before_a_gguf(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    folder = tiny.write_folder(tmp_path, tiny.QWEN2_CONFIG, tensors)
    (folder / "model.gguf").write_bytes(b"GGUF")
    assert open_checkpoint(folder).path == folder


def test_the_tokenizer_of_a_folder_and_of_a_later_part(tmp_path: Path) -> None:
    synthetic.write_gguf(tmp_path / "model.gguf", synthetic.train("qwen"), pre="qwen2")
    assert load_tokenizer(tmp_path).encode("hi") == load_tokenizer(tmp_path / "model.gguf").encode("hi")


@pytest.mark.parametrize("value", [-1, "3", 1 << 20])
def test_numbers_of_parts_that_make_no_sense(tmp_path: Path, value: object) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "qwen2")
    writer.add_key_value("split.count", value, gguf.GGUFValueType.get_type(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises((CheckpointError, UnsupportedError), match=r"split.count"):
        open_checkpoint(tmp_path / "model.gguf")
