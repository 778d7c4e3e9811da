"""Addresses that people copy from their browsers."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b.errors import ModelNotFoundError
from qwen7b.hub.address import parse_address
from qwen7b.hub.locate import locate
from qwen7b.hub.protocol import Reference
from standins import StandIn

CHAT = Reference(repository="Qwen/Qwen-7B-Chat")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://huggingface.co/Qwen/Qwen-7B-Chat", CHAT),
        ("https://huggingface.co/Qwen/Qwen-7B-Chat/", CHAT),
        ("http://www.huggingface.co/Qwen/Qwen-7B-Chat?library=transformers#usage", CHAT),
        ("https://huggingface.co/Qwen/Qwen-7B-Chat/tree/main", CHAT),
        ("https://huggingface.co/Qwen/Qwen-7B-Chat/blob/main/config.json", CHAT),
        ("https://huggingface.co/Qwen/Qwen-7B-Chat/discussions/12", CHAT),
        ("https://huggingface.co/Qwen/Qwen-7B-Chat.git", CHAT),
        ("https://hf-mirror.com/Qwen/Qwen-7B-Chat", CHAT),
        ("hf.co/Qwen/Qwen-7B-Chat", CHAT),
        ("huggingface.co/models/Qwen/Qwen-7B-Chat", CHAT),
        ("git@hf.co:Qwen/Qwen-7B-Chat.git", CHAT),
        ("hf://Qwen/Qwen-7B-Chat", CHAT),
        ("hf://Qwen/Qwen-7B-Chat@v1.1.9", Reference(repository="Qwen/Qwen-7B-Chat", revision="v1.1.9")),
        ("HF://models/Qwen/Qwen-7B-Chat/", CHAT),
        ("huggingface://Qwen/Qwen-7B-Chat/config.json", CHAT),
        ("hf://a/b@v2/sub/c.gguf", Reference(repository="a/b", revision="v2", file="sub/c.gguf")),
        (
            "https://huggingface.co/Qwen/Qwen-7B-Chat/tree/v1.1.9",
            Reference(repository="Qwen/Qwen-7B-Chat", revision="v1.1.9"),
        ),
        ("https://huggingface.co/a/b/resolve/main/sub/c.gguf", Reference(repository="a/b", file="sub/c.gguf")),
        ("Qwen/Qwen-7B-Chat", None),
        ("demo", None),
        ("models/huggingface.co", None),
    ],
)
def test_addresses_of_hugging_face(address: str, expected: Reference | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QWEN7B_HUB", raising=False)
    assert parse_address(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "https://modelscope.cn/models/Qwen/Qwen-7B-Chat",
        "https://www.modelscope.cn/models/Qwen/Qwen-7B-Chat/summary",
        "https://modelscope.cn/models/Qwen/Qwen-7B-Chat/files",
        "https://www.modelscope.cn/models/Qwen/Qwen-7B-Chat/file/view/master/config.json?status=1",
        "modelscope.cn/models/Qwen/Qwen-7B-Chat/tree/master",
        "https://www.modelscope.cn/Qwen/Qwen-7B-Chat.git",
        "modelscope://Qwen/Qwen-7B-Chat",
        "ms://models/Qwen/Qwen-7B-Chat@master",
    ],
)
def test_addresses_of_modelscope(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN7B_HUB", "modelscope")
    assert parse_address(address) == CHAT
    monkeypatch.delenv("QWEN7B_HUB")
    with pytest.raises(ModelNotFoundError, match=r"is on ModelScope.*set QWEN7B_HUB=modelscope.*Qwen/Qwen-7B-Chat"):
        parse_address(address)


def test_the_other_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN7B_HUB", "modelscope")
    with pytest.raises(ModelNotFoundError, match=r"is on Hugging Face.* unset QWEN7B_HUB"):
        parse_address("https://huggingface.co/Qwen/Qwen-7B-Chat")


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/QwenLM/Qwen",
        "https://huggingface.co/Qwen",
        "https://huggingface.co/datasets/a/b",
        "https://huggingface.co/spaces/Qwen/demo",
        "hf://Qwen",
        "hf://",
        "hf://datasets/a/b",
        "modelscope://Qwen",
        "s3://bucket/model",
        "file:///models/Qwen-7B-Chat",
        "ftp://example.org/model.gguf",
        "https://example.com/model.gguf",
        "https://",
    ],
)
def test_addresses_of_something_else(address: str) -> None:
    with pytest.raises(ModelNotFoundError, match="is not the address of a model on Hugging Face or ModelScope"):
        locate(address)


def test_an_address_is_fetched(hub: StandIn, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["org/tiny"] = {"tiny.gguf": b"GGUF", "config.json": b"{}"}
    for address in (f"{hub.url}/org/tiny", "https://huggingface.co/org/tiny/tree/main", "hf.co/org/tiny"):
        assert locate(address).read_bytes() == b"GGUF"
