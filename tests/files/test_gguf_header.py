"""GGUF headers: the same as the gguf package reads, and no trust in what a file claims."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.errors import CheckpointError, Qwen7bError, UnsupportedError
from qwen7b.files.gguf_header import read_gguf_header


def write_gguf(path: Path, *, alignment: int = 32, endian: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE) -> Path:
    """A file with a value of every type and a few tensors."""
    writer = gguf.GGUFWriter(path, "qwen2", endianess=endian)
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    writer.add_uint8("a.uint8", 255)
    writer.add_int8("a.int8", -128)
    writer.add_uint16("a.uint16", 65535)
    writer.add_int16("a.int16", -32768)
    writer.add_uint32("a.uint32", 2**32 - 1)
    writer.add_int32("a.int32", -(2**31))
    writer.add_uint64("a.uint64", 2**64 - 1)
    writer.add_int64("a.int64", -(2**63))
    writer.add_float32("a.float32", 0.5)
    writer.add_float64("a.float64", 1e300)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "你好")
    writer.add_array("a.strings", ["", "x", "你好"])
    writer.add_array("a.numbers", [1, 2, 3])
    writer.add_array("a.floats", [0.5, 1.5])
    writer.add_array("a.booleans", [True, False])
    writer.add_tensor("vector", np.arange(5, dtype=np.float32))
    writer.add_tensor("matrix", np.arange(6, dtype=np.float16).reshape(2, 3))
    quantized = gguf.quants.quantize(np.ones((3, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("quantized", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_vocabulary(path: Path, *, tokens: object = ("a", "你好", ""), merges: object = ("a b",)) -> Path:
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_array("tokenizer.ggml.tokens", tokens)
    writer.add_array("tokenizer.ggml.token_type", [1, 1, 1])
    writer.add_array("tokenizer.ggml.merges", merges)
    writer.add_tensor("vector", np.arange(5, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("tokens", [("a", "你好", ""), (1, 2, 3), (0.5, 1.5), ("x" * 100_000,)])
def test_a_vocabulary_passed_over_changes_nothing_else(tokens: object, tmp_path: Path) -> None:
    path = write_vocabulary(tmp_path / "tiny.gguf", tokens=tokens)
    whole, rest = read_gguf_header(path), read_gguf_header(path, vocabulary=False)
    assert rest.tensors == whole.tensors
    assert whole.metadata.keys() - rest.metadata.keys() == {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"}
    assert all(whole.metadata[key] == value for key, value in rest.metadata.items())


def test_a_vocabulary_is_passed_over_within_bounds(tmp_path: Path) -> None:
    path = write_vocabulary(tmp_path / "tiny.gguf")
    data = path.read_bytes()
    begin = data.index(b"tokenizer.ggml.tokens") + len("tokenizer.ggml.tokens") + 8
    for length in (1 << 63, (1 << 64) - 1, len(data), 1 << 20):  # of the list, then of its first token
        for position in (begin, begin + 8):
            path.write_bytes(data[:position] + struct.pack("<Q", length) + data[position + 8 :])
            with pytest.raises(CheckpointError, match="damaged or incomplete"):
                read_gguf_header(path, vocabulary=False)
    for end in range(begin, len(data) - 20):
        path.write_bytes(data[:end])
        with pytest.raises(CheckpointError, match="damaged or incomplete"):
            read_gguf_header(path, vocabulary=False)


@pytest.mark.parametrize("alignment", [32, 64, 8])
def test_equal_to_the_gguf_package(alignment: int, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", alignment=alignment)
    header = read_gguf_header(path)
    theirs = gguf.GGUFReader(path)
    fields = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert header.metadata == fields
    assert header.metadata["a.strings"] == ["", "x", "你好"]
    assert [(t.name, t.type, t.offset, t.num_bytes) for t in header.tensors.values()] == [
        (t.name, t.tensor_type, t.data_offset, t.n_bytes) for t in theirs.tensors
    ]
    assert {t.name: t.shape for t in header.tensors.values()} == {
        "vector": (5,),
        "matrix": (2, 3),
        "quantized": (3, 64),
    }


@pytest.mark.demo
def test_equal_on_the_demo_model(demo_gguf: Path) -> None:
    header = read_gguf_header(demo_gguf)
    assert len(header.tensors) == 291
    assert header.tensors["token_embd.weight"].shape == (151936, 896)
    last = max(header.tensors.values(), key=lambda tensor: tensor.offset)
    assert last.offset + last.num_bytes <= demo_gguf.stat().st_size


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf").read_bytes()


def test_every_truncation_is_found(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    header = read_gguf_header(_write(path, content))
    used = max(tensor.offset + tensor.num_bytes for tensor in header.tensors.values())
    for length in range(used):
        with pytest.raises(CheckpointError, match=r"cut\.gguf is (not a GGUF file|damaged or incomplete)"):
            read_gguf_header(_write(path, content[:length]))


@given(data=st.data())
@settings(deadline=None, max_examples=500)
def test_no_change_of_bytes_brings_another_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.sampled_from([0, 1, 8, 9, 127, 255]) | st.integers(0, 255))
    path = _write(tmp_path_factory.getbasetemp() / "changed.gguf", bytes(changed))
    try:
        header = read_gguf_header(path)
    except Qwen7bError:
        return
    assert all(tensor.offset + tensor.num_bytes <= len(content) for tensor in header.tensors.values())


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(key: str, type: int, content: bytes) -> bytes:
    return string(key) + struct.pack("<I", type) + content


def tensor(name: str, *dimensions: int, type: int = 0, offset: int = 0) -> bytes:
    count = len(dimensions)
    return string(name) + struct.pack(f"<I{count}QIQ", count, *dimensions, type, offset)


def file(*, values: list[bytes] = [], tensors: list[bytes] = [], version: int = 3) -> bytes:  # noqa: B006
    start = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(values))
    return start + b"".join(values) + b"".join(tensors) + bytes(64)


HUGE = 2**63 + 5
WRONG: list[tuple[bytes, type[Qwen7bError], str]] = [
    (b"", CheckpointError, "begins with b''"),
    (b"PK\x03\x04....", CheckpointError, r"begins with b'PK"),
    (file(version=1), UnsupportedError, "version 1"),
    (file(version=4), UnsupportedError, "version 4"),
    (file(version=3 << 24), UnsupportedError, "big-endian"),
    (struct.pack("<4sIQQ", b"GGUF", 3, 0, HUGE), CheckpointError, "bytes should follow"),
    (struct.pack("<4sIQQ", b"GGUF", 3, HUGE, 0), CheckpointError, "bytes should follow"),
    (file(values=[struct.pack("<Q", HUGE)]), CheckpointError, f"{HUGE} bytes should follow byte 32"),
    (file(values=[value("a", 8, struct.pack("<Q", HUGE))]), CheckpointError, f"{HUGE} bytes"),
    (file(values=[value("a", 9, struct.pack("<IQ", 8, HUGE))]), CheckpointError, "bytes should follow"),
    (file(values=[value("a", 9, struct.pack("<IQ", 10, HUGE))]), CheckpointError, "bytes should follow"),
    (file(values=[value("a", 9, struct.pack("<IQ", 9, HUGE))]), CheckpointError, "bytes should follow"),
    (file(values=[value("a", 9, struct.pack("<IQ", 9, 1) * 50)]), CheckpointError, "more than 4 deep"),
    (file(values=[value("a", 13, b"")]), CheckpointError, "value type 13"),
    (file(values=[value("a", 0, b"\1"), value("a", 0, b"\1")]), CheckpointError, "says 'a' twice"),
    (file(values=[struct.pack("<Q", 1) + b"\xff"]), CheckpointError, "not UTF-8"),
    (file(values=[value("general.alignment", 4, struct.pack("<I", 0))]), CheckpointError, "alignment is 0"),
    (file(values=[value("general.alignment", 4, struct.pack("<I", 24))]), CheckpointError, "alignment is 24"),
    (file(values=[value("general.alignment", 8, string("32"))]), CheckpointError, "alignment is '32'"),
    (file(tensors=[tensor("t", 4, type=4)]), UnsupportedError, "ggml type 4"),
    (file(tensors=[tensor("t", 4, type=999)]), UnsupportedError, "tensor 't' is of ggml type 999"),
    (file(tensors=[tensor("t", 1, 1, 1, 1, 1)]), CheckpointError, "5 dimensions"),
    (file(tensors=[tensor("t", 33, type=8)]), CheckpointError, "rows of 33, not a multiple of Q8_0's 32"),
    (file(tensors=[tensor("t", 1000)]), CheckpointError, "tensor 't' ends at byte"),
    (file(tensors=[tensor("t", 2**33, 2**33)]), CheckpointError, "tensor 't' ends at byte"),
    (file(tensors=[tensor("t", 1, offset=2**64 - 32)]), CheckpointError, "tensor 't' ends at byte"),
    (file(tensors=[tensor("t", 1), tensor("t", 1)]), CheckpointError, "two tensors named 't'"),
    (file(tensors=[tensor("t")]), CheckpointError, "tensor 't' of dimensions .* has no elements"),
    (file(tensors=[tensor("t", 0, 4)]), CheckpointError, "tensor 't' of dimensions .0, 4. has no elements"),
    (file(tensors=[tensor("t", 32, 0, type=8)]), CheckpointError, "has no elements"),
    (file(values=[value("k" * 10**6, 13, b"")]), CheckpointError, "value type 13"),
    (file(values=[value("general.alignment", 8, string("x" * 10**6))]), CheckpointError, "alignment is 'xxx"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "error", "reason"), WRONG)
def test_hostile_headers(content: bytes, error: type[Qwen7bError], reason: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "hostile.gguf", content)
    with pytest.raises(error, match=reason) as caught:
        read_gguf_header(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 500


def lists(type: int, *counts: int, item: bytes) -> bytes:
    return file(
        values=[value(f"k{n}", 9, struct.pack("<IQ", type, count) + item * count) for n, count in enumerate(counts)]
    )


MUCH: dict[str, Callable[[], bytes]] = {
    "2097152 items": lambda: lists(0, 1 << 22, item=b"0"),
    "more than 2097152 items": lambda: lists(8, 1 << 22, item=string("")),
    "than 2097152 items": lambda: lists(9, 1 << 21, item=struct.pack("<IQ", 0, 1) + b"0"),
    "have more than 2097152 items": lambda: lists(0, *[1 << 19] * 5, item=b"0"),
    "65537 fields": lambda: file(values=[value(f"{n}", 0, b"0") for n in range((1 << 16) + 1)]),
    "65537 tensors": lambda: file(tensors=[tensor(f"{n}", 1) for n in range((1 << 16) + 1)]),
}


@pytest.mark.parametrize("reason", MUCH)
def test_headers_that_would_fill_the_memory(reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        read_gguf_header(_write(tmp_path / "much.gguf", MUCH[reason]()))


def test_a_header_without_end_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + value("a", 9, struct.pack("<IQ", 0, 2**33)))
        file.truncate(2**33 + 100)
    with pytest.raises(CheckpointError, match="bytes should follow"):
        read_gguf_header(path)


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="big-endian"):
        read_gguf_header(write_gguf(tmp_path / "big.gguf", endian=gguf.GGUFEndian.BIG))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_gguf_header(tmp_path / "none.gguf")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_gguf_header(tmp_path)
