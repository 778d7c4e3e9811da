"""A text as the prompt that asks for its continuation: with BOS, and with control tokens where they are asked for."""

from __future__ import annotations

import re

from qwen7b.config.checked import flag
from qwen7b.errors import PromptError
from qwen7b.text.name_finder import finder_of
from qwen7b.text.tokenizer import Tokenizer

_MESSAGE = re.compile(r"(<\|im_start\|>)(?:system|user|assistant|tool|function)\n")


def completion_prompt(tokenizer: Tokenizer, text: str, *, control_tokens: bool | None = None) -> list[int]:
    """The ids of a text to continue, after BOS if the model wants one; an empty text has no ids.

    With `control_tokens=True`, names of control tokens in the text become control tokens; with False they stay
    ordinary text. By default they stay text too, but a text that is evidently written with control tokens raises
    PromptError.
    """
    if control_tokens is not None:
        flag("control_tokens", control_tokens)
    elif name := _evident_control_token(tokenizer, text):
        raise PromptError(
            f"the prompt is written with the control token {name}, which as text means nothing to the model: ask for "
            "control tokens with control_tokens=True (--control-tokens), chat with messages instead, or say that it is "
            "text with control_tokens=False (--no-control-tokens)"
        )
    return tokenizer.after_bos(tokenizer.encode(text, allowed_special="all" if control_tokens else frozenset()))


def _evident_control_token(tokenizer: Tokenizer, text: str) -> str | None:
    """Return a control token that the prompt spells and evidently means, rather than mentions in a sentence.

    It is meant where it opens a ChatML message, where the prompt begins with it, or where at least two tokens for
    filling in the middle occur. Otherwise the result is None.
    """
    names = tokenizer.control_tokens
    if (message := _MESSAGE.search(text)) and message[1] in names:
        return message[1]
    spelled = list(dict.fromkeys(name for _, name in finder_of(frozenset(names)).find(text)))
    first = spelled[0] if spelled else ""
    is_mention = text.lstrip().removeprefix(first)[:1] in (" ", "")
    if first and text.lstrip().startswith(first) and tokenizer.is_hidden(names[first]) and not is_mention:
        return first
    fim_names = [name for name in spelled if "fim" in name.lower()]
    return fim_names[0] if len(fim_names) > 1 else None
