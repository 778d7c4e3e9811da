"""Only regular files are opened: nothing blocks, and nothing is read without end."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from prompt_toolkit.history import FileHistory, InMemoryHistory

import tiny
from qwen7b.checkpoint import open_checkpoint
from qwen7b.doctor import diagnose
from qwen7b.doctor.fix import copy_file
from qwen7b.errors import CheckpointError, ModelNotFoundError, Qwen7bError, SettingError
from qwen7b.files.gguf_header import read_gguf_header
from qwen7b.files.stored import map_file, read_bytes
from qwen7b.files.weight_files import open_weight_file
from qwen7b.hub.listing import is_runnable
from qwen7b.loading import load_model
from qwen7b.packing.kept_vocabulary import source_of_kept
from qwen7b.system.json_file import read_json
from qwen7b.system.regular_file import named_text, open_regular, read_text, read_whole
from qwen7b.system.storage import is_whole, sha256_of
from qwen7b.terminal.kept_conversations import read_messages
from qwen7b.terminal.terminal import kept_history
from qwen7b.text import load_tokenizer

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")


@pytest.fixture(autouse=True)
def _deadline() -> Iterator[None]:
    """A file that blocks or has no end fails its test instead of stopping all of them."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("blocked"))
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _socket(path: Path) -> None:
    os.chdir(path.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a socket": _socket,
    "No such file": lambda path: path.symlink_to("nowhere"),
    "Too many levels": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd"
    ODD[kind](path)
    with pytest.raises(OSError, match=kind):
        open_regular(path)


READERS: dict[str, Callable[[Path], object]] = {
    "odd.gguf": read_gguf_header,
    "odd.safetensors": open_weight_file,
    "odd.bin": open_weight_file,
    "odd": map_file,
    "odd.0": lambda path: read_bytes(path, offset=0, num_bytes=8),
    "qwen.tiktoken": load_tokenizer,
    "tokenizer.json": load_tokenizer,
    "vocab.json": load_tokenizer,
    "talk.json": read_messages,
    "text.txt": named_text,
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_it(tmp_path: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ODD[kind](tmp_path / name)
    with pytest.raises(Qwen7bError):
        READERS[name](tmp_path / name)


FILES: tuple[str, ...] = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "pytorch_model.bin",
    "tokenizer.json",
)
FILES += ("tokenizer_config.json", "model.safetensors.index.json", "quantize_config.json", "configuration_qwen.py")
FILES += ("qwen.tiktoken", "chat_template.jinja", "adapter_config.json", "LICENSE", "special_tokens_map.json")
FILES += ("added_tokens.json", "pytorch_model.bin.index.json", "adapter_model.safetensors", "chat_template.json")


def _load_and_keep(folder: Path) -> None:
    load_model(folder, quantize="q8", keep=True)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", FILES)
def test_checkpoints_with_such_files(tmp_path: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True, generation={})
    (folder / name).unlink(missing_ok=True)
    ODD[kind](folder / name)
    for call in (open_checkpoint, load_model, _load_and_keep, load_tokenizer, is_runnable):
        message = str(folder)
        try:
            call(folder)
        except Qwen7bError as error:
            message = str(error)
        assert str(folder) in message
    diagnose(folder)


@pytest.mark.parametrize("kind", ["No such file", "Too many levels", "a pipe"])
@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json", "chat_template.jinja"])
def test_settings_that_cannot_be_read_are_not_taken_for_none(tmp_path: Path, name: str, kind: str) -> None:
    folder = tiny.write_folder(tmp_path / "model", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True)
    ODD[kind](folder / name)
    read = open_checkpoint if name == "generation_config.json" else load_tokenizer
    with pytest.raises(CheckpointError, match=name):
        read(folder)
    assert not diagnose(folder).is_healthy


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a socket"])
def test_a_model_that_is_no_file(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ODD[kind](tmp_path / "model.gguf")
    for call in (diagnose, open_checkpoint, load_tokenizer):
        with pytest.raises(CheckpointError, match="neither a file nor a folder, but a pipe or a device"):
            call(tmp_path / "model.gguf")


@pytest.mark.parametrize("call", [diagnose, open_checkpoint, load_tokenizer])
def test_names_of_nothing(call: Callable[[Any], object]) -> None:
    name: Any
    for name in ("nowhere/at/all", "x" * 5000, "../" * 2000 + "x", "a\0b", "\udcff"):
        with pytest.raises(ModelNotFoundError, match="there is no file or folder"):
            call(name)
    for name in (None, 5, b"folder", ["folder"]):
        with pytest.raises(SettingError, match="should be named by a string or a path"):
            call(name)


def test_symbolic_links_to_files_are_files(tmp_path: Path) -> None:
    folder = tiny.write_folder(tmp_path / "blobs", tiny.V11_CONFIG, tiny.qwen_tensors(), tokenizer=True)
    (tmp_path / "snapshot").mkdir()
    for file in folder.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(Path("..", "blobs", file.name))
    load_model(tmp_path / "snapshot")


def test_files_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_whole(path, limit=5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_whole(path, limit=4)


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(OSError, match=r"no file can have|too long"):
            open_regular(tmp_path / name)


def test_text_has_no_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3945426872\n"


def test_a_pointer_to_a_large_file_is_called_that(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_text(POINTER)
    with pytest.raises(CheckpointError, match=rf"model.gguf is a Git LFS pointer.*'git lfs pull' in {tmp_path}"):
        open_regular(path)
    path.write_text(POINTER[1:])
    with open_regular(path) as file:
        assert file.read() == POINTER[1:].encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist: check the path"),
        (b"ab\xff", "cannot be read as UTF-8 text: byte 2 is 0xff; convert"),
        ("folder", "is a folder, not a file"),
        ("below a file", "does not exist: check the path"),
        ("closed", "is closed to you: ask for the permission to read it"),
        ("a\0b", "cannot be read: no file can have that name"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_a_text_that_a_user_names_is_told_apart_in_plain_words(
    tmp_path: Path, content: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text"
    if content == "folder":
        path.mkdir()
    elif content == "closed":
        path.touch()
        monkeypatch.setattr("os.open", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    elif content == "below a file":
        path.touch()
        path /= "text"
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path = tmp_path / str(content)
    with pytest.raises(SettingError, match=re.escape(f"--check-text {path} {message}")):
        named_text(path, option="--check-text")


def test_a_file_with_nothing_to_read_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some files of /proc are regular and yet may block; what is opened without waiting then gives None."""

    class Waiting(BufferedReader):
        def read(self, size: int | None = -1) -> Any:
            return None

    monkeypatch.setattr("qwen7b.system.regular_file.BufferedReader", Waiting)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="nothing to read now"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("kind", ODD)
def test_a_history_of_typed_lines(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "chat_history"
    ODD[kind](path)
    if kind == "No such file":  # a link to a file that is yet to come
        assert isinstance(kept_history(path), FileHistory)
    else:
        assert isinstance(kept_history(path), InMemoryHistory)


def test_a_history_of_any_size_stays_and_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "chat_history"
    path.touch()
    os.truncate(path, 1 << 40)
    assert isinstance(kept_history(path), InMemoryHistory) and path.stat().st_size == 1 << 40


@pytest.mark.parametrize("kind", ODD)
def test_marks_of_the_cache(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"whole")
    ODD[kind](tmp_path / "model.gguf.verified")
    assert is_whole(path, size=5, sha256=sha256_of(path))
    assert not is_whole(path, size=5, sha256="0" * 64)
    ODD[kind](tmp_path / "kept.vocabulary")
    assert source_of_kept(tmp_path / "kept.vocabulary") is None


@pytest.mark.parametrize("kind", ODD)
def test_copies_of_a_tokenizer(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_tokenizer_json(tmp_path / "tokenizer.json")
    ODD[kind](tmp_path / "tokenizer_config.json")
    (tmp_path / "copy").mkdir()
    with pytest.raises((OSError, Qwen7bError)):
        copy_file(tmp_path / "tokenizer_config.json", tmp_path / "copy" / "tokenizer_config.json")
