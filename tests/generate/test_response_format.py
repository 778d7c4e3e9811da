"""What a caller may give as response_format, and what is said of the rest."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel

from qwen7b.errors import SettingError
from qwen7b.generate.response_format import JsonSchema, Lark, Regex, read_response_format

SCHEMA = {"type": "object", "properties": {"城市": {"type": "string"}}}


class City(BaseModel):
    name: str


class Open(BaseModel, extra="allow"):
    name: str


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonSchema({"type": "object"})),
        (SCHEMA, JsonSchema(SCHEMA)),
        (MappingProxyType(SCHEMA), JsonSchema(SCHEMA)),
        ({}, JsonSchema({})),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}, JsonSchema(SCHEMA)),
        (
            {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": False, "description": "d"}},
            JsonSchema(SCHEMA, lenient=True),
        ),
        ({"type": "regex", "regex": "a|b"}, Regex("a|b")),
        ({"type": "grammar", "grammar": 'start: "a"'}, Lark('start: "a"')),
        (City, JsonSchema(City.model_json_schema() | {"additionalProperties": False})),
        (Open, JsonSchema(Open.model_json_schema())),
    ],
)
def test_what_a_caller_may_give(given: Any, expected: object) -> None:
    assert read_response_format(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "must be a JSON schema, a pydantic model class or"),
        ("json", "found 'json'"),
        (City(name="x"), "must be a JSON schema"),
        (int, "found <class 'int'>"),
        ({"type": "regex"}, "needs a string as its regex, found None"),
        ({"type": "regex", "regex": 3}, "needs a string as its regex, found 3"),
        ({"type": "regex", "regex": "a", "flags": "i"}, "type regex has no field 'flags'"),
        ({"type": "text", "schema": {}}, "type text has no field 'schema'"),
        ({"type": "json_schema"}, "must be an object with a 'schema', found None"),
        ({"type": "json_schema", "schema": {}}, "has no field 'schema'"),
        ({"type": "json_schema", "json_schema": {"schema": True}}, "must be an object with a 'schema'"),
        ({"type": "json_schema", "json_schema": {"schema": {}, "strict": "yes"}}, "strict in response_format must be"),
        ({"type": "json_schema", "json_schema": {"schema": {}, "stirct": True}}, "has no field 'stirct'"),
    ],
)
def test_what_is_refused(given: Any, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        read_response_format(given)
    assert message in str(caught.value)
