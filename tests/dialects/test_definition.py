"""Tools as programs describe them, in OpenAI's form and in the original's, and what is wrong with others."""

from __future__ import annotations

import pytest

from qwen7b.dialects.definition import ToolDefinition, read_definitions
from qwen7b.errors import SettingError

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ROUND: dict[str, object] = {"type": "object"}
ROUND["properties"] = {"self": ROUND}
ORIGINAL = [{"name": "city", "description": "城市名", "required": True, "schema": {"type": "string"}}]


def test_every_form_says_the_same() -> None:
    bare = {"name": "weather", "description": "天气", "parameters": SCHEMA}
    expected = ToolDefinition(name="weather", description="天气", parameters=SCHEMA)
    assert read_definitions([bare]) == read_definitions([{"type": "function", "function": bare}]) == [expected]
    assert read_definitions([expected]) == [expected]


def test_the_original_form_keeps_its_list_and_has_a_schema() -> None:
    (tool,) = read_definitions(
        [
            {
                "name_for_model": "weather",
                "name_for_human": "天气",
                "description_for_model": "查询天气",
                "parameters": ORIGINAL,
                "args_format": "json",
            }
        ]
    )
    assert (tool.name, tool.human_name, tool.parameters, tool.args_format) == ("weather", "天气", ORIGINAL, "json")
    assert tool.schema == {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "城市名"}},
        "required": ["city"],
    }


def test_a_tool_may_take_no_arguments() -> None:
    (tool,) = read_definitions([{"name": "now"}])
    assert tool.schema == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ("weather", "tools must be a list, found 'weather'"),
        ({"name": "weather"}, "tools must be a list"),
        ([3], r"tools\[0\] must be a function, or one in JSON's form, found 3"),
        ([{"description": "?"}], r"tools\[0\] must have a 'name' of one line, found None"),
        ([{"name": "a\nb"}], "of one line"),
        ([{"name": "a", "description": 3}], "the description of the tool a must be a string, found 3"),
        ([{"name": "a", "parameters": "city"}], "the parameters of the tool a must be a JSON schema of an object"),
        ([{"name": "a", "parameters": {"type": "string"}}], "a JSON schema of an object"),
        ([{"name": "a", "parameters": [{"schema": {}}]}], "a list of parameters with a 'name' each"),
        ([{"name": "a", "parameters": [{"name": "q", "schema": "string"}]}], "a JSON object as 'schema', found"),
        ([{"type": "function", "function": {"name": "a", "x": object()}}], "the tool a cannot be written"),
        (
            [{"name": "a", "parameters": {"type": "object", "x": object()}}],
            "the tool a cannot be written",
        ),
        (
            [{"name": "a", "parameters": ROUND}],
            "cannot be written as JSON: Circular reference",
        ),
        ([{"name": "a", "name_for_human": 3}], "name_for_human of the tool a must be a string, found 3"),
        ([{"name": "a", "args_format": "xml"}], "args_format of the tool a must be 'json' or 'code', found 'xml'"),
        ([{"name": "a", "strict": "yes"}], "strict of the tool a must be true or false, found 'yes'"),
        ([{"name": "a"}, {"name": "b"}, {"name": "a"}], "2 tools have the name 'a': give each its own"),
    ],
)
def test_what_is_no_list_of_tools_is_refused_by_name(tools, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        read_definitions(tools)
