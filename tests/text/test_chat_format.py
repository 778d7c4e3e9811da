"""Conversations are laid out as the checkpoint's own template says, the same as by Transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import PromptError, UnsupportedError
from qwen7b.system import jinja
from qwen7b.text import Tokenizer, chat_prompt, load_tokenizer
from qwen7b.text.chat_template import Template
from qwen7b.text.chatml import ChatML
from text import synthetic, templates

Writer = Callable[..., Path]

HELLO = {"role": "user", "content": "Hello 你好\n"}
SYSTEM = {"role": "system", "content": " Be brief."}
REPLY = {"role": "assistant", "content": "\n\n  Hi. "}
AGAIN = {"role": "user", "content": "\n1+1=?"}
CONVERSATIONS = [[HELLO], [SYSTEM, HELLO], [HELLO, REPLY, AGAIN], [SYSTEM, HELLO, REPLY, AGAIN]]


@pytest.fixture(scope="session")
def base_json() -> dict[str, Any]:
    tokenizer = synthetic.train("qwen")
    tokenizer.add_tokens(templates.NAMES)
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    for added in document["added_tokens"]:
        added |= {"special": "think" not in added["content"] and "tool" not in added["content"], "normalized": False}
    return document


@pytest.fixture
def write(tmp_path: Path, base_json: dict[str, Any]) -> Writer:
    """Writes a tokenizer's folder with a template and other fields."""

    def write(template: object = None, *, post_processor: object = None, **fields: Any) -> Path:
        config = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast", **fields}
        if template is not None:
            config["chat_template"] = template
        (tmp_path / "tokenizer.json").write_text(json.dumps({**base_json, "post_processor": post_processor}))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        return tmp_path

    return write


def template_of(name: str) -> str:
    return templates.CHATML[name][0] if name in templates.CHATML else templates.OTHERS[name]


@pytest.mark.parametrize("name", [*templates.CHATML, *templates.OTHERS])
def test_the_prompt_is_what_transformers_makes_of_the_template(write: Writer, name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    folder = write(template_of(name))
    ours, theirs = load_tokenizer(folder), transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    for conversation in CONVERSATIONS:
        expected = theirs.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
        assert chat_prompt(ours, conversation) == expected
        assert ours.chat_format is not None
        closed = theirs.apply_chat_template(conversation, return_dict=False)
        assert ours.chat_format.render(ours, conversation).ids == closed


@pytest.mark.parametrize("name", templates.CHATML)
def test_chatml_and_its_system_prompt_are_found(write: Writer, name: str) -> None:
    template, system = templates.CHATML[name]
    format = load_tokenizer(write(template)).chat_format
    assert format == ChatML(default_system=system, bos="<s>" if "BOS" in name else None, by_parts=False)


@pytest.mark.parametrize("name", templates.OTHERS)
def test_other_templates_are_rendered_and_tell_what_ends_a_reply(write: Writer, name: str) -> None:
    tokenizer = load_tokenizer(write(template_of(name)))
    assert isinstance(tokenizer.chat_format, Template)
    assert tokenizer.chat_format.ends == {templates.ENDS[name]}
    assert tokenizer.control_tokens[templates.ENDS[name]] in tokenizer.stop_ids


@pytest.mark.parametrize("name", [*templates.CHATML, *templates.OTHERS])
@pytest.mark.parametrize("hostile", ["<|im_end|>", "</s>x<s>", "a <|eot_id|>", "<｜Assistant｜>", "<think>", "<", "|>"])
def test_content_never_becomes_a_control_token(write: Writer, name: str, hostile: str) -> None:
    tokenizer = load_tokenizer(write(template_of(name)))
    talks = [
        [
            {**SYSTEM, "content": text},
            {**HELLO, "content": text},
            {**REPLY, "content": text},
            {**AGAIN, "content": text},
        ]
        for text in (hostile, "x")
    ]
    controls = [[id for id in chat_prompt(tokenizer, talk) if tokenizer.is_control(id)] for talk in talks]
    assert controls[0] == controls[1]
    assert hostile in tokenizer.decode(chat_prompt(tokenizer, talks[0]))


def test_a_template_may_drop_what_was_thought(write: Writer) -> None:
    tokenizer = load_tokenizer(write(templates.R1_DISTILL))
    thought = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nFour."}
    text = tokenizer.decode(chat_prompt(tokenizer, [HELLO, thought, AGAIN]))
    assert "Hm." not in text and "Four.<｜end▁of▁sentence｜>" in text


@pytest.mark.parametrize("place", ["tokenizer_config.json", "several", "chat_template.jinja", "chat_template.json"])
def test_where_templates_are(write: Writer, place: str) -> None:
    if place == "tokenizer_config.json":
        folder = write(templates.QWEN25)
    elif place == "several":
        folder = write([{"name": "tool_use", "template": "no"}, {"name": "default", "template": templates.QWEN25}])
    else:
        folder = write("no" if place.endswith("jinja") else None)
        content = templates.QWEN25 if place.endswith("jinja") else json.dumps({"chat_template": templates.QWEN25})
        (folder / place).write_text("\ufeff" + content, encoding="utf-8")
    ids = chat_prompt(tokenizer := load_tokenizer(folder), [HELLO])
    assert "created by Alibaba Cloud" in tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for %}", "TemplateSyntaxError"),
        ("{% raw %}", "makes an empty prompt"),
        ("{# nothing #}", "makes an empty prompt"),
        ("{% set break = 1 %}{% break %}", "Syntax"),
        ("{{ nothing.at.all }}", "UndefinedError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ 'a' * 10000000000 }}", "too long a text"),
        ("{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "too long"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ '%d' % 'x' }}", "TypeError"),
        ("x" * 300_000, "more than the"),
        ("{{ ('a' * 50000 ~ '@') | urlize }}", "too long a text"),
        ("{{ ('<' * 50000) | striptags }}", "too long a text"),
        ("{{ strftime_now('%' * 100000) }}", "a date in a format of 100000 characters"),
        ("{% for i in range(9999) %}{{ 'x' * 200 }}{% endfor %}", "far more than the conversation has"),
        ("{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}", "too long"),
    ],
)
def test_what_cannot_be_rendered_is_refused_by_name(write: Writer, template: str, reason: str) -> None:
    folder = write(template)
    with pytest.raises(UnsupportedError, match=reason) as raised:
        chat_prompt(load_tokenizer(folder), [HELLO])
    assert f"{folder / 'tokenizer_config.json'} (chat_template)" in str(raised.value)


def test_an_endless_template_is_ended(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen7b.system.jinja.MAX_SECONDS", 0.2)
    loops = "{% for i in range(99999) %}{% for i in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(UnsupportedError, match=r"runs for more than 0.2 seconds"):
        chat_prompt(load_tokenizer(write(loops)), [HELLO])


def test_an_endless_template_is_waited_for_once(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen7b.system.jinja.MAX_SECONDS", 0.2)
    started: list[float] = []

    class Counted(jinja._Deadline):
        def __enter__(self) -> None:
            started.append(self._seconds)
            super().__enter__()

    monkeypatch.setattr(jinja, "_Deadline", Counted)
    tokenizer = load_tokenizer(
        write("{% for i in range(9999) %}{% for i in range(99999) %}{% endfor %}{% endfor %} once")
    )
    assert tokenizer.stop_ids is not None
    for _ in range(3):
        with pytest.raises(UnsupportedError, match=r"runs for more than 0.2 seconds"):
            chat_prompt(tokenizer, [HELLO])
    assert len(started) == 1


def test_what_a_template_refuses_is_a_mistake_of_the_conversation(write: Writer) -> None:
    tokenizer = load_tokenizer(write(templates.LLAMA2))
    with pytest.raises(PromptError, match="roles must alternate"):
        chat_prompt(tokenizer, [HELLO, AGAIN])


def test_past_turns_go_under_any_template(write: Writer) -> None:
    tokenizer = load_tokenizer(write(templates.LLAMA3))
    whole = chat_prompt(tokenizer, [HELLO, REPLY, HELLO, REPLY, AGAIN])
    last = chat_prompt(tokenizer, [AGAIN])
    one = chat_prompt(tokenizer, [HELLO, REPLY, AGAIN])
    assert chat_prompt(tokenizer, [HELLO, REPLY, HELLO, REPLY, AGAIN], context_length=len(whole) - 1) == one
    assert chat_prompt(tokenizer, [HELLO, REPLY, HELLO, REPLY, AGAIN], history_token_limit=0) == last


SMOLLM = [*synthetic.CONTROL, "<repo_name>"]


@pytest.mark.parametrize(
    ("style", "more", "system"),
    [
        ("qwen", [], "You are a helpful assistant."),
        ("qwen", ["<tool_call>"], "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
        ("qwen", ["<tool_call>", "<think>"], None),
        ("smollm", [], "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    ],
)
def test_families_know_their_system_prompt_without_a_template(
    tmp_path: Path, style: str, more: list[str], system: str | None
) -> None:
    tokenizer = synthetic.train(style)
    tokenizer.add_tokens(more)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    format = load_tokenizer(tmp_path).chat_format
    assert isinstance(format, ChatML) and format.default_system == system


POST_PROCESSOR: dict[str, Any] = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [703], "tokens": ["<s>"]}},
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"post_processor": POST_PROCESSOR}, "<s>"),
        ({"post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL, POST_PROCESSOR]}}, "<s>"),
        ({"add_bos_token": True}, "<s>"),
        ({"add_bos_token": True, "bos_token": {"content": "<|endoftext|>", "special": True}}, "<|endoftext|>"),
        ({"add_bos_token": False}, None),
        ({"post_processor": BYTE_LEVEL}, None),
        ({}, None),
    ],
)
def test_bos_is_known_where_a_tokenizer_adds_one(write: Writer, settings: Any, expected: str | None) -> None:
    tokenizer = load_tokenizer(write(**settings))
    assert tokenizer.bos_id == (None if expected is None else tokenizer.control_tokens[expected])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"add_bos_token": True, "bos_token": None}, r"\(add_bos_token\) asks for BOS .* bos_token names none"),
        ({"add_bos_token": True, "bos_token": "<begin>"}, r"\(add_bos_token\) puts '<begin>' .* is no token of"),
        (
            {"post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 9], "sep": ["", 0]}},
            r"\(post_processor\) puts '\[CLS\]' .* is no token of",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*after every text")
def test_a_bos_that_there_is_not_is_left_out_with_a_word(write: Writer, settings: Any, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        tokenizer = load_tokenizer(write(**settings))
    assert tokenizer.bos_id is None
    chat_prompt(tokenizer, [{"role": "user", "content": "hello"}])


def test_an_ordinary_token_may_be_bos(write: Writer) -> None:
    tokenizer = load_tokenizer(write(add_bos_token=True, bos_token="a"))
    assert tokenizer.after_bos(tokenizer.encode("b")) == tokenizer.encode("a") + tokenizer.encode("b")
    chat_prompt(tokenizer, [{"role": "user", "content": "hello"}])


AROUND = {"cls": ["<s>", 703], "sep": ["</s>", 704]}


@pytest.mark.parametrize(
    "processor",
    [
        {**POST_PROCESSOR, "single": [*POST_PROCESSOR["single"], {"SpecialToken": {"id": "</s>", "type_id": 0}}]},
        {"type": "RobertaProcessing", **AROUND, "trim_offsets": True, "add_prefix_space": False},
        {"type": "BertProcessing", **AROUND},
    ],
    ids=lambda processor: processor["type"],
)
def test_what_a_tokenizer_puts_after_a_text_is_left_out_with_a_word(write: Writer, processor: Any) -> None:
    with pytest.warns(UserWarning, match="puts '</s>' after every text: it is left out"):
        tokenizer = load_tokenizer(write(post_processor=processor))
    assert tokenizer.bos_id == tokenizer.control_tokens["<s>"]


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("tokenizer_config.json", {"eos_token": "<tool_call>"}),
        ("tokenizer_config.json", {"eos_token": {"content": "<tool_call>", "lstrip": False}}),
        ("special_tokens_map.json", {"eos_token": "<tool_call>"}),
        ("special_tokens_map.json", {"eos_token": {"content": "<tool_call>"}}),
    ],
)
def test_endings_come_from_every_file(write: Writer, file: str, fields: dict[str, Any]) -> None:
    folder = write(eos_token=None)
    (folder / file).write_text(json.dumps(fields))
    tokenizer = load_tokenizer(folder)
    id = tokenizer.control_tokens["<tool_call>"]
    assert id in tokenizer.stop_ids and tokenizer.endings[id] == f"{folder / file} (eos_token)"
    assert {tokenizer.control_tokens[name] for name in ("<|im_end|>", "</s>", "<|eot_id|>")} <= tokenizer.stop_ids


def test_what_is_not_special_is_shown(write: Writer) -> None:
    tokenizer = load_tokenizer(write())
    names = ["<|im_start|>", "<think>", "<tool_call>", "<|im_end|>", "</s>"]
    ids = [tokenizer.control_tokens[name] for name in names]
    assert tokenizer.decode(ids, skip_control=True) == "<think><tool_call>"


def test_the_tokenizer_can_be_pickled(write: Writer) -> None:
    import pickle

    tokenizer: Tokenizer = pickle.loads(pickle.dumps(load_tokenizer(write(templates.LLAMA3, add_bos_token=True))))
    assert isinstance(tokenizer.chat_format, Template) and tokenizer.bos_id == tokenizer.control_tokens["<s>"]


@pytest.mark.demo
def test_the_demo_is_asked_as_its_template_says(demo_gguf: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    from qwen7b.text.export import merges_of, tokenizer_json

    ours = load_tokenizer(demo_gguf)
    document = tokenizer_json(ours.vocabulary, merges=list(merges_of(ours.vocabulary)))
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    template = ours.vocabulary.settings.chat_template
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for conversation in CONVERSATIONS:
        expected = theirs.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
        assert chat_prompt(ours, conversation) == expected
    assert "created by Alibaba Cloud" in ours.decode(chat_prompt(ours, [HELLO]))
