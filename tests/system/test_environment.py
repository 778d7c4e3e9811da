"""The environment's say in fetching."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qwen7b.errors import SettingError
from qwen7b.system.environment import cache_folder, hub_name, is_offline


def test_cache_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN7B_CACHE", "~/models")
    assert cache_folder() == Path.home() / "models"


@pytest.mark.skipif(sys.platform != "linux", reason="the convention of Linux")
def test_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QWEN7B_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "qwen7b"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "qwen7b"


@pytest.mark.parametrize("name", ["QWEN7B_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(monkeypatch: pytest.MonkeyPatch, name: str, cache: Path) -> None:
    assert not is_offline()
    monkeypatch.setenv(name, "0")
    assert not is_offline()
    monkeypatch.setenv(name, "1")
    assert is_offline()
    assert not is_offline(False)
    monkeypatch.delenv(name)
    assert is_offline(True)


def test_hub_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QWEN7B_HUB", raising=False)
    assert hub_name() == "huggingface"
    monkeypatch.setenv("QWEN7B_HUB", "ModelScope")
    assert hub_name() == "modelscope"
    monkeypatch.setenv("QWEN7B_HUB", "gitee")
    with pytest.raises(SettingError, match="QWEN7B_HUB is 'gitee': set it to huggingface or modelscope"):
        hub_name()
