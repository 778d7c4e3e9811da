"""Labels: which tokens of a conversation a model is trained to write, from the house's one renderer of conversations.

A label is the token itself where the model is to learn it, and -100 (`NO_TARGET`) where not. By the mode `assistant`
that is what the assistant writes, each message with the token that ends it. The mode `original` has the labels of the
original's finetune.py, which also trains <|im_start|>, <|im_end|> and the newline behind it around every message; so it
teaches models to go on behind their reply, and is there to compare with.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from qwen7b.config.checked import whole_number
from qwen7b.dialects import Dialect
from qwen7b.dialects.registry import dialect_of, find_dialect
from qwen7b.errors import PromptError, SettingError, UnsupportedError, counted, quoted
from qwen7b.text import Message, Tokenizer
from qwen7b.text.chat_prompt import chat_format_of, default_system
from qwen7b.text.chatml import END, START, ChatML
from qwen7b.text.messages import split_turns
from qwen7b.text.rendered import Rendered
from qwen7b.train.conversations import TrainingConversation
from qwen7b.train.micro_batch import NO_TARGET
from qwen7b.train.written_turns import write_plainly

Mode = Literal["assistant", "original"]
MODES: tuple[Mode, ...] = get_args(Mode)


def check_mode(mode: object) -> None:
    """Raise SettingError for what is no mode."""
    if mode not in MODES:
        raise SettingError(f"mode must be one of {', '.join(MODES)}, found {quoted(mode)}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingExample:
    """A conversation as a model is trained on it.

    input_ids, labels  (T,) int32
    place              its file and line, for messages
    num_cut_turns      how many of its turns are left out, at its end, as it would be too long with them
    """

    input_ids: np.ndarray
    labels: np.ndarray
    place: str
    num_cut_turns: int = 0

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    @property
    def num_targets(self) -> int:
        """How many tokens are learned; the first has nothing before it that it could be told from."""
        return int((self.labels[1:] != NO_TARGET).sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelling:
    """How conversations become examples. Raises SettingError for settings that make no sense.

    tokenizer   the model's, which knows its chat format
    dialect     the way in which tools and calls are written
    mode        "assistant" or "original"
    max_length  the most tokens of an example; None for no limit
    """

    tokenizer: Tokenizer
    dialect: Dialect
    mode: Mode = "assistant"
    max_length: int | None = None

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.max_length is not None:
            whole_number("max_length", self.max_length, minimum=2)
        if self.mode == "original" and not isinstance(chat_format_of(self.tokenizer), ChatML):
            raise SettingError(
                f"the mode 'original' is that of ChatML, and {self.tokenizer} has another chat format: use 'assistant'"
            )

    def label(self, conversation: TrainingConversation) -> TrainingExample:
        """The example that a conversation makes; one that is too long is cut.

        By the mode `assistant` whole turns are left out at its end, by `original` all tokens from `max_length` on.
        Raises PromptError where no target is left, UnsupportedError where a chat template hides what the assistant
        writes.
        """
        read = split_turns(conversation.messages)
        turns, beginning = read.turns, [] if read.system is None else [read.system]
        for num_turns in range(len(turns), 0, -1):
            rendered = self._render(
                [*beginning, *(message for turn in turns[:num_turns] for message in turn)], conversation
            )
            if self.mode == "original" or self.max_length is None or len(rendered.ids) <= self.max_length:
                break
        else:
            raise PromptError(
                f"{conversation.place}: its first turn takes {counted(len(rendered.ids), 'token')}, more than the "
                f"{self.max_length} that an example may have: raise the length, or shorten or drop the conversation"
            )
        ids, labels = (
            np.array(values[: self.max_length], np.int32)
            for values in (rendered.ids, self._labels(rendered, conversation))
        )
        example = TrainingExample(
            input_ids=ids, labels=labels, place=conversation.place, num_cut_turns=len(turns) - num_turns
        )
        if not example.num_targets:
            raise PromptError(
                f"{conversation.place}: nothing in it is a target, so a model would learn nothing from it: drop the "
                "conversation"
            )
        return example

    def prompt_ids(self, messages: Sequence[Message], conversation: TrainingConversation) -> list[int]:
        """The ids of the messages with which a conversation begins, up to where the assistant's next one does."""
        return self._render(messages, conversation, asks=True).ids

    def _render(
        self, messages: Sequence[Message], conversation: TrainingConversation, *, asks: bool = False
    ) -> Rendered:
        format = chat_format_of(self.tokenizer)
        if messages[0]["role"] != "system" and (system := default_system(format)):
            messages = [system, *messages]
        written, is_open = messages, False
        if conversation.tools or any(message["role"] == "tool" for message in messages):
            try:
                written, is_open = write_plainly(messages, conversation.tools, self.dialect)
            except PromptError as error:
                raise PromptError(f"{conversation.place}: {error}") from error
        return format.render(
            self.tokenizer, written, continue_final_message=is_open, add_generation_prompt=asks and not is_open
        )

    def _labels(self, rendered: Rendered, conversation: TrainingConversation) -> list[int]:
        if rendered.generated is None:
            raise UnsupportedError(
                f"{conversation.place}: the chat template of {self.tokenizer} hides what the assistant writes, so "
                "there is nothing to train on: use a template that keeps contents, or has {% generation %} tags"
            )
        labels = [NO_TARGET] * len(rendered.ids)
        for span in rendered.generated:
            labels[span] = rendered.ids[span]
        if self.mode == "original":
            names = self.tokenizer.control_tokens
            for place, id in enumerate(rendered.ids):
                if id == names[START]:
                    labels[place] = id
                elif id == names[END]:
                    labels[place : place + 2] = rendered.ids[place : place + 2]  # with the newline behind it
        return labels


def make_labelling(
    tokenizer: Tokenizer,
    *,
    dialect: str | Dialect | None = None,
    model: str = "",
    mode: Mode = "assistant",
    max_length: int | None = None,
) -> Labelling:
    """The labelling for a model's tokenizer; without a `dialect` it is the model's own, which its name may tell."""
    chosen = dialect_of(tokenizer, name=model) if dialect is None else find_dialect(dialect, tokenizer)
    return Labelling(tokenizer=tokenizer, dialect=chosen, mode=mode, max_length=max_length)


def label_all(conversations: Iterable[TrainingConversation], labelling: Labelling) -> list[TrainingExample]:
    """The examples of all conversations; one warning says how many were cut. Raises what `Labelling.label` raises."""
    examples = [labelling.label(conversation) for conversation in conversations]
    if cut := [example for example in examples if example.num_cut_turns]:
        warnings.warn(
            f"{counted(len(cut), 'conversation')} had more than {labelling.max_length} tokens and lost "
            f"{counted(sum(example.num_cut_turns for example in cut), 'turn')} at the end; the first is in "
            f"{cut[0].place}",
            stacklevel=2,
        )
    return examples
