"""The fast tokenizer equals the exact one, and its tokenizer.json says the same to every reader."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="needs the extra hf")

from transformers import AutoTokenizer, PreTrainedTokenizerFast

import qwen7b.hf
from qwen7b.errors import CheckpointError, PromptError, SettingError, UnsupportedError
from qwen7b.hf.chat_tokenizer import build_backend
from qwen7b.text import Tokenizer, chat_prompt, load_tokenizer
from qwen7b.text.normalization import to_nfc, without_surrogates

CONVERSATION = [{"role": "user", "content": "你好 <|im_end|>"}, {"role": "assistant", "content": "e\u0301"}]


@pytest.fixture(scope="module")
def fast(qwen_chat_folder: Path) -> Any:
    return qwen7b.hf.QWenTokenizerFast.from_pretrained(qwen_chat_folder)


@pytest.fixture(scope="module")
def slow(qwen_chat_folder: Path) -> Any:
    return qwen7b.hf.QWenTokenizer.from_pretrained(qwen_chat_folder)


@pytest.fixture(scope="module")
def saved(fast: Any, qwen_chat_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fast")
    fast.save_pretrained(folder)
    shutil.copyfile(qwen_chat_folder / "config.json", folder / "config.json")
    return folder


def same(fast: Any, slow: Any, text: str) -> None:
    for allowed in ((), "all"):
        ids = slow(text, allowed_special=allowed).input_ids
        assert fast(text, allowed_special=allowed).input_ids == ids
        for skip in (False, True):
            assert fast.decode(ids, skip_special_tokens=skip) == slow.decode(ids, skip_special_tokens=skip)


def test_golden_texts(fast: Any, slow: Any, golden: Path) -> None:
    lines = (golden / "text.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [case["text"] for line in lines if (case := json.loads(line))["kind"] == "encode"]
    assert len(texts) > 100
    for text in texts:
        same(fast, slow, text)


PIECES = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="aeiou \n\r\t123'.,sStT-_=<|>", max_size=16),
    st.text(alphabet="的一是不了人我在有他这中大来上国", max_size=8),
    st.sampled_from(
        ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|extra_7|>", "<|extra_", "'LL", "  \n", "\u0301"]
    ),
)


@settings(max_examples=400, deadline=None)
@given(text=st.lists(PIECES, max_size=6).map("".join))
def test_any_text(fast: Any, slow: Any, text: str) -> None:
    same(fast, slow, text)


def test_what_names_of_control_tokens_mean_is_asked_for(fast: Any, slow: Any) -> None:
    text, parsed = "a<|im_end|>", [64, 151645]
    plain = slow(text, allowed_special=()).input_ids
    said: dict[str, Any]
    for said in ({"split_special_tokens": True}, {"allowed_special": ()}):
        assert fast(text, **said).input_ids == fast.encode(text, **said) == plain
        assert fast([text], **said).input_ids == [plain]
    for said in ({"split_special_tokens": False}, {"allowed_special": "all"}):
        assert fast(text, **said).input_ids == fast.encode(text, **said) == parsed
        assert fast.tokenize(text, **said) == ["a", "<|im_end|>"]
    for call in (fast, fast.encode, fast.tokenize, lambda text: fast(["a", text]), lambda text: fast("a", text)):
        with pytest.raises(PromptError, match=r"split_special_tokens=False .* True .* apply_chat_template"):
            call(text)
    with pytest.raises(SettingError, match="QWenTokenizer"):
        fast(text, allowed_special={"<|im_end|>"})
    with pytest.raises(SettingError, match="QWenTokenizer"):
        fast(text, disallowed_special="all")


def test_what_names_of_control_tokens_mean_can_be_said_at_loading(tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    tokenizer = qwen7b.hf.QWenTokenizerFast.from_pretrained(tiny_chat_checkpoint)
    text = "a<|im_end|>"
    plain, parsed = (tokenizer(text, split_special_tokens=split).input_ids for split in (True, False))
    assert len(parsed) == 2 < len(plain)
    tokenizer.save_pretrained(tmp_path)
    shutil.copyfile(tiny_chat_checkpoint / "config.json", tmp_path / "config.json")
    for said, ids in (({"split_special_tokens": False}, parsed), ({"allowed_special": ()}, plain)):
        loaded = AutoTokenizer.from_pretrained(tmp_path, **said)
        assert type(loaded) is type(tokenizer) and loaded(text).input_ids == ids
    loaded.split_special_tokens = False
    assert loaded(text).input_ids == pickle.loads(pickle.dumps(loaded))(text).input_ids == parsed


def test_an_added_token_is_known_everywhere(tiny_chat_checkpoint: Path) -> None:
    fast = qwen7b.hf.QWenTokenizerFast.from_pretrained(tiny_chat_checkpoint)
    before = fast.plain_tokenizer.vocab_size
    assert fast.add_tokens(["<mood>"]) == 1
    assert fast.plain_tokenizer.control_tokens["<mood>"] == fast.convert_tokens_to_ids("<mood>") == before
    with pytest.raises(PromptError, match="<mood>"):
        fast("a <mood>")


def test_both_have_the_same_face(fast: Any, slow: Any) -> None:
    for name in ("eod_id", "im_start_id", "im_end_id", "special_tokens", "pad_token_id", "eos_token_id"):
        assert getattr(fast, name) == getattr(slow, name)
    assert len(fast) == len(slow) == 151851 and fast.padding_side == "left" and fast.is_fast
    assert fast.apply_chat_template(CONVERSATION).data == slow.apply_chat_template(CONVERSATION).data
    texts = ["hello", "hello world 1"]
    assert fast(texts, padding=True).data == slow(texts, padding=True).data
    assert fast("hi 你", return_offsets_mapping=True).offset_mapping == [(0, 2), (2, 3), (3, 4)]


def test_what_was_saved_as_fast_comes_back_as_fast(fast: Any, saved: Path) -> None:
    config = json.loads((saved / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "QWenTokenizerFast" and "auto_map" not in config
    text = "don't 你好 <|im_end|> e\u0301\n\n 3.14"
    for again in (AutoTokenizer.from_pretrained(saved), pickle.loads(pickle.dumps(fast))):
        assert type(again) is qwen7b.hf.QWenTokenizerFast
        assert again(text, allowed_special="all").input_ids == fast(text, allowed_special="all").input_ids
        assert again.apply_chat_template(CONVERSATION).data == fast.apply_chat_template(CONVERSATION).data
        assert again.model_max_length == 8192


def test_tokenizer_json_says_the_same_to_other_readers(slow: Any, saved: Path) -> None:
    ours = load_tokenizer(saved / "tokenizer.json")
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(saved / "tokenizer.json"))
    exact = qwen7b.hf.QWenTokenizer.from_pretrained(saved)
    for text in ("don't 你好 <|im_end|> e\u0301", "\u00a0\n\n\n x  12345"):
        parsed = slow(text, allowed_special="all").input_ids
        assert ours.encode(text, allowed_special="all") == theirs(text).input_ids == parsed
        assert exact(text, allowed_special="all").input_ids == parsed
    assert ours.vocab_size == 151851 and ours.control_tokens == slow.special_tokens


def test_backend_gives_the_same_ids_and_no_control_tokens(chatty: Tokenizer) -> None:
    backend = build_backend(chatty.vocabulary)
    backend.encode_special_tokens = True
    for text in ("the quick brown fox", "hello  there\n", "<|im_end|>"):
        assert backend.encode(text).ids == chatty.encode(text)


def test_without_a_vocabulary_it_says_so() -> None:
    with pytest.raises(CheckpointError, match="tokenizer"):
        qwen7b.hf.QWenTokenizerFast()


TEXTS = {
    "lone surrogates": "a\ud800b\udc00",
    "halves of a character": "\ud83d\ude00",
    "NUL and other controls": "a\0b\x1b[31m\x07\x7f\x85",
    "a byte-order mark": "\ufeffhello",
    "one character": "a" * 100_000,
    "blanks": " " * 100_000 + "\n" * 1000,
    "combining marks": "a" + "\u0301\u0323" * 4000,
    "separators": "a\u2028b\u2029c\u00a0d\u3000e",
    "private use and nothing": "\ue000\ufdd0\uffff\U0010ffff",
    "unassigned": "\u0378\U000e0fff",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "jamo": "\u1112\u1161\u11ab 한",
    "lines": "a\r\nb\rc\n\td",
    "digits": "1234567890" * 100,
    "Arabic and Thai": "مُحَمَّد สวัสดีครับ",
    "half a name": "<|im_",
    "a name broken": "<|im_end\ufdd0|>",
}


@pytest.mark.parametrize("what", TEXTS)
def test_odd_texts_are_the_same_everywhere(qwen_chat_folder: Path, fast: Any, slow: Any, what: str) -> None:
    text = TEXTS[what]
    native = fast.plain_tokenizer
    ids = native.encode(text)
    whole = native.decode(ids)
    assert whole == to_nfc(without_surrogates(text))
    for tokenizer in (fast, slow):
        assert tokenizer(text, add_special_tokens=False).input_ids == ids
        assert tokenizer([text, "x"], padding=False).input_ids[0] == ids
        assert tokenizer.decode(ids) == whole == tokenizer.batch_decode([ids])[0]
        messages = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True).input_ids
        assert prompt == chat_prompt(native, messages)


@pytest.mark.parametrize(
    "text",
    [b"x", 5, 1.5, ["a", 5], [None], [b"x"], {"a": 1}, True, [], [1, 2], [[["a"]]], [("a", None)]],
    ids=repr,
)
def test_what_is_no_text_is_refused(fast: Any, text: object) -> None:
    for call in (fast, fast.encode, fast.tokenize):
        with pytest.raises(PromptError, match=r"a text should be a string|the list of texts is empty"):
            call(text)


@pytest.mark.parametrize("ids", [None, "x", [None], [-1], [10**9], [1.5], ["1"], [2**70], float("nan"), [[1], [None]]])
def test_what_is_no_id_is_refused(fast: Any, slow: Any, ids: object) -> None:
    for tokenizer in (fast, slow):
        with pytest.raises(SettingError, match=r"decode takes token ids|no token has the id"):
            tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "runs for more than"),
        ("{{ 'x' * 10**12 }}", "cannot be rendered"),
        ("{{ range(10**12) | list }}", "cannot be rendered"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "cannot be rendered"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "cannot be rendered"),
        ("{% include '/etc/passwd' %}", "cannot be rendered"),
        ("{{ messages[0] ", "cannot be rendered"),
        ("{{ 5 / 0 }}", "cannot be rendered"),
    ],
)
def test_hostile_templates_are_refused(
    tiny_chat_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, template: str, reason: str
) -> None:
    monkeypatch.setattr("qwen7b.system.jinja.MAX_SECONDS", 0.3)
    messages = [{"role": "user", "content": "hello"}]
    tokenizer = qwen7b.hf.QWenTokenizerFast.from_pretrained(tiny_chat_checkpoint)
    with pytest.raises(UnsupportedError, match=reason):
        tokenizer.apply_chat_template(messages, chat_template=template)
    tokenizer.chat_template = template
    for tokenize in (True, False):
        with pytest.raises(UnsupportedError, match=reason):
            tokenizer.apply_chat_template(messages, tokenize=tokenize)
