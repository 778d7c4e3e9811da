"""Detects the chat format that a vocabulary's files describe."""

from __future__ import annotations

from dataclasses import replace

from qwen7b.errors import Qwen7bError
from qwen7b.text import patterns
from qwen7b.text.chat_format import ChatFormat
from qwen7b.text.chat_template import Template
from qwen7b.text.chatml import CHAT_TEMPLATE, DEFAULT_SYSTEM_PROMPT, END, START, ChatML, jinja_template
from qwen7b.text.messages import Message
from qwen7b.text.vocabulary import Vocabulary

# The default system prompts of families, for files without a template.
_QWEN25_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
_SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

_ASK: Message = {"role": "user", "content": " What?\n"}
_REPLY: Message = {"role": "assistant", "content": "\n<think>\nHm.\n</think>\n\nThat. "}
_SYSTEM: Message = {"role": "system", "content": " Be brief.\n"}
_NO_SYSTEM: Message = {"role": "system", "content": ""}
# Conversations that tell a template from ChatML; with white space at the edges, since some templates trim it.
_PROBES = ([_ASK], [_ASK, _REPLY, _ASK], [_SYSTEM, _ASK, _REPLY, _ASK, _REPLY, _ASK], [_NO_SYSTEM, _ASK])


def find_chat_format(vocabulary: Vocabulary) -> ChatFormat | None:
    """The format that the template describes; without one ChatML, if the vocabulary has its control tokens.

    A template that writes exactly ChatML is replaced by ChatML, which is faster and refuses no content.
    """
    settings = vocabulary.settings
    if settings.chat_template is None:
        is_chatml = {START, END} <= vocabulary.control_tokens.keys()
        bos = settings.bos if settings.bos in vocabulary.control_tokens else None  # an ordinary token is no frame
        return ChatML(default_system=_family_system(vocabulary), bos=bos) if is_chatml else None
    return with_chat_template(vocabulary, settings.chat_template, source=settings.chat_template_source)


def with_chat_template(
    vocabulary: Vocabulary, text: str, *, source: str, keeps_generation_tags: bool = False
) -> ChatFormat:
    """The format that a template describes, with this vocabulary's control tokens; `source` is for messages.

    With `keeps_generation_tags` a template that has such tags stays one, where ChatML would know nothing of them.
    """
    template = Template(
        text=text,
        source=source,
        special_tokens=vocabulary.settings.special_tokens,
        names=frozenset(vocabulary.control_tokens),
        visible=vocabulary.visible,
    )
    if keeps_generation_tags and template.has_generation_tags:
        return template
    if text == CHAT_TEMPLATE and {START, END} <= template.names:
        return ChatML()  # the template that our conversion writes for first-generation models
    return _as_chatml(template) or template


def _as_chatml(template: Template) -> ChatML | None:
    """The ChatML that writes the same as a template, if there is one."""
    if not {START, END} <= template.names or "strftime_now" in template.text:
        return None
    try:
        first = template.write([_ASK], add_generation_prompt=True)
        bos = template.special_tokens.get("bos_token")
        if bos not in template.names or not bos or not first.startswith(bos):
            bos = None
        before, user_start, _ = first.partition(f"{START}user\n")
        opening, closing = f"{bos or ''}{START}system\n", f"{END}\n"
        system = None
        if user_start and before.startswith(opening) and before.endswith(closing):
            system = before.removeprefix(opening).removesuffix(closing)
        chatml = ChatML(default_system=system, bos=bos, by_parts=False)
        same = all(
            template.write(probe, add_generation_prompt=add_generation_prompt)
            == chatml.write(probe, add_generation_prompt=add_generation_prompt)
            for probe in _PROBES
            for add_generation_prompt in (True, False)
        )
    except Qwen7bError:
        return None
    if not same:
        return None
    # We wrote this template ourselves for a model that had none, so parts are encoded as before the conversion.
    own = template.text == jinja_template(system, bos=bos)
    return replace(chatml, by_parts=own)


def _family_system(vocabulary: Vocabulary) -> str | None:
    names = vocabulary.control_tokens
    if vocabulary.pattern == patterns.SMOLLM:
        return _SMOLLM2_SYSTEM
    if "<think>" in names:  # Qwen3's vocabulary
        return None
    return _QWEN25_SYSTEM if "<tool_call>" in names else DEFAULT_SYSTEM_PROMPT
