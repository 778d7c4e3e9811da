"""ChatQwen against LangChain's own suites for chat models.

They run on a stand-in, or on the model that QWEN7B_SUITES names. Needs `langchain-tests`, whose plugins for pytest want
an environment of their own, and to be told `-o asyncio_default_fixture_loop_scope=function`.
"""

# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from qwen7b import Piece, load
from scripted import ScriptedQwen, call

pytest.importorskip("langchain_tests", reason="needs langchain-tests")
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from qwen7b.tools.langchain_model import ChatQwen

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.filterwarnings("ignore:The test .* is marked with '@pytest.mark.asyncio' but it is not an async"),
]

PINNED = {
    "test_serdes": "a model in memory is not written out",
    "test_init_from_env": "it has no key, and no address",
    "test_invoke_with_model_override": "a Qwen is one model",
    "test_ainvoke_with_model_override": "a Qwen is one model",
    "test_stream_with_model_override": "a Qwen is one model",
    "test_astream_with_model_override": "a Qwen is one model",
    "test_pdf_inputs": "only text is read",
    "test_audio_inputs": "only text is read",
    "test_image_inputs": "only text is read",
    "test_image_tool_message": "only text is read",
    "test_pdf_tool_message": "only text is read",
    "test_stream_time": "it needs answers of a server that were recorded",
}
"""The tests that do not apply, each with the reason. No other may skip."""


class ObligingQwen(ScriptedQwen):
    """A stand-in that calls a tool if it must, or if none has been called yet, and writes JSON if it must."""

    def stream(self, messages: list[Any], **settings: Any) -> Iterator[Piece]:
        self.replies = [self.answer(messages, settings)]
        return super().stream(messages, **settings)

    def answer(self, messages: list[Any], settings: dict[str, Any]) -> Any:
        tools = {each["function"]["name"]: each["function"] for each in settings.get("tools", ())}
        choice = settings.get("tool_choice", "auto")
        if tools and (choice != "auto" or messages[-1]["role"] == "user"):
            chosen = tools.get(choice) or next(iter(tools.values()))
            return [call(chosen["name"], **example_of(chosen.get("parameters", {"type": "object"})))]
        if (form := settings.get("response_format")) is None:
            return ["in ", "there"]
        if isinstance(form, type):
            form = {"json_schema": {"schema": form.model_json_schema()}}  # type: ignore[attr-defined]
        return json.dumps(example_of(form.get("json_schema", {"schema": TEXTS})["schema"]))


TEXTS = {"type": "object", "properties": {name: {"type": "string"} for name in ("setup", "punchline")}}


def example_of(schema: dict[str, Any]) -> Any:
    if schema.get("type") == "object":
        return {name: example_of(each) for name, each in schema.get("properties", {}).items()}
    return 3 if schema.get("type") == "integer" else "你好、こんにちは"


@pytest.fixture(scope="module", autouse=True)
def qwen() -> Any:
    name = os.environ.get("QWEN7B_SUITES")
    ModelOfSuites.qwen = ObligingQwen([]) if name is None else load(name)
    return ModelOfSuites.qwen


class ModelOfSuites:
    """What the suites ask of a model: all but what is pinned above."""

    qwen: Any = None
    chat_model_class = ChatQwen
    supports_json_mode = True
    supports_anthropic_inputs = True
    supports_model_override = False

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"qwen": self.qwen}

    @pytest.fixture(autouse=True)
    def only_pinned_tests_skip(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        if (name := request.node.originalname) in PINNED:
            pytest.skip(PINNED[name])
        monkeypatch.setattr(pytest, "skip", pytest.fail)


class TestUnits(ModelOfSuites, ChatModelUnitTests):
    pass


class TestIntegration(ModelOfSuites, ChatModelIntegrationTests):
    pass
