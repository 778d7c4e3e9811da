"""One request of a file, in OpenAI's batch form or a plain one, and the object that answers it.

    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": […], "max_tokens": 64}}
    {"messages": […], "max_tokens": 64}
    {"prompt": "1+1=?", "temperature": 0, "metadata": {"expected": "2"}}
    "1+1=?"

A request may offer tools in OpenAI's form or the original's; the answer has the calls, which nobody runs.
https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qwen7b.batch.reply_objects import chat_completion, listed_logprobs, text_completion, usage
from qwen7b.batch.request_body import RequestBody, open_envelope, read_body
from qwen7b.errors import PromptError, Qwen7bError, SettingError, quoted
from qwen7b.generate.call_settings import Call
from qwen7b.generate.reply import Reply, call_object
from qwen7b.text import Tokenizer

_ECHOED = ("id", "custom_id", "metadata")
"""Fields of a plain request that its answer repeats, an error's too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What the requests of one run have in common.

    call      the method of `Qwen` that answers them
    system    the system message for conversations that have none
    defaults  keywords of the call for what a request leaves out
    model     the name of the model that answers
    weights   the model as its repr tells it, with its weight format, and its adapters: answers depend on them
    """

    call: Call
    system: str | None
    defaults: Mapping[str, Any]
    model: str
    weights: str


@dataclass(frozen=True, kw_only=True)
class RequestLine:
    """A parsed request, or the error why it could not be parsed, and its place among all."""

    index: int
    parsed: object
    job: Job

    @cached_property
    def request_id(self) -> str:
        """A digest of the request's place and of all that its answer depends on."""
        job = self.job
        about = [self.index, self.parsed, job.call, job.system, dict(job.defaults), job.weights]
        written = json.dumps(about, sort_keys=True, default=repr)
        return hashlib.sha256(written.encode()).hexdigest()[:24]

    def read(self) -> RequestBody:
        """Read the request's fields. Raises SettingError and PromptError."""
        if isinstance(self.parsed, Qwen7bError):
            raise self.parsed
        body = open_envelope(self._fields, self.job.call) if self._is_batch else self._plain_body()
        return read_body(body, self.job.call, self.job.defaults, system=self.job.system)

    def answer(self, replies: Sequence[Reply], *, num_inputs: int, tokenizer: Tokenizer) -> dict[str, Any]:
        """The object with the replies, equally many to each of `num_inputs` inputs."""
        if self._is_batch:
            about = {"created": int(time.time()), "model": self.job.model}
            if self.job.call == "chat":
                body = chat_completion(replies, tokenizer, id=f"chatcmpl-{self.request_id}", **about)
            else:
                body = text_completion(replies, tokenizer, num_inputs=num_inputs, id=f"cmpl-{self.request_id}", **about)
            return self._batch_object(200, body)
        listed = [_plain_reply(reply, tokenizer) for reply in replies]
        answer: dict[str, Any] = listed[0] if len(listed) == 1 else {"replies": listed}
        return self._plain_object(self._fields, **answer, usage=usage(replies, num_inputs=num_inputs))

    def failure(self, error: Exception) -> dict[str, Any]:
        """The object that says why there is no reply."""
        if isinstance(error, (PromptError, SettingError)):
            status, code, message = 400, "invalid_request_error", str(error)
        elif isinstance(error, Qwen7bError):
            status, code, message = 500, "server_error", str(error)
        else:
            status, code, message = 500, "server_error", f"{type(error).__name__}: {error}"
        if self._is_batch:
            # OpenAI puts the reason into the body, other programs put it beside the response.
            body = {"error": {"message": message, "type": code, "param": None, "code": None}}
            return self._batch_object(status, body, error={"code": code, "message": message})
        echoed = {name: self._fields[name] for name in _ECHOED if name in self._fields}
        return self._plain_object(echoed, error={"code": code, "message": message})

    @property
    def _fields(self) -> Mapping[str, Any]:
        if isinstance(self.parsed, str):
            return {"prompt": self.parsed}
        return self.parsed if isinstance(self.parsed, Mapping) else {}

    @property
    def _is_batch(self) -> bool:
        return not {"body", "url"}.isdisjoint(self._fields)

    def _plain_body(self) -> dict[str, Any]:
        if not isinstance(self.parsed, (str, Mapping)):
            raise PromptError(f"a request should be a text or an object, found {quoted(self.parsed)}")
        body = {name: value for name, value in self._fields.items() if name not in _ECHOED}
        if self.job.call == "chat" and "messages" not in body and "prompt" in body:
            body["messages"] = body.pop("prompt")
        return body

    def _batch_object(self, status: int, body: object, *, error: object = None) -> dict[str, Any]:
        response = {"status_code": status, "request_id": self.request_id, "body": body}
        custom_id = self._fields.get("custom_id")
        return {"id": f"batch_req_{self.request_id}", "custom_id": custom_id, "response": response, "error": error}

    def _plain_object(self, fields: Mapping[str, Any], **others: Any) -> dict[str, Any]:
        return {"index": self.index, "request_id": self.request_id, **fields, **others}


def request_id_of(answer: object) -> str:
    """The id of the request that an object answers. Raises ValueError for anything but an answer."""
    if isinstance(answer, Mapping):
        id, request_id = answer.get("id"), answer.get("request_id")
        if isinstance(answer.get("index"), int) and isinstance(request_id, str):
            return request_id
        if isinstance(id, str) and id.startswith("batch_req_") and "response" in answer:
            return id.removeprefix("batch_req_")
    raise ValueError(f"{quoted(answer)} is not an answer")


def is_failure(answer: Mapping[str, Any]) -> bool:
    return answer.get("error") is not None


def _plain_reply(reply: Reply, tokenizer: Tokenizer) -> dict[str, Any]:
    logprobs = {} if reply.logprobs is None else {"logprobs": listed_logprobs(reply.logprobs, tokenizer)}
    calls = {"tool_calls": [*map(call_object, reply.tool_calls)]} if reply.tool_calls else {}
    return {"reply": reply.text, **calls, "finish_reason": reply.finish_reason, **logprobs}
