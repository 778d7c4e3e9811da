"""Arguments as models write them: read leniently, never guessed at."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen7b.dialects.arguments import load_object
from qwen7b.errors import ArgumentsError, MissingExtraError

pytest.importorskip("json5", reason="needs json5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        (" \n", {}),
        ("{}", {}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": [1, 2,], }', {"a": [1, 2]}),
        ("{'a': 'it\\'s'}", {"a": "it's"}),
        ("{a: 1, // one\n b: 0x10}", {"a": 1, "b": 16}),
        ("{'a': True, 'b': None, 'c': (1, 2), 'd': '\\d'}", {"a": True, "b": None, "c": [1, 2], "d": "\\d"}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n{"a": 1}```', {"a": 1}),
        ('{"a": 1} <!-- as asked -->', {"a": 1}),
        ('{"a": "}"}\nThis is it.', {"a": "}"}),
        ('{"a": 1, "a": 1}', {"a": 1}),
        ('{"城市": "北京"}', {"城市": "北京"}),
        ('{"": {"a.b": {}}}', {"": {"a.b": {}}}),
    ],
)
def test_what_a_model_means_is_read(text: str, expected: dict[str, Any]) -> None:
    assert load_object(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Paris", "the arguments cannot be read: write one JSON object, found 'Paris'"),
        ("[1]", r"the arguments must be a JSON object, found \[1\]"),
        ('"a"', "must be a JSON object, found 'a'"),
        ("null", "must be a JSON object, found None"),
        ("{1: 2}", "the arguments cannot be read|must be a JSON object"),
        ('{"a": ', "cannot be read"),
        ('{"a": 1}{"a": 2}', "the arguments go on after their end"),
        ('{"a": 1}}', "the arguments go on after their end with '}'"),
        ('{"a": 1, "b": 2, "a": 3}', "the arguments say two things of 'a', 1 and 3: write each key once"),
        ("{'a': {'b': 1, 'b': 2}}", "two things of 'b', 1 and 2"),
        ("{'a': True, 'a': 2}", "two things of 'a', True and 2"),
        ("{'c': None, 'a': {'b': (1, 2), 'b': 2}}", r"two things of 'b', \(1, 2\) and 2"),
        ('{"a": 1, "a": true}', "two things of 'a', 1 and True"),
        ("{f(x): 1}", "cannot be read"),
        ("{[1]: 2}", "cannot be read"),
        ("{'a': {1, 2}}", "cannot be read"),
        ("{'a': b'x'}", "cannot be read"),
        ('{{"a": 1}}', "cannot be read"),
        ("{" * 100_000, "are 100000 characters that are not JSON"),
        ('{"a":' * 20_000 + "1" + "}" * 20_000, "are .* characters that are not JSON|cannot be read"),
        ("{'a': '" + "x" * 60_000 + "'}", "are 60009 characters that are not JSON"),
        ('{"a": ' + "9" * 10_000 + "}", "cannot be read"),
    ],
    ids=range(22),
)
def test_what_cannot_be_read_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ArgumentsError, match=message) as caught:
        load_object(text)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_megabytes_of_json_are_read() -> None:
    value = {"rows": ["x" * 1000] * 3000}
    assert load_object(json.dumps(value)) == value


def test_without_json5_only_json_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "json5", None)
    assert load_object('{"a": 1} or so') == {"a": 1}
    with pytest.raises(MissingExtraError, match="json5 is not installed"):
        load_object("{'a': 1}")


# JSON5 knows Python's escapes but for the eight digits of higher planes.
words = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(words, values, max_size=3), st.booleans())
def test_json_and_python_are_both_read_back(value: dict[str, Any], as_python: bool) -> None:
    assert load_object(repr(value) if as_python else json.dumps(value)) == value


@given(st.text(st.sampled_from("{}[]\"'\\:,ab1 \n/*#`<"), max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ArgumentsError):
        assert isinstance(load_object(text), dict)
