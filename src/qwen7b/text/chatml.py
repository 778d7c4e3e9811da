"""ChatML, the format of the Qwen chat models: the only place that knows it.

    <|im_start|>system
    You are a helpful assistant.<|im_end|>
    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant

Each <|…|> is one control token; what stands between is encoded as ordinary text, so nothing in a message can open or
close another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qwen7b.text.chat_format import Encoder
from qwen7b.text.messages import Message

START, END = "<|im_start|>", "<|im_end|>"
DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant."
"""First-generation Qwen's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatML:
    """One model's ChatML."""

    default_system: str | None = DEFAULT_SYSTEM_PROMPT
    """Said where a conversation has no system message; None says nothing."""
    bos: str | None = None
    """A control token before it all."""
    by_parts: bool = True
    """Role, newline and content are encoded each by itself, as first-generation Qwen does; else as one text, as
    templates are. They differ where a content begins with a newline."""

    @property
    def ends(self) -> frozenset[str]:
        return frozenset([END])

    def encode(self, encoder: Encoder, messages: Sequence[Message], *, ask: bool = True) -> list[int]:
        """The ids of a conversation; with `ask`, up to where the assistant's next message begins."""
        control, newline = encoder.control_tokens, encoder.encode("\n")
        ids = [] if self.bos is None else [control[self.bos]]
        for role, content in self._spoken(messages):
            ids.append(control[START])
            if self.by_parts:
                ids += [*encoder.encode(role), *newline, *encoder.encode(content)]
            else:
                ids += encoder.encode(f"{role}\n{content}")
            ids += [control[END], *newline]
        return [*ids, control[START], *encoder.encode("assistant"), *newline] if ask else ids

    def encode_open(self, encoder: Encoder, messages: Sequence[Message]) -> list[int]:
        """The ids of a conversation whose last message is still being written."""
        return self.encode(encoder, messages, ask=False)[:-2]

    def write(self, messages: Sequence[Message], *, ask: bool = True) -> str:
        """The same as a text, in which control tokens are spelled."""
        spoken = "".join(f"{START}{role}\n{content}{END}\n" for role, content in self._spoken(messages))
        return (self.bos or "") + spoken + (f"{START}assistant\n" if ask else "")

    def count_system_tokens(self, encoder: Encoder, system: Message | None) -> int:
        """Tokens of the system message, the newline after it left out."""
        alone = ChatML(default_system=self.default_system, by_parts=self.by_parts)
        return max(len(alone.encode(encoder, [] if system is None else [system], ask=False)) - 1, 0)

    def _spoken(self, messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
        if self.default_system is not None and not (messages and messages[0]["role"] == "system"):
            yield "system", self.default_system
        for message in messages:
            yield message["role"], message["content"]


def jinja_template(default_system: str | None, *, bos: str | None = None) -> str:
    """ChatML as the template that checkpoints carry for other programs."""
    opening = (
        ""
        if default_system is None
        else "{% if loop.first and message['role'] != 'system' %}"
        "{{ '" + START + "system\\n" + _quoted(default_system) + END + "\\n' }}"
        "{% endif %}"
    )
    return (
        ("" if bos is None else "{{ '" + _quoted(bos) + "' }}")
        + "{% for message in messages %}"
        + opening
        + "{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
        " + '<|im_end|>\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")


CHAT_TEMPLATE = jinja_template(DEFAULT_SYSTEM_PROMPT)
