"""One reply in the making: tokens in, settled text out."""

from __future__ import annotations

from collections.abc import Sequence

from qwen7b.generate.reply import FinishReason, Piece, Reply, Usage
from qwen7b.generate.request_state import Token
from qwen7b.generate.stopping import StopStrings
from qwen7b.sampling.token_logprob import TokenLogprob
from qwen7b.text import Detokenizer, Tokenizer


class ReplyBuilder:
    """One reply in the making: its tokens and the text that is settled so far."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        prompt_tokens: int,
        stop_ids: frozenset[int],
        stop: Sequence[str],
        with_logprobs: bool,
    ) -> None:
        self.stop_ids = stop_ids
        self.detokenizer = Detokenizer(tokenizer, skip_control=True)
        self.stop_strings = StopStrings(stop)
        self.prompt_tokens = prompt_tokens
        self._parts: list[str] = []
        self.token_ids: list[int] = []
        self.logprobs: list[TokenLogprob] | None = [] if with_logprobs else None
        self.completion_tokens = 0
        self.stopped = False

    def push(self, token: Token) -> str:
        """Take in a token and give out the text that it settles."""
        self.completion_tokens += 1
        if token.id in self.stop_ids:
            self.stopped = True
            return ""
        self.token_ids.append(token.id)
        if self.logprobs is not None and token.logprob:
            self.logprobs.append(token.logprob)
        text = self.stop_strings.push(self.detokenizer.push(token.id))
        self.stopped = self.stop_strings.found is not None
        self._parts.append(text)
        return text

    def end(self, finish_reason: FinishReason, text: str = "") -> Piece:
        """The last piece: the text still held back, after `text` of the last token, and the reply."""
        rest = self.stop_strings.push(self.detokenizer.flush()) + self.stop_strings.flush()
        self._parts.append(rest)
        reply = Reply(
            text="".join(self._parts),
            token_ids=self.token_ids,
            finish_reason="stop" if self.stop_strings.found else finish_reason,
            usage=Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens),
            logprobs=self.logprobs,
        )
        return Piece(text=text + rest, reply=reply)
