"""JSON schemas on their way into a grammar: what is simplified means the same, and what has no end is refused."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from qwen7b.dialects.masked_schema import write_masked_schema
from qwen7b.errors import SettingError


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


def simplified(schema: dict[str, Any]) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(write_masked_schema(schema))
    del written["x-guidance"]
    return written


def test_the_style_is_json_dumps_unless_the_schema_says_otherwise() -> None:
    style = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    assert json.loads(write_masked_schema({"type": "null"})) == {"type": "null", "x-guidance": style}
    own = {"type": "null", "x-guidance": {"whitespace_flexible": True}}
    assert json.loads(write_masked_schema(own, lenient=True))["x-guidance"] == {
        **style,
        "whitespace_flexible": True,
        "lenient": True,
    }
    assert own == {"type": "null", "x-guidance": {"whitespace_flexible": True}}


def test_nullable_is_read_where_schemas_stand_and_nowhere_else() -> None:
    value = {"enum": [{"nullable": True, "b": 2}]}
    schema = {"type": "object", "properties": {"nullable": {"type": "string", "nullable": True}, "value": value}}
    written = json.loads(write_masked_schema(schema, knows_nullable=True))
    assert written["properties"] == {"nullable": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "value": value}
    assert simplified(schema) == schema


def test_discriminated_unions_become_alternatives_that_name_their_kind() -> None:
    pet = simplified(Owner.model_json_schema())["properties"]["pet"]
    assert "oneOf" not in pet
    assert pet["anyOf"] == [
        {"$ref": "#/$defs/Cat", "required": ["lives", "kind"]},
        {"$ref": "#/$defs/Dog", "required": ["kind"]},
    ]


@pytest.mark.parametrize(
    "alternatives",
    [
        [],
        [{"type": "integer"}, {"type": "number"}],
        [{"type": "object", "properties": {"a": {"const": "x"}}}, {"type": "object", "properties": {"a": {}}}],
        [
            {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}},
            {"type": "object", "properties": {"a": {"enum": ["y"]}}},
        ],
        [
            {"properties": {"a": {"const": "x"}}},
            {"properties": {"a": {"const": "y"}}},
        ],  # anything but an object is both
        [
            {"type": "object", "properties": {"a": {"const": 1}}},
            {"type": "object", "properties": {"a": {"const": True}}},
        ],
        [{"$ref": "#/oneOf/1"}, {"type": "null"}],
        3,
        [3],
    ],
)
def test_alternatives_that_may_overlap_stay_as_they_are(alternatives: Any) -> None:
    assert simplified({"oneOf": alternatives}) == {"oneOf": alternatives}


def test_names_and_values_are_not_taken_for_keywords() -> None:
    schema = {
        "type": "object",
        "properties": {"uniqueItems": {"type": "boolean"}, "properties": {"type": "array", "items": [1]}},
        "const": {"uniqueItems": False, "oneOf": []},
        "required": ["$ref"],
        "description": "城市",
    }
    assert simplified(schema) == schema
    assert simplified({"items": {"anyOf": [{"uniqueItems": False}]}, "uniqueItems": True}) == {
        "items": {"anyOf": [{}]},
        "uniqueItems": True,
    }


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
ENDLESS: list[dict[str, Any]] = [
    {"$ref": "#"},
    {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "array", "items": {"$ref": "#/$defs/a~1b"}, "minItems": 1}}},
    {"type": "array", "prefixItems": [{"$ref": "#"}], "minItems": 1},
    {"anyOf": [{"$ref": "#/$defs/node"}, {"allOf": [{"type": "object"}, {"$ref": "#"}]}], "$defs": {"node": NODE}},
]
ENDING: list[dict[str, Any]] = [
    {},
    {"$ref": "#/missing"},
    {"$ref": "https://example.com/a.json#/b"},
    {"type": "object", "properties": {"child": {"$ref": "#"}}},
    {"type": ["object", "null"], "properties": {"child": {"$ref": "#"}}, "required": ["child"]},
    {"type": "array", "items": {"$ref": "#"}},
    {"type": "array", "prefixItems": [{"type": "null"}, {"$ref": "#"}], "minItems": 1},
    {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}], "$defs": {"node": NODE}},
    {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/more"}}, "required": ["left", "right"]},
            "more": {"oneOf": [{"$ref": "#/$defs/tree"}, {"const": "leaf"}]},
        },
    },
]


@pytest.mark.parametrize("schema", ENDLESS)
def test_a_schema_that_requires_itself_without_end_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="requires itself again without end"):
        write_masked_schema(schema)


@pytest.mark.parametrize("schema", ENDING)
def test_a_schema_that_comes_to_an_end_is_taken(schema: dict[str, Any]) -> None:
    assert simplified(schema) == schema
