"""Which dialect a model gets, and how it is fitted to the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dialects.matching import takes
from dialects.reading_calls import tools
from qwen7b.dialects.registry import DIALECTS, dialect_of, find_dialect
from qwen7b.dialects.tool_call import ToolCallDialect
from qwen7b.errors import SettingError
from qwen7b.text import Tokenizer, load_tokenizer


def from_file(tokenizer: Tokenizer, source: str) -> Tokenizer:
    return Tokenizer(replace(tokenizer.vocabulary, source=source))


def without_marks(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer of a model of the first generation."""
    names = {name: id for name, id in tokenizer.control_tokens.items() if "tool_call" not in name}
    settings = replace(tokenizer.vocabulary.settings, chat_template=None)
    return Tokenizer(replace(tokenizer.vocabulary, control_tokens=names, settings=settings, visible=frozenset()))


def test_the_vocabulary_and_the_name_say_which(caller: Tokenizer) -> None:
    assert dialect_of(caller).name == "tool_call"
    assert dialect_of(without_marks(caller)).name == "react-api"
    assert dialect_of(without_marks(caller), name="qwen2.5-coder").name == "react-api"
    for name in ("Qwen2.5-Coder-7B-Instruct", "qwen2.5-coder", "my_qwen2_5_coder.gguf", "Qwen25Coder"):
        assert dialect_of(caller, name=name).name == "coder"
        assert dialect_of(from_file(caller, f"/models/{name}/tokenizer.json")).name == "coder"
    for name in ("Qwen2.5-7B-Instruct", "/home/coder/qwen2.5/tokenizer.json", "Qwen3-Coder-30B"):
        assert dialect_of(from_file(caller, name), name=name).name == "tool_call"


@pytest.mark.demo
def test_the_demo_writes_as_a_coder(demo_gguf: Path) -> None:
    assert dialect_of(load_tokenizer(demo_gguf)).name == "coder"


def test_a_dialect_is_found_by_its_name_and_fitted_to_the_vocabulary(caller: Tokenizer) -> None:
    for name, dialect in DIALECTS.items():
        assert find_dialect(name) is find_dialect(dialect) is dialect
        assert find_dialect(name, caller) == find_dialect(dialect, caller)
        assert dialect.name == find_dialect(name, caller).name == name
    own = ToolCallDialect(has_control_tokens=False)
    assert find_dialect(own, caller) is own
    first = without_marks(caller)
    grammar = find_dialect("tool_call", first).grammar(tools("now"), choice="required", parallel=False)
    assert takes(first, grammar, '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>')


@pytest.mark.parametrize("dialect", ["react", "hermes", "", None, 3, dict])
def test_an_unknown_one_is_refused_with_the_list(dialect) -> None:
    with pytest.raises(SettingError, match=r"dialect must be one of react-page, .*qwen-fn, found "):
        find_dialect(dialect)
