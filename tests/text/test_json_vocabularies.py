"""tokenizer.json, and vocab.json with merges.txt: read, refused and damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings

from qwen7b.errors import CheckpointError, Qwen7bError, UnsupportedError
from qwen7b.text import Tokenizer, load_tokenizer
from text import synthetic

CLASSES = {"qwen": "Qwen2Tokenizer", "gpt2": "GPT2Tokenizer"}


def write_vocab_json(folder: Path, reference: tokenizers.Tokenizer, tokenizer_class: str | None) -> Path:
    """Split a tokenizer into vocab.json, merges.txt and tokenizer_config.json, as Qwen2's repositories do."""
    model = json.loads(reference.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
    added = {str(reference.token_to_id(name)): {"content": name, "special": True} for name in synthetic.CONTROL}
    config = {"tokenizer_class": tokenizer_class, "added_tokens_decoder": added}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(params=CLASSES, scope="module")
def vocab_json(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    reference = synthetic.train(request.param)
    folder = write_vocab_json(tmp_path_factory.mktemp("vocab"), reference, CLASSES[request.param])
    return load_tokenizer(folder), reference


@given(text=synthetic.texts)
@settings(deadline=None)
def test_vocab_json_gives_the_same_ids(vocab_json: tuple[Tokenizer, tokenizers.Tokenizer], text: str) -> None:
    ours, reference = vocab_json
    assert ours.encode(text + "<|im_end|>", allowed_special="all") == reference.encode(text + "<|im_end|>").ids
    assert ours.vocab_size == reference.get_vocab_size()


def test_tokenizer_json(ours: Tokenizer, reference: tokenizers.Tokenizer) -> None:
    assert ours.vocab_size == reference.get_vocab_size()
    assert ours.control_tokens == {name: reference.token_to_id(name) for name in synthetic.CONTROL}
    assert ours.is_chatml


def test_added_tokens_need_not_be_special(reference_json: Path, tmp_path: Path) -> None:
    document = json.loads(reference_json.read_text(encoding="utf-8"))
    document["added_tokens"].append({"id": 5000, "content": "<tool_call>", "special": False})
    tokenizer = load_tokenizer(write(tmp_path, document))
    assert tokenizer.is_control(5000)
    assert 5000 not in tokenizer.encode("<tool_call>")
    assert tokenizer.encode("<tool_call>", allowed_special="all") == [5000]


def test_merges_may_be_strings(reference_json: Path, ours: Tokenizer, tmp_path: Path) -> None:
    document = json.loads(reference_json.read_text(encoding="utf-8"))
    document["model"]["merges"] = [" ".join(merge) for merge in document["model"]["merges"]]
    assert load_tokenizer(write(tmp_path, document)).vocabulary.ranks == ours.vocabulary.ranks


def write(folder: Path, document: Any) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def change(*keys: str | int, to: Any) -> Callable[[Any], None]:
    """A change of one value deep in a document."""

    def apply(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return apply


WRONG: list[tuple[Callable[[Any], None], type[Qwen7bError], str]] = [
    (change("model", "type", to="Unigram"), UnsupportedError, "kind 'Unigram'"),
    (change("model", "byte_fallback", to=True), UnsupportedError, "byte_fallback"),
    (change("model", "ignore_merges", to=True), UnsupportedError, "ignore_merges"),
    (change("pre_tokenizer", to={"type": "Metaspace"}), UnsupportedError, "Metaspace"),
    (change("pre_tokenizer", to=None), UnsupportedError, "null"),
    (change("pre_tokenizer", to={"type": "ByteLevel", "add_prefix_space": True}), UnsupportedError, "add_prefix_space"),
    (change("pre_tokenizer", "pretokenizers", 0, "pattern", "Regex", to=r"\p{N}{1,3}"), UnsupportedError, "1,3"),
    (change("normalizer", to={"type": "NFKC"}), UnsupportedError, "NFKC"),
    (change("model", "merges", 0, to=["a", "bb"]), CheckpointError, r"the merge \['a', 'bb'\]"),
    (change("model", "merges", 0, to="a"), CheckpointError, "the merge 'a'"),
    (change("model", "merges", 0, to=[1, 2]), CheckpointError, r"the merge \[1, 2\]"),
    (change("model", "merges", to=None), CheckpointError, "is not a tokenizer.json"),
    (change("model", "vocab", "你", to=5001), CheckpointError, "'你' in a token stands for no byte"),
    (change("model", "vocab", "a", to=1), CheckpointError, "share the id 1"),
    (change("model", "vocab", "a", to="1"), CheckpointError, "has the id '1'"),
    (change("model", "vocab", "a", to=None), CheckpointError, "has the id None"),
    (change("added_tokens", 0, "id", to=3), CheckpointError, "share the id 3"),
    (change("added_tokens", 0, "content", to=""), CheckpointError, "'' cannot be the name"),
    (change("added_tokens", 0, "content", to="\ud800"), CheckpointError, "cannot be the name"),
    (change("added_tokens", 0, "content", to=7), CheckpointError, "7 cannot be the name"),
    (change("added_tokens", 0, to={}), CheckpointError, "is not a tokenizer.json"),
    (change("model", to=[]), CheckpointError, "is not a tokenizer.json"),
    (lambda document: document.pop("model"), CheckpointError, "is not a tokenizer.json"),
]


@pytest.mark.parametrize(("apply", "error", "reason"), WRONG)
def test_wrong_documents(apply: Callable[[Any], None], error: type[Qwen7bError], reason: str, tmp_path: Path) -> None:
    document = json.loads(synthetic.train("qwen").to_str())
    apply(document)
    with pytest.raises(error, match=reason) as caught:
        load_tokenizer(write(tmp_path, document))
    assert str(tmp_path) in str(caught.value)


def test_two_merges_with_one_result_are_refused(tmp_path: Path) -> None:
    document = json.loads(synthetic.train("qwen").to_str())
    document["model"]["vocab"] |= {"xy": 5001, "yz": 5002, "xyz": 5003}
    document["model"]["merges"] += [["x", "y"], ["y", "z"], ["xy", "z"], ["x", "yz"]]
    with pytest.raises(UnsupportedError, match="makes 'xyz' by two different merges"):
        load_tokenizer(write(tmp_path, document))


def test_an_unknown_token_is_refused_only_where_bytes_are_missing(tmp_path: Path) -> None:
    for style in synthetic.STYLES:
        document = json.loads(synthetic.train(style).to_str())
        document["model"]["unk_token"] = "<|endoftext|>"
        path = write(tmp_path, document)
        if style == "smollm":
            with pytest.raises(UnsupportedError, match="unknown bytes"):
                load_tokenizer(path)
        else:
            load_tokenizer(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"model": 1e999}'])
def test_damaged_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        load_tokenizer(path)


def test_vocab_json_of_an_unknown_class(tmp_path: Path) -> None:
    folder = write_vocab_json(tmp_path, synthetic.train("gpt2"), "LlamaTokenizer")
    with pytest.raises(UnsupportedError, match="'LlamaTokenizer'"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("merges.txt", "merges.txt cannot be read"),
        ("tokenizer_config.json", "has no tokenizer_config.json"),
    ],
)
def test_vocab_json_alone_is_not_enough(name: str, message: str, tmp_path: Path) -> None:
    folder = write_vocab_json(tmp_path, synthetic.train("gpt2"), "GPT2Tokenizer")
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer(folder)


def test_damaged_files_beside_vocab_json(tmp_path: Path) -> None:
    folder = write_vocab_json(tmp_path, synthetic.train("gpt2"), "GPT2Tokenizer")
    with (folder / "merges.txt").open("a") as file:
        file.write("one two three\n")
    with pytest.raises(CheckpointError, match="'one two three'"):
        load_tokenizer(folder / "vocab.json")
    (folder / "merges.txt").write_bytes(b"\xff\xff")
    with pytest.raises(CheckpointError, match=r"merges\.txt is damaged"):
        load_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {"x": 1}}'
    )
    with pytest.raises(CheckpointError, match="added_tokens_decoder"):
        load_tokenizer(folder)


def write_old_vocab_json(folder: Path, reference: tokenizers.Tokenizer, *, before: str = "") -> Path:
    """vocab.json, merges.txt and added_tokens.json, as libraries of 2023 wrote them, whose class is said elsewhere."""
    write_vocab_json(folder, reference, None)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    added = {name: reference.token_to_id(name) for name in synthetic.CONTROL}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        (folder / name).rename(folder / f"{before}{name}")
    return folder


@pytest.mark.parametrize("before", ["", "qwen-", "Qwen2.5_"])
@pytest.mark.parametrize("config", [{"eos_token": "<|im_end|>"}, {"tokenizer_class": "PreTrainedTokenizerFast"}, None])
def test_added_tokens_json_and_a_class_that_config_json_says(
    tmp_path: Path, before: str, config: dict[str, str] | None
) -> None:
    reference = synthetic.train("qwen")
    folder = write_old_vocab_json(tmp_path, reference, before=before)
    if config is None:
        (folder / "tokenizer_config.json").unlink()
    else:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.warns(UserWarning, match="cut as Qwen's tokenizers do"):
        ours = load_tokenizer(folder / f"{before}vocab.json")
    text = "I'm 20 <|im_end|> é你好"
    assert ours.encode(text, allowed_special="all") == reference.encode(text).ids
    assert ours.control_tokens == {name: reference.token_to_id(name) for name in synthetic.CONTROL}


def test_added_tokens_json_tells_special_tokens_by_where_they_are_named(tmp_path: Path) -> None:
    folder = write_old_vocab_json(tmp_path, synthetic.train("qwen"))
    added = json.loads((folder / "added_tokens.json").read_text()) | {"<tool>": 5000, "<pad>": 5001}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))
    with pytest.warns(UserWarning, match="cut as Qwen's"):
        ours = load_tokenizer(folder)
    assert ours.decode([5000, 5001, ours.encode("a")[0]], skip_control=True) == "<tool>a"


def test_a_class_is_not_guessed_against_the_tokens(tmp_path: Path) -> None:
    folder = write_old_vocab_json(tmp_path, synthetic.train("gpt2"))
    with (
        pytest.warns(UserWarning, match="cut as Qwen's"),
        pytest.raises(UnsupportedError, match="do not fit the way in which Qwen cuts text"),
    ):
        load_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UnsupportedError, match="tokenizer_class None"):
        load_tokenizer(folder)


def test_named_tokens_of_the_vocabulary_itself_are_control_tokens(tmp_path: Path) -> None:
    """GPT-2's vocab.json holds <|endoftext|>, which tokenizer_config.json names and no list of added tokens has."""
    reference = synthetic.train("gpt2")
    folder = write_vocab_json(tmp_path, reference, "GPT2Tokenizer")
    ids = json.loads((folder / "vocab.json").read_text())
    end = max(ids.values()) + 1
    (folder / "vocab.json").write_text(json.dumps({**ids, "<|endoftext|>": end}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", "eos_token": {"content": "<|endoftext|>"}, "pad_token": "a"})
    )
    ours = load_tokenizer(folder)
    assert ours.control_tokens == {"<|endoftext|>": end}
    assert end not in ours.encode("<|endoftext|>") and ours.encode("a") == reference.encode("a").ids


def test_openais_names(tmp_path: Path) -> None:
    reference = synthetic.train("gpt2")
    folder = write_vocab_json(tmp_path, reference, "GPT2Tokenizer")
    (folder / "vocab.json").rename(folder / "encoder.json")
    (folder / "merges.txt").rename(folder / "vocab.bpe")
    with pytest.warns(UserWarning, match="encoder.json is taken for the tokenizer"):
        assert load_tokenizer(folder).encode("in 20") == reference.encode("in 20").ids


_REST = synthetic.QWEN2_PATTERN[synthetic.QWEN2_PATTERN.index(")") + 1 :]
_SPLIT = {"type": "Split", "pattern": {"Regex": synthetic.QWEN2_PATTERN}, "behavior": "Isolated", "invert": False}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_CUTTING_BYTES = {**_BYTES, "use_regex": True}
_GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s+(?!\S)|\s+"


def split(pattern: str, **others: Any) -> dict[str, Any]:
    return {**_SPLIT, "pattern": {"Regex": pattern}, **others}


SAME: list[tuple[str, list[Any] | dict[str, Any]]] = [
    ("qwen", [[_SPLIT, _BYTES]]),
    ("qwen", [{**_SPLIT, "invert": True}, _BYTES]),
    ("qwen", [{**_SPLIT, "behavior": "Removed", "invert": True}, _BYTES]),
    ("qwen", [split(r"'(?i:[sdmt]|ll|ve|re)" + _REST), _BYTES]),
    ("qwen", [split(r"(?i:'s|'t|'m|'d|'re|'ve|'ll)" + _REST), _BYTES]),
    ("qwen", [split(synthetic.QWEN2_PATTERN.replace(r"\p{N}|", r"\p{N}{1}|")), _BYTES]),
    ("qwen", [split(synthetic.QWEN2_PATTERN.replace(r"[\r\n]", "[\n\r]")), _BYTES]),
    ("qwen", [split(synthetic.QWEN2_PATTERN.replace("]?", "]?+").replace("]+[", "]++[")), _BYTES]),
    ("qwen", [split(synthetic.QWEN2_PATTERN.replace(r"^\s\p{L}\p{N}", r"^\p{N}\s\p{L}")), _BYTES]),
    ("gpt2", [_CUTTING_BYTES]),
    ("gpt2", [split(_GPT2_PATTERN), _BYTES]),
    ("smollm", [[{"type": "Digits", "individual_digits": True}], _CUTTING_BYTES]),
    ("smollm", [split(r"\p{N}"), _CUTTING_BYTES]),
    ("smollm", [{"type": "Digits", "individual_digits": True}, split(_GPT2_PATTERN), _BYTES]),
]


def nested(steps: Any) -> Any:
    return {"type": "Sequence", "pretokenizers": [nested(s) for s in steps]} if isinstance(steps, list) else steps


@pytest.mark.parametrize(("style", "steps"), SAME)
def test_the_same_pre_tokenizer_in_other_words(tmp_path: Path, style: str, steps: list[Any]) -> None:
    document = json.loads(synthetic.train(style).to_str())
    expected = load_tokenizer(write(tmp_path, document)).vocabulary
    document["pre_tokenizer"] = nested(steps)
    if style == "qwen":
        document["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
    found = load_tokenizer(write(tmp_path, document))
    assert found.vocabulary == expected
    referee = tokenizers.Tokenizer.from_str(json.dumps(document))
    for text in ("I'm  20\t\n \n x've 'LL'ſa\r\n(you)\u00a0  ", "a1２½ ٣! \n\n  b", "don'T 'Re ''s  "):
        assert found.encode(text) == referee.encode(text).ids


@pytest.mark.parametrize(
    "pattern",
    [
        synthetic.QWEN2_PATTERN.replace(r"\s*[\r\n]+", r"\s*[\r\n]"),
        synthetic.QWEN2_PATTERN.replace("]+[", "]+").replace("\r\n]*", ""),
        r"(?i:'s|'t)" + _REST,
        r"'(?:[sdmt]|ll|ve|re)" + _REST,
        synthetic.QWEN2_PATTERN.replace(r"\s+(?!\S)", r"\s++(?!\S)"),
        _REST[1:],
        "(",
        "",
    ],
)
def test_other_patterns_are_not_taken_for_it(tmp_path: Path, pattern: str) -> None:
    document = json.loads(synthetic.train("qwen").to_str())
    document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern
    with pytest.raises(UnsupportedError, match="pre-tokenizer that qwen7b does not know"):
        load_tokenizer(write(tmp_path, document))


def test_llama_cpps_words_differ_at_one_letter_and_say_so(tmp_path: Path) -> None:
    document = json.loads(synthetic.train("qwen").to_str())
    pattern = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])" + _REST
    document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern
    with pytest.warns(UserWarning, match="differs only at 'ſ"):
        assert load_tokenizer(write(tmp_path, document)).vocabulary.pattern == synthetic.QWEN2_PATTERN
