"""A text to continue: control tokens only where they are asked for, and an error where they are plainly meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen7b.errors import PromptError
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.text.completion_prompt import completion_prompt
from text import synthetic

CHAT = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
FIM = "<|fim_prefix|>def f(<|fim_suffix|>): pass<|fim_middle|>"
PLAIN = [
    "Hello",
    "What does <|im_end|> mean?",
    "<|im_start|> and <|im_end|> are tokens.",
    "<|im_end|>",
    "The token <|fim_prefix|>",
    "<think>",
    "a <|im_start|>poet\n",
]


@pytest.fixture(scope="session")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    tokenizer = synthetic.train("qwen")
    tokenizer.add_tokens(["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<think>"])
    path = tmp_path_factory.mktemp("coder") / "tokenizer.json"
    tokenizer.save(str(path))
    return load_tokenizer(path)


@pytest.mark.parametrize("text", [CHAT, "Once.\n" + CHAT, "\n" + CHAT, "<|im_start|>user\n", FIM, "<|endoftext|>Hello"])
def test_control_tokens_are_asked_for_or_refused(coder: Tokenizer, text: str) -> None:
    with pytest.raises(PromptError, match=r"control_tokens=True \(--control-tokens\)"):
        completion_prompt(coder, text)
    assert completion_prompt(coder, text, control_tokens=True) == coder.encode(text, allowed_special="all")
    assert completion_prompt(coder, text, control_tokens=False) == coder.encode(text)


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_may_name_control_tokens(coder: Tokenizer, text: str) -> None:
    assert completion_prompt(coder, text) == coder.encode(text)


def test_names_of_other_models_are_text(tmp_path: Path) -> None:
    synthetic.train("gpt2").save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert completion_prompt(tokenizer, FIM) == tokenizer.encode(FIM)
