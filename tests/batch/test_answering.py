"""Many requests: each gets what it would get alone, none spoils another's, and only some are taken at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qwen7b
from qwen7b import Qwen, Reply
from qwen7b.batch import answer_requests, answering
from qwen7b.batch.answering import FileRun, make_job
from qwen7b.batch.reply_objects import text_completion
from qwen7b.batch.request_files import ReplyFile
from qwen7b.dialects import CallDelta
from qwen7b.errors import PromptError, ResourceError, SettingError
from qwen7b.generate.reply import Usage
from qwen7b.generate.reply_builder import ReplyBuilder
from qwen7b.generate.request_state import Token
from qwen7b.sampling.token_logprob import TokenLogprob
from stepping import interrupt_step


@pytest.fixture(scope="module")
def qwen(tiny_chat_checkpoint: Path) -> Qwen:
    return qwen7b.load(tiny_chat_checkpoint, quantize="q8")


@pytest.fixture(autouse=True)
def nothing_is_left(qwen: Qwen) -> Iterator[None]:
    yield
    shared = qwen._shared
    assert not shared.engine.slots.busy and not shared.engine.admission.running and not shared.engine.admission.waiting


def batch(body: dict[str, Any], *, url: str = "/v1/chat/completions", custom_id: str = "a") -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def answers_of(qwen: Qwen, *requests: object, **settings: Any) -> list[dict[str, Any]]:
    """The answers in the order of the requests, which are plain."""
    return sorted(answer_requests(qwen, requests, **settings), key=lambda answer: answer["index"])


def answer_of(qwen: Qwen, request: object, **settings: Any) -> dict[str, Any]:
    (answer,) = answer_requests(qwen, [request], **settings)
    return answer


def usage_of(*replies: Reply) -> dict[str, int]:
    prompt, made = replies[0].usage.prompt_tokens, sum(reply.usage.completion_tokens for reply in replies)
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def test_each_request_gets_what_it_would_get_alone(qwen: Qwen) -> None:
    settings: list[dict[str, Any]] = [
        {"max_new_tokens": 3},
        {"temperature": 1.5, "seed": 7},
        {"temperature": 0, "presence_penalty": 1},
        {"stop": "e", "temperature": 2.0, "seed": 1},
    ]
    requests: list[dict[str, Any]] = [
        {"prompt": f"question {n}", **settings[n % 4], "metadata": {"n": n}} for n in range(23)
    ]
    answers = answers_of(qwen, *requests, max_new_tokens=12)
    for n, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        alone = qwen.chat(f"question {n}", **{"max_new_tokens": 12, **settings[n % 4]})
        made = {"reply": alone.text, "finish_reason": alone.finish_reason, "usage": usage_of(alone)}
        assert answer == {"index": n, "request_id": answer["request_id"], **request, **made}
    assert len({answer["request_id"] for answer in answers}) == 23
    completed = answers_of(qwen, "hello", {"prompt": "hello", "seed": 3}, call="complete", max_new_tokens=9)
    assert completed[0]["reply"] == qwen.complete("hello", max_new_tokens=9).text
    assert completed[1]["reply"] == qwen.complete("hello", max_new_tokens=9, seed=3).text


def test_a_request_of_a_batch_is_answered_by_openai_s_object(qwen: Qwen) -> None:
    body = {"messages": user("hello"), "max_tokens": 9, "temperature": 1.5, "seed": 3, "n": 2, "logprobs": True}
    answer = answer_of(qwen, batch({**body, "top_logprobs": 2, "model": "gpt-4o"}, custom_id="mine"))
    samples = qwen.chat_samples("hello", n=2, max_new_tokens=9, temperature=1.5, seed=3, logprobs=2)
    assert list(answer) == ["id", "custom_id", "response", "error"]
    assert (answer["custom_id"], answer["error"], answer["response"]["status_code"]) == ("mine", None, 200)
    completion = answer["response"]["body"]
    assert completion["object"] == "chat.completion" and completion["model"] == qwen.name
    assert completion["usage"] == usage_of(*samples)
    for index, (choice, sample) in enumerate(zip(completion["choices"], samples, strict=True)):
        assert (choice["index"], choice["finish_reason"]) == (index, sample.finish_reason)
        assert choice["message"] == {"role": "assistant", "content": sample.text}
        assert sample.logprobs is not None
        assert [token["logprob"] for token in choice["logprobs"]["content"]] == [t.logprob for t in sample.logprobs]
        spelled = b"".join(bytes(token["bytes"]) for token in choice["logprobs"]["content"])
        assert spelled == qwen.tokenizer.decode_bytes(sample.token_ids)
        assert {len(token["top_logprobs"]) for token in choice["logprobs"]["content"]} == {2}
    json.dumps(answer, allow_nan=False)


def test_tools_of_a_request_are_called(tiny_chat_checkpoint: Path) -> None:
    pytest.importorskip("llguidance")
    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="none", context_length=4096)
    now = {"type": "function", "function": {"name": "now"}}
    settings: dict[str, Any] = {"tools": [now], "tool_choice": "required", "temperature": 1.5, "seed": 1}
    asked = user("the time?")
    (call,) = qwen.chat(asked, max_new_tokens=900, **settings).tool_calls
    written = {"id": call.id, "type": "function", "function": {"name": "now", "arguments": "{}"}}
    body = {"messages": asked, "max_tokens": 900, **settings}
    plain, batched = answer_of(qwen, body), answer_of(qwen, batch(body))
    (choice,) = batched["response"]["body"]["choices"]
    assert plain["tool_calls"] == choice["message"]["tool_calls"] == [written]
    assert plain["finish_reason"] == choice["finish_reason"] == "tool_calls"
    result = [{"role": "assistant", "tool_calls": [written]}, {"role": "tool", "tool_call_id": call.id, "content": "9"}]
    assert "reply" in answer_of(qwen, {**body, "messages": [*asked, *result], "tool_choice": "none", "max_tokens": 3})
    error = answer_of(qwen, {**body, "tool_choice": "later"})["error"]
    assert "the tool that is to be called is 'later'" in error["message"]


def test_a_completion_of_several_texts_lists_those_of_the_first_first(qwen: Qwen) -> None:
    body = {
        "prompt": ["hello", "the inner hell"],
        "n": 2,
        "seed": 5,
        "temperature": 1.5,
        "max_tokens": 6,
        "logprobs": 1,
    }
    answer = answer_of(qwen, batch(body, url="/v1/completions"), call="complete")
    expected = [
        reply
        for prompt in body["prompt"]  # type: ignore[attr-defined]
        for reply in qwen.complete_samples(prompt, n=2, seed=5, temperature=1.5, max_new_tokens=6)
    ]
    completion = answer["response"]["body"]
    assert completion["object"] == "text_completion"
    assert [choice["text"] for choice in completion["choices"]] == [reply.text for reply in expected]
    prompts = expected[0].usage.prompt_tokens + expected[2].usage.prompt_tokens
    assert completion["usage"]["prompt_tokens"] == prompts
    logprobs = completion["choices"][0]["logprobs"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == len(logprobs["text_offset"])


def test_tokens_that_are_parts_of_characters_are_aligned_and_told_apart(qwen: Qwen) -> None:
    encode = qwen.tokenizer.encode
    ids = [*encode("a"), *encode("€"), *encode("b")]
    assert len(ids) == 5
    listed = [TokenLogprob(token_id=each, logprob=-1.0, top=tuple((each, -1.0) for each in ids[1:4])) for each in ids]
    reply = Reply(
        text="a€b",
        token_ids=ids,
        finish_reason="stop",
        usage=Usage(prompt_tokens=1, completion_tokens=5),
        logprobs=listed,
    )
    logprobs = text_completion([reply], qwen.tokenizer)["choices"][0]["logprobs"]
    assert logprobs["text_offset"] == [0, 1, 1, 1, 2]
    assert logprobs["tokens"] == ["a", r"bytes:\xe2", r"bytes:\x82", r"bytes:\xac", "b"]
    assert all(len(top) == 3 for top in logprobs["top_logprobs"])


def test_a_prompt_may_be_ids(qwen: Qwen) -> None:
    ids = qwen.tokenizer.encode("the inner hell")
    several = [answer_of(qwen, {"prompt": prompt, "temperature": 0}, call="complete") for prompt in (ids, [ids])]
    assert [answer["reply"] for answer in several] == [qwen.complete(ids, temperature=0).text] * 2


def test_what_the_machine_lacks_is_no_mistake_of_the_request(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object, **__: object) -> Any:
        raise ResourceError("memory is short")

    monkeypatch.setattr(Qwen, "answers", lacking)
    answer = answer_of(qwen, batch({"messages": user("x")}))
    assert answer["response"]["status_code"] == 500 and answer["error"]["code"] == "server_error"


def test_a_setting_that_no_request_can_have_is_refused_at_once(qwen: Qwen) -> None:
    with pytest.raises(SettingError, match="control_tokens"):
        answers_of(qwen, "hello", control_tokens=True)


def test_a_system_message_goes_before_conversations_without_one(qwen: Qwen) -> None:
    own = [{"role": "system", "content": "Mine."}, *user("hello")]
    answers = answers_of(
        qwen, "hello", {"messages": user("hello")}, {"messages": own}, system="Be brief.", max_new_tokens=5
    )
    brief = qwen.chat([{"role": "system", "content": "Be brief."}, *user("hello")], max_new_tokens=5)
    assert [answer["reply"] for answer in answers] == [brief.text, brief.text, qwen.chat(own, max_new_tokens=5).text]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"prompt": "x", "temprature": 1}, "did you mean temperature"),
        ({"messages": []}, "at least one message"),
        ({"messages": 5}, "should be a list of messages"),
        ({"messages": user("x"), "max_tokens": 0}, "max_new_tokens must be a whole number"),
        ({"prompt": "x", "seed": -1}, "seed must be"),
        ({"prompt": "x", "ntk": "none"}, "ntk must be one of"),
        ({"prompt": "x", "ntk": []}, "ntk must be one of"),
        ({"prompt": "x", "logit_bias": {"999999": 1}}, "ids go from 0"),
        ({"prompt": " "}, "the question is empty"),
        ({"prompt": "x " * 9999}, "which leaves none"),
        ("", "the question is empty"),
        ([1, 2], "should be a text or an object"),
        (None, "should be a text or an object"),
        ({}, "has no messages"),
        ({"body": {"messages": user("x")}}, "custom_id should be a text"),
        ({**batch({"messages": user("x")}), "url": "/v1/completions"}, "use qwen7b complete for it"),
        ({**batch({"messages": user("x")}), "url": "/v1/embeddings"}, "correct it"),
        ({**batch({"messages": user("x")}), "method": "GET"}, "method should be POST"),
        ({**batch({"messages": user("x")}), "temperature": 1}, "move it into the body"),
        (batch([1]), "body should be an object"),  # type: ignore[arg-type]
        (batch({"messages": user("x"), "stream": True}), "stream cannot be True"),
    ],
)
def test_a_bad_request_is_answered_by_an_error_and_the_others_go_on(qwen: Qwen, request_: Any, message: str) -> None:
    first, bad, last = (answer for _, answer in sorted(enumerate_answers(qwen, ["hello", request_, "hello"])))
    assert first["reply"] == last["reply"] == qwen.chat("hello", max_new_tokens=4).text
    assert message in bad["error"]["message"] and bad["error"]["code"] == "invalid_request_error"
    if "response" in bad:
        assert bad["response"]["status_code"] == 400
        assert bad["response"]["body"]["error"]["message"] == bad["error"]["message"]


def enumerate_answers(qwen: Qwen, requests: list[Any]) -> list[tuple[int, dict[str, Any]]]:
    """The answers with the places of their requests, of which one may be of a batch and so not say it."""
    answers = list(answer_requests(qwen, requests, max_new_tokens=4))
    known = {answer["index"] for answer in answers if "index" in answer}
    (other, *_) = [*({*range(len(requests))} - known), None]
    return [(answer.get("index", other), answer) for answer in answers]


WEIRD: list[Any] = [True, -1, 0, 1e400, 10**30, "x", "", [], [1], [[]], {}, {"a": {}}, float("nan"), "\ud800"]


@pytest.mark.parametrize(
    "name",
    [
        *("messages", "prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "n"),
        *("logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty", "repetition_penalty"),
        *(
            "ntk",
            "priority",
            "history_token_limit",
            "custom_id",
            "metadata",
            "id",
            "user",
            "best_of",
            "speculate",
        ),
        *("tools", "tool_choice", "parallel_tool_calls", "constrain_calls", "dialect", "response_format"),
    ],
)
def test_no_value_of_a_field_is_a_defect(qwen: Qwen, name: str) -> None:
    requests = [{"prompt": "x", "max_tokens": 1} | {name: value} for value in WEIRD]
    requests += [batch({"messages": user("x"), "max_tokens": 1} | {name: value}) for value in WEIRD]
    answers = list(answer_requests(qwen, requests))
    assert len(answers) == len(requests)
    for answer in answers:
        if (error := answer.get("error")) is not None:
            assert error["code"] == "invalid_request_error", error


def test_a_defect_ends_one_request_only(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    push = ReplyBuilder.push

    def broken(builder: ReplyBuilder, token: Token) -> list[str | CallDelta]:
        if builder.logprobs is not None:
            raise ZeroDivisionError("oh")
        return push(builder, token)

    monkeypatch.setattr(ReplyBuilder, "push", broken)
    answers = answers_of(qwen, "hello", {"prompt": "hello", "n": 3, "logprobs": 1}, "hello", max_new_tokens=4)
    assert answers[0]["reply"] == answers[2]["reply"]
    assert answers[1]["error"] == {"code": "server_error", "message": "ZeroDivisionError: oh"}


def test_wrong_settings_for_all_are_refused_at_once(qwen: Qwen) -> None:
    wrong: list[dict[str, Any]] = [{"temperature": -1}, {"frobnicate": 1}, {"max_new_tokens": 0}]
    for settings in wrong:
        with pytest.raises(SettingError):
            answer_requests(qwen, ["x"], **settings)
    with pytest.raises(SettingError, match="system is of no use to complete"):
        answer_requests(qwen, ["x"], call="complete", system="Be brief.")
    with pytest.raises(SettingError, match="call must be one of chat, complete, found 'chatt'"):
        answer_requests(qwen, ["x"], call="chatt")  # type: ignore[arg-type]


@pytest.mark.parametrize("single", ["1+1=?", b"1+1=?", {"prompt": "1+1=?"}])
def test_a_single_request_is_not_taken_for_several(qwen: Qwen, single: Any) -> None:
    with pytest.raises(PromptError, match=r"found one, .*1\+1=.*: put it into a list"):
        answer_requests(qwen, single)


def test_only_a_window_of_requests_is_taken(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_WINDOW", 5)
    num_taken = num_answered = 0

    def requests() -> Iterator[object]:
        nonlocal num_taken
        for number in range(40):
            num_taken += 1
            assert num_taken - num_answered <= 6
            yield {"prompt": f"question {number}", "temprature": 1} if number % 7 == 3 else f"question {number}"

    for _ in answer_requests(qwen, requests(), max_new_tokens=2):
        num_answered += 1
    assert num_taken == num_answered == 40


def test_answers_that_nobody_waits_for_leave_nothing_behind(qwen: Qwen) -> None:
    answers = answer_requests(qwen, (f"question {number}" for number in range(9)), max_new_tokens=30)
    next(answers)
    answers.close()  # type: ignore[attr-defined]


def source(*requests: object) -> io.BytesIO:
    return io.BytesIO("".join(json.dumps(request) + "\n" for request in requests).encode())


def test_a_run_is_taken_up_where_it_was_interrupted(
    qwen: Qwen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[object] = [{"prompt": f"question {n}", "max_tokens": 3 + 5 * (n % 4), "seed": n} for n in range(20)]
    requests[4] = {"prompt": "x", "temprature": 1}
    path, job = tmp_path / "out.jsonl", make_job(qwen, call="chat", system=None, settings={"temperature": 1.5})
    interrupt_step(monkeypatch, 8)
    with ReplyFile(path) as replies:
        run = FileRun(qwen, source(*requests), replies, job)
        with pytest.raises(KeyboardInterrupt):
            list(run.answers())
    assert 0 < run.num_answered < 19 and run.num_failed == 1
    assert len(path.read_bytes().splitlines()) == run.num_done == run.num_answered + 1
    before = run.num_answered
    with path.open("ab") as file:
        file.write(b'{"index": 19, "reques')
    with ReplyFile(path) as replies:
        again = FileRun(qwen, source(*requests), replies, job)
        assert len(again.earlier) == before
        list(again.answers())
    assert (again.num_answered, again.num_failed, again.num_done) == (19, 1, 20 - before)
    answers = sorted(map(json.loads, path.read_bytes().splitlines()), key=lambda answer: answer["index"])
    assert answers == answers_of(qwen, *requests, temperature=1.5)
    requests[4] = "x"  # mended
    with ReplyFile(path) as replies:
        mended = FileRun(qwen, source(*requests), replies, job)
        list(mended.answers())
    assert (mended.num_answered, mended.num_done, mended.num_failed) == (20, 1, 0)


def test_answers_to_other_requests_are_not_gone_on_with(qwen: Qwen, tmp_path: Path) -> None:
    path, job = tmp_path / "out.jsonl", make_job(qwen, call="chat", system=None, settings={"max_new_tokens": 2})
    with ReplyFile(path) as replies:
        list(FileRun(qwen, source("a", "b"), replies, job).answers())
    before = path.read_bytes()
    others = [
        (source("b", "a"), job),
        (source("a"), job),
        (source("a", {"prompt": "b"}), make_job(qwen, call="chat", system=None, settings={"max_new_tokens": 3})),
        (source("a", "b"), make_job(qwen, call="chat", system="Be brief.", settings={"max_new_tokens": 2})),
        (source("a", "b"), make_job(qwen, call="complete", system=None, settings={"max_new_tokens": 2})),
    ]
    for requests, other in others:
        with ReplyFile(path) as replies, pytest.raises(SettingError, match="has answers to other requests"):
            FileRun(qwen, requests, replies, other)
    assert path.read_bytes() == before
    with ReplyFile(path) as replies:
        longer = FileRun(qwen, source("a", "b", "c"), replies, job)
    assert (len(longer.earlier), longer.num_requests) == (2, 3)


def test_a_file_without_requests_is_refused(qwen: Qwen) -> None:
    with pytest.raises(PromptError, match="has no requests"):
        FileRun(qwen, io.BytesIO(b"\n \n"), None, make_job(qwen, call="chat", system=None, settings={}))
