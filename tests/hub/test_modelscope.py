"""The same from ModelScope, by its own library where it is installed."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from qwen7b.errors import DownloadError, MissingExtraError, ModelNotFoundError, ResourceError
from qwen7b.hub import repository as hub_module
from qwen7b.hub.fetch import fetch
from qwen7b.hub.known import HubFile, KnownModel
from qwen7b.hub.locate import locate
from qwen7b.hub.protocol import Reference
from qwen7b.hub.repository import fetch_repository
from qwen7b.installation import install_command
from standins import ModelScopeHandler, StandIn, serving

FILES = {
    "config.json": b"{}",
    "qwen.tiktoken": b"IQ== 0\n",
    "model.safetensors": b"weights" * 1000,
    "README.md": b"words",
}
QWEN = Reference(repository="Qwen/Qwen-tiny")


def test_a_missing_library_names_its_extra(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN7B_HUB", "modelscope")
    monkeypatch.setattr(hub_module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=re.escape(install_command("modelscope"))):
        fetch_repository(QWEN)


@pytest.fixture
def modelscope(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A ModelScope of our own, and an empty cache for its library."""
    if not importlib.util.find_spec("modelscope"):
        pytest.skip("modelscope is not installed")
    import modelscope_hub.config

    monkeypatch.setenv("QWEN7B_HUB", "modelscope")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(cache / "modelscope"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(cache / "home"))
    monkeypatch.setattr(modelscope_hub.config, "_default_config", None)
    with serving(ModelScopeHandler) as server:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
        server.repositories["Qwen/Qwen-tiny"] = dict(FILES)
        yield server


def test_repository(modelscope: StandIn) -> None:
    folder = fetch_repository(QWEN)
    names = {path.name for path in folder.iterdir()}
    assert names == FILES.keys() - {"README.md"}
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    modelscope.requests.clear()
    assert fetch_repository(QWEN) == folder
    assert all("/repo/files" in request for request in modelscope.requests)
    modelscope.requests.clear()
    assert fetch_repository(QWEN, offline=True) == folder
    assert not modelscope.requests


@pytest.mark.parametrize("name", ["Qwen-1.8B-Chat", "qwen/qwen-1_8b-chat"])
def test_official_names(modelscope: StandIn, name: str) -> None:
    modelscope.repositories["Qwen/Qwen-1_8B-Chat"] = dict(FILES)
    assert (locate(name) / "config.json").is_file()
    with pytest.raises(ModelNotFoundError, match=r"it would be 15.4 GB from ModelScope"):
        locate("qwen/Qwen-7B-Chat")


def test_a_damaged_file_is_fetched_again(modelscope: StandIn) -> None:
    file = fetch_repository(QWEN) / "model.safetensors"
    file.write_bytes(b"short")
    assert (fetch_repository(QWEN) / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_errors(modelscope: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match="not in the cache"):
        fetch_repository(QWEN, offline=True)
    with pytest.raises(ModelNotFoundError, match="ModelScope has no repository org/none"):
        fetch_repository(Reference(repository="org/none"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=7000))
    with pytest.raises(ResourceError, match="set MODELSCOPE_CACHE"):
        fetch_repository(QWEN)


def test_a_silent_hub(modelscope: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from qwen7b.hub import modelscope as module

    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.3)
    modelscope.is_silent = True
    with pytest.raises(DownloadError, match=r"ModelScope could not be reached .* unset QWEN7B_HUB"):
        fetch_repository(QWEN)


def test_known_model(modelscope: StandIn, know: Callable[..., KnownModel]) -> None:
    know(FILES["model.safetensors"], HubFile(repository="Qwen/Qwen-tiny", file="model.safetensors"))
    modelscope.cuts = [100]
    path = fetch("tiny")
    assert path.read_bytes() == FILES["model.safetensors"]
    assert {file.name for file in path.parent.iterdir()} - {".lock"} == {"tiny.gguf", "tiny.gguf.verified"}
