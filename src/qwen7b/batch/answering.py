"""Many requests answered by one model: a window of them is with the engine, and each is told as soon as it is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, BinaryIO, cast

from qwen7b.batch.request_files import ReplyFile, read_requests
from qwen7b.batch.request_line import Asking, RequestLine, is_failure
from qwen7b.errors import PromptError, SettingError, quoted
from qwen7b.generate.answers import News
from qwen7b.generate.call_settings import Call, ChatSettings, CheckedSettings
from qwen7b.generate.qwen import Qwen
from qwen7b.generate.reply import Piece, Reply

_WINDOW = 128
"""The replies in the making: more than the engine makes at a time, so that one is always there to go on with."""


def answer_requests(
    qwen: Qwen, requests: Iterable[object], *, call: Call = "chat", system: str | None = None, **settings: Any
) -> Iterator[dict[str, Any]]:
    """Answer requests of any number, each a text or an object as in a file of requests, with an object each.

    The answers come as they are ready, each with the request's place among all as its "index". A request has its own
    settings, beside those of `Qwen.chat` or `Qwen.complete` given here for all. One that cannot be answered gets an
    object with an "error"; the others go on. Only some requests are taken at a time.

    >>> for answer in answer_requests(qwen, ["1+1=?", {"prompt": "Hi", "n": 2}]): print(answer)  # doctest: +SKIP
    """
    asking = asking_of(qwen, call=call, system=system, settings=settings)
    lines = (RequestLine(index=index, given=given, asking=asking) for index, given in enumerate(requests))
    return (answer for _, answer in answer_lines(qwen, lines))


def asking_of(qwen: Qwen, *, call: Call, system: str | None, settings: Mapping[str, Any]) -> Asking:
    """What requests to a model have in common. Raises SettingError where a setting is wrong."""
    if system is not None and call != "chat":
        raise SettingError(f"system is of no use to {call}, found {quoted(system)}: leave it out, or use chat")
    of_call = {name: value for name, value in settings.items() if name != "control_tokens"}
    CheckedSettings(qwen.generation, cast(ChatSettings, of_call), call=call)
    return Asking(call=call, system=system, defaults=dict(settings), model=qwen.name, weights=repr(qwen))


def answer_lines(qwen: Qwen, lines: Iterable[RequestLine]) -> Generator[tuple[RequestLine, dict[str, Any]], None, None]:
    """Answer requests as their lines come: each line with its object, in the order in which they are done."""
    to_come = iter(lines)
    running: set[_Running] = set()
    news: deque[tuple[_Running, News]] = deque()
    try:
        while True:
            while sum(map(len, running)) < _WINDOW and (line := next(to_come, None)) is not None:
                try:
                    running.add(_Running(qwen, line, news))
                except Exception as error:  # it is this request's own, and the others go on
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
        for one in running:
            one.cancel()


class FileRun:
    """The answering of a file's requests, of which some may be answered already.

    Raises PromptError for a file without requests, and SettingError where the answers that are there are no answers to
    these requests, by this model and with these settings.
    """

    def __init__(self, qwen: Qwen, source: BinaryIO, target: ReplyFile | None, asking: Asking) -> None:
        self.qwen = qwen
        self.source = source
        self.target = target
        self.asking = asking
        self.earlier = frozenset[str]() if target is None else target.find_answered()
        self.num_requests = self.num_done = self.num_failed = 0
        unknown = set(self.earlier)
        for line in self._lines():
            self.num_requests += 1
            if unknown:
                unknown.discard(line.request_id)
        if target is not None and unknown:
            raise SettingError(
                f"{target.path} has answers to other requests, by another model or with other settings: choose another"
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
        given = enumerate(read_requests(self.source))
        return (RequestLine(index=index, given=value, asking=self.asking) for index, value in given)


class _Running:
    """A request whose replies are being made."""

    def __init__(self, qwen: Qwen, line: RequestLine, news: deque[tuple[_Running, News]]) -> None:
        asked = line.read()
        self.line = line
        self.num_inputs = len(asked.inputs)
        self.tokenizer = qwen.tokenizer
        self.answers = qwen.answers(line.asking.call, asked.inputs, asked.settings, n=asked.n)
        self._replies: dict[int, Reply] = {}
        try:
            self.answers.start(lambda one_of_it: news.append((self, one_of_it)))
        except BaseException:
            self.cancel()
            raise

    def __len__(self) -> int:
        return len(self.answers.requests)

    def take_in(self, index: int, piece: Piece | Exception) -> dict[str, Any] | None:
        """Take in what is new of one reply; gives the answer to the request once it is whole."""
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
