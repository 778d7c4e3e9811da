"""The body of a request, in the fields of OpenAI's API, becomes keywords of `Qwen.chat` or `Qwen.complete`.

https://platform.openai.com/docs/api-reference/chat/create, https://platform.openai.com/docs/api-reference/completions,
https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwen7b.config.checked import is_zero, items, whole_number
from qwen7b.errors import PromptError, SettingError, quoted
from qwen7b.generate.call_settings import Call, ChatSettings, CompletionSettings
from qwen7b.sampling.sampling_keywords import SAMPLING_ONLY

_URLS = {"chat": "/v1/chat/completions", "complete": "/v1/completions"}
_ENVELOPE = {"custom_id", "method", "url", "body"}
_INPUT = {"chat": "messages", "complete": "prompt"}
_NOT_IN_JSON = {"sampling", "on_prompt", "processors"}
_KEYWORDS = {
    "chat": {*ChatSettings.__annotations__} - _NOT_IN_JSON,
    "complete": {*CompletionSettings.__annotations__, "control_tokens"} - _NOT_IN_JSON,
}
_RENAMED = {"max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens"}
_IGNORED = {"model", "user", "metadata", "store"}
"""Fields without effect on the reply; which model answers is not a request's choice here."""
_FIXED: dict[str, tuple[object, ...]] = {
    "stream": (False,),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
}
"""Fields that are accepted with these values only, as nothing else they can ask for is done here."""
MAX_SAMPLES = 128
"""The most replies that one request may ask for, as in OpenAI's API."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestBody:
    """A request as the engine needs it: `n` replies to each input, a conversation or a text, with these settings."""

    inputs: list[Any]
    n: int
    settings: dict[str, Any]


def read_body(
    body: Mapping[str, Any], call: Call, defaults: Mapping[str, Any], *, system: str | None = None
) -> RequestBody:
    """Read a body. `defaults` are keywords for what it leaves out, and `system` is put before a conversation without a
    system message. Raises SettingError and PromptError.

    With temperature 0 `seed`, `top_p`, `top_k` and `min_p` are dropped: clients send them, and none has an effect.

    >>> read_body({"prompt": "1+1=", "max_tokens": 4, "temperature": 0, "seed": 1}, "complete", {}).settings
    {'max_new_tokens': 4, 'temperature': 0}
    """
    given = {name: value for name, value in body.items() if value is not None}
    input = given.pop(_INPUT[call], None)
    n = whole_number("n", given.pop("n", 1), minimum=1, maximum=MAX_SAMPLES)
    own: dict[str, Any] = {}
    given |= _read_logprobs(given.pop("logprobs", None), given.pop("top_logprobs", None))
    for name, value in given.items():
        keyword = _RENAMED.get(name, name)
        if name in _FIXED:
            if value not in _FIXED[name]:
                raise SettingError(f"{name} cannot be {quoted(value)} here: leave it out")
        elif keyword in _KEYWORDS[call]:
            if own.setdefault(keyword, value) != value:
                raise SettingError(
                    f"{name} and another name for it differ, found {quoted(value)}: leave one of them out"
                )
        elif name not in _IGNORED:
            raise SettingError(f"a request has no field {quoted(name)}: {_remedy(name, call)}")
    if input is None:
        raise PromptError(f"the request has no {_INPUT[call]}, found {quoted(sorted(body))}: add it")
    if "logit_bias" in own:
        own["logit_bias"] = _read_logit_bias(own["logit_bias"])
    settings = {**defaults, **own}
    if is_zero(settings.get("temperature")):
        settings = {name: value for name, value in settings.items() if name not in SAMPLING_ONLY}
    inputs = [input] if call == "chat" or isinstance(input, str) or _are_ids(input) else items(input)
    if not inputs:
        raise PromptError(f"prompt should be a text, the ids of one, or a list of such, found {quoted(input)}")
    if system is not None:
        inputs = [_with_system(conversation, system) for conversation in inputs]
    return RequestBody(inputs=list(inputs), n=n, settings=settings)


def _are_ids(input: object) -> bool:
    """Whether an input is one text as ids of tokens, and not several texts."""
    return isinstance(input, list) and bool(input) and all(type(each) is int for each in input)


def open_envelope(envelope: Mapping[str, Any], call: Call) -> Mapping[str, Any]:
    """The body of a request in OpenAI's batch form. Raises SettingError where the envelope is not of that form."""
    if unknown := envelope.keys() - _ENVELOPE:
        raise SettingError(f"a request of a batch has no field {quoted(min(unknown))}: move it into the body")
    if not isinstance(envelope.get("custom_id"), str):
        raise SettingError(f"custom_id should be a text, found {quoted(envelope.get('custom_id'))}: give one")
    if envelope.get("method", "POST") != "POST":
        raise SettingError(f"method should be POST, found {quoted(envelope['method'])}: correct it")
    if envelope.get("url") != _URLS[call]:
        others = [verb for verb, url in _URLS.items() if url == envelope.get("url")]
        remedy = f"use qwen7b {others[0]} for it" if others else "correct it"
        raise SettingError(f"url should be {_URLS[call]}, found {quoted(envelope.get('url'))}: {remedy}")
    body = envelope.get("body")
    if not isinstance(body, Mapping):
        raise SettingError(f"body should be an object, found {quoted(body)}: correct it")
    return body


def _read_logprobs(logprobs: Any, top: Any) -> dict[str, Any]:
    """The keyword `logprobs`: a number by itself or, in OpenAI's chat API, true and the number as top_logprobs."""
    if logprobs is not None and not isinstance(logprobs, bool):
        if top is not None:
            raise SettingError(f"top_logprobs goes with logprobs set to true, found {quoted(logprobs)}: correct it")
        return {"logprobs": logprobs}
    if logprobs:
        return {"logprobs": 0 if top is None else top}
    if top:
        raise SettingError(f"top_logprobs is {quoted(top)} without logprobs: set logprobs to true")
    return {}


def _read_logit_bias(value: object) -> object:
    """The biases by token ids, which as names in JSON are strings."""
    if not isinstance(value, Mapping):
        return value
    try:
        return {int(name): bias for name, bias in value.items()}
    except ValueError:
        raise SettingError(f"logit_bias must map token ids to numbers, found {quoted(value)}") from None


def _remedy(name: str, call: Call) -> str:
    known = {*_KEYWORDS[call], *_RENAMED, *_IGNORED, *_FIXED, _INPUT[call], "n", "top_logprobs"}
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else "leave it out"


def _with_system(conversation: object, system: str) -> object:
    """Put a system message before a conversation that has none; what is no conversation is refused later."""
    first = {"role": "system", "content": system}
    if isinstance(conversation, str):
        return [first, {"role": "user", "content": conversation}]
    if not isinstance(conversation, list) or not conversation or not isinstance(conversation[0], Mapping):
        return conversation
    return conversation if conversation[0].get("role") == "system" else [first, *conversation]
