"""Replies as the objects of OpenAI's API.

https://platform.openai.com/docs/api-reference/chat/object, https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from qwen7b.generate.reply import Reply
from qwen7b.sampling.token_logprob import TokenLogprob
from qwen7b.text import Detokenizer, Tokenizer


def chat_completion(replies: Sequence[Reply], tokenizer: Tokenizer, **about: Any) -> dict[str, Any]:
    """The object for replies to one conversation; `about` has its id, the time it was created and the model."""
    choices = [
        {
            "index": index,
            "message": reply.message,
            "logprobs": None if reply.logprobs is None else {"content": listed_logprobs(reply.logprobs, tokenizer)},
            "finish_reason": reply.finish_reason,
        }
        for index, reply in enumerate(replies)
    ]
    return {**about, "object": "chat.completion", "choices": choices, "usage": usage(replies, num_inputs=1)}


def text_completion(
    replies: Sequence[Reply], tokenizer: Tokenizer, *, num_inputs: int = 1, **about: Any
) -> dict[str, Any]:
    """The object for continuations of `num_inputs` texts, equally many of each, those of the first text first."""
    choices = [
        {
            "index": index,
            "text": reply.text,
            "logprobs": None if reply.logprobs is None else _aligned_logprobs(reply.logprobs, tokenizer),
            "finish_reason": reply.finish_reason,
        }
        for index, reply in enumerate(replies)
    ]
    return {**about, "object": "text_completion", "choices": choices, "usage": usage(replies, num_inputs=num_inputs)}


def usage(replies: Sequence[Reply], *, num_inputs: int) -> dict[str, int]:
    """The token counts of replies to `num_inputs` prompts, equally many to each; each prompt counts once."""
    prompts = sum(reply.usage.prompt_tokens for reply in replies[:: len(replies) // num_inputs])
    made = sum(reply.usage.completion_tokens for reply in replies)
    return {"prompt_tokens": prompts, "completion_tokens": made, "total_tokens": prompts + made}


def listed_logprobs(logprobs: Sequence[TokenLogprob], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """An object for each token, with its text, its bytes, and the likeliest tokens in its place."""
    return [
        {
            **_token_object(token.token_id, token.logprob, tokenizer),
            "top_logprobs": [_token_object(token_id, logprob, tokenizer) for token_id, logprob in token.top],
        }
        for token in logprobs
    ]


def _token_object(token_id: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "token": tokenizer.decode([token_id]),
        "logprob": logprob,
        "bytes": list(tokenizer.decode_bytes([token_id])),
    }


def _aligned_logprobs(logprobs: Sequence[TokenLogprob], tokenizer: Tokenizer) -> dict[str, list[Any]]:
    """The older form of the completions API: one list for each property of the tokens."""
    detokenizer = Detokenizer(tokenizer)
    lengths = [len(detokenizer.push(token.token_id)) for token in logprobs]
    return {
        "tokens": [_named(token.token_id, tokenizer) for token in logprobs],
        "token_logprobs": [token.logprob for token in logprobs],
        "top_logprobs": [
            {_named(token_id, tokenizer): logprob for token_id, logprob in token.top} for token in logprobs
        ],
        "text_offset": [*accumulate(lengths, initial=0)][: len(lengths)],
    }


def _named(token_id: int, tokenizer: Tokenizer) -> str:
    """A token's text; of one that is a part of a character its bytes, as OpenAI names it, so that no two are one."""
    content = tokenizer.decode_bytes([token_id])
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)
