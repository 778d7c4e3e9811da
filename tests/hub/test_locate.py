"""Whatever a user calls a model, it is found, or the error says where it was looked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import qwen7b
import tiny
from qwen7b.errors import DownloadError, ModelNotFoundError, SettingError
from qwen7b.hub.known import HubFile, KnownModel
from qwen7b.hub.locate import locate
from standins import StandIn


def test_paths_are_returned_untouched(here: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "Qwen" / "Qwen-7B").mkdir(parents=True)
    (here / "model.gguf").touch()
    monkeypatch.setenv("HOME", str(here))
    for name in ("Qwen/Qwen-7B", "./Qwen", "model.gguf", here / "model.gguf", Path("Qwen"), str(here)):
        assert locate(name) == Path(name)
    assert locate("~/model.gguf") == here / "model.gguf"
    assert not hub.requests


@pytest.mark.parametrize(
    "name",
    ["./none", "~/none", "/none/none", "none.gguf", "far/none.gguf", "Qwen/none", Path("none"), "a\\none", "..\\none"],
)
def test_what_looks_like_a_path_is_never_asked_for(here: Path, hub: StandIn, name: str | Path) -> None:
    (here / "Qwen").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"there is no file or folder .*none.*: check the path"):
        locate(name)
    assert not hub.requests


def test_known_names(here: Path, hub: StandIn, know: Callable[..., KnownModel]) -> None:
    know(b"GGUF", HubFile(repository="org/tiny", file="tiny.gguf"))
    hub.repositories["org/tiny"] = {"tiny.gguf": b"GGUF"}
    (here / "tiny").mkdir()
    assert locate("tiny").read_bytes() == b"GGUF"
    assert locate("./tiny") == Path("tiny") == locate(Path("tiny"))


@pytest.mark.parametrize("name", ["org/tiny", "org/tiny@main", "org/tiny:tiny.gguf", "org/tiny@main:tiny.gguf"])
def test_hub_ids(here: Path, hub: StandIn, name: str) -> None:
    hub.repositories["org/tiny"] = {"tiny.gguf": b"GGUF"}
    assert locate(name).read_bytes() == b"GGUF"
    with pytest.raises(DownloadError, match="offline"):
        locate("org/other", offline=True)


@pytest.mark.parametrize("name", ["", "dmeo", "a/b/c", "Qwen-7B-Cat"])
def test_anything_else(here: Path, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=f"unknown model '{name}'.* a hub id such as Qwen/Qwen-7B-Chat"):
        locate(name)


def test_models_and_tokenizers_are_loaded_by_any_name(
    here: Path, hub: StandIn, know: Callable[..., KnownModel], tmp_path: Path
) -> None:
    folder = tiny.write_folder(tmp_path / "m", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True)
    hub.repositories["org/whole"] = {file.name: file.read_bytes() for file in folder.iterdir()}
    for name in ("org/whole", f"{hub.url}/org/whole", str(folder), folder):
        assert qwen7b.load_tokenizer(name).encode("hello") == [258, 78]
        assert qwen7b.load_model(name).config.num_layers == tiny.LAYERS
    for load in (qwen7b.load_tokenizer, qwen7b.load_model):
        with pytest.raises(ModelNotFoundError, match="did you mean"):
            load("dem")


@pytest.mark.parametrize("model", [None, 5, b"demo", ["demo"], {"a": 1}])
def test_what_is_no_name_is_refused(model: object) -> None:
    for take in (locate, qwen7b.load, qwen7b.load_model, qwen7b.load_tokenizer):
        with pytest.raises(SettingError, match="a model should be named by a string or a path, found"):
            take(model)
