"""The vocabulary inside a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers
from hypothesis import given, settings

from qwen7b.errors import CheckpointError, UnsupportedError
from qwen7b.text import Tokenizer, chat_prompt, load_tokenizer, patterns
from text import synthetic


@pytest.fixture(scope="session")
def from_gguf(style: str, reference: tokenizers.Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return load_tokenizer(synthetic.write_gguf(path, reference, pre=synthetic.GGUF_NAMES[style]))


@given(text=synthetic.texts)
@settings(deadline=None)
def test_ids_are_the_same(from_gguf: Tokenizer, reference: tokenizers.Tokenizer, text: str) -> None:
    assert from_gguf.encode(text + "<|im_end|>", allowed_special="all") == reference.encode(text + "<|im_end|>").ids


def test_padding_is_no_token(from_gguf: Tokenizer, reference: tokenizers.Tokenizer) -> None:
    assert from_gguf.vocab_size == reference.get_vocab_size()
    assert list(from_gguf.control_tokens) == synthetic.CONTROL


@pytest.mark.demo
def test_the_demo_model_has_the_original_tokens(demo_gguf: Path, qwen: Tokenizer) -> None:
    demo = load_tokenizer(demo_gguf)
    assert demo.vocabulary.ids == qwen.vocabulary.ids
    assert list(demo.control_tokens.items())[:3] == list(qwen.control_tokens.items())[:3]
    assert demo.vocab_size == 151665
    assert demo.is_control(demo.control_tokens["<tool_call>"])
    by_rank = sorted(demo.vocabulary.ids, key=demo.vocabulary.ranks.__getitem__)
    assert [token for token in by_rank if len(token) > 1] == [token for token in qwen.vocabulary.ids if len(token) > 1]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"pre": "llama-bpe"}, UnsupportedError, "pre-tokenizer 'llama-bpe': qwen7b knows qwen2, gpt-2, smollm"),
    ({"model": "llama"}, UnsupportedError, "kind 'llama'"),
    ({"types": [1, 1]}, CheckpointError, "have 2 types"),
    ({"tokens": ["a", "a"], "types": [1, 1]}, CheckpointError, "2 tokens, 1 of them different"),
    ({"tokens": ["a", "b"], "types": [1, 1], "merges": ["a b"]}, CheckpointError, "the merge 'a b'"),
    ({"merges": ["a"]}, CheckpointError, "the merge 'a'"),
    ({"tokens": ["你", "b"], "types": [1, 1]}, CheckpointError, "stands for no byte"),
]


@pytest.mark.parametrize(("others", "error", "reason"), WRONG)
def test_wrong_vocabularies(others: dict[str, Any], error: type[Exception], reason: str, tmp_path: Path) -> None:
    path = synthetic.write_gguf(tmp_path / "tiny.gguf", synthetic.train("qwen"), **{"pre": "qwen2", **others})
    with pytest.raises(error, match=reason):
        load_tokenizer(path)


def write_metadata(path: Path, architecture: str, **values: Any) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    for key, value in values.items():
        (writer.add_array if isinstance(value, list) else writer.add_string)(f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_a_file_without_a_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        load_tokenizer(write_metadata(tmp_path / "tiny.gguf", "qwen2"))


@pytest.mark.parametrize(
    ("key", "value"), [("tokens", [1, 2]), ("tokens", [["a"], ["b"]]), ("token_type", ["a", "b"]), ("merges", "a b")]
)
def test_lists_of_another_type(key: str, value: Any, tmp_path: Path) -> None:
    values = {"model": "gpt2", "tokens": ["a", "b"], "token_type": [1, 1], "merges": ["a b"], key: value}
    with pytest.raises(CheckpointError, match=rf"no usable vocabulary: tokenizer\.ggml\.{key} is .* not a list of"):
        load_tokenizer(write_metadata(tmp_path / "tiny.gguf", "qwen2", **values))


def test_old_files_of_qwen_need_not_name_the_pre_tokenizer(tmp_path: Path) -> None:
    tokens = [*tokenizers.pre_tokenizers.ByteLevel.alphabet(), "ab"]
    values = {"model": "gpt2", "tokens": tokens, "token_type": [1] * len(tokens), "merges": ["a b"]}
    assert load_tokenizer(write_metadata(tmp_path / "old.gguf", "qwen", **values)).vocabulary.nfc
    with pytest.raises(UnsupportedError, match="pre-tokenizer None"):
        load_tokenizer(write_metadata(tmp_path / "other.gguf", "llama", **values))


@pytest.mark.parametrize(
    ("style", "pre"),
    [
        ("qwen", "deepseek-r1-qwen"),
        ("qwen", "megrez"),
        ("qwen", "hunyuan"),
        ("gpt2", "phi-2"),
        ("smollm", "starcoder"),
        ("smollm", "command-r"),
    ],
)
def test_other_names_of_the_same_cut(style: str, pre: str, tmp_path: Path) -> None:
    reference = synthetic.train(style)
    path = synthetic.write_gguf(tmp_path / "tiny.gguf", reference, pre=pre)
    if pre == "deepseek-r1-qwen":
        ours = load_tokenizer(path)
    else:
        with pytest.warns(UserWarning, match=f"the pre-tokenizer '{pre}', which cuts text as"):
            ours = load_tokenizer(path)
    assert ours.encode("I'm 20 (you)\n\n x") == reference.encode("I'm 20 (you)\n\n x").ids


@pytest.mark.parametrize(("style", "architecture"), [("qwen", "qwen2"), ("qwen", "qwen"), ("smollm", "llama")])
@pytest.mark.parametrize("pre", ["default", None])
def test_the_family_says_the_cut_where_the_file_does_not(
    style: str, architecture: str, pre: str | None, tmp_path: Path
) -> None:
    reference = synthetic.train(style)
    path = synthetic.write_gguf(tmp_path / "tiny.gguf", reference, pre=pre, architecture=architecture)
    if pre:
        with pytest.warns(UserWarning, match="'default', which does not say how text is cut: it is cut as"):
            ours = load_tokenizer(path)
    else:
        ours = load_tokenizer(path)
    assert ours.encode("I'm 20 (you)\n\n x") == reference.encode("I'm 20 (you)\n\n x").ids


def test_the_family_does_not_say_it_for_tokens_that_are_made_otherwise(tmp_path: Path) -> None:
    path = synthetic.write_gguf(tmp_path / "tiny.gguf", synthetic.train("gpt2"), pre=None)
    with pytest.raises(UnsupportedError, match="do not fit the way of qwen2"):
        load_tokenizer(path)


@pytest.mark.demo
def test_real_vocabularies_fit_their_own_cut_alone(demo_gguf: Path) -> None:
    ids = load_tokenizer(demo_gguf).vocabulary.ids
    assert [patterns.fits(cut, ids) for cut in (patterns.QWEN, patterns.GPT2, patterns.SMOLLM)] == [True, False, False]


@pytest.mark.parametrize("type", [gguf.TokenType.USER_DEFINED, gguf.TokenType.UNUSED, gguf.TokenType.NORMAL])
def test_control_tokens_called_pad_are_those_of_the_first_generation(
    tmp_path: Path, reference: tokenizers.Tokenizer, style: str, type: gguf.TokenType
) -> None:
    """Converters of 2023 wrote [PAD151643] for <|endoftext|>, and so on to the last row."""
    if style != "qwen":
        pytest.skip("first-generation Qwen only")
    vocabulary = {token: id for token, id in reference.get_vocab().items() if token not in synthetic.CONTROL}
    first = len(vocabulary)
    tokens = [*sorted(vocabulary, key=vocabulary.__getitem__), *(f"[PAD{first + n}]" for n in range(220))]
    types = [gguf.TokenType.NORMAL] * first + [type] * 220
    path = synthetic.write_gguf(
        tmp_path / "old.gguf", reference, pre="qwen2", architecture="qwen", tokens=tokens, types=types, eos=first
    )
    tokenizer = load_tokenizer(path)
    assert [tokenizer.control_tokens[name] for name in synthetic.CONTROL] == [first, first + 1, first + 2]
    assert tokenizer.vocab_size == first + 208 and tokenizer.is_chatml
    assert tokenizer.stop_ids == {first, first + 1, first + 2}
    assert tokenizer.decode([first + 2, first + 3], skip_control=True) == "<|extra_0|>"
    ids = chat_prompt(tokenizer, [{"role": "user", "content": "[PAD700] hi"}])
    assert tokenizer.decode(ids).startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")


@pytest.mark.parametrize("field", ["eos", "eot", "eom"])
def test_endings_and_bos_of_gguf(tmp_path: Path, reference: tokenizers.Tokenizer, style: str, field: str) -> None:
    path = synthetic.write_gguf(
        tmp_path / "v.gguf", reference, pre=synthetic.GGUF_NAMES[style], **{field: 300}, bos=301, add_bos=True
    )
    tokenizer = load_tokenizer(path)
    assert 300 in tokenizer.stop_ids and f"tokenizer.ggml.{field}_token_id" in tokenizer.endings[300]
    assert tokenizer.bos_id == 301


@pytest.mark.parametrize("bos", [None, 10**6])
def test_a_bos_that_gguf_does_not_name_is_left_out_with_a_word(
    tmp_path: Path, reference: tokenizers.Tokenizer, style: str, bos: int | None
) -> None:
    bos_field = {} if bos is None else {"bos": bos}
    path = synthetic.write_gguf(
        tmp_path / "v.gguf", reference, pre=synthetic.GGUF_NAMES[style], add_bos=True, **bos_field
    )
    with pytest.warns(UserWarning, match="add_bos_token.* asks for BOS .* tokenizer.ggml.bos_token_id names none"):
        assert load_tokenizer(path).bos_id is None
