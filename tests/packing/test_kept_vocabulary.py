"""Vocabularies kept in a form of our own: the same ones come back, and nothing that is damaged or of another source."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.packing.kept_vocabulary import CHATML, OTHER_FIELDS, SETTINGS, as_kept, from_kept
from qwen7b.text import Tokenizer, chat_prompt
from qwen7b.text.chatml import CHAT_TEMPLATE, ChatML
from qwen7b.text.tokenizer_settings import TokenizerSettings
from qwen7b.text.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def content(ours: Tokenizer) -> bytes:
    return as_kept(ours, source="here")


def rehashed(body: bytes) -> bytes:
    return hashlib.sha256(body).digest() + body


def test_a_vocabulary_comes_back(ours: Tokenizer, content: bytes) -> None:
    again = from_kept(content, source="here")
    assert again is not None and again.vocabulary == ours.vocabulary
    assert again.encode("你好 1234, hello") == ours.encode("你好 1234, hello")
    assert again.chat_format == ours.chat_format


def test_tokens_without_a_rank_or_an_id_come_back(ours: Tokenizer) -> None:
    vocabulary = replace(ours.vocabulary, ids=ours.vocabulary.ids | {b"never merged": ours.vocab_size + 7})
    del vocabulary.ids[b"a"]
    again = from_kept(as_kept(Tokenizer(vocabulary), source=""), source="")
    assert again is not None and again.vocabulary == vocabulary


TEMPLATES = [
    None,
    CHAT_TEMPLATE,
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}<|im_end|>{% endfor %}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_settings_and_chat_format_come_back(ours: Tokenizer, template: str | None) -> None:
    settings = TokenizerSettings(
        chat_template=template, special_tokens={"eos_token": "<|im_end|>"}, ends={"<|im_end|>": "here (eos_token)"}
    )
    tokenizer = Tokenizer(replace(ours.vocabulary, settings=settings, visible=frozenset({"<|im_start|>"})))
    again = from_kept(as_kept(tokenizer, source=""), source="")
    assert again is not None and again.vocabulary == tokenizer.vocabulary
    messages = [{"role": "user", "content": "hi"}]
    if template is None or "im_start" in template:
        assert isinstance(again.chat_format, ChatML) and again.chat_format == tokenizer.chat_format
    assert chat_prompt(again, messages) == chat_prompt(tokenizer, messages)


def test_another_source_is_not_taken(content: bytes) -> None:
    assert from_kept(content, source="there") is None


def test_damage_is_not_taken(content: bytes) -> None:
    @settings(max_examples=200)
    @given(st.integers(0, len(content) - 1), st.integers(1, 255))
    def check(position: int, change: int) -> None:
        damaged = bytearray(content)
        damaged[position] ^= change
        assert from_kept(bytes(damaged), source="here") is None
        assert from_kept(content[:position], source="here") is None

    check()
    assert from_kept(content + b"\0", source="here") is None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"num_tokens": -1},
        {"num_tokens": 10**12},
        {"num_tokens": 1.5},
        {"num_tokens": "9"},
        {"num_tokens": 3},
        {"fields": {}},
        {"fields": []},
        {"fields": {"pattern": 5}},
        {"fields": {"pattern": "("}},
        {"fields": {"nfc": None}},
        {"fields": {"source": 3}},
        {"fields": {"control_tokens": []}},
        {"fields": {"control_tokens": {"x": "3"}}},
        {"fields": {"unknown": 1}},
        {"fields": {"visible": {}}},
        {"fields": {"visible": [5]}},
        {"fields": {"settings": {}}},
        {"fields": {"settings": []}},
        {"chatml": {}},
        {"chatml": 5},
        {"chatml": {"default_system": 5, "bos": None, "by_parts": True}},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_not_taken_whoever_wrote_it(content: bytes, change: dict[str, Any]) -> None:
    line, rest = content[32:].split(b"\n", 1)
    head = json.loads(line)
    wrong = change.get("fields", {})
    changed = head | change
    if wrong:
        changed["fields"] = head["fields"] | wrong
    assert from_kept(rehashed(json.dumps(changed).encode() + b"\n" + rest), source="here") is None


@pytest.mark.parametrize("body", [b"", b"\n", b"null\n", b"[" * 100_000 + b"\n", b"\xff\n", b'{"version": 1}\n'])
def test_other_files_are_not_taken(body: bytes) -> None:
    assert from_kept(rehashed(body), source="here") is None
    assert from_kept(body, source="here") is None


def test_a_flipped_byte_anywhere_is_noticed(content: bytes) -> None:
    assert from_kept(content, source="here") is not None
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        assert from_kept(bytes(changed), source="here") is None, position


def test_every_field_is_kept() -> None:
    assert {field.name for field in fields(Vocabulary)} == {"ids", "ranks", *OTHER_FIELDS}
    assert {field.name for field in fields(TokenizerSettings)} == SETTINGS.keys()
    assert {field.name for field in fields(ChatML)} == CHATML.keys()


def test_columns_that_disagree_are_not_taken(content: bytes) -> None:
    line_end = content.index(b"\n", 32) + 1
    for change in (1, -1, 1 << 30, -(1 << 30)):
        [length] = struct.unpack_from("<i", content, line_end)
        changed = content[32:line_end] + struct.pack("<i", length + change) + content[line_end + 4 :]
        assert from_kept(rehashed(changed), source="here") is None
    twice = content[32:line_end] + content[line_end:].replace(struct.pack("<2i", 33, 34), struct.pack("<2i", 33, 33))
    assert from_kept(rehashed(twice), source="here") is None
