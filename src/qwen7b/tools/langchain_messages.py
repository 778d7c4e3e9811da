"""Conversations, replies and schemas on their way between LangChain's form and ours. Needs `langchain-core`."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_openai_messages,
    merge_message_runs,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_json_schema

from qwen7b.dialects.arguments import load_object
from qwen7b.errors import ArgumentsError
from qwen7b.generate import Piece, Reply


def as_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The conversation as `Qwen.chat` takes it. What the same role says in a row is joined; names are left out."""
    converted: list[dict[str, Any]] = convert_to_openai_messages(merge_message_runs(messages))
    return [
        {key: value for key, value in message.items() if key != "name" or message["role"] == "function"}
        for message in converted
    ]


def as_result(reply: Reply, model_name: str) -> ChatResult:
    """A reply as LangChain has it. A call whose arguments cannot be read is an invalid one."""
    calls, unreadable = [], []
    for call in reply.tool_calls:
        try:
            calls.append(tool_call(name=call.name, args=load_object(call.arguments), id=call.id))
        except ArgumentsError as error:
            unreadable.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=str(error)))
    message = AIMessage(
        content=reply.text, tool_calls=calls, invalid_tool_calls=unreadable, **_metadata(reply, model_name)
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def as_chunk(piece: Piece, model_name: str) -> ChatGenerationChunk:
    """A piece of a reply as LangChain has it."""
    part = piece.call
    calls = [tool_call_chunk(name=part.name, args=part.arguments, id=part.id, index=part.index)] if part else []
    last = {} if piece.reply is None else {**_metadata(piece.reply, model_name), "chunk_position": "last"}
    return ChatGenerationChunk(message=AIMessageChunk(content=piece.text, tool_call_chunks=calls, **last))


def response_format(schema: dict[str, Any] | type, *, strict: bool | None) -> object:
    """What a reply must look like by a schema in one of LangChain's forms; see `qwen7b.generate.ResponseFormat`."""
    if isinstance(schema, type) and hasattr(schema, "model_json_schema") and strict is not False:
        return schema
    described = convert_to_json_schema(schema)
    if isinstance(schema, type):
        described.setdefault("additionalProperties", False)
    name = described.get("title", "reply")
    return {"type": "json_schema", "json_schema": {"name": name, "schema": described, "strict": strict}}


def _metadata(reply: Reply, model_name: str) -> dict[str, Any]:
    usage = reply.usage
    about = {
        "finish_reason": reply.finish_reason,
        "model_name": model_name,
        "model_provider": "qwen7b",
        "logprobs": None if reply.logprobs is None else [asdict(each) for each in reply.logprobs],
    }
    return {
        "usage_metadata": {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
        "response_metadata": {name: value for name, value in about.items() if value is not None},
    }
