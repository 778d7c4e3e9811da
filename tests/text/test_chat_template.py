"""The Jinja template says what chatml.py does."""

from __future__ import annotations

import pytest

from qwen7b.text import Message, Tokenizer, chat_prompt
from qwen7b.text.chatml import CHAT_TEMPLATE

HELLO: Message = {"role": "user", "content": "Hello 你好\n"}
SYSTEM: Message = {"role": "system", "content": "Be brief."}
REPLY: Message = {"role": "assistant", "content": "  Hi.\n\n"}


@pytest.mark.parametrize("messages", [[HELLO], [SYSTEM, HELLO], [HELLO, REPLY, HELLO], [SYSTEM, HELLO, REPLY, HELLO]])
def test_the_template_is_chatml(chatty: Tokenizer, messages: list[Message]) -> None:
    jinja2 = pytest.importorskip("jinja2.sandbox", reason="needs jinja2")
    # As transformers sets it up.
    environment = jinja2.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(CHAT_TEMPLATE).render(messages=messages, add_generation_prompt=True)
    assert chatty.encode(text, allowed_special="all") == chat_prompt(chatty, messages)
    closed = environment.from_string(CHAT_TEMPLATE).render(messages=messages, add_generation_prompt=False)
    assert text == closed + "<|im_start|>assistant\n" and closed.endswith("<|im_end|>\n")
