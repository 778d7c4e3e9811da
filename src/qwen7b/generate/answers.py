"""The replies to the prompts of one call, in the making: requests to the engine, and the pieces of text they yield."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from functools import partial

from qwen7b.generate.call_settings import CheckedSettings
from qwen7b.generate.grammar import Grammar
from qwen7b.generate.reply import Piece, Reply
from qwen7b.generate.reply_builder import ReplyBuilder, as_pieces
from qwen7b.generate.request import Request
from qwen7b.generate.request_state import State, Token
from qwen7b.generate.shared_engine import SharedEngine
from qwen7b.sampling.sampling import Greedy, Sampling

News = tuple[int, Piece | Exception]
"""The index of a prompt, and a piece of its reply or the error that ended it."""


class Answers:
    """A request and a reply builder for each prompt. Made for one call, and used up by it."""

    def __init__(
        self,
        shared: SharedEngine,
        prompts: Sequence[list[int]],
        builders: Sequence[ReplyBuilder],
        settings: CheckedSettings,
        *,
        samplings: Sequence[Sampling],
        context_length: int,
        speculate: str | None,
        grammar: Grammar | None = None,
    ) -> None:
        self.shared = shared
        self._report: Callable[[News], object] = lambda news: None
        self.builders = builders
        self.unfinished = set(range(len(prompts)))
        self.on_prompt = settings.on_prompt
        num_alike = Counter(map(tuple, prompts))
        matchers = [
            # Penalties and biases act on what the matcher leaves, and may make another token the likeliest.
            grammar.new_matcher(num_prompt=len(prompt), picks_likeliest=sampling == Greedy()) if grammar else None
            for prompt, sampling in zip(prompts, samplings, strict=True)
        ]
        self.requests = [
            Request(
                ids=list(prompt),
                max_length=min(len(prompt) + settings.max_new_tokens, context_length),
                sampling=sampling,
                logprobs=settings.logprobs,
                ntk=settings.ntk,
                processors=(*settings.processors, matcher) if matcher else settings.processors,
                forced=matcher.force if matcher else None,
                priority=settings.priority,
                num_alike=num_alike[tuple(prompt)],
                speculate=speculate,
                adapter=settings.adapter,
                on_token=partial(self._take_in, index),
                on_error=partial(self._fail, index),
                on_prompt=self._report_reading if self.on_prompt else None,
            )
            for index, (prompt, sampling, matcher) in enumerate(zip(prompts, samplings, matchers, strict=True))
        ]

    def start(self, report: Callable[[News], object]) -> None:
        """Add the requests to the engine, which then calls `report` with every piece and error."""
        self._report = report
        for request in self.requests:
            self.shared.add(request)

    def stream(self) -> Generator[tuple[int, Piece], None, None]:
        """Yield the pieces of all replies with their prompt's index. Ctrl-C ends all and keeps their text so far."""
        news: deque[News] = deque()
        try:
            self.start(news.append)
            num_open = len(self.requests)
            while num_open:
                self.shared.wait(lambda: bool(news))
                index, piece = _piece(news[0])
                num_open -= piece.reply is not None
                try:
                    yield index, piece
                finally:
                    news.popleft()  # not before it was given out, as Ctrl-C may come at any point
        except KeyboardInterrupt:
            self.shared.cancel(self.requests)
            yield from map(_piece, news)
            yield from self._interrupt()
        finally:
            try:
                self.shared.cancel(self.requests)
            finally:  # Ctrl-C may have come before the first was under way
                self.shared.cancel_soon(self.requests)

    def replies(self) -> list[Reply]:
        """Wait for all replies, and return them in the order of their prompts."""
        replies = {index: piece.reply for index, piece in self.stream() if piece.reply}
        return [replies[index] for index in range(len(self.requests))]

    def stream_whole(self) -> Generator[tuple[int, Reply], None, None]:
        """Yield each reply with its prompt's index once it is whole. Ctrl-C raises, and what it cut off is not told."""
        with closing(self.stream()) as news:
            for index, piece in news:
                if piece.reply is not None:
                    if piece.reply.finish_reason == "interrupted":
                        raise KeyboardInterrupt
                    yield index, piece.reply

    async def stream_async(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """Like `stream`, in an event loop: a thread of its own runs the engine."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[News]()
        self._report = lambda news: loop.call_soon_threadsafe(queue.put_nowait, news)
        try:
            for request in self.requests:
                self.shared.add_in_background(request)
            num_open = len(self.requests)
            while num_open:
                index, piece = _piece(await queue.get())
                num_open -= piece.reply is not None
                yield index, piece
        finally:
            self.shared.cancel_soon(self.requests)

    def _take_in(self, index: int, token: Token) -> bool:
        builder = self.builders[index]
        settled = builder.push(token)
        is_over = token.is_last or builder.stopped
        if is_over:
            self.unfinished.discard(index)
        pieces = builder.end("stop" if builder.stopped else "length", settled) if is_over else as_pieces(settled)
        if builder.parser is not None and not pieces:  # so that callers can look at the time, and end the reply
            pieces = [Piece(text="")]
        for piece in pieces:
            self._report((index, piece))
        return builder.stopped

    def _fail(self, index: int, error: Exception) -> None:
        self.unfinished.discard(index)
        self._report((index, error))

    def _report_reading(self, num_read: int, num_prompt: int) -> None:
        """Report how many tokens of all prompts are read."""
        assert self.on_prompt is not None
        done = [
            min(request.num_read, request.num_prompt) if request.state is State.READING else request.num_prompt
            for request in self.requests
            if request.state is not State.WAITING
        ]
        self.on_prompt(sum(done), sum(request.num_prompt for request in self.requests))

    def _interrupt(self) -> Iterator[tuple[int, Piece]]:
        for index in sorted(self.unfinished):
            for piece in self.builders[index].end("interrupted"):
                yield index, piece
        self.unfinished.clear()


def _piece(news: News) -> tuple[int, Piece]:
    index, piece = news
    if isinstance(piece, Exception):
        raise piece
    return index, piece


def single_stream(answers: Answers) -> Generator[Piece, None, None]:
    """Yield the pieces of a single reply. A KeyboardInterrupt that is thrown in ends it and keeps its text so far."""
    pieces = answers.stream()
    for _, piece in pieces:
        try:
            yield piece
        except KeyboardInterrupt as interrupt:  # thrown in by a caller that was interrupted while showing the piece
            if piece.reply:
                raise
            yield pieces.throw(interrupt)[1]


async def single_pieces(answers: Answers) -> AsyncGenerator[Piece, None]:
    """Yield the pieces of a single reply, in an event loop."""
    async with aclosing(answers.stream_async()) as news:
        async for _, piece in news:
            yield piece


async def last_reply(pieces: AsyncGenerator[Piece, None]) -> Reply:
    """Wait for the last piece, and return the reply that it carries."""
    replies = [piece.reply async for piece in pieces]
    assert replies[-1] is not None
    return replies[-1]
