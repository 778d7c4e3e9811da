"""A GGUF file in which anything is changed is used soundly or refused in a line: no other error, no hang, no flood."""

from __future__ import annotations

import math
import random
import struct
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import qwen7b
import tiny
from qwen7b.convert import convert
from qwen7b.doctor import diagnose
from qwen7b.errors import Qwen7bError
from qwen7b.files import gguf_parts
from qwen7b.files.gguf_header import read_gguf_header

MOST_SECONDS, MOST_BYTES = 20, 500 << 20
WRONG: list[Any] = ["\x1b[2J", -1, 2**63, math.nan, [[["a"]]], None]
"""Values of all types; None stands for none at all."""


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    source = tiny.write_folder(folder / "source", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)
    convert(source, folder / "model.gguf", to="gguf")
    return folder / "model.gguf"


def use(path: Path) -> list[str]:
    """What strangers do with a file; gives the refusals."""

    def generate() -> None:
        qwen = qwen7b.load(path, quantize="none")
        qwen.complete("hello", max_new_tokens=1)
        if qwen.is_chat:
            qwen.chat("hello", max_new_tokens=1)

    refusals = []
    steps: tuple[Callable[[], object], ...] = (
        lambda: qwen7b.load_tokenizer(path).encode("hello 你好 <|im_end|>"),
        lambda: diagnose(path),
        generate,
    )
    for step in steps:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                step()
        except Qwen7bError as error:
            refusals.append(str(error))
    return refusals


def check(path: Path, about: object) -> None:
    """Use a file within bounds of time and memory."""
    before, found = psutil.Process().memory_info().rss, []

    def run() -> None:
        try:
            found.append(use(path))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(MOST_SECONDS)
    assert found, f"{about}: no end in {MOST_SECONDS} s"
    assert isinstance(found[0], list), (about, repr(found[0]))
    assert all("\n" not in refusal and len(refusal) <= 2003 for refusal in found[0]), about
    assert psutil.Process().memory_info().rss - before < MOST_BYTES, about


def test_the_file_is_sound_before_anything_is_changed(gguf: Path) -> None:
    assert use(gguf) == []


def test_every_key_with_values_of_all_types(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = read_gguf_header(gguf).metadata
    absent = ["qwen2.rope.scaling.type", "qwen2.rope.scaling.factor", "qwen2.attention.sliding_window", "split.count"]
    ids = [f"tokenizer.ggml.{name}_token_id" for name in ("bos", "eos", "eot", "eom", "unknown", "padding")]
    for key in {*metadata, *absent, *ids}:
        for value in WRONG:
            changed = {**metadata, key: value} if value is not None else {**metadata}
            if value is None:
                changed.pop(key, None)

            def read(path: Path, *, fields: Any = changed, **settings: Any) -> Any:
                return replace(read_gguf_header(path, **settings), metadata=fields)

            monkeypatch.setattr(gguf_parts, "read_gguf_header", read)
            check(gguf, (key, value))


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_of_bytes(gguf: Path, tmp_path: Path, seed: int) -> None:
    whole, chance = gguf.read_bytes(), random.Random(seed)
    start = min(tensor.offset for tensor in read_gguf_header(gguf).tensors.values())
    changed = tmp_path / "changed.gguf"
    for _ in range(40):
        data = bytearray(whole)
        place = chance.randrange((start if chance.random() < 0.9 else len(data)) - 8)
        match chance.choice(["bit", "byte", "count", "cut", "copy", "text"]):
            case "bit":
                data[place] ^= 1 << chance.randrange(8)
            case "byte":
                data[place] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
            case "count":
                data[place : place + 8] = struct.pack("<Q", chance.choice([0, 1, 2**31, 2**40, 2**63, 2**64 - 1]))
            case "cut":
                del data[place : place + chance.choice([1, 4, 8, 100])]
            case "copy":
                other = chance.randrange(start - 8)
                data[place : place + 8] = data[other : other + 8]
            case "text":
                data[place : place + 4] = b"\xff\xfe\x00\x1b"
        changed.write_bytes(data)
        check(changed, (seed, place))
