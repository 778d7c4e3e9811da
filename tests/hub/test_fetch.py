"""A known model from a hub that misbehaves: resumed, verified, placed whole or not at all."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from qwen7b.errors import DownloadError, ModelNotFoundError, ResourceError
from qwen7b.hub import huggingface
from qwen7b.hub.fetch import fetch
from qwen7b.hub.known import HubFile, KnownModel
from standins import StandIn

CONTENT = random.Random(7).randbytes(3_000_000)
SOURCE = HubFile(repository="org/tiny", file="tiny.gguf")
MIRROR = HubFile(repository="org/mirror", file="tiny.gguf")

Know = Callable[..., KnownModel]


@pytest.fixture
def tiny(hub: StandIn, know: Know, cache: Path) -> Path:
    """A known model that the hub has; where its file will be."""
    hub.repositories["org/tiny"] = {"tiny.gguf": CONTENT}
    know(CONTENT, SOURCE)
    return cache / "models" / "tiny" / "tiny.gguf"


def transfers(hub: StandIn) -> list[str]:
    """The byte ranges of the file transfers so far."""
    return [request.split()[2] for request in hub.requests if request.startswith("GET") and "/resolve/" in request]


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_fetch_then_cached(tiny: Path, hub: StandIn) -> None:
    assert fetch("tiny") == tiny
    assert tiny.read_bytes() == CONTENT
    assert files_of(tiny.parent) == {"tiny.gguf", "tiny.gguf.verified"}
    hub.requests.clear()
    assert fetch("tiny") == tiny
    assert not hub.requests


def test_a_cut_transfer_is_continued(tiny: Path, hub: StandIn) -> None:
    hub.cuts = [1_200_000, 300_000]
    fetch("tiny")
    assert tiny.read_bytes() == CONTENT
    first, second, third = transfers(hub)
    assert first == "bytes=0-"
    assert int(second[6:-1]) > 0 and int(third[6:-1]) >= int(second[6:-1])


def test_the_next_run_continues(tiny: Path, hub: StandIn) -> None:
    hub.cuts = [1_200_000, 0]
    with pytest.raises(DownloadError, match="broke off"):
        fetch("tiny")
    partial = tiny.with_name("tiny.gguf.part")
    begun = partial.stat().st_size
    assert CONTENT.startswith(partial.read_bytes()) and begun > 1_000_000
    hub.requests.clear()
    fetch("tiny")
    assert transfers(hub) == [f"bytes={begun}-"]
    assert tiny.read_bytes() == CONTENT


def test_an_interrupt_leaves_what_came(tiny: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def interrupted_bar(what: str, *, total: int, done: int) -> Iterator[Callable[[int], None]]:
        def report(position: int) -> None:
            raise KeyboardInterrupt

        yield report

    with monkeypatch.context() as patch:
        patch.setattr(import_module("qwen7b.hub.fetch"), "progress_bar", interrupted_bar)
        with pytest.raises(KeyboardInterrupt):
            fetch("tiny")
    assert tiny.with_name("tiny.gguf.part").stat().st_size > 0
    hub.requests.clear()
    assert fetch("tiny").read_bytes() == CONTENT
    assert "bytes=0-" not in transfers(hub)


def test_bytes_of_an_earlier_run_that_are_wrong_are_fetched_again(tiny: Path, hub: StandIn) -> None:
    tiny.parent.mkdir(parents=True)
    tiny.with_name("tiny.gguf.part").write_bytes(b"wrong")
    assert fetch("tiny").read_bytes() == CONTENT
    assert transfers(hub) == ["bytes=5-", "bytes=0-"]


def test_a_partial_file_that_is_too_long_is_dropped(tiny: Path) -> None:
    tiny.parent.mkdir(parents=True)
    tiny.with_name("tiny.gguf.part").write_bytes(CONTENT + b"more")
    assert fetch("tiny").read_bytes() == CONTENT


def test_wrong_bytes_are_refused(tiny: Path, hub: StandIn) -> None:
    wrong = bytes(len(CONTENT))
    hub.repositories["org/tiny"]["tiny.gguf"] = wrong
    with pytest.raises(DownloadError) as caught:
        fetch("tiny")
    message = str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in message and hashlib.sha256(CONTENT).hexdigest() in message
    assert "org/tiny" in message and f"put tiny.gguf into {tiny.parent} by hand" in message
    assert files_of(tiny.parent) == set()


def test_the_next_source_is_tried(tiny: Path, hub: StandIn, know: Know, capsys: pytest.CaptureFixture[str]) -> None:
    know(CONTENT, SOURCE, MIRROR)
    hub.repositories = {"org/tiny": {"tiny.gguf": bytes(len(CONTENT))}, "org/mirror": {"tiny.gguf": CONTENT}}
    assert fetch("tiny").read_bytes() == CONTENT
    assert "No tiny from the hub repository org/tiny: it sent a file with sha256" in capsys.readouterr().err


def test_another_size_is_refused_before_any_transfer(tiny: Path, hub: StandIn) -> None:
    hub.repositories["org/tiny"]["tiny.gguf"] = b"short"
    with pytest.raises(DownloadError, match=r"its tiny.gguf has 5 bytes instead of 3,000,000"):
        fetch("tiny")
    assert not transfers(hub)


def test_every_source_is_named_when_all_fail(tiny: Path, hub: StandIn, know: Know) -> None:
    know(CONTENT, SOURCE, MIRROR)
    hub.repositories = {"org/tiny": {}}
    with pytest.raises(DownloadError) as caught:
        fetch("tiny")
    assert "org/tiny has no file tiny.gguf" in str(caught.value)
    assert "has no repository org/mirror" in str(caught.value)


@pytest.mark.parametrize("status", [500, 503])
def test_a_broken_hub(tiny: Path, hub: StandIn, status: int) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match=f"answered with HTTP {status}"):
        fetch("tiny")


def test_a_silent_hub_is_left_soon(tiny: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "CONNECT_SECONDS", 0.2)
    hub.is_silent = True
    with pytest.raises(DownloadError, match=r"could not be reached .*Timeout"):
        fetch("tiny")


def test_no_hub_at_all(tiny: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:9 could not be reached \(ConnectError"):
        fetch("tiny")


def test_a_damaged_file_is_set_aside(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch("tiny")
    damaged = bytes(len(CONTENT))
    tiny.write_bytes(damaged)
    assert fetch("tiny").read_bytes() == CONTENT
    assert tiny.with_name("tiny.gguf.damaged").read_bytes() == damaged
    assert f"{tiny} was damaged" in capsys.readouterr().err


def test_a_file_put_there_by_hand_is_taken(tiny: Path, hub: StandIn) -> None:
    tiny.parent.mkdir(parents=True)
    tiny.write_bytes(CONTENT)
    assert fetch("tiny", offline=True) == tiny
    assert not hub.requests


def test_offline(tiny: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match=r"tiny is not in the cache .* offline: unset QWEN7B_OFFLINE"):
        fetch("tiny", offline=True)
    monkeypatch.setenv("QWEN7B_OFFLINE", "1")
    with pytest.raises(DownloadError, match="offline"):
        fetch("tiny")
    assert not hub.requests
    fetch("tiny", offline=False)
    assert fetch("tiny") == tiny
    tiny.write_bytes(b"damaged")
    with pytest.raises(DownloadError, match="tiny is damaged in the cache"):
        fetch("tiny")


def test_too_small_a_disk(tiny: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2_999_999))
    with pytest.raises(ResourceError, match=r"3,000,000 bytes are needed .* 2,999,999 are free.*QWEN7B_CACHE"):
        fetch("tiny")
    assert not hub.requests


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up(tiny: Path, cache: Path) -> None:
    other = cache / "models" / "other" / "other.gguf"
    for path in (other, tiny):
        path.parent.mkdir(parents=True)
    other.write_bytes(b"precious")
    partial = tiny.with_name("tiny.gguf.part")
    partial.symlink_to("/dev/full")
    with pytest.raises(ResourceError, match=r"is full: make room .*QWEN7B_CACHE"):
        fetch("tiny")
    assert not tiny.exists()
    assert other.read_bytes() == b"precious"
    partial.unlink()
    assert fetch("tiny").read_bytes() == CONTENT


def test_a_cache_that_cannot_be(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("QWEN7B_CACHE", str(file))
    with pytest.raises(ResourceError, match=r"cannot write to .*file.models.tiny .* set QWEN7B_CACHE"):
        fetch("tiny")


def test_unknown_names(cache: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="unknown model 'dmeo'"):
        fetch("dmeo")
