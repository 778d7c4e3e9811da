"""A `Qwen` as a chat model of LangChain, for its chains and agents. Importing this imports `langchain-core`."""

# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal

from qwen7b.errors import MissingExtraError, SettingError, quoted
from qwen7b.tools.framework_calls import astream_pieces, chat_settings, stream_pieces, whole_reply

try:
    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
except ImportError as error:
    raise MissingExtraError("langchain-core", extra="langchain") from error
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ConfigDict, Field

from qwen7b.tools.langchain_messages import as_chunk, as_messages, as_result, response_format

_SETTINGS = ("temperature", "top_p", "seed", "max_tokens", "stop")
Method = Literal["json_schema", "function_calling", "json_mode"]


class ChatQwen(BaseChatModel):
    """A chat model that is a `Qwen`, with tools, structured output, streams and asynchronous calls.

    Settings may be given here, bound, or given with a call; those without a field of their own, all that `Qwen.chat`
    takes, stand in `model_kwargs`. Calls that LangChain runs in threads or tasks at once are answered together.

    >>> model = ChatQwen(qwen=qwen7b.load("demo"), temperature=0)  # doctest: +SKIP
    >>> model.bind_tools([search]).invoke("Find cats").tool_calls  # doctest: +SKIP
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    qwen: Any = Field(exclude=True, repr=False)
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Other settings of `Qwen.chat`, as in {"dialect": "react-api"}."""
    timeout: float | None = None
    """The seconds that a reply may take, which is looked at after each of its pieces; then a TimeoutError is raised."""
    streaming: bool = False
    max_retries: int | None = None
    """This is taken as every model of LangChain has it: in this process nothing fails that a second try would mend."""
    api_key: Any = Field(default=None, exclude=True, repr=False)
    """This is taken as many models of LangChain have it, and not used: a model in this process has no key."""

    @property
    def model_name(self) -> str:
        return str(self.qwen.name)

    @property
    def _llm_type(self) -> str:
        return "qwen7b"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        own = {name: getattr(self, name) for name in _SETTINGS}
        return {"model_name": self.model_name, **chat_settings({**own, **self.model_kwargs})}

    def get_token_ids(self, text: str) -> list[int]:
        ids: list[int] = self.qwen.tokenizer.encode(text)
        return ids

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, AIMessage]:
        """The model with tools. "any" and True demand a call, a name one of that tool.

        With `strict`, a schema that masks cannot promise is refused, instead of promised as far as may be.
        """
        return self.bind(
            tools=[convert_to_openai_tool(tool) for tool in tools],
            tool_choice="required" if tool_choice in ("any", True) else tool_choice,
            constrain_calls=strict or None,
            parallel_tool_calls=parallel_tool_calls,
            **kwargs,
        )

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Method = "function_calling",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, Any]:
        """The model, with replies that are read into what a schema describes: see `BaseChatModel`.

        With "function_calling" the model is told of a tool with that schema, and calls it; with "json_schema" a reply
        is JSON that satisfies it, of which the model is not told, so that a text may run on until the limit; with
        "json_mode" it is any JSON object. `strict` is as in `bind_tools`.
        """
        if kwargs:
            raise SettingError(f"with_structured_output has no setting {quoted(min(kwargs))}: leave it out")
        is_model = isinstance(schema, type) and is_basemodel_subclass(schema)
        traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        described: Any = schema
        model: Any
        parser: Any = PydanticOutputParser(pydantic_object=described) if is_model else JsonOutputParser()
        if method == "function_calling":
            name = convert_to_openai_tool(schema)["function"]["name"]
            model = self.bind_tools(
                [schema],
                tool_choice=name,
                strict=strict,
                parallel_tool_calls=False,
                ls_structured_output_format=traced,
            )
            parser = (
                PydanticToolsParser(tools=[described], first_tool_only=True)
                if is_model
                else JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
            )
        elif method == "json_schema":
            model = self.bind(
                response_format=response_format(schema, strict=strict), ls_structured_output_format=traced
            )
        elif method == "json_mode":
            model = self.bind(response_format={"type": "json_object"}, ls_structured_output_format=traced)
        else:
            raise SettingError(f"method must be json_schema, function_calling or json_mode, found {quoted(method)}")
        if not include_raw:
            structured: Runnable[Any, Any] = model | parser
            return structured
        read = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | read.with_fallbacks([failed], exception_key="parsing_error")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        settings = self._settings(stop, kwargs)
        return as_result(whole_reply(self.qwen, as_messages(messages), settings, seconds=self.timeout), self.model_name)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        settings = self._settings(stop, kwargs)
        pieces = astream_pieces(self.qwen, as_messages(messages), settings, seconds=self.timeout)
        *_, reply = [piece.reply async for piece in pieces]
        assert reply is not None
        return as_result(reply, self.model_name)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        settings = self._settings(stop, kwargs)
        for piece in stream_pieces(self.qwen, as_messages(messages), settings, seconds=self.timeout):
            chunk = as_chunk(piece, self.model_name)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        settings = self._settings(stop, kwargs)
        async for piece in astream_pieces(self.qwen, as_messages(messages), settings, seconds=self.timeout):
            chunk = as_chunk(piece, self.model_name)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _settings(self, stop: list[str] | None, given: Mapping[str, Any]) -> dict[str, Any]:
        own = chat_settings({**{name: getattr(self, name) for name in _SETTINGS}, **self.model_kwargs})
        return {**own, **chat_settings({**given, "stop": stop})}
