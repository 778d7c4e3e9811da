"""Conversations laid out by a checkpoint's own Jinja template, as token ids; content never becomes a control token.

Before a template is rendered, every name of a control token inside a message is broken by a mark that occurs nowhere
else. Names that are whole in the result are thus the template's own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from qwen7b.errors import PromptError, Qwen7bError, UnsupportedError
from qwen7b.text.content_marks import find_contents, free_characters, mark_contents, without_marks
from qwen7b.text.messages import Message
from qwen7b.text.name_finder import finder_of
from qwen7b.text.rendered import ContentSpans, Encoder, Rendered, content_text, given_spans
from qwen7b.text.token_spans import Span

_GENERATION_TAG = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A chat template and the control tokens that it may write."""

    text: str
    source: str
    """The file and field it came from."""
    special_tokens: Mapping[str, str]
    names: frozenset[str]
    """The names of the vocabulary's control tokens."""
    visible: frozenset[str] = frozenset()
    """The control tokens that are part of the text that a model writes, such as <think>."""

    @property
    def has_generation_tags(self) -> bool:
        """Whether the template says by {% generation %} what the assistant writes."""
        return _GENERATION_TAG.search(self.text) is not None

    @property
    def ends(self) -> frozenset[str]:
        """Control tokens that follow an assistant's message, found by rendering one."""
        question, reply = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "\u4e00"}
        try:
            text = self._render([question, reply, question], add_generation_prompt=True)
        except Qwen7bError:
            return frozenset()
        after = text.rpartition(reply["content"])[2].lstrip()
        name = finder_of(self.names).at(after, 0)
        return frozenset([name] if name else [])

    def render(
        self,
        encoder: Encoder,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
    ) -> Rendered:
        """The ids of a conversation, and which of them are which message's content: see `ChatFormat.render`.

        Where the template trims contents, white space at their edges does not count as theirs.
        """
        assert not (add_generation_prompt and continue_final_message)
        given = [given_spans(message["content"], start=0) for message in messages]
        messages = [{**message, "content": content_text(message["content"])} for message in messages]
        end_mark = ""
        if continue_final_message:
            end_mark = next(free_characters(self.text, *(message["content"] for message in messages)), "")
            messages = self._with_open_end(messages, end_mark)
        plain = self._render(messages, add_generation_prompt=add_generation_prompt)
        free = free_characters(self.text, plain, *(message["content"] for message in messages))
        mark, marks = next(free, ""), "".join(islice(free, 2 * len(messages)))
        if len(marks) < 2 * len(messages):
            raise PromptError(
                "the conversation uses all private-use characters of Unicode, and rendering needs some: remove some"
            )
        marked = self._mark_names(messages, plain, mark, add_generation_prompt=add_generation_prompt)
        if continue_final_message:
            marked, _, _ = marked.rpartition(end_mark)
        pieces = [(name, stretch.replace(mark, "")) for name, stretch in split_names(marked, self.names)]
        length = sum(len(name or stretch) for name, stretch in pieces)

        def find_content_spans() -> ContentSpans:
            spans = self._find_contents(messages, plain, marks, add_generation_prompt=add_generation_prompt)
            spans = [span and (min(span[0], length), min(span[1], length)) for span in spans]
            has_system = len(messages) > 0 and messages[0]["role"] == "system"
            return ContentSpans(contents=spans, system=spans[0] if has_system else None)

        def find_generated() -> list[Span] | None:
            if self.has_generation_tags:
                return self._find_tagged(messages, plain, marks, add_generation_prompt=add_generation_prompt)
            return self._find_replies(messages, plain, find_content_spans().contents)

        def find_given() -> list[Span] | None:
            if not any(given):
                return []
            places = find_content_spans().contents
            lengths = [len(message["content"]) for message in messages]
            if any(g and (p is None or p[1] - p[0] != n) for g, p, n in zip(given, places, lengths, strict=True)):
                return None  # the template changes such a content
            return [(p[0] + start, p[0] + end) for g, p in zip(given, places, strict=True) if p for start, end in g]

        rendered = Rendered(
            encoder,
            pieces,
            find_content_spans=find_content_spans,
            find_generated=find_generated,
            find_given=find_given,
        )
        if add_generation_prompt and not rendered.ids:
            raise UnsupportedError(
                f"the chat template of {self.source} makes an empty prompt: use the template that the original model "
                "came with"
            )
        return rendered

    def write(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The conversation as a text, in which control tokens are spelled."""
        return self._render(messages, add_generation_prompt=add_generation_prompt)

    def _with_open_end(self, messages: Sequence[Message], mark: str) -> list[Message]:
        """The messages with a mark at the end of the last, less the white space before it where the template trims."""
        *earlier, last = messages
        content = last["content"]
        text = self._render([*earlier, {**last, "content": f"{content}{mark} "}], add_generation_prompt=False)
        if content.strip() not in text or mark not in text:
            raise PromptError(
                f"the chat template of {self.source} changes the last message, so it cannot be continued: end with a "
                "message from the user instead"
            )
        if f"{mark} " not in text:  # as Transformers finds it out
            content = content.rstrip()
        return [*earlier, {**last, "content": content + mark}]

    def _find_contents(
        self, messages: Sequence[Message], plain: str, marks: str, *, add_generation_prompt: bool
    ) -> list[Span | None]:
        """The characters of each message's content in the text that the template makes, as far as marks can tell."""
        for inside in (False, True):
            marked = mark_contents(messages, marks, template=self.text, inside=inside)
            try:
                text = self._render(marked, add_generation_prompt=add_generation_prompt)
            except Qwen7bError:  # a template that looks at contents may refuse the marks
                continue
            if without_marks(text, marks) == plain:
                return find_contents(text, marks, messages=marked)
        return [None] * len(messages)

    def _find_tagged(
        self, messages: Sequence[Message], plain: str, marks: str, *, add_generation_prompt: bool
    ) -> list[Span] | None:
        """The characters between the template's generation tags."""
        from qwen7b.system.jinja import GENERATION_MARKS

        begin, end = marks[0], marks[1]
        variables = dict(zip(GENERATION_MARKS, (begin, end), strict=True))
        text = self._render(messages, add_generation_prompt=add_generation_prompt, **variables)
        if without_marks(text, marks) != plain:
            return None
        found = enumerate(re.finditer(f"{begin}([^{begin}{end}]*){end}", text))
        return [(match.start() - 2 * passed, match.end() - 2 * passed - 2) for passed, match in found]

    def _find_replies(
        self, messages: Sequence[Message], plain: str, contents: Sequence[Span | None]
    ) -> list[Span] | None:
        """The characters of each reply and, where it ends with a control token, of that."""
        replies, ends = [], self.ends
        for message, span in zip(messages, contents, strict=True):
            if message["role"] == "assistant":
                if span is None:
                    return None
                name = finder_of(self.names).at(plain, span[1])
                replies.append((span[0], span[1] + (len(name) if name in ends else 0)))
        return replies

    def _mark_names(self, messages: Sequence[Message], plain: str, mark: str, *, add_generation_prompt: bool) -> str:
        """The text that the template makes, with a mark in each name of a control token that is not its own."""
        # A template may look for a name, as for </think> in earlier replies. In replies such names stay whole, since
        # the model itself wrote them as control tokens.
        looked_for = frozenset(name for name in self.visible if name in self.text)
        for kept_whole in (frozenset[str](), looked_for):
            messages_with_marks = [
                {
                    **message,
                    "content": _break_names(
                        message["content"],
                        self.names - kept_whole if message["role"] == "assistant" else self.names,
                        mark,
                    ),
                }
                for message in messages
            ]
            marked = (
                plain
                if messages_with_marks == [*messages]
                else self._render(messages_with_marks, add_generation_prompt=add_generation_prompt)
            )
            if marked.replace(mark, "") == plain:
                return marked
        raise PromptError(
            f"a message contains the name of a control token, and the chat template of {self.source} changes its "
            "output for "
            "it, so that the name could not be told from a real control token: remove the name from the message"
        )

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool, **others: str) -> str:
        from qwen7b.system.jinja import RaisedByTemplate, render

        variables: dict[str, Any] = {
            "messages": [dict(message) for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **self.special_tokens,
            **others,
        }
        try:
            return render(self.text, variables)
        except RaisedByTemplate as error:
            raise PromptError(
                f"the chat template of {self.source} refuses the conversation: {_one_line(error)}"
            ) from error
        except Exception as error:  # a template is a foreign program, which may fail in any way
            raise self._unusable_error(error) from error

    def _unusable_error(self, error: BaseException) -> UnsupportedError:
        return UnsupportedError(
            f"the chat template of {self.source} cannot be rendered ({type(error).__name__}: {_one_line(error)}): fix "
            "it, or use the template that the original model came with"
        )


def split_names(text: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Cut a text into names of control tokens, as (name, ""), and the stretches between them, as ("", stretch)."""
    start = 0
    for place, name in finder_of(frozenset(names)).find(text):
        if place > start:
            yield "", text[start:place]
        yield name, ""
        start = place + len(name)
    if start < len(text):
        yield "", text[start:]


def _break_names(content: str, names: frozenset[str], mark: str) -> str:
    """Put a mark into each name, and at each end of the content that could complete a name with the text beside it."""
    content = "".join(mark.join(name) or stretch for name, stretch in split_names(content, names))
    if finder_of(names).ends_with_partial_name(content):
        content += mark
    if finder_of(names).starts_with_partial_name(content):
        content = mark + content
    return content


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
