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

from qwen7b.text.messages import Message
from qwen7b.text.rendered import Encoder, Places, Rendered
from qwen7b.text.token_spans import Span

START, END = "<|im_start|>", "<|im_end|>"
DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant."
"""First-generation Qwen is told this where a conversation has no system message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatML:
    """ChatML as one model was trained on it."""

    default_system: str | None = DEFAULT_SYSTEM_PROMPT
    """The system message of a conversation that has none; None leaves it without."""
    bos: str | None = None
    """The control token that a conversation begins with, where it does."""
    by_parts: bool = True
    """Role, newline and content are encoded each by itself, as first-generation Qwen does; else as one text, as
    templates are. They differ where a content begins with a newline."""

    @property
    def ends(self) -> frozenset[str]:
        return frozenset([END])

    def render(
        self, encoder: Encoder, messages: Sequence[Message], *, ask: bool = False, open: bool = False
    ) -> Rendered:
        """The ids of a conversation, and which of them are which message's content: see `ChatFormat.render`."""
        assert not (ask and open)
        pieces = [] if self.bos is None else [(self.bos, "")]
        place = len(self.bos or "")
        contents: list[Span | None] = []
        system = None
        for role, content in self._spoken(messages):
            texts = [role, "\n", content] if self.by_parts else [f"{role}\n{content}"]
            pieces += [(START, ""), *(("", text) for text in texts), (END, ""), ("", "\n")]
            first = place + len(f"{START}{role}\n")
            contents.append((first, first + len(content)))
            end = first + len(f"{content}{END}")
            if len(contents) == 1 and role == "system":
                system = (place, end)
            place = end + 1
        if open:
            del pieces[-2:]
        elif ask:
            pieces += [(START, ""), ("", "assistant"), ("", "\n")]
        places = Places(contents=contents[len(contents) - len(messages) :], system=system)
        return Rendered(encoder, pieces, find_places=lambda: places)

    def write(self, messages: Sequence[Message], *, ask: bool) -> str:
        """The conversation as a text, in which control tokens are spelled."""
        spoken = "".join(f"{START}{role}\n{content}{END}\n" for role, content in self._spoken(messages))
        return (self.bos or "") + spoken + (f"{START}assistant\n" if ask else "")

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
