"""Follows a reply while it is generated, and reports its figures."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer

from qwen7b.terminal.language import translated as _
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b import Piece, Reply
    from qwen7b.terminal.plain import Display


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedReply:
    """A reply and how long it took, in seconds since the question."""

    reply: Reply
    seconds: float
    seconds_to_first_piece: float
    is_held_back: bool = False
    """Whether text may have come later than it was made, as where it must be told from calls of tools."""

    @property
    def tokens_per_second(self) -> float | None:
        """The speed of generation without the reading of the prompt; None for a reply of fewer than two tokens, and
        where that is not known."""
        if self.is_held_back:
            return None
        writing = self.seconds - self.seconds_to_first_piece
        tokens = self.reply.usage.completion_tokens - 1
        return tokens / writing if tokens > 0 and writing > 0 else None

    def summary(self, *, context_length: int, is_shortened: bool = False) -> str:
        """The figures of a reply: "34 tokens, 12.3 tokens/s, first after 0.8 s, 81 of 32,768 tokens of context".

        `is_shortened` says that the oldest turns had no room in the prompt.
        """
        usage = self.reply.usage
        num_tokens = usage.completion_tokens
        parts = [_("1 token") if num_tokens == 1 else _("{count:,} tokens").format(count=num_tokens)]
        if self.tokens_per_second is not None:
            parts.append(_("{speed:.1f} tokens/s").format(speed=self.tokens_per_second))
        if self.reply.text:
            parts.append(_("first after {seconds:.1f} s").format(seconds=self.seconds_to_first_piece))
        used = usage.prompt_tokens + num_tokens
        parts.append(_("{used:,} of {all:,} tokens of context").format(used=used, all=context_length))
        if is_shortened:
            parts.append(_("the oldest messages left out (/set history_token_limit)"))
        if self.reply.finish_reason == "length":
            limit = _("cut off as the context is full") if used >= context_length else _("cut off at the token limit")
            parts.append(limit)
        elif self.reply.finish_reason == "interrupted":
            parts.append(_("interrupted"))
        return _(", ").join(parts)

    def document(self, **request: object) -> dict[str, Any]:
        """The document that --json prints: the request, then the reply."""
        return {
            **request,
            "text": self.reply.text,
            "token_ids": list(self.reply.token_ids),
            "finish_reason": self.reply.finish_reason,
            "usage": asdict(self.reply.usage),
            "seconds": round(self.seconds, 4),
            "seconds_to_first_piece": round(self.seconds_to_first_piece, 4),
            "tokens_per_second": self.tokens_per_second and round(self.tokens_per_second, 2),
        }


def follow(pieces: Generator[Piece, None, None], display: Display | None) -> TimedReply:
    """Show a reply as it is generated. Ctrl-C ends it, and the text until then is the reply."""
    start = time.perf_counter()
    seconds_to_first: float | None = None
    reply: Reply | None = None
    if display is not None:
        display.open()
    try:
        while reply is None:
            try:
                piece = next(pieces)
                reply = piece.reply
                if piece.text and seconds_to_first is None:
                    seconds_to_first = time.perf_counter() - start
                if display is not None and piece.text:
                    display.push(piece.text)
            except KeyboardInterrupt as interrupt:
                # While the model works, it turns Ctrl-C into a last piece itself; here a piece was being shown.
                if reply is None:
                    reply = pieces.throw(interrupt).reply
    finally:
        if display is not None:
            display.close()
    seconds = time.perf_counter() - start
    if seconds_to_first is None:
        seconds_to_first = seconds
    return TimedReply(reply=reply, seconds=seconds, seconds_to_first_piece=seconds_to_first)


def show_reply(pieces: Generator[Piece, None, None], display: Display | None, **request: object) -> Reply:
    """Show a reply as it is generated or, without a display, as a JSON document; exit with code 130 if interrupted."""
    timed = follow(pieces, display)
    if display is None:
        print_json(timed.document(**request))
    if timed.reply.finish_reason == "interrupted":
        raise typer.Exit(130)
    return timed.reply
