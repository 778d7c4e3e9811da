"""What can be run is listed with where it is, without asking anybody."""

from __future__ import annotations

from collections.abc import Callable

from qwen7b.hub.fetch import fetch
from qwen7b.hub.known import KNOWN_MODELS, HubFile, KnownModel
from qwen7b.hub.listing import list_models
from qwen7b.hub.protocol import Reference
from qwen7b.hub.repository import fetch_repository
from standins import StandIn


def test_known_models_and_whether_they_are_cached(hub: StandIn, know: Callable[..., KnownModel]) -> None:
    know(b"GGUF", HubFile(repository="org/tiny", file="tiny.gguf"))
    hub.repositories["org/tiny"] = {"tiny.gguf": b"GGUF"}
    path = fetch("tiny")
    hub.requests.clear()
    listed = {model.name: model for model in list_models()}
    assert list(listed) == list(KNOWN_MODELS)
    assert listed["tiny"].is_cached and listed["tiny"].path == path and listed["tiny"].size == 4
    assert not listed["demo"].is_cached and listed["demo"].size == 491400064
    assert listed["demo"].licence == "Apache-2.0"
    assert not hub.requests


def test_repositories_in_the_cache_that_could_run(hub: StandIn) -> None:
    weights = {"model.safetensors": b"weights"}
    hub.repositories["org/runs"] = {"config.json": b'{"model_type": "qwen2"}', **weights}
    hub.repositories["org/other"] = {"config.json": b'{"model_type": "bert"}', **weights}
    hub.repositories["org/damaged"] = {"config.json": b"[", **weights}
    folders = {name: fetch_repository(Reference(repository=name)) for name in hub.repositories}
    (found,) = list_models()[len(KNOWN_MODELS) :]
    assert found.name == "org/runs" and found.path == folders["org/runs"]
    assert found.size == len(b'{"model_type": "qwen2"}weights')
