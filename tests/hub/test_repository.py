"""Whole repositories from a stand-in of the Hugging Face hub: what is fetched, what is kept, what is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from qwen7b.errors import DownloadError, ModelNotFoundError, ResourceError, UnsupportedError
from qwen7b.hub import huggingface
from qwen7b.hub.protocol import Reference
from qwen7b.hub.repository import fetch_repository, parse_reference
from standins import COMMIT, StandIn

QWEN = {
    "config.json": b'{"model_type": "qwen"}',
    "generation_config.json": b"{}",
    "qwen.tiktoken": b"IQ== 0\n",
    "chat_template.jinja": b"{{ messages }}",
    "model-00001-of-00002.safetensors": b"first" * 1000,
    "model-00002-of-00002.safetensors": b"second" * 1000,
    "model.safetensors.index.json": b"{}",
    "pytorch_model.bin": b"pickled" * 1000,
    "modeling_qwen.py": b"raise SystemExit",
    "README.md": b"words",
    "onnx/model.safetensors": b"elsewhere",
    "LICENSE": b"terms",
    "NOTICE.txt": b"by whom",
}
NEEDED = {
    name
    for name in QWEN
    if name.endswith((".json", ".jinja", ".tiktoken")) or name.startswith(("model-", "LICENSE", "NOTICE"))
}
GGUFS = {"a-q4_0.gguf": b"GGUF four", "deep/a-q8_0.gguf": b"GGUF eight"}


@pytest.fixture
def qwen(hub: StandIn) -> Reference:
    hub.repositories["Qwen/Qwen-tiny"] = dict(QWEN)
    return Reference(repository="Qwen/Qwen-tiny")


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Qwen/Qwen-7B-Chat", Reference(repository="Qwen/Qwen-7B-Chat")),
        ("a/b@refs/pr/1", Reference(repository="a/b", revision="refs/pr/1")),
        ("a/b:c/d.gguf", Reference(repository="a/b", file="c/d.gguf")),
        ("a/b@v1:d.gguf", Reference(repository="a/b", revision="v1", file="d.gguf")),
        ("demo", None),
        ("a/b/c", None),
        ("C:/models", None),
        ("a/b@", None),
    ],
)
def test_parse_reference(text: str, expected: Reference | None) -> None:
    assert parse_reference(text) == expected


def test_only_what_is_needed_is_fetched(qwen: Reference, hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetch_repository(qwen)
    assert names_in(folder) == NEEDED
    assert capsys.readouterr().err == "Fetching Qwen/Qwen-tiny: 9 files, 0.0 MB.\n"
    assert (folder / "model-00002-of-00002.safetensors").read_bytes() == QWEN["model-00002-of-00002.safetensors"]
    hub.requests.clear()
    assert fetch_repository(qwen) == folder
    assert len(hub.requests) == 1, "one question whether the revision is still the same"


def test_pickled_weights_only_where_there_is_nothing_else(qwen: Reference, hub: StandIn) -> None:
    for name in [name for name in QWEN if name.endswith(".safetensors")]:
        del hub.repositories["Qwen/Qwen-tiny"][name]
    assert "pytorch_model.bin" in names_in(fetch_repository(qwen))


def test_the_cache_serves_offline_and_when_the_hub_is_silent(
    qwen: Reference, hub: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fetch_repository(qwen)
    hub.requests.clear()
    assert fetch_repository(qwen, offline=True) == folder
    assert not hub.requests
    hub.status = 503
    assert fetch_repository(qwen) == folder
    assert "Using the copy of Qwen/Qwen-tiny in the cache" in capsys.readouterr().err
    monkeypatch.setattr(huggingface, "CONNECT_SECONDS", 0.2)
    hub.status, hub.is_silent = None, True
    assert fetch_repository(qwen) == folder


def test_offline_without_a_copy(qwen: Reference, hub: StandIn) -> None:
    with pytest.raises(DownloadError, match=r"Qwen/Qwen-tiny is not in the cache .* unset QWEN7B_OFFLINE"):
        fetch_repository(qwen, offline=True)
    assert not hub.requests


def test_an_interrupted_repository_is_completed(qwen: Reference, hub: StandIn) -> None:
    hub.withheld.add("model-00002-of-00002.safetensors")
    with pytest.raises(ModelNotFoundError, match="has no file that it lists"):
        fetch_repository(qwen)
    hub.withheld.clear()
    hub.requests.clear()
    assert names_in(fetch_repository(qwen)) == NEEDED
    fetched = [request.rpartition("/")[2] for request in hub.requests if request.startswith("GET /Qwen")]
    assert fetched == ["model-00002-of-00002.safetensors"]


def test_a_cut_transfer_is_mended(qwen: Reference, hub: StandIn) -> None:
    hub.repositories["Qwen/Qwen-tiny"] = {"config.json": b"{}", "model.safetensors": b"weights" * 1000}
    hub.cuts = [1]
    folder = fetch_repository(qwen)
    assert (folder / "model.safetensors").read_bytes() == b"weights" * 1000


def test_revisions(hub: StandIn, qwen: Reference) -> None:
    assert fetch_repository(Reference(repository="Qwen/Qwen-tiny", revision=COMMIT)).name == COMMIT
    with pytest.raises(ModelNotFoundError, match="Qwen/Qwen-tiny has no revision v9"):
        fetch_repository(Reference(repository="Qwen/Qwen-tiny", revision="v9"))


def test_one_gguf_of_several(hub: StandIn) -> None:
    hub.repositories["org/ggufs"] = dict(GGUFS)
    chosen = Reference(repository="org/ggufs", file="deep/a-q8_0.gguf")
    path = fetch_repository(chosen)
    assert path.read_bytes() == b"GGUF eight" and path.name == "a-q8_0.gguf"
    assert fetch_repository(chosen) == path
    assert fetch_repository(chosen, offline=True) == path
    with pytest.raises(ModelNotFoundError, match=r"several models: choose one, as in org/ggufs:a-q4_0\.gguf, from"):
        fetch_repository(Reference(repository="org/ggufs"))
    with pytest.raises(ModelNotFoundError, match=r"org/ggufs has no file b\.gguf: choose one"):
        fetch_repository(Reference(repository="org/ggufs", file="b.gguf"))
    with pytest.raises(DownloadError, match="not in the cache"):
        fetch_repository(Reference(repository="org/ggufs", file="a-q4_0.gguf"), offline=True)


def test_a_single_gguf_needs_no_choice(hub: StandIn) -> None:
    hub.repositories["org/one"] = {"README.md": b"", "only.gguf": b"GGUF"}
    path = fetch_repository(Reference(repository="org/one"))
    assert path.name == "only.gguf"
    assert fetch_repository(Reference(repository="org/one"), offline=True) == path


def test_a_gguf_in_parts_is_fetched_whole(hub: StandIn) -> None:
    parts = {f"q8/a-0000{number}-of-00003.gguf": b"GGUF" for number in (1, 2, 3)}
    hub.repositories["org/parts"] = {**parts, "mmproj-a.gguf": b"GGUF"}
    for file in (None, "q8/a-00002-of-00003.gguf"):
        path = fetch_repository(Reference(repository="org/parts", file=file))
        assert path.name == "a-00001-of-00003.gguf" and len(list(path.parent.iterdir())) == 3
    assert fetch_repository(Reference(repository="org/parts"), offline=True) == path
    hub.repositories["org/parts"]["q4.gguf"] = b"GGUF"
    with pytest.raises(ModelNotFoundError, match=r"choose one, as in org/parts:q4.gguf, from q4.gguf, q8/a-00001"):
        fetch_repository(Reference(repository="org/parts"))


def test_no_weights(hub: StandIn) -> None:
    hub.repositories["org/words"] = {"README.md": b""}
    with pytest.raises(UnsupportedError, match=r"org/words has no weights that qwen7b reads .* it has README\.md"):
        fetch_repository(Reference(repository="org/words"))


@pytest.mark.parametrize("repository", ["org/none", "org/bad--name"])
def test_no_such_repository(hub: StandIn, repository: str) -> None:
    for offline in (False, True) if "--" in repository else (False,):
        with pytest.raises(ModelNotFoundError, match=f"has no repository {repository}, or it is private: check"):
            fetch_repository(Reference(repository=repository), offline=offline)


def test_gated(qwen: Reference, hub: StandIn) -> None:
    hub.gated.add("Qwen/Qwen-tiny")
    with pytest.raises(DownloadError, match=r"Qwen/Qwen-tiny is gated: accept .* 'hf auth login' or set HF_TOKEN"):
        fetch_repository(qwen)


def test_no_network(qwen: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"could not be reached .* check the network, set HF_ENDPOINT to a mirror"):
        fetch_repository(qwen)


def test_too_small_a_disk(qwen: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = sum(len(QWEN[name]) for name in NEEDED)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - 1))
    with pytest.raises(ResourceError, match=f"{needed:,} bytes are needed in .*hub.* set HF_HOME"):
        fetch_repository(qwen)
