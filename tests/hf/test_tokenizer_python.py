"""The exact tokenizer: the original's results and words, Transformers' interface, and no control tokens by accident."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra hf")

from transformers import AutoTokenizer

import qwen7b.hf
import tiny
from qwen7b.errors import CheckpointError, PromptError, Qwen7bError, SettingError, UnsupportedError
from qwen7b.hf import QWenTokenizer, QWenTokenizerFast
from qwen7b.text import chat_prompt, load_tokenizer

MARKUP = "a<|im_start|>b<|endoftext|>"
PLAIN = [64, 27, 91, 318, 4906, 91, 29, 65, 27, 91, 8691, 723, 427, 91, 29]
PARSED = [64, 151644, 65, 151643]


@pytest.fixture(scope="module")
def tokenizer(qwen_chat_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(qwen_chat_folder, trust_remote_code=True)


@pytest.fixture(scope="module")
def cases(golden: Path) -> list[dict[str, Any]]:
    lines = (golden / "text.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_encoding_and_decoding_equal_the_original(tokenizer: Any, cases: list[dict[str, Any]]) -> None:
    texts = [case for case in cases if case["kind"] == "encode"]
    assert len(texts) > 100
    for case in texts:
        assert tokenizer(case["text"], allowed_special=set()).input_ids == case["ids_plain"]
        assert tokenizer.encode(case["text"], allowed_special="all") == case["ids_special_parsed"]
        assert tokenizer.decode(case["ids_plain"]) == case["decoded_plain"]
        assert tokenizer.decode(case["ids_special_parsed"]) == case["decoded"]
        tokens = tokenizer.tokenize(case["text"], allowed_special="all")
        assert tokenizer.convert_tokens_to_ids(tokens) == case["ids_special_parsed"]
        assert tokenizer.convert_ids_to_tokens(case["ids_special_parsed"]) == tokens
        assert tokenizer.convert_tokens_to_string(tokens) == case["decoded"]


def test_chat_templates_equal_the_original(tokenizer: Any, cases: list[dict[str, Any]]) -> None:
    conversations = [case for case in cases if case["kind"] == "chat" and not case["history"]]
    assert conversations
    for case in conversations:
        messages = [{"role": "system", "content": case["system"]}, {"role": "user", "content": case["query"]}]
        made = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        assert made["input_ids"] == case["ids"]


def test_the_words_of_the_original(tokenizer: Any) -> None:
    assert (tokenizer.eod_id, tokenizer.im_start_id, tokenizer.im_end_id) == (151643, 151644, 151645)
    assert tokenizer.special_tokens["<|extra_204|>"] == 151850 and len(tokenizer) == tokenizer.vocab_size == 151851
    assert tokenizer.tokenize("hi <|im_end|>", allowed_special="all") == [b"hi", b" ", "<|im_end|>"]
    assert tokenizer.get_vocab()[b"hello"] == tokenizer.convert_tokens_to_ids("hello") == 14990
    assert tokenizer.errors == "replace" and not tokenizer.is_fast and tokenizer.model_max_length == 8192


def test_what_scripts_of_the_time_reached_for(
    tokenizer: Any, qwen_vocabulary: Path, tiny_chat_checkpoint: Path
) -> None:
    lines = [line.split() for line in qwen_vocabulary.read_bytes().splitlines()]
    assert tokenizer.mergeable_ranks == {b64decode(token): int(rank) for token, rank in lines}
    assert tokenizer.decoder[14990] == b"hello" and tokenizer.decoder[151645] == "<|im_end|>"
    assert len(tokenizer.decoder) == 151851
    assert tokenizer.tokenizer.encode(MARKUP, allowed_special="all") == PARSED
    assert (tokenizer.tokenizer.eot_token, tokenizer.tokenizer.n_vocab) == (151643, 151851)
    assert pickle.loads(pickle.dumps(tokenizer)).tokenizer.decode([14990]) == "hello"
    with pytest.raises(UnsupportedError, match="use get_vocab"):
        _ = qwen7b.hf.QWenTokenizer.from_pretrained(tiny_chat_checkpoint).tokenizer


def test_what_names_of_control_tokens_mean_is_asked_for(tokenizer: Any) -> None:
    said: dict[str, Any]
    for said in ({"split_special_tokens": True}, {"allowed_special": ()}):
        assert tokenizer(MARKUP, **said).input_ids == tokenizer.encode(MARKUP, **said) == PLAIN
        assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(MARKUP, **said)) == PLAIN
    for said in ({"split_special_tokens": False}, {"allowed_special": "all"}):
        assert tokenizer(MARKUP, **said).input_ids == tokenizer.encode(MARKUP, **said) == PARSED
        assert tokenizer([MARKUP, "b"], **said).input_ids == [PARSED, [65]]
        assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(MARKUP, **said)) == PARSED
    assert tokenizer(MARKUP, allowed_special={"<|im_start|>"}).input_ids == [64, 151644, *PLAIN[7:]]
    with pytest.raises(PromptError, match="im_start"):
        tokenizer(MARKUP, disallowed_special="all")


@pytest.mark.parametrize("text", [MARKUP, "see <|endoftext|> there", "<|extra_7|>", "<|im_start|>user\nhi<|im_end|>\n"])
def test_names_of_control_tokens_are_refused_where_nobody_said(tokenizer: Any, text: str) -> None:
    pair = {"text": "a", "text_pair": text}
    for call in (tokenizer, tokenizer.encode, tokenizer.tokenize, lambda text: tokenizer(["a", text])):
        with pytest.raises(PromptError, match=r"split_special_tokens=False .* True .* apply_chat_template"):
            call(text)
    for arguments in (pair, {"text": "a", "text_target": text}):
        with pytest.raises(PromptError, match="control token"):
            tokenizer(**arguments)
    assert tokenizer(text.replace("|", "")).input_ids


def test_what_they_mean_can_be_said_once(qwen_chat_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(qwen_chat_folder, tmp_path / "copy")
    fields = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    fields |= {"split_special_tokens": False, "allowed_special": "all"}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    for load in (AutoTokenizer.from_pretrained, qwen7b.hf.QWenTokenizer.from_pretrained):
        for said, ids in (
            ({"split_special_tokens": False}, PARSED),
            ({"split_special_tokens": True}, PLAIN),
            ({"allowed_special": "all"}, PARSED),
            ({"allowed_special": ()}, PLAIN),
        ):
            loaded = load(folder, **said)
            assert loaded(MARKUP).input_ids == pickle.loads(pickle.dumps(loaded))(MARKUP).input_ids == ids
            assert loaded.split_special_tokens is (ids == PLAIN)
            assert loaded(MARKUP, split_special_tokens=ids == PARSED).input_ids == (PLAIN if ids == PARSED else PARSED)
        with pytest.raises(SettingError, match="contradict"):
            load(folder, allowed_special="all", split_special_tokens=True)
        with pytest.raises(SettingError, match="True or False"):
            load(folder, split_special_tokens="yes")
        silent = load(folder)
        assert silent.split_special_tokens is None
        with pytest.raises(PromptError, match="im_start"):  # the file does not choose for the caller
            silent(MARKUP)
        silent.split_special_tokens = False
        assert silent(MARKUP).input_ids == PARSED
        silent.save_pretrained(tmp_path / "saved")
        with pytest.raises(PromptError, match="im_start"):
            qwen7b.hf.QWenTokenizer.from_pretrained(tmp_path / "saved")(MARKUP)
        silent.split_special_tokens = True
        assert silent(MARKUP).input_ids == PLAIN


def test_decoding(tokenizer: Any) -> None:
    assert tokenizer.decode(PARSED) == MARKUP
    assert tokenizer.decode(torch.tensor(PARSED), skip_special_tokens=True) == "ab"
    assert tokenizer.batch_decode([PARSED, [64]], skip_special_tokens=True) == ["ab", "a"]
    assert tokenizer.decode(14990) == "hello"
    cut = tokenizer("🂡").input_ids[:1]
    assert tokenizer.decode(cut) == "\ufffd" and tokenizer.decode(cut, errors="ignore") == ""
    assert tokenizer.decode([64, 151900], skip_special_tokens=True) == "a"
    with pytest.raises(SettingError, match="151900"):
        tokenizer.decode([151900])


def test_batches_are_padded_on_the_left(tokenizer: Any) -> None:
    batch = tokenizer(["hello", "hello world 1"], return_tensors="pt", padding=True)
    assert batch.input_ids.tolist() == [[151643] * 3 + [14990], [14990, 1879, 220, 16]]
    assert batch.attention_mask.tolist() == [[0, 0, 0, 1], [1, 1, 1, 1]]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (151643, 151643, None)
    short = tokenizer("hello world 1", truncation=True, max_length=2)
    assert short.input_ids == [14990, 1879] and "token_type_ids" not in short


def test_settings_of_the_user_go_first(qwen_chat_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(
        qwen_chat_folder, pad_token="<|extra_0|>", eos_token="<|im_end|>", padding_side="right", model_max_length=100
    )
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (151646, 151645)
    assert tokenizer(["a", "a b"], padding=True).input_ids[0] == [64, 151646]
    tokenizer.pad_token_id = tokenizer.eod_id
    assert tokenizer.pad_token == "<|endoftext|>" and tokenizer.model_max_length == 100


def test_a_file_does_not_choose_the_side_of_the_padding(qwen_chat_folder: Path, tmp_path: Path) -> None:
    """Trainers save "right", which is wrong for generation."""
    folder = shutil.copytree(qwen_chat_folder, tmp_path / "copy")
    fields = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**fields, "padding_side": "right"}))
    assert AutoTokenizer.from_pretrained(folder).padding_side == "left"
    assert AutoTokenizer.from_pretrained(folder, padding_side="right").padding_side == "right"


@pytest.mark.parametrize("fast", [False, True], ids=["slow", "fast"])
def test_a_new_pad_token_is_refused(tiny_chat_checkpoint: Path, fast: bool) -> None:
    """Like [PAD], which scripts of the time gave; the model has no row for it, or one that was never trained."""
    kind = qwen7b.hf.QWenTokenizerFast if fast else qwen7b.hf.QWenTokenizer
    for role in ("pad_token", "eos_token", "bos_token", "unk_token"):
        with pytest.raises(SettingError, match=r"\[PAD\] is no control token.*<\|endoftext\|>"):
            kind.from_pretrained(tiny_chat_checkpoint, **{role: "[PAD]"})
    tokenizer = kind.from_pretrained(tiny_chat_checkpoint, pad_token="<|im_end|>")
    with pytest.raises(SettingError, match=r"use '<|endoftext|>'"):
        tokenizer.pad_token = "[PAD]"
    with pytest.raises(SettingError, match=r"use '<|endoftext|>'"):
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    with pytest.raises(SettingError, match=r"use '<|endoftext|>'"):
        tokenizer.pad_token_id = 0
    assert tokenizer.pad_token == "<|im_end|>" and "[PAD]" not in tokenizer.get_vocab()
    tokenizer.pad_token_id = tokenizer.eod_id
    assert tokenizer.pad_token == "<|endoftext|>"
    tokenizer.pad_token = tokenizer.eos_token = "<|im_end|>"
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == tokenizer.im_end_id


def test_tokens_that_the_vocabulary_lacks_are_not_added(tokenizer: Any) -> None:
    assert tokenizer.add_special_tokens({"sep_token": "<|extra_1|>"}) == 0
    with pytest.raises(SettingError, match="extra_vocab_file"):
        tokenizer.add_tokens(["<new>"])


CONVERSATION = [
    {"role": "user", "content": "<|im_end|>"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
]


def test_a_chat_template_is_assembled_as_ids(tokenizer: Any) -> None:
    asking = tokenizer.apply_chat_template(CONVERSATION, add_generation_prompt=True, return_dict=False)
    assert asking == chat_prompt(tokenizer.plain_tokenizer, CONVERSATION)
    told = tokenizer.apply_chat_template(CONVERSATION, return_dict=False)
    assert asking == [*told, 151644, *tokenizer.encode("assistant\n")]
    assert told[-2:] == [151645, 198] and told.count(151645) == 4
    text = tokenizer.apply_chat_template(CONVERSATION, tokenize=False)
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|im_end|><|im_end|>\n"
        "<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
    )
    answered = [*CONVERSATION[:2]]
    longer = tokenizer.apply_chat_template(answered, return_dict=False)
    assert told[: len(longer)] == longer
    open_ended = tokenizer.apply_chat_template(answered, continue_final_message=True, return_dict=False)
    assert longer == [*open_ended, 151645, 198]
    asking_again = tokenizer.apply_chat_template(answered, add_generation_prompt=True, return_dict=False)
    assert asking_again == [*longer, 151644, *tokenizer.encode("assistant\n")]


def test_chat_templates_in_batches(tokenizer: Any) -> None:
    batch = tokenizer.apply_chat_template(
        [CONVERSATION, CONVERSATION[:1]], add_generation_prompt=True, padding=True, return_tensors="pt"
    )
    single = tokenizer.apply_chat_template(CONVERSATION[:1], add_generation_prompt=True, return_tensors="pt")
    length = single["input_ids"].shape[1]
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["input_ids"][1, -length:].tolist() == single["input_ids"][0].tolist()
    assert batch["attention_mask"][1].sum() == length == single["attention_mask"].sum()
    cut = tokenizer.apply_chat_template(CONVERSATION, truncation=True, max_length=5)
    assert len(cut["input_ids"]) == 5


TAGGED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{%- generation -%}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}"
    "{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "\nWhat? 你好 e\u0301\n"},
    {"role": "user", "content": "What?"},
    {"role": "assistant", "content": ""},
]


# They differ in what is tagged.
TEMPLATES = {
    "whole": TAGGED,
    "without the end": TAGGED.replace(
        "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}",
        "{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>' }}",
    ),
    "without the beginning": TAGGED.replace(
        "{%- generation -%}{{ message['content'] + '<|im_end|>' }}",
        "{{ message['content'] }}{% generation %}{{ '<|im_end|>' }}",
    ),
}


def test_the_assistants_mask_is_that_of_transformers(tokenizer: Any, qwen_chat_folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    fast: Any = QWenTokenizerFast.from_pretrained(qwen_chat_folder)
    theirs: Any = PreTrainedTokenizerFast(tokenizer_object=fast.backend_tokenizer, pad_token="<|endoftext|>")
    cases: list[dict[str, Any]] = [
        {"conversation": TALK},
        {"conversation": TALK[:2]},
        {"conversation": TALK, "add_generation_prompt": True},
        {"conversation": [TALK, TALK[:3]], "padding": True, "return_tensors": "pt"},
        {"conversation": TALK, "truncation": True, "max_length": 18},
        {"conversation": [TALK, TALK[:2]], "truncation": True, "padding": "max_length", "max_length": 20},
    ]
    for settings, name, left in itertools.product(cases, TEMPLATES, (True, False)):
        told: dict[str, Any] = {**settings, "chat_template": TEMPLATES[name], "return_assistant_tokens_mask": True}
        results = []
        for one in (tokenizer, fast, theirs):
            before = one.padding_side, one.truncation_side
            one.padding_side = one.truncation_side = "left" if left else "right"
            encoding = one.apply_chat_template(**told).data
            one.padding_side, one.truncation_side = before
            fields = ("input_ids", "attention_mask", "assistant_masks")
            results.append({field: torch.as_tensor(encoding[field]).tolist() for field in fields})
        assert results[0] == results[1] == results[2], (settings, name)


@pytest.mark.parametrize(
    "template", [None, TAGGED.replace("{%- generation -%}", "").replace("{% endgeneration %}", "")]
)
def test_without_tags_the_mask_has_the_replies_and_their_ends(tokenizer: Any, template: str | None) -> None:
    mask = tokenizer.apply_chat_template(TALK, chat_template=template, return_assistant_tokens_mask=True)
    expected = tokenizer.apply_chat_template(TALK, chat_template=TAGGED, return_assistant_tokens_mask=True)
    written = [id for id, is_written in zip(mask["input_ids"], mask["assistant_masks"], strict=True) if is_written]
    before = "" if template is None else "\n"  # the frame's newline, in one token with the reply's
    assert tokenizer.decode(written) == f"{before}\nWhat? 你好 \u00e9\n<|im_end|><|im_end|>"
    assert (mask.data == expected.data) == (template is not None)
    assert "assistant_masks" not in tokenizer.apply_chat_template(TALK)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"conversation": []}, "empty"),
        ({"conversation": [[], CONVERSATION]}, "empty"),
        ({"conversation": None}, "list of messages, found None"),
        ({"conversation": [None]}, "list of messages, found None"),
        ({"conversation": "hello"}, "list of messages, found 'hello'"),
        ({"conversation": ["hello"]}, "list of messages, found 'hello'"),
        ({"conversation": 5}, "list of messages, found 5"),
        ({"conversation": [[5]]}, "message 1 should have"),
        ({"conversation": CONVERSATION[0]}, "list of messages"),
        ({"conversation": [{"role": "user"}]}, "message 1 should have"),
        ({"conversation": [{"role": "user", "content": None}]}, "message 1 has None"),
        ({"conversation": [{"role": "robot", "content": "a"}]}, "robot"),
        ({"conversation": CONVERSATION, "tools": [{}]}, "tools"),
        ({"conversation": CONVERSATION, "enable_thinking": False}, "enable_thinking"),
        (
            {"conversation": CONVERSATION, "return_assistant_tokens_mask": True, "return_dict": False},
            "return_assistant_tokens_mask goes with tokenize and return_dict",
        ),
        (
            {"conversation": CONVERSATION, "return_assistant_tokens_mask": True, "continue_final_message": True},
            "without continue_final_message",
        ),
        (
            {
                "conversation": CONVERSATION[1:],
                "return_assistant_tokens_mask": True,
                "chat_template": "{% for message in messages %}{{ message['content'] | length }}{% endfor %}",
            },
            "put {% generation %}",
        ),
        ({"conversation": CONVERSATION, "truncation": True, "max_length": 0}, "max_length"),
        ({"conversation": CONVERSATION, "truncation": True, "max_length": "5"}, "max_length"),
        ({"conversation": CONVERSATION, "add_generation_prompt": True, "continue_final_message": True}, "exclude"),
        ({"conversation": CONVERSATION, "chat_template": "{% broken"}, "chat_template"),
    ],
)
def test_what_the_template_cannot_do_is_refused(tokenizer: Any, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(Qwen7bError, match=said):
        tokenizer.apply_chat_template(**wrong)


@pytest.fixture(scope="module")
def fine_tuned(tiny_chat_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose tokenizer has three more control tokens, one of them not flagged special."""
    folder = shutil.copytree(tiny_chat_checkpoint, tmp_path_factory.mktemp("fine-tuned") / "model")
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    like = document["added_tokens"][0]
    for token_id, (name, special) in enumerate({"<pad>": True, "<think>": False, "<end>": True}.items(), start=269):
        document["added_tokens"].append({**like, "id": token_id, "content": name, "special": special})
    (folder / "tokenizer.json").write_text(json.dumps(document))
    return folder


KINDS = pytest.mark.parametrize("kind", [qwen7b.hf.QWenTokenizer, qwen7b.hf.QWenTokenizerFast])
OWN = "{% for m in messages %}<|im_start|>{{ m['role'] }}: {{ m['content'] }}<end>{% endfor %}"
"""A template that is not ChatML."""


@KINDS
def test_a_chat_template_is_honoured(fine_tuned: Path, tmp_path: Path, kind: Any) -> None:
    """In a call, on the object, when loading and in the folder; what a message says stays text."""
    tokenizer = kind.from_pretrained(fine_tuned)
    ordinary = tokenizer.apply_chat_template(CONVERSATION, return_dict=False)
    expected = tokenizer.apply_chat_template(CONVERSATION, chat_template=OWN, return_dict=False)
    assert expected == [
        *(267, *tokenizer.encode("user: <|im_end|>", split_special_tokens=True), 271),
        *(267, *tokenizer.encode("assistant: b"), 271, 267, *tokenizer.encode("user: c"), 271),
    ]
    assert tokenizer.apply_chat_template(CONVERSATION, return_dict=False) == ordinary
    tokenizer.chat_template = {"default": "{{ messages[0]['content'] }}", "own": OWN}
    assert tokenizer.apply_chat_template(CONVERSATION[1:], return_dict=False) == tokenizer.encode("b")
    assert tokenizer.apply_chat_template(CONVERSATION, chat_template="own", return_dict=False) == expected
    tokenizer.chat_template = OWN
    tokenizer.save_pretrained(tmp_path)
    for other in (
        tokenizer,
        pickle.loads(pickle.dumps(tokenizer)),
        kind.from_pretrained(fine_tuned, chat_template=OWN),
        kind.from_pretrained(tmp_path),
    ):
        assert other.apply_chat_template(CONVERSATION, return_dict=False) == expected
        assert 271 in other.plain_tokenizer.stop_ids and other.chat_template == OWN
    tokenizer.chat_template = None
    assert tokenizer.apply_chat_template(CONVERSATION, return_dict=False) == ordinary

    def use(template: object) -> None:
        tokenizer.chat_template = template
        tokenizer.apply_chat_template(CONVERSATION)

    for wrong in (5, ["own"], {"own": OWN}):
        with pytest.raises(SettingError, match=r"chat_template|chat templates"):
            use(wrong)


@KINDS
def test_only_tokens_flagged_special_are_hidden(fine_tuned: Path, tmp_path: Path, kind: Any) -> None:
    """The format's own and the padding vanish; what a model writes, such as <think>, is shown."""
    tokenizer = kind.from_pretrained(fine_tuned)
    ids = [267, 97, 269, 270, 271, 98, 268, 266]
    shown = tokenizer.decode([97], skip_special_tokens=True), tokenizer.decode([98], skip_special_tokens=True)
    for other in (tokenizer, pickle.loads(pickle.dumps(tokenizer))):
        assert other.decode(ids, skip_special_tokens=True) == "<think>".join(shown)
        assert other.batch_decode([ids, [270]], skip_special_tokens=True) == ["<think>".join(shown), "<think>"]
        assert other.decode(ids) == "<|im_start|>{}<pad><think><end>{}<|im_end|><|endoftext|>".format(*shown)
    plain = tokenizer("a <think>", split_special_tokens=True).input_ids
    assert 270 not in plain and tokenizer.decode(plain, skip_special_tokens=True) == "a <think>"
    assert tokenizer("a <think>", split_special_tokens=False).input_ids[-1] == 270
    tokenizer.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert [token["content"] for token in saved["added_tokens"] if not token["special"]] == ["<think>"]
    again = kind.from_pretrained(tmp_path, pad_token="<think>")
    assert again.decode(ids, skip_special_tokens=True) == "".join(shown)  # now it is padding


@KINDS
def test_what_is_no_id_is_not_decoded(fine_tuned: Path, kind: Any) -> None:
    tokenizer = kind.from_pretrained(fine_tuned)
    for wrong in ("abc", None, ["a"], [None], [[1.5, None]], {"input_ids": None}, 10**9, [-1], [99999]):
        with pytest.raises(SettingError, match=r"takes token ids|the id"):
            tokenizer.decode(wrong)
    assert tokenizer.decode([97, 99999, -1], skip_special_tokens=True) == tokenizer.decode([97])


def test_of_the_original_only_three_are_hidden(tokenizer: Any) -> None:
    """`qwen.tiktoken` has no flags."""
    ids = [151644, 64, 151646, 65, 151645, 151643]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a<|extra_0|>b"


def test_saving_and_loading(tokenizer: Any, qwen_vocabulary: Path, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "qwen.tiktoken").read_bytes().split() == qwen_vocabulary.read_bytes().split()
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "QWenTokenizer" and "auto_map" not in config
    (tmp_path / "config.json").write_text('{"model_type": "qwen", "hidden_size": 64}')
    again = qwen7b.hf.QWenTokenizer.from_pretrained(tmp_path)
    for other in (again, pickle.loads(pickle.dumps(tokenizer))):
        assert other(MARKUP, allowed_special="all").input_ids == PARSED
        assert other.init_kwargs.get("model_max_length") == 8192 and other.padding_side == "left"


def test_a_vocabulary_without_ranks_is_saved_as_json(tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_checkpoint)
    tokenizer.save_pretrained(tmp_path)
    assert not (tmp_path / "qwen.tiktoken").exists()
    again = qwen7b.hf.QWenTokenizer.from_pretrained(tmp_path)
    assert again("hello there 你好").input_ids == tokenizer("hello there 你好").input_ids
    assert again.special_tokens == tokenizer.special_tokens


def test_extra_tokens(qwen_vocabulary: Path, tmp_path: Path) -> None:
    shutil.copyfile(qwen_vocabulary, tmp_path / "qwen.tiktoken")
    (tmp_path / "extra.tiktoken").write_text("5LiA5Y+q54yrCg== 151851\n")  # "一只猫\n"
    tokenizer = qwen7b.hf.QWenTokenizer.from_pretrained(tmp_path, extra_vocab_file="extra.tiktoken")
    assert tokenizer.decode([151851]) == "一只猫\n" and len(tokenizer) == 151852
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = qwen7b.hf.QWenTokenizer.from_pretrained(tmp_path / "saved")
    assert saved.decode([151851, 151644]) == "一只猫\n<|im_start|>"


def test_a_folder_names_no_extra_tokens_elsewhere(qwen_vocabulary: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.tiktoken"
    elsewhere.write_text("5LiA5Y+q54yrCg== 151851\n")
    (tmp_path / "model").mkdir()
    shutil.copyfile(qwen_vocabulary, tmp_path / "model" / "qwen.tiktoken")
    settings = {"tokenizer_class": "QWenTokenizer", "extra_vocab_file": str(elsewhere)}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(Qwen7bError, match=r"model/elsewhere.tiktoken"):
        qwen7b.hf.QWenTokenizer.from_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer_config.json").unlink()
    named = qwen7b.hf.QWenTokenizer.from_pretrained(tmp_path / "model", extra_vocab_file=str(elsewhere))
    assert named.decode([151851]) == "一只猫\n"


def test_without_a_vocabulary_it_says_so() -> None:
    with pytest.raises(CheckpointError, match=r"qwen.tiktoken or tokenizer.json"):
        qwen7b.hf.QWenTokenizer()


def test_a_tokenizer_that_is_only_code_is_refused(qwen_chat_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(qwen_chat_folder, tmp_path / "copy")
    fields: dict[str, Any]
    for fields in ({"tokenizer_class": "EvilTokenizer"}, {}):
        fields = {**fields, "auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]}}
        (folder / "tokenizer_config.json").write_text(json.dumps(fields))
        with pytest.raises(UnsupportedError, match="never run"):
            AutoTokenizer.from_pretrained(folder, trust_remote_code=True)


OFFLINE = """
import qwen7b.hf
from transformers import AutoTokenizer
from qwen7b.errors import UnsupportedError
try:
    AutoTokenizer.from_pretrained("someone/qwen", trust_remote_code=True)
except UnsupportedError as error:
    print("refused:", error)
"""


def test_a_hub_s_tokenizer_that_is_only_code_is_refused(qwen_chat_folder: Path, tmp_path: Path) -> None:
    """From the hub's cache, as the library lays it out."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--qwen"
    folder = shutil.copytree(qwen_chat_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    fields = {"tokenizer_class": "Other", "auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    result = subprocess.run([sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True)
    assert result.stdout.startswith("refused: someone/qwen/tokenizer_config.json"), result.stdout + result.stderr


@pytest.mark.parametrize("kind", [QWenTokenizer, QWenTokenizerFast])
def test_what_a_reply_shows_is_one_rule(tmp_path: Path, kind: Any) -> None:
    """The first generation's own names are shown even where a file marks them special, as it does what looks so."""
    path = tiny.write_tokenizer_json(tmp_path / "tokenizer.json")
    document = json.loads(path.read_text())
    for name, special in (("<|extra_0|>", True), ("<think>", False), ("<|pause|>", True)):
        added = document["added_tokens"]
        added.append({**added[0], "id": added[-1]["id"] + 1, "content": name, "special": special})
    path.write_text(json.dumps(document))
    tokenizer, ours = kind(tokenizer_file=str(path)), load_tokenizer(path)
    ids = [*ours.encode("he"), *range(266, 272), *ours.encode("he")]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "he<|extra_0|><think>he"
    assert ours.decode(ids, skip_control=True) == "he<|extra_0|><think>he"
