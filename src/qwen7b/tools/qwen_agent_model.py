"""A `Qwen` as a chat model of Qwen-Agent, which importing this registers as "qwen7b". Needs `qwen-agent`."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator"

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qwen7b.dialects.dialect import join_deltas
from qwen7b.errors import MissingExtraError, SettingError
from qwen7b.generate import Piece, load
from qwen7b.tools.framework_calls import stream_pieces

try:
    from qwen_agent.llm.base import register_llm
except ImportError as error:
    raise MissingExtraError(error.name or "qwen-agent", extra="qwen-agent") from error
from qwen_agent.llm.function_calling import BaseFnCallModel
from qwen_agent.llm.schema import ASSISTANT, FUNCTION, FunctionCall, Message

_OTHER_NAMES = {"function_choice": "tool_choice", "parallel_function_calls": "parallel_tool_calls"}
"""Settings that `use_raw_api` leaves to the model, by the names that `Qwen.chat` has for them."""
_FIELDS = {"model", "model_type", "qwen", "generate_cfg", "cache_dir"}


@register_llm("qwen7b")
class QwenAgentModel(BaseFnCallModel):
    """A chat model that is a `Qwen`: `{"model_type": "qwen7b", "model": "demo"}`, or "qwen" with one that is loaded.

    "generate_cfg" holds settings of `Qwen.chat` beside Qwen-Agent's own. Its agents write tools and read calls by its
    templates, `fncall_prompt_type` "nous" or "qwen"; with `use_raw_api` the model's own dialect does, and calls are
    held to the tools' schemas. What an assistant's message begins is continued, not asked for anew.

    >>> import qwen7b.tools.qwen_agent_model                                             # doctest: +SKIP
    >>> agent = ReActChat(llm={"model_type": "qwen7b", "model": "demo"}, function_list=["weather"])  # doctest: +SKIP
    """

    def __init__(self, cfg: dict[str, Any] | None = None) -> None:
        cfg = cfg or {}
        if unknown := cfg.keys() - _FIELDS:
            raise SettingError(
                f"a model of the type qwen7b has no {min(unknown)}: it takes {', '.join(sorted(_FIELDS))}"
            )
        if ("qwen" in cfg) == ("model" in cfg):
            raise SettingError(
                "a model of the type qwen7b is given as 'qwen', which is loaded, or by its name as 'model'"
            )
        super().__init__(cfg)
        self.qwen = cfg["qwen"] if "qwen" in cfg else load(cfg["model"])
        self.model: str = self.qwen.name

    def _continue_assistant_response(
        self, messages: list[Message], generate_cfg: dict[str, Any], stream: bool
    ) -> Iterator[list[Message]] | list[Message]:
        answer: Iterator[list[Message]] | list[Message] = self._chat(
            messages, stream=stream, delta_stream=False, generate_cfg=generate_cfg
        )
        return answer

    def _chat_stream(
        self, messages: list[Message], delta_stream: bool, generate_cfg: dict[str, Any]
    ) -> Iterator[list[Message]]:
        pieces: list[Piece] = []
        for piece in stream_pieces(self.qwen, _as_messages(messages), self._settings(generate_cfg)):
            if delta_stream:
                pieces.clear()
            pieces.append(piece)
            yield _as_answer(pieces)

    def _chat_no_stream(self, messages: list[Message], generate_cfg: dict[str, Any]) -> list[Message]:
        return _as_answer([*stream_pieces(self.qwen, _as_messages(messages), self._settings(generate_cfg))])

    def _settings(self, generate_cfg: dict[str, Any]) -> dict[str, Any]:
        settings = {_OTHER_NAMES.get(name, name): value for name, value in generate_cfg.items()}
        if settings.get("temperature") == 0 and "seed" not in self.generate_cfg:
            settings.pop("seed", None)  # Qwen-Agent adds one to every call
        return settings


def _as_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """The conversation as `Qwen.chat` takes it: what an assistant says and its calls, here several messages, are one.

    Ids are left out: Qwen-Agent's results stand in the order of their calls.
    """
    joined: list[dict[str, Any]] = []
    for message in messages:
        if message.role == FUNCTION:
            joined.append({"role": FUNCTION, "name": message.name, "content": message.content})
            continue
        if message.role != ASSISTANT or not joined or joined[-1]["role"] != ASSISTANT:
            joined.append({"role": message.role, "content": ""})
        joined[-1]["content"] += message.content
        if message.function_call:
            call = {"name": message.function_call.name, "arguments": message.function_call.arguments}
            joined[-1].setdefault("tool_calls", []).append({"type": "function", "function": call})
    return joined


def _as_answer(pieces: list[Piece]) -> list[Message]:
    """What the reply says so far, and a message for each call that it makes."""
    reply = join_deltas([piece.call or piece.text for piece in pieces])
    ids = [piece.call.id for piece in pieces if piece.call and piece.call.id]
    calls = [
        Message(ASSISTANT, "", function_call=FunctionCall(call.name, call.arguments), extra={"function_id": id})
        for call, id in zip(reply.calls, ids, strict=True)
    ]
    # Its template "qwen" hands `extra` on to a call, where its agents look for an id in it.
    return [Message(ASSISTANT, reply.content, extra={}), *calls] if reply.content or not calls else calls
