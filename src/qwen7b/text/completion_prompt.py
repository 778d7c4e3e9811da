"""A text as the prompt that asks for its continuation: with BOS, and with control tokens where they are asked for."""

from __future__ import annotations

import re

from qwen7b.config.checked import flag
from qwen7b.errors import PromptError
from qwen7b.text.name_finder import finder_of
from qwen7b.text.tokenizer import Tokenizer

_MESSAGE = re.compile(r"(<\|im_start\|>)(?:system|user|assistant|tool|function)\n")


def completion_prompt(tokenizer: Tokenizer, text: str, *, control_tokens: bool | None = None) -> list[int]:
    """The ids of a text to continue, after BOS where the model wants one; none for an empty text.

    With `control_tokens`, names of control tokens in it become these; with False they are text, like any other. By
    default they are text, too, but a text that is plainly written in them raises PromptError.
    """
    if control_tokens is not None:
        flag("control_tokens", control_tokens)
    elif name := _name_plainly_meant(tokenizer, text):
        raise PromptError(
            f"the prompt is written with the control token {name}, which as text means nothing to the model: ask for "
            "control tokens with control_tokens=True (--control-tokens), chat with messages instead, or say that it is "
            "text with control_tokens=False (--no-control-tokens)"
        )
    return tokenizer.after_bos(tokenizer.encode(text, allowed_special="all" if control_tokens else frozenset()))


def _name_plainly_meant(tokenizer: Tokenizer, text: str) -> str | None:
    """A control token that a prompt spells where only the token makes sense; a sentence about it may name it.

    That is one that opens a message of ChatML, one that the prompt begins with, or two of those for filling in.
    """
    names = tokenizer.control_tokens
    if (message := _MESSAGE.search(text)) and message[1] in names:
        return message[1]
    found = list(dict.fromkeys(name for _, name in finder_of(frozenset(names)).find(text)))
    first = found[0] if found else ""
    about_it = text.lstrip().removeprefix(first)[:1] in (" ", "")
    if first and text.lstrip().startswith(first) and tokenizer.is_hidden(names[first]) and not about_it:
        return first
    filling = [name for name in found if "fim" in name.lower()]
    return filling[0] if len(filling) > 1 else None
