"""The official names of first-generation Qwen: what they resolve to, what they need, and what is said without a hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qwen7b.cli.app import app
from qwen7b.errors import DownloadError, ModelNotFoundError
from qwen7b.evals.shapes import SHAPES
from qwen7b.hub.known import similar_names
from qwen7b.hub.locate import locate
from qwen7b.hub.official import OFFICIAL_MODELS, find_official
from qwen7b.loading.packed_weights import packed_bytes
from qwen7b.model.parameter_shapes import count_weights, parameter_shapes
from standins import StandIn

QWEN = {"config.json": b'{"model_type": "qwen"}', "qwen.tiktoken": b"IQ== 0\n", "model.safetensors": b"weights"}


@pytest.mark.parametrize("size", ["1_8B", "7B", "14B", "72B"])
@pytest.mark.parametrize("suffix", ["", "-Chat", "-Chat-Int4", "-Chat-Int8"])
def test_every_spelling_of_a_name_is_its_repository(size: str, suffix: str) -> None:
    name = f"Qwen-{size}{suffix}"
    for spelling in (name, name.replace("_", ".")):
        for organization in ("", "Qwen/", "qwen/"):
            for written in (
                organization + spelling,
                (organization + spelling).lower(),
                organization + spelling.upper(),
            ):
                found = find_official(written)
                assert found and found.repository == f"Qwen/{name}", written


@pytest.mark.parametrize("name", ["Qwen-VL", "Qwen-7B-Chat-Int3", "other/Qwen-7B", "a/Qwen/Qwen-7B", "Qwen", ""])
def test_other_names_are_not_official(name: str) -> None:
    assert find_official(name) is None


@pytest.mark.parametrize("size", ["1_8B", "7B", "14B", "72B"])
def test_sizes_are_those_of_the_shapes(size: str) -> None:
    large = replace(
        SHAPES["14b"], hidden_size=8192, num_layers=80, num_heads=64, num_kv_heads=64, feed_forward_size=24576
    )
    config = large if size == "72B" else SHAPES[size.lower().replace("_", ".")]
    model = OFFICIAL_MODELS[f"Qwen-{size}-Chat"]
    num_weights = count_weights(parameter_shapes(config))
    for stated, exact in (
        (model.size, 2 * num_weights),
        (model.q8_bytes, packed_bytes(config, "q8")),
        (model.q4_bytes, packed_bytes(config, "q4")),
    ):
        assert stated == pytest.approx(exact, abs=0.06e9)
    four, eight = (OFFICIAL_MODELS[f"Qwen-{size}-Chat-Int{bits}"].size for bits in (4, 8))
    assert model.q4_bytes < four < eight < model.size


@pytest.mark.parametrize("name", ["Qwen-7B-Chat", "qwen-7b-chat", "qwen/Qwen-7B-Chat", "QWEN-7B-CHAT@main"])
def test_a_name_fetches_its_repository_and_says_what_that_is(
    here: Path, hub: StandIn, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    hub.repositories["Qwen/Qwen-7B-Chat"] = dict(QWEN)
    folder = locate(name)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    said = capsys.readouterr().err
    assert "Fetching Qwen/Qwen-7B-Chat" in said
    assert "It is 15.4 GB, Tongyi Qianwen licence, as q8 in 8.0 GB of memory, as q4 in 4.7 GB." in said
    assert locate(name, offline=True) == folder


def test_a_folder_of_the_name_comes_first(here: Path, hub: StandIn) -> None:
    (here / "Qwen-7B-Chat").mkdir()
    assert locate("Qwen-7B-Chat") == Path("Qwen-7B-Chat")
    (here / "Qwen").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"no file or folder Qwen/Qwen-7B: .* or give Qwen-7B for the one on"):
        locate("Qwen/Qwen-7B")
    assert not hub.requests


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_hub_it_says_what_would_be_fetched_and_how_to_go_on(here: Path, hub: StandIn, offline: bool) -> None:
    hub.status = 503
    with pytest.raises(DownloadError) as raised:
        locate("Qwen-72B-Chat", offline=offline)
    for word in ("144.6 GB from Hugging Face", "'qwen7b pull Qwen-72B-Chat'", "cp -rL"):
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("Qwen-7B-Caht", "Qwen-7B-Chat"),
        ("qwen7b", "Qwen-7B"),
        ("Qwen-14B-Chat-Int3", "Qwen-14B-Chat-Int4"),
        ("qwen-72-chat", "Qwen-72B-Chat"),
        ("Qwen-1.8-Chat", "Qwen-1_8B-Chat"),
    ],
)
def test_a_wrong_name_is_met_with_the_nearest(here: Path, hub: StandIn, written: str, near: str) -> None:
    assert near in similar_names(written)
    with pytest.raises(ModelNotFoundError, match=rf"unknown model '{written}': did you mean .*'{near}'"):
        locate(written)
    for how, error in (({}, ModelNotFoundError), ({"offline": True}, DownloadError)):
        with pytest.raises(error, match=r"; did you mean Qwen-.*\?$"):
            locate(f"Qwen/{written}", **how)  # type: ignore[arg-type]
    with pytest.raises(ModelNotFoundError) as raised:
        locate(f"other/{written}")
    assert "did you mean" not in str(raised.value)


def test_they_are_listed(here: Path, hub: StandIn) -> None:
    run: Callable[..., str] = lambda *arguments: CliRunner().invoke(app, arguments).stdout  # noqa: E731
    row = next(row for row in run("models").splitlines() if row.startswith("Qwen-7B-Chat "))
    assert row.split()[:6] == ["Qwen-7B-Chat", "no", "15.4", "GB", "Tongyi", "Qianwen"]
    hub.repositories["Qwen/Qwen-7B-Chat"] = dict(QWEN)
    folder = locate("Qwen-7B-Chat")
    listed = {model["name"]: model for model in json.loads(run("models", "--json"))["models"]}
    assert listed["Qwen-7B-Chat"]["path"] == str(folder) and not listed["Qwen-7B"]["cached"]
    assert listed.keys() >= OFFICIAL_MODELS.keys()
