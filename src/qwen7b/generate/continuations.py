"""Texts become token ids to be read or scored: single texts, or contexts with continuations."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qwen7b.config.checked import items
from qwen7b.errors import PromptError, counted, quoted
from qwen7b.generate.prefixes import count_common
from qwen7b.generate.scoring import ScoredSequence
from qwen7b.text import Tokenizer
from qwen7b.text.completion_prompt import completion_prompt

Text = str | Sequence[int]
"""A text, or token ids, which are taken as they are."""


class TextReader:
    """Turns texts into ids, after BOS where the model wants one, for a context of `context_length` tokens.

    Names of control tokens in a text are treated as `completion_prompt` says.
    """

    def __init__(self, tokenizer: Tokenizer, *, context_length: int, control_tokens: bool | None) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.control_tokens = control_tokens

    def texts(self, texts: Sequence[Text]) -> list[list[int]]:
        """The ids of each text. Raises PromptError for an empty one, and for one that does not fit the context."""
        sequences = []
        for number, text in enumerate(listed(texts, name="texts")):
            ids = self._ids(text, name=(name := f"texts[{number}]"))
            if not ids:
                raise PromptError(f"{name} is empty: give some text, or leave it out")
            if len(ids) > self.context_length:
                raise PromptError(self._too_long(name, len(ids)))
            sequences.append(ids)
        return sequences

    def pairs(
        self, contexts: Sequence[Text], continuations: Sequence[Sequence[Text]]
    ) -> Iterator[list[ScoredSequence]]:
        """Yield for each context its continuations, each joined to it. Raises PromptError."""
        listed_contexts = listed(contexts, name="contexts")
        lists = listed(continuations, name="continuations", of="lists, one for each context")
        if len(listed_contexts) != len(lists):
            raise PromptError(
                f"each context takes a list of continuations, found {counted(len(listed_contexts), 'context')} and "
                f"{counted(len(lists), 'list')}"
            )
        for number, (context, own) in enumerate(zip(listed_contexts, lists, strict=True)):
            context_ids = self._ids(context, name=f"contexts[{number}]")
            if not context_ids and self.tokenizer.bos_id is not None:
                context_ids = [self.tokenizer.bos_id]
            yield [
                self._join(context, context_ids, continuation, name=f"continuations[{number}][{place}]")
                for place, continuation in enumerate(listed(own, name=f"continuations[{number}]"))
            ]

    def _join(self, context: Text, context_ids: list[int], continuation: Text, *, name: str) -> ScoredSequence:
        if isinstance(context, str) and isinstance(continuation, str):
            # A token that spans both is the continuation's, as is a space that ends the context and begins its word.
            ids = self._after_bos(context + continuation)
            start = count_common(context_ids, ids)
        else:
            ids = context_ids + (
                self._encode(continuation)
                if isinstance(continuation, str)
                else checked_ids(self.tokenizer, continuation, name=name)
            )
            start = len(context_ids)
        if start == len(ids):
            raise PromptError(f"{name} is empty, so that its probability says nothing: leave it out")
        if not start:
            raise PromptError(
                f"{name} has no token before it, as this model puts no BOS there, and so no probability: give a longer "
                "context"
            )
        if len(ids) > self.context_length:
            raise PromptError(self._too_long(f"{name} with its context", len(ids)))
        return ScoredSequence(array("i", ids), start)

    def _ids(self, text: Text, *, name: str) -> list[int]:
        if not isinstance(text, str):
            return checked_ids(self.tokenizer, text, name=name)
        return completion_prompt(self.tokenizer, text, control_tokens=self.control_tokens)

    def _after_bos(self, text: str) -> list[int]:
        return self.tokenizer.after_bos(self._encode(text))

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, allowed_special="all" if self.control_tokens else frozenset())

    def _too_long(self, name: str, length: int) -> str:
        return (
            f"{name} has {counted(length, 'token')}, more than the {self.context_length} of the model's context: "
            "shorten it, or load the model with a larger context_length"
        )


def checked_ids(tokenizer: Tokenizer, ids: Sequence[int], *, name: str) -> list[int]:
    """The ids as a list. Raises PromptError for anything else, and for an id that the vocabulary does not have."""
    given = listed(ids, name=name, of="token ids, or a string")
    for token_id in given:
        is_number = isinstance(token_id, int) and not isinstance(token_id, bool)
        if not is_number or not tokenizer.is_token(token_id):
            raise PromptError(
                f"{name} has {quoted(token_id)} among its token ids: those of this vocabulary are whole numbers "
                f"below {tokenizer.vocab_size}"
            )
    return list(given)


def listed(value: object, *, name: str, of: str = "texts") -> tuple[Any, ...]:
    """The items of a list. Raises PromptError for anything else."""
    found = None if isinstance(value, (str, bytes, Mapping)) else items(value)
    if found is None:
        raise PromptError(f"{name} must be a list of {of}, found {quoted(value)}")
    return found
