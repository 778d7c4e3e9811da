"""Every layout of torch.save that there was gives the numbers that torch.load gives, or is refused; never others."""

from __future__ import annotations

import io
import mmap
import pickle
import random
import re
import struct
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from qwen7b.errors import CheckpointError, Qwen7bError, UnsupportedError
from qwen7b.files.pickled_file import open_pickle

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
DTYPES += [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2]


def state_dict() -> dict[str, torch.Tensor]:
    """Tensors of all types, and all ways to be a view of others."""
    state: dict[str, torch.Tensor] = OrderedDict(
        (str(dtype), (torch.randn(3, 5) * 50).to(dtype)) for dtype in DTYPES if dtype != torch.float8_e5m2
    )
    base = torch.randn(6, 8, 4)
    state |= {
        "base": base,
        "same": base,
        "slice": base[2:5],
        "columns": base[:, 2:6],
        "transposed": base.transpose(0, 1),
        "permuted": base.permute(2, 0, 1),
        "every other": base[::2, 1::3],
        "channels last": torch.randn(1, 3, 4, 5).to(memory_format=torch.channels_last),
        "one": base[0, 0, 0],
        "empty": torch.empty(0, 4),
        "empty view": base[:, 8:],
        "matrix": torch.randn(40, 30).t(),
        "parameter": nn.Parameter(torch.randn(7)),
    }
    return state


def assert_equal_to_torch(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other pickle protocols than torch's own
        expected = torch.load(path, weights_only=False)
    stored = open_pickle(path)
    assert list(stored) == list(expected)
    for name, tensor in expected.items():
        shape = tuple(tensor.shape) or (1,)
        assert stored[name].shape == shape, name
        whole = stored[name].read_rows(0, shape[0])
        assert whole.dtype == tensor.dtype and whole.shape == shape, name
        bits = tensor.detach().reshape(shape).contiguous().view(torch.uint8)
        assert torch.equal(whole.contiguous().view(torch.uint8), bits), name
        for row in range(shape[0]):
            part = stored[name].read_rows(row, row + 1).contiguous().view(torch.uint8)
            assert torch.equal(part.flatten(), bits.view(shape[0], -1)[row].flatten()), (name, row)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "pytorch_model.bin"
    torch.save(state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "module"])
def test_a_model_beside_other_things(tmp_path: Path, name: str) -> None:
    state = {"weight": torch.rand(3, 4)}
    torch.save({"epoch": 3, "optimizer": {"state": torch.rand(5)}, name: state}, tmp_path / "last.ckpt")
    [(found, stored)] = open_pickle(tmp_path / "last.ckpt").items()
    assert found == "weight" and torch.equal(stored.read_rows(0, 3), state["weight"])


SAVE: dict[str, dict[str, Any]] = {
    "zip": {},
    "before 2020": {"_use_new_zipfile_serialization": False},
    "without byte order": {"_disable_byteorder_record": True},
    **{f"pickle protocol {protocol}": {"pickle_protocol": protocol} for protocol in (2, 3, 4, 5)},
    **{
        f"before 2020, pickle protocol {protocol}": {
            "pickle_protocol": protocol,
            "_use_new_zipfile_serialization": False,
        }
        for protocol in (2, 4)
    },
}


@pytest.mark.parametrize("how", SAVE)
def test_torch_save(tmp_path: Path, how: str) -> None:
    state = state_dict()
    if "before" in how:  # which has no types newer than itself
        state.pop(str(torch.float8_e4m3fn))
    torch.save(state, tmp_path / "model.bin", **SAVE[how])
    assert_equal_to_torch(tmp_path / "model.bin")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_alone(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"a": (torch.randn(9) * 50).to(dtype)}, tmp_path / "model.bin")
    assert_equal_to_torch(tmp_path / "model.bin")


@pytest.mark.parametrize("alignment", [1, 64, 256, 4096])
def test_alignments(tmp_path: Path, alignment: int) -> None:
    from torch.utils.serialization import config

    before = config.save.storage_alignment
    config.save.storage_alignment = alignment
    try:
        torch.save(state_dict(), tmp_path / "model.bin")
    finally:
        config.save.storage_alignment = before
    assert_equal_to_torch(tmp_path / "model.bin")


def test_a_module_and_attributes_of_its_state(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    state = module.state_dict()
    state["tagged"] = nn.Parameter(torch.randn(3))
    state["tagged"].tag = "of the trainer"
    torch.save(state, tmp_path / "model.bin")
    assert_equal_to_torch(tmp_path / "model.bin")


class _NoSeek(io.RawIOBase):
    """A pipe, into which zip programs write sizes behind the data."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(self.parts[-1])


def rewritten(
    path: Path, *, order: Callable[[list[str]], list[str]] = list, piped: bool = False, comment: bytes = b"", **how: Any
) -> None:
    """The same zip file as another program would write it."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    target: Any = _NoSeek() if piped else io.BytesIO()
    with zipfile.ZipFile(target, "w", **how) as archive:
        for name in order(list(content)):
            archive.writestr(zipfile.ZipInfo(name), content[name], compress_type=how.get("compression"))
        archive.comment = comment
    path.write_bytes(b"".join(target.parts) if piped else target.getvalue())


def _shuffled(names: list[str]) -> list[str]:
    # Torch itself finds its folder in the archive by the first record.
    return [names[0], *random.Random(0).sample(names[1:], len(names) - 1)]


REWRITTEN: dict[str, dict[str, Any]] = {
    "anew": {},
    "in another order": {"order": _shuffled},
    "backwards": {"order": lambda names: [names[0], *names[:0:-1]]},
    "to a pipe": {"piped": True},
    "with a comment": {"comment": b"by another program" * 500},
}


@pytest.mark.parametrize("how", REWRITTEN)
def test_zip_files_that_were_written_anew(saved: Path, how: str) -> None:
    rewritten(saved, **REWRITTEN[how])
    assert_equal_to_torch(saved)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_records_are_refused(saved: Path, method: int) -> None:
    rewritten(saved, compression=method)
    with pytest.raises(UnsupportedError, match="compressed or encrypted, which torch never does"):
        open_pickle(saved)


def test_files_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """The zip64 fields, in a file with holes: its last tensor lies behind the first four gigabytes."""
    path = tmp_path / "model.bin"
    state = {"a": torch.arange(4.0), "b": torch.arange(8.0)}
    torch.save(state, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            if name.endswith("/data/1"):
                file.seek(5 << 30)
                archive.start_dir = file.tell()
            archive.writestr(zipfile.ZipInfo(name), data)
    stored = open_pickle(path)
    assert stored["b"].offset > 5 << 30  # type: ignore[attr-defined]
    assert torch.equal(stored["a"].read_rows(0, 4), state["a"]) and torch.equal(stored["b"].read_rows(0, 8), state["b"])


def with_record(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        records = {one: archive.read(one) for one in archive.namelist()}
    found = next((one for one in records if one.endswith(name)), f"{next(iter(records)).split('/')[0]}/{name}")
    records[found] = content
    with zipfile.ZipFile(path, "w") as archive:
        for one, data in records.items():
            archive.writestr(one, data)


@pytest.mark.parametrize("order", [b"big", b"middle", b"", b"\xff" * 10, b"x" * 10**6])
def test_other_byte_orders_are_refused(saved: Path, order: bytes) -> None:
    with_record(saved, "byteorder", order)
    with pytest.raises((UnsupportedError, CheckpointError), match=r"byte order|byteorder"):
        open_pickle(saved)


@pytest.mark.parametrize("change", [-1, 1, 4, 4096])
def test_records_of_the_wrong_size(saved: Path, change: int) -> None:
    with zipfile.ZipFile(saved) as archive:
        content = archive.read(next(name for name in archive.namelist() if name.endswith("data/0")))
    with_record(saved, "data/0", content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(CheckpointError, match="record '0' should have"):
        open_pickle(saved)


@pytest.mark.parametrize("offset", [18, 22, 26, 28])  # of the sizes, and of the lengths of name and extra field
def test_headers_that_lie(saved: Path, offset: int) -> None:
    rewritten(saved)
    data = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        header = next(info.header_offset for info in archive.infolist() if info.filename.endswith("data/1"))
    data[header + offset] ^= 8
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        open_pickle(saved)


def test_records_that_share_bytes(saved: Path) -> None:
    rewritten(saved)
    data = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        infos = {info.filename: info for info in archive.infolist()}
    one, other = (next(info for name, info in infos.items() if name.endswith(end)) for end in ("data/0", "data/1"))
    assert len(one.filename) == len(other.filename)
    at = data.rindex(other.filename.encode())
    moved = data[: at - 4] + struct.pack("<I", one.header_offset) + data[at:]
    saved.write_bytes(moved)
    with pytest.raises(CheckpointError, match=r"not where its table says|overlaps something else"):
        open_pickle(saved)


def _pickle(*steps: bytes) -> bytes:
    return b"\x80\x02" + b"".join(steps) + b"."


class Run:
    def __init__(self, *arguments: Any, function: Callable[..., Any] = print) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


BOMBS: dict[str, bytes] = {
    "a memo of 2^31": _pickle(b"K\x01r\xff\xff\xff\x7f"),
    "a text of 2^62 bytes": b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little") + b"a.",
    "a number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "very many steps": _pickle(b"}0" * (1 << 20), b"}"),
    "a key of nested pairs": _pickle(b"}K\x01", b"q\x00h\x00\x86" * 80, b"K\x01s"),
    "deep lists": _pickle(b"]" * 100_000, b"a" * 99_999),
    "no stack": _pickle(b"s"),
    "no mark": _pickle(b"u"),
    "no memo": _pickle(b"h\x07"),
    "no end": b"\x80\x02}",
    "nothing": b"",
    "a function": pickle.dumps({"a": Run("ran")}, protocol=2),
    "a class": pickle.dumps({"a": random.Random}, protocol=4),
    "eval": pickle.dumps({"a": Run("1 + 1", function=eval)}, protocol=4),
    "a storage of nothing": pickle.dumps({"a": ("storage", "FloatStorage", "0", "cpu", 4)}, protocol=2),
    "a storage of the wrong shape": _pickle(b"}X\x01\x00\x00\x00a(X\x07\x00\x00\x00storagetQs"),
    "not even an opcode": b"\xfe\xfe",
}


@pytest.mark.parametrize("what", BOMBS)
def test_hostile_pickles(saved: Path, what: str) -> None:
    with_record(saved, "data.pkl", BOMBS[what])
    with pytest.raises(Qwen7bError) as caught:
        open_pickle(saved)
    assert str(saved) in str(caught.value) and len(str(caught.value)) < 600
    saved.write_bytes(BOMBS[what])  # as the format of before 2020
    with pytest.raises(Qwen7bError):
        open_pickle(saved)


def test_a_pickle_that_is_too_large(saved: Path) -> None:
    with_record(saved, "data.pkl", bytes(20 << 20))
    with pytest.raises(CheckpointError, match=r"data.pkl has 20971520 bytes"):
        open_pickle(saved)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((4, 4), (4, 1), 4),
        ((1 << 62, 4), (4, 1), 0),
        ((1 << 40, 1 << 40), (0, 0), 0),
        ((16,), (1, 1), 0),
        ((1,) * 65, (1,) * 65, 0),
        ((-1, 4), (4, 1), 0),
        ((4, 4), (-4, 1), 12),
        ((4, 4), (4, 1), -4),
        ((2, 2), (1 << 62, 1), 0),
    ],
)
def test_views_that_leave_their_storage(tmp_path: Path, shape: Any, strides: Any, offset: int) -> None:
    path = tmp_path / "model.bin"
    tensor = torch.arange(16.0)

    class View:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (tensor.storage(), offset, shape, strides, False, {})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"a": View()}, path)
    with pytest.raises(Qwen7bError):
        open_pickle(path)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_that_are_not_plain(tmp_path: Path) -> None:
    for tensor in (
        torch.eye(3).to_sparse(),
        torch.eye(3, dtype=torch.complex64),
        torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
        torch.ones(1).expand(100),
        torch.empty(3, device="meta"),
    ):
        torch.save({"a": tensor}, tmp_path / "model.bin")
        with pytest.raises(UnsupportedError, match="sparse or complex"):
            open_pickle(tmp_path / "model.bin")


def test_damage_anywhere_is_an_error_or_harmless(tmp_path: Path) -> None:
    """A process of its own, which a native crash would end."""
    program = f"""
import random, sys, torch
from pathlib import Path
from qwen7b.errors import Qwen7bError
from qwen7b.files.pickled_file import open_pickle
path, draw = Path({str(tmp_path / "model.bin")!r}), random.Random(0)
for settings in ({{}}, {{"_use_new_zipfile_serialization": False}}):
    torch.save({{"a": torch.arange(6.0).view(2, 3), "b": torch.arange(6).view(3, 2).t()}}, path, **settings)
    whole = path.read_bytes()
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 8))):
            data[draw.randrange(len(data))] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        if draw.random() < 0.1:
            del data[draw.randrange(len(data)):]
        path.write_bytes(data)
        try:
            for tensor in open_pickle(path).values():
                tensor.read_rows(0, tensor.shape[0])
        except Qwen7bError:
            pass
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("name", [7, 0, None, 1.5, b"lm_head.weight"])
def test_names_that_are_no_text_are_refused(tmp_path: Path, name: object) -> None:
    for new in (True, False):
        torch.save({"a": torch.ones(2), name: torch.ones(2)}, tmp_path / "a.bin", _use_new_zipfile_serialization=new)
        with pytest.raises(CheckpointError, match=f"a tensor whose name is {re.escape(repr(name))}, not a string"):
            open_pickle(tmp_path / "a.bin")


def test_an_old_file_may_hold_numbers_that_are_none_of_the_models(tmp_path: Path) -> None:
    model = {"a": torch.randn(3, 4), "b": torch.randn(5).half()}
    beside = [torch.randn(100), torch.arange(9), torch.randn(2).double(), torch.zeros(3).untyped_storage()]
    for order in ({"optimizer": beside, "model": model}, {"model": model, "optimizer": beside}):
        torch.save(order, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
        stored = open_pickle(tmp_path / "old.bin")
        assert stored.keys() == model.keys()
        assert all(torch.equal(stored[name].read_rows(0, len(model[name])), model[name]) for name in model)


def test_only_the_pages_of_a_strided_tensor_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"padding": torch.zeros(1 << 20), "turned": torch.randn(300, 400).t(), "end": torch.zeros(1 << 20)}
    torch.save(state, tmp_path / "a.bin")
    mapped: list[int] = []

    class Map(mmap.mmap):
        def __new__(cls, file: int, length: int, **settings: Any) -> Any:
            mapped.append(length)
            return super().__new__(cls, file, length, **settings)

    monkeypatch.setattr("qwen7b.files.stored.mmap.mmap", Map)
    assert torch.equal(open_pickle(tmp_path / "a.bin")["turned"].read_rows(10, 20), state["turned"][10:20])
    assert mapped and max(mapped) <= 300 * 400 * 4 + mmap.ALLOCATIONGRANULARITY
