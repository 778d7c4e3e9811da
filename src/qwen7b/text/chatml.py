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
from qwen7b.text.rendered import Content, ContentSpans, Encoder, Rendered, content_text, given_spans, split_controls
from qwen7b.text.token_spans import Span

START, END = "<|im_start|>", "<|im_end|>"
DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant."
"""The system message that first-generation Qwen gets where a conversation has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatML:
    """ChatML as one model was trained on it."""

    default_system: str | None = DEFAULT_SYSTEM_PROMPT
    """The system message of a conversation that has none; None leaves it without."""
    bos: str | None = None
    """The control token that every conversation begins with, if there is one."""
    by_parts: bool = True
    """True if role, newline and content are encoded separately, as first-generation Qwen does; else they are encoded as
    one text, as with templates. The ids differ only where a content begins with a newline."""

    @property
    def ends(self) -> frozenset[str]:
        return frozenset([END])

    def render(
        self,
        encoder: Encoder,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
    ) -> Rendered:
        """The ids of a conversation, and which of them are which message's content: see `ChatFormat.render`."""
        assert not (add_generation_prompt and continue_final_message)
        pieces = [] if self.bos is None else [(self.bos, "")]
        position = len(self.bos or "")
        contents: list[Span | None] = []
        generated: list[Span] = []
        given: list[Span] = []
        system = None
        for role, content in self._spoken(messages):
            stretches = split_controls(content, encoder)
            if self.by_parts:
                stretches = [("", role), ("", "\n"), *stretches]
            else:
                stretches[0] = ("", f"{role}\n{stretches[0][1]}")
            pieces += [(START, ""), *stretches, (END, ""), ("", "\n")]
            text = content_text(content)
            first = position + len(f"{START}{role}\n")
            contents.append((first, first + len(text)))
            end = first + len(f"{text}{END}")
            if len(contents) == 1 and role == "system":
                system = (position, end)
            if role == "assistant":
                generated.append((first, end))
                given += given_spans(content, start=first)
            position = end + 1
        if continue_final_message:
            del pieces[-2:]
        elif add_generation_prompt:
            pieces += [(START, ""), ("", "assistant"), ("", "\n")]
        spans = ContentSpans(contents=contents[len(contents) - len(messages) :], system=system)
        return Rendered(
            encoder,
            pieces,
            find_content_spans=lambda: spans,
            find_generated=lambda: generated,
            find_given=lambda: given,
        )

    def write(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The conversation as a text, in which control tokens are spelled."""
        spoken = "".join(f"{START}{role}\n{content_text(content)}{END}\n" for role, content in self._spoken(messages))
        return (self.bos or "") + spoken + (f"{START}assistant\n" if add_generation_prompt else "")

    def _spoken(self, messages: Sequence[Message]) -> Iterator[tuple[str, Content]]:
        if self.default_system is not None and not (messages and messages[0]["role"] == "system"):
            yield "system", self.default_system
        for message in messages:
            yield message["role"], message["content"]


def jinja_template(default_system: str | None, *, bos: str | None = None) -> str:
    """Write ChatML as the Jinja template that checkpoints carry for other programs."""
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
