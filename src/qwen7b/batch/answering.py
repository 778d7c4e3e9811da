"""Many requests are answered by one model: the engine holds a window of them, and each answer comes once it is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, BinaryIO, cast, get_args

from qwen7b.batch.request_files import ReplyFile, read_requests
from qwen7b.batch.request_line import Job, RequestLine, is_failure
from qwen7b.errors import PromptError, SettingError, quoted
from qwen7b.generate.answers import News
from qwen7b.generate.call_settings import Call, ChatSettings, CheckedSettings
from qwen7b.generate.qwen import Qwen
from qwen7b.generate.reply import Piece, Reply

_WINDOW = 128
"""The most replies in the making: more than the engine runs at a time, so that one always waits for a free place."""


def answer_requests(
    qwen: Qwen, requests: Iterable[object], *, call: Call = "chat", system: str | None = None, **settings: Any
) -> Iterator[dict[str, Any]]:
    """Answer any number of requests, each a text or a dictionary as in a file of requests, with a dictionary each.

    The answers come as they are ready, each with the request's place among all as its "index". `settings` are those of
    `Qwen.chat` or `Qwen.complete` for all requests; a request's own replace them. One that cannot be answered gets an
    answer with an "error", and the others are still answered. The iterable is read as answers are made, not ahead.
    Raises SettingError where a setting is wrong, and PromptError for a single text in place of several.

    >>> for answer in answer_requests(qwen, ["1+1=?", {"prompt": "Hi", "n": 2}]): print(answer)  # doctest: +SKIP
    """
    if isinstance(requests, (str, bytes, Mapping)):
        raise PromptError(f"answer_requests takes several requests, found one, {quoted(requests)}: put it into a list")
    job = make_job(qwen, call=call, system=system, settings=settings)
    lines = (RequestLine(index=index, parsed=request, job=job) for index, request in enumerate(requests))
    return (answer for _, answer in answer_lines(qwen, lines))


def make_job(qwen: Qwen, *, call: Call, system: str | None, settings: Mapping[str, Any]) -> Job:
    """What the requests of one run have in common. Raises SettingError where a setting is wrong."""
    if call not in get_args(Call):
        raise SettingError(f"call must be one of {', '.join(get_args(Call))}, found {quoted(call)}")
    if system is not None and call != "chat":
        raise SettingError(f"system is of no use to {call}, found {quoted(system)}: leave it out, or use chat")
    keywords = {name: value for name, value in settings.items() if call != "complete" or name != "control_tokens"}
    CheckedSettings(qwen.generation, cast(ChatSettings, keywords), call=call)
    qwen.adapters.find(settings.get("adapter"))
    weights = " ".join([repr(qwen), *(f"{name}={digest}" for name, digest in qwen.adapters.digests.items())])
    return Job(call=call, system=system, defaults=dict(settings), model=qwen.name, weights=weights)


def answer_lines(qwen: Qwen, lines: Iterable[RequestLine]) -> Generator[tuple[RequestLine, dict[str, Any]], None, None]:
    """Answer lines as they come: pairs of a line and its answer, in the order in which they are done."""
    pending = iter(lines)
    running: set[_Running] = set()
    news: deque[tuple[_Running, News]] = deque()
    try:
        while True:
            while sum(map(len, running)) < _WINDOW and (line := next(pending, None)) is not None:
                try:
                    _Running(qwen, line, news).begin(running)
                except Exception as error:  # only this request fails
                    yield line, line.failure(error)
            if not running:
                return
            next(iter(running)).answers.shared.wait(lambda: bool(news))
            while news:
                one, (index, piece) = news.popleft()
                if one in running and (answer := one.take_in(index, piece)) is not None:
                    running.remove(one)
                    yield one.line, answer
    finally:
        requests = [request for one in running for request in one.answers.requests]
        for shared in {one.answers.shared for one in running}:
            try:
                shared.cancel(requests)
            finally:  # Ctrl-C may have come before the first was under way
                shared.cancel_soon(requests)


class FileRun:
    """One run over a file of requests, of which an earlier run may have answered some.

    Raises PromptError for a file without requests, and SettingError where `target` has answers to other requests, or
    answers by another model or with other settings.
    """

    def __init__(self, qwen: Qwen, source: BinaryIO, target: ReplyFile | None, job: Job) -> None:
        self.qwen = qwen
        self.source = source
        self.target = target
        self.job = job
        self.earlier = frozenset[str]() if target is None else target.find_answered()
        self.num_requests = self.num_done = self.num_failed = 0
        unknown = set(self.earlier)
        for line in self._lines():
            self.num_requests += 1
            if unknown:
                unknown.discard(line.request_id)
        if target is not None and unknown:
            raise SettingError(
                f"{target.path} has answers to other requests, by another model or with other settings: choose another "
                "file for the answers"
            )
        if not self.num_requests:
            raise PromptError("the file has no requests: write one a line")

    @property
    def num_answered(self) -> int:
        """The requests that have a reply by now."""
        return len(self.earlier) + self.num_done - self.num_failed

    def answers(self) -> Generator[dict[str, Any], None, None]:
        """The answers as they come, each saved before it is given out."""
        lines = (line for line in self._lines() if not self.earlier or line.request_id not in self.earlier)
        with closing(answer_lines(self.qwen, lines)) as answered:
            for _, answer in answered:
                if self.target is not None:
                    self.target.add(answer)
                self.num_done += 1
                self.num_failed += is_failure(answer)
                yield answer

    def _lines(self) -> Iterator[RequestLine]:
        numbered = enumerate(read_requests(self.source))
        return (RequestLine(index=index, parsed=parsed, job=self.job) for index, parsed in numbered)


class _Running:
    """A request whose replies are in the making."""

    def __init__(self, qwen: Qwen, line: RequestLine, news: deque[tuple[_Running, News]]) -> None:
        body = line.read()
        self.line = line
        self.num_inputs = len(body.inputs)
        self.tokenizer = qwen.tokenizer
        self.answers = qwen.answers(line.job.call, body.inputs, body.settings, n=body.n)
        self._news = news
        self._replies: dict[int, Reply] = {}

    def begin(self, running: set[_Running]) -> None:
        """Add the requests to the engine, and before that this to those that are running: Ctrl-C may come any time."""
        running.add(self)
        try:
            self.answers.start(lambda own: self._news.append((self, own)))
        except Exception:
            running.remove(self)
            self.cancel()
            raise

    def __len__(self) -> int:
        return len(self.answers.requests)

    def take_in(self, index: int, piece: Piece | Exception) -> dict[str, Any] | None:
        """Take in a piece of reply `index`, or its error, and return the request's answer once it is whole."""
        if isinstance(piece, Exception):
            self.cancel()
            return self.line.failure(piece)
        if piece.reply is not None:
            self._replies[index] = piece.reply
        if len(self._replies) < len(self):
            return None
        replies = [self._replies[number] for number in range(len(self))]
        return self.line.answer(replies, num_inputs=self.num_inputs, tokenizer=self.tokenizer)

    def cancel(self) -> None:
        self.answers.shared.cancel(self.answers.requests)
