"""What holds for every tokenizer: exactness, control tokens, odd input."""

from __future__ import annotations

import pickle
import subprocess
import sys
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.errors import PromptError, SettingError
from qwen7b.text import Tokenizer, chat_prompt
from text import naive_bpe, synthetic


@given(text=synthetic.texts)
@settings(deadline=None)
def test_round_trip(chatty: Tokenizer, text: str) -> None:
    assert chatty.decode(chatty.encode(text)) == unicodedata.normalize("NFC", text)


@given(text=synthetic.texts)
@settings(deadline=None)
def test_the_naive_twin_agrees(ours: Tokenizer, text: str) -> None:
    vocabulary = ours.vocabulary
    text = unicodedata.normalize("NFC", text) if vocabulary.nfc else text
    text = "".join(c for c in text if not set(c.encode()) & set(vocabulary.bytes_without_id))
    tokens = naive_bpe.encode(text, pattern=vocabulary.pattern, ranks=vocabulary.ranks)
    assert list(map(ours.token_bytes, ours.encode(text))) == tokens


@given(text=synthetic.texts)
@settings(deadline=None, max_examples=30)
def test_the_naive_twin_agrees_on_the_original(qwen: Tokenizer, text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    tokens = naive_bpe.encode(text, pattern=qwen.vocabulary.pattern, ranks=qwen.vocabulary.ranks)
    assert [qwen.vocabulary.ids[token] for token in tokens] == qwen.encode(text)


@given(text=synthetic.texts)
@settings(deadline=None)
def test_the_slow_way_agrees(ours: Tokenizer, text: str) -> None:
    ranks = ours._encode_by_piece(text)
    assert [ours.vocabulary.ranks[ours.token_bytes(id)] for id in ours.encode_as_is(text)] == ranks


@given(parts=st.lists(synthetic.texts | st.sampled_from(synthetic.CONTROL)))
@settings(deadline=None)
def test_text_never_becomes_control_tokens(ours: Tokenizer, parts: list[str]) -> None:
    assert not any(map(ours.is_control, ours.encode("".join(parts))))


def test_only_allowed_control_tokens_are_read(chatty: Tokenizer) -> None:
    text = "a<|im_end|>b<|endoftext|><|endoftext|>"
    end = chatty.end_of_text_id
    assert end is not None
    expected = [*chatty.encode("a<|im_end|>b"), end, end]
    assert chatty.encode(text, allowed_special={"<|endoftext|>"}) == expected
    assert chatty.decode(expected) == text
    assert chatty.decode(expected, skip_control=True) == "a<|im_end|>b"


def test_disallowed_control_tokens_raise_with_name_and_place(chatty: Tokenizer) -> None:
    with pytest.raises(PromptError, match=r"'<\|im_end\|>' at character 3"):
        chatty.encode("你好 <|im_end|>", disallowed_special="all")
    with pytest.raises(PromptError, match="im_end"):
        chatty.encode("<|im_end|>", disallowed_special={"<|im_end|>"}, allowed_special="all")
    ids = chatty.encode("<|im_end|>", disallowed_special="all", allowed_special={"<|im_end|>"})
    assert ids == [chatty.im_end_id]


def test_unknown_control_tokens_are_refused(chatty: Tokenizer) -> None:
    with pytest.raises(SettingError, match=r"'<\|fim\|>' is not a control token"):
        chatty.encode("", allowed_special={"<|fim|>"})
    with pytest.raises(SettingError, match="as a set"):
        chatty.encode("", disallowed_special="<|im_end|>")


def test_a_name_within_a_longer_name_does_not_hide_it(chatty: Tokenizer) -> None:
    size = chatty.vocab_size
    names = {"<a>": size, "<a><b>": size + 1}
    tokenizer = Tokenizer(replace(chatty.vocabulary, control_tokens=names))
    assert tokenizer.encode("<a><b><a>", allowed_special="all") == [size + 1, size]


def test_unknown_ids_are_named(chatty: Tokenizer) -> None:
    for id in (-1, chatty.vocab_size, 10**12):
        with pytest.raises(SettingError, match=str(id)):
            chatty.decode([0, id])
        with pytest.raises(SettingError, match=str(id)):
            chatty.token_bytes(id)


def test_surrogates(ours: Tokenizer) -> None:
    assert ours.encode("a\ud83db") == ours.encode("a\ufffdb")
    assert ours.encode("\ud83d\ude00" * 2) == ours.encode("😀😀")
    assert ours._encode_by_piece("a\ud83db") == ours._encode_by_piece("a\ufffdb")


def test_megabytes_of_one_character(ours: Tokenizer) -> None:
    # tiktoken alone panics on the white space.
    text = " " * 1_100_000 + "a" + "\t" * 1_100_000 + "1" + "你" * 200_000 + "\u3000" * 1_100_000
    assert ours.decode(ours.encode(text)) == text


def test_pickle_and_repr(ours: Tokenizer) -> None:
    copy = pickle.loads(pickle.dumps(ours))
    assert copy.encode("你好 <|im_end|>") == ours.encode("你好 <|im_end|>")
    assert copy.control_tokens == ours.control_tokens
    assert len(repr(ours)) < 200 and "tokenizer.json" in repr(ours)


def test_torch_is_not_imported() -> None:
    program = "import sys, qwen7b.text; print({'torch', 'numpy', 'gguf'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("value", [None, 5, 1.5, "x", [[]], [5], object], ids=repr)
def test_names_that_are_none_are_refused(chatty: Tokenizer, value: Any) -> None:
    for side in ("allowed_special", "disallowed_special"):
        with pytest.raises(SettingError, match="names of control tokens should come as a set of strings"):
            chatty.encode("text", **{side: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer": "folder"}, "tokenizer should be one that load_tokenizer returned"),
        ({"history_token_limit": None}, "history_token_limit must be a whole number"),
        ({"history_token_limit": -1}, "history_token_limit must be a whole number"),
        ({"context_length": "2048"}, "context_length must be a whole number"),
        ({"reply_tokens": 1.5}, "reply_tokens must be a whole number"),
    ],
)
def test_settings_of_a_prompt_are_checked(chatty: Tokenizer, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        chat_prompt(**{"tokenizer": chatty, "messages": [{"role": "user", "content": "hi"}], **settings})
