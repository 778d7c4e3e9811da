"""Conversations laid out by a checkpoint's own Jinja template, as token ids; content never becomes a control token.

Before a template is rendered, every name of a control token inside a message is broken by a mark that occurs nowhere
else. Names that are whole in the result are thus the template's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwen7b.errors import PromptError, Qwen7bError, UnsupportedError
from qwen7b.text.chat_format import Encoder
from qwen7b.text.messages import Message
from qwen7b.text.name_finder import finder_of

# Unicode's characters for private use and for nothing: a text that holds one of them is marked with another.
_HERE = "\ue00f"
_MARKS = "\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4\ufdd5\ufdd6\ufdd7\ue000\ue001\ue002\ue003"


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A chat template, with what it may ask for."""

    text: str
    source: str
    """The file and field it came from."""
    special_tokens: Mapping[str, str]
    names: frozenset[str]
    """Names of the vocabulary's control tokens."""
    visible: frozenset[str] = frozenset()
    """Those of them that are part of the text that a model writes, such as <think>."""

    @property
    def ends(self) -> frozenset[str]:
        """Control tokens that follow an assistant's message, found by rendering one."""
        question, reply = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "\u4e00"}
        try:
            text = self._render([question, reply, question], ask=True)
        except Qwen7bError:
            return frozenset()
        after = text.rpartition(reply["content"])[2].lstrip()
        name = finder_of(self.names).at(after, 0)
        return frozenset([name] if name else [])

    def encode(self, encoder: Encoder, messages: Sequence[Message], *, ask: bool = True) -> list[int]:
        ids = self._encode_marked(encoder, *self._render_marked(messages, ask=ask))
        if ask and not ids:
            raise UnsupportedError(
                f"the chat template of {self.source} makes an empty prompt: take the one of the model's makers"
            )
        return ids

    def encode_open(self, encoder: Encoder, messages: Sequence[Message]) -> list[int]:
        last = messages[-1]
        tagged = [*messages[:-1], {**last, "content": last["content"] + _HERE}]
        marked, mark = self._render_marked(tagged, ask=False)
        before, found, _ = marked.rpartition(_HERE)
        if not found:
            raise PromptError(f"the chat template of {self.source} changes the last message: it cannot be continued")
        return self._encode_marked(encoder, before, mark)

    def _encode_marked(self, encoder: Encoder, marked: str, mark: str) -> list[int]:
        ids: list[int] = []
        for name, stretch in split_names(marked, self.names):
            ids += [encoder.control_tokens[name]] if name else encoder.encode(stretch.replace(mark, ""))
        return ids

    def write(self, messages: Sequence[Message], *, ask: bool = True) -> str:
        marked, mark = self._render_marked(messages, ask=ask)
        return marked.replace(mark, "")

    def count_system_tokens(self, encoder: Encoder, system: Message | None) -> int:
        return 0 if system is None else len(encoder.encode(system["content"]))

    def _render_marked(self, messages: Sequence[Message], *, ask: bool) -> tuple[str, str]:
        plain = self._render(messages, ask=ask)
        mark = next((mark for mark in _MARKS if mark not in plain and mark not in self.text), None)
        if mark is None or any(mark in message["content"] for message in messages):
            raise PromptError("the conversation is full of characters that stand for nothing: take them out")
        # A template may look for a name, as for </think> in past replies: such names stay whole there, as the model
        # wrote them as control tokens itself.
        looked_for = frozenset(name for name in self.visible if name in self.text)
        for whole in (frozenset[str](), looked_for):
            broken = [
                {
                    **message,
                    "content": _broken(
                        message["content"], self.names - whole if message["role"] == "assistant" else self.names, mark
                    ),
                }
                for message in messages
            ]
            marked = plain if broken == [*messages] else self._render(broken, ask=ask)
            if marked.replace(mark, "") == plain:
                return marked, mark
        raise PromptError(
            f"a message spells the name of a control token, which the chat template of {self.source} treats in its own "
            "way, so that it could not be told from a real one: leave it out"
        )

    def _render(self, messages: Sequence[Message], *, ask: bool) -> str:
        from qwen7b.text.jinja import RaisedByTemplate, render

        variables: dict[str, Any] = {
            "messages": [dict(message) for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": ask,
            **self.special_tokens,
        }
        try:
            return render(self.text, variables)
        except RaisedByTemplate as error:
            raise PromptError(f"the chat template of {self.source} refuses the conversation: {_line(error)}") from error
        except Exception as error:  # a stranger's program may fail in any way
            raise self._unusable(error) from error

    def _unusable(self, error: BaseException) -> UnsupportedError:
        return UnsupportedError(
            f"the chat template of {self.source} cannot be rendered ({type(error).__name__}: {_line(error)}): mend it, "
            "or take the one of the model's makers"
        )


def split_names(text: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """The text in order, as names of control tokens (name, "") and the stretches between them ("", stretch)."""
    start = 0
    for place, name in finder_of(frozenset(names)).find(text):
        if place > start:
            yield "", text[start:place]
        yield name, ""
        start = place + len(name)
    if start < len(text):
        yield "", text[start:]


def _broken(content: str, names: frozenset[str], mark: str) -> str:
    """The content with a mark in each name, and at its ends where it could make a name with what stands beside it."""
    content = "".join(mark.join(name) or stretch for name, stretch in split_names(content, names))
    if finder_of(names).is_begun_by(content):
        content += mark
    if finder_of(names).is_ended_by(content):
        content = mark + content
    return content


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
