"""A `Qwen` as a model of smolagents, for its CodeAgent and ToolCallingAgent. Importing this imports `smolagents`."""

# mypy: disable-error-code="import-not-found,import-untyped,misc"

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from qwen7b.errors import MissingExtraError
from qwen7b.generate import Usage, load
from qwen7b.tools.framework_calls import stream_pieces, whole_reply

try:
    import smolagents.models as smol
except ImportError as error:
    raise MissingExtraError("smolagents", extra="smolagents") from error

if TYPE_CHECKING:
    from qwen7b.dialects import CallDelta
    from qwen7b.generate import Qwen


class SmolagentsModel(smol.Model):
    """A model that is a `Qwen`. Settings are those of `Qwen.chat`, and stand above what an agent asks for.

    Calls of a ToolCallingAgent's tools are held to their schemas, and code in JSON that a CodeAgent asks for with
    `use_structured_outputs_internally` to that form. Ctrl-C ends the run.

    >>> model = SmolagentsModel(qwen7b.load("demo"), max_new_tokens=256)      # doctest: +SKIP
    >>> smolagents.CodeAgent(tools=[], model=model).run("What is 2 ** 100?")  # doctest: +SKIP
    """

    def __init__(self, qwen: Qwen, **settings: Any) -> None:
        super().__init__(model_id=qwen.name, **settings)
        self.qwen = qwen

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> SmolagentsModel:
        """Load the model that a saved agent had, by its name."""
        settings = {**model_dictionary}
        return cls(load(settings.pop("model_id")), **settings)

    @property
    def supports_stop_parameter(self) -> bool:
        return True

    def generate(
        self,
        messages: list[smol.ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> smol.ChatMessage:
        conversation, settings = self._asked(messages, stop_sequences, response_format, tools_to_call_from, kwargs)
        reply = whole_reply(self.qwen, conversation, settings)
        return smol.ChatMessage(
            role=smol.MessageRole.ASSISTANT,
            content=reply.text,
            tool_calls=[
                smol.ChatMessageToolCall(
                    function=smol.ChatMessageToolCallFunction(name=call.name, arguments=call.arguments),
                    id=call.id,
                    type="function",
                )
                for call in reply.tool_calls
            ]
            or None,
            raw=reply,
            token_usage=_token_usage(reply.usage),
        )

    def generate_stream(
        self,
        messages: list[smol.ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, Any] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> Generator[smol.ChatMessageStreamDelta, None, None]:
        conversation, settings = self._asked(messages, stop_sequences, response_format, tools_to_call_from, kwargs)
        for piece in stream_pieces(self.qwen, conversation, settings):
            yield smol.ChatMessageStreamDelta(
                content=piece.text,
                tool_calls=[_call_delta(piece.call)] if piece.call else None,
                token_usage=_token_usage(piece.reply.usage) if piece.reply else None,
            )

    def _asked(
        self,
        messages: Sequence[Any],
        stop: list[str] | None,
        response_format: dict[str, Any] | None,
        tools: list[Any] | None,
        others: dict[str, Any],
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The conversation, and the settings of `Qwen.chat` with which it is answered."""
        settings = self._prepare_completion_kwargs(
            messages, stop_sequences=stop, response_format=response_format, tools_to_call_from=tools, **others
        )
        conversation = [{**message, "role": str(message["role"].value)} for message in settings.pop("messages")]
        return conversation, settings


def _call_delta(part: CallDelta) -> smol.ChatMessageToolCallStreamDelta:
    return smol.ChatMessageToolCallStreamDelta(
        index=part.index,
        id=part.id,
        type="function",
        function=smol.ChatMessageToolCallFunction(name=part.name or "", arguments=part.arguments),
    )


def _token_usage(usage: Usage) -> smol.TokenUsage:
    return smol.TokenUsage(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens)
