"""A small vocabulary with the control tokens of tool calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qwen7b.text import Tokenizer, load_tokenizer
from text import synthetic
from text.conftest import qwen as qwen
from text.conftest import qwen_vocabulary as qwen_vocabulary

QWEN25_TEMPLATE = Path(__file__).with_name("qwen25.jinja").read_text("utf-8")
"""The chat template of Qwen2.5's models, Qwen2.5-Coder's included."""


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A small tokenizer whose model calls tools as Qwen2.5 does."""
    path = tmp_path_factory.mktemp("caller") / "tokenizer.json"
    synthetic.train("qwen").save(str(path))
    vocabulary = load_tokenizer(path).vocabulary
    names = {**vocabulary.control_tokens}
    for name in ("<tool_call>", "</tool_call>"):
        names.setdefault(name, max(*vocabulary.ids.values(), *names.values()) + 1)
    settings = replace(vocabulary.settings, chat_template=QWEN25_TEMPLATE, chat_template_source="qwen25.jinja")
    visible = frozenset({"<tool_call>", "</tool_call>"})
    return Tokenizer(replace(vocabulary, control_tokens=names, visible=visible, settings=settings))
