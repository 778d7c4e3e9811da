"""One reply in the making: tokens in, settled text and calls out."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace

from qwen7b.dialects.dialect import CallDelta, CallParser
from qwen7b.generate.reply import FinishReason, Piece, Reply, Usage
from qwen7b.generate.request_state import Token
from qwen7b.generate.stopping import StopStrings
from qwen7b.sampling.token_logprob import TokenLogprob
from qwen7b.text import Detokenizer, Tokenizer
from qwen7b.text.messages import ToolCall


class ReplyBuilder:
    """One reply in the making: its tokens, and what is settled of its text and its calls so far.

    `parser` reads calls in the text; without one all of it is what the reply says. After `max_calls` it is stopped.
    `stop_of_calls` ends the reply where it is no part of a call's arguments.
    `drops_space` says that a space at the beginning of what it says is none of it: the prompt ends in a mark.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        prompt: Sequence[int],
        stop_ids: frozenset[int],
        stop: Sequence[str],
        with_logprobs: bool,
        parser: CallParser | None = None,
        stop_of_calls: Sequence[str] = (),
        max_calls: int | None = None,
        drops_space: bool = False,
    ) -> None:
        self.stop_ids = stop_ids
        self.detokenizer = Detokenizer(tokenizer, skip_control=True)
        self.stop_strings = StopStrings(stop)
        self.parser = parser
        self._stop_of_calls = stop_of_calls
        self._end_of_calls = StopStrings(stop_of_calls)
        self.max_calls = max_calls
        self._drops_space = drops_space
        self.prompt_tokens = len(prompt)
        self._call_ids = "" if parser is None else call_id_base(prompt)
        self._parts: list[str] = []
        self._calls: list[ToolCall] = []
        self.token_ids: list[int] = []
        self.logprobs: list[TokenLogprob] | None = [] if with_logprobs else None
        self.completion_tokens = 0
        self.stopped = False

    def push(self, token: Token) -> list[str | CallDelta]:
        """Take in a token and give out what it settles: text, and stretches of calls."""
        self.completion_tokens += 1
        if token.id in self.stop_ids:
            self.stopped = True
            return []
        self.token_ids.append(token.id)
        if self.logprobs is not None and token.logprob:
            self.logprobs.append(token.logprob)
        text = self.stop_strings.push(self.detokenizer.push(token.id))
        parsed = self._parsed(text)
        self.stopped = bool(self.stop_strings.found or self._end_of_calls.found)
        return self._settled(parsed)

    def end(self, finish_reason: FinishReason, settled: Sequence[str | CallDelta] = ()) -> list[Piece]:
        """The last pieces: what the last token `settled`, what was still held back, and with the last the reply."""
        rest = self.stop_strings.push(self.detokenizer.flush()) + self.stop_strings.flush()
        last = self._parsed(rest)
        if self.parser is not None:
            last += [*self.parser.push(self._end_of_calls.flush()), *self.parser.flush()]
        pieces = as_pieces([*settled, *self._settled(last)]) or [Piece(text="")]
        if self.stop_strings.found or self._end_of_calls.found:
            finish_reason = "stop"
        reply = Reply(
            text="".join(self._parts),
            token_ids=self.token_ids,
            finish_reason="tool_calls" if finish_reason == "stop" and self._calls else finish_reason,
            usage=Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens),
            logprobs=self.logprobs,
            tool_calls=tuple(self._calls),
        )
        return [*pieces[:-1], replace(pieces[-1], reply=reply)]

    def _parsed(self, text: str) -> list[str | CallDelta]:
        if self.parser is None:
            return [text]
        parsed = self.parser.push(self._end_of_calls.push(text))
        while self._end_of_calls.found and self.parser.is_quoting:
            quoted, rest = self._end_of_calls.found, self._end_of_calls.rest
            self._end_of_calls = StopStrings(self._stop_of_calls)
            parsed += self.parser.push(quoted) + self.parser.push(self._end_of_calls.push(rest))
        return parsed

    def _settled(self, parts: Iterable[str | CallDelta]) -> list[str | CallDelta]:
        """Keep what is settled for the reply, and give it out, calls with their ids."""
        given: list[str | CallDelta] = []
        for part in parts:
            if isinstance(part, CallDelta) and part.index == self.max_calls:
                self.stopped = True  # the call that is one too many
                break
            if isinstance(part, CallDelta):
                given.append(self._add(part))
                continue
            if self._drops_space and part:
                part, self._drops_space = part.removeprefix(" "), False
            if part:
                self._parts.append(part)
                given.append(part)
        return given

    def _add(self, delta: CallDelta) -> CallDelta:
        if delta.index == len(self._calls):
            assert delta.name is not None
            self._calls.append(ToolCall(delta.name, delta.arguments, f"{self._call_ids}_{delta.index}"))
            return replace(delta, id=self._calls[-1].id)
        call = self._calls[delta.index]
        self._calls[delta.index] = replace(call, arguments=call.arguments + delta.arguments)
        return delta


def as_pieces(settled: Iterable[str | CallDelta]) -> list[Piece]:
    """A piece for each stretch of a call, and one for text that stands together."""
    pieces: list[Piece] = []
    for part in settled:
        if isinstance(part, CallDelta):
            pieces.append(Piece(text="", call=part))
        elif pieces and pieces[-1].call is None:
            pieces[-1] = Piece(text=pieces[-1].text + part)
        else:
            pieces.append(Piece(text=part))
    return pieces


def call_id_base(prompt: Sequence[int]) -> str:
    """What the ids of a reply's calls begin with.

    It follows from the prompt, so that the same question has the same ids every time, and two replies of one
    conversation, in which each prompt is longer than the last, have different ones.
    """
    return f"call_{hashlib.sha256(array('q', prompt).tobytes()).hexdigest()[:16]}"
