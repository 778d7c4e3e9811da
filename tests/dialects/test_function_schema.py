"""Python functions as tools: what a model is told of them, and which cannot be told."""

from __future__ import annotations

import enum
import functools
import json
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest

from qwen7b.dialects import ToolDefinition, read_definitions
from qwen7b.dialects.function_schema import function_schema
from qwen7b.errors import MissingExtraError, SettingError

pydantic = pytest.importorskip("pydantic", reason="needs pydantic")
pytest.importorskip("docstring_parser", reason="needs docstring-parser")


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def basic(text: str, count: int, ratio: float, flag: bool, values: list, mapping: dict) -> str:  # type: ignore[type-arg]
    """Do a thing.

    It goes on here,
    in several lines.

    Args:
        text: A text
            that goes on.
        count: A number: of things
        ratio (float): A share
        flag: Yes or no
        values: Several
        mapping: By name

    Returns:
        A text.
    """
    raise NotImplementedError


def nested(
    rows: list[list[int]],
    sizes: dict[str, float],
    maybe: int | None,
    either: int | str,
    any_of: int | str | None,
    mixed: list[int] | str,
    names: list[str] | None = None,
    table: dict[str, list[int]] = {},  # noqa: B006
) -> dict[str, int]:
    """Do a thing

    Args:
        rows: r
        sizes: s
        maybe: m
        either: e
        any_of: a
        mixed: x
        names: n
        table: t
    """
    raise NotImplementedError


def chosen(
    mode: Literal["fast", "slow"],
    one: Literal["only"],
    number: Literal[1, "two", None],
    unit: Unit,
    level: Level = Level.LOW,
    drink: str = "tea",
    other: Unit | None = None,
) -> None:
    """Choose.

    Args:
        mode: a
        one: b
        number: c
        unit: d
        level: e
        drink: f (choices: ["tea", "coffee"])
        other: g
    """


def nothing() -> None:
    """Take nothing."""


def 天气(城市: str, 天数: int = 3) -> str:
    """查询天气。

    Args:
        城市: 城市名，例如“兰州”
        天数: 天数
    """
    raise NotImplementedError


class Thing:
    def do(self, name: str) -> None:
        """Do it.

        Args:
            name: what
        """

    @classmethod
    def make(cls, name: str) -> None:
        """Make it.

        Args:
            name: what
        """

    def __call__(self, name: str) -> None:
        """Call it."""


async def later(name: str) -> None:
    """Do it later.

    Args:
        name: what
    """


def decorated(name: str) -> None:
    """Do it well.

    Args:
        name: what
    """


@functools.wraps(decorated)
def wrapper(*args: Any, **kwargs: Any) -> None:
    return decorated(*args, **kwargs)


SHARED = [basic, nested, chosen, nothing, 天气, Thing().do, Thing.make, later, wrapper]
"""Functions that Transformers can describe, too."""


@pytest.mark.parametrize("function", SHARED, ids=lambda function: function.__name__)
def test_what_transformers_describes_is_described_alike(function: Any) -> None:
    utils = pytest.importorskip("transformers.utils", reason="needs transformers")
    expected = utils.get_json_schema(function)["function"]
    expected.pop("return", None)  # a model is not asked for it
    assert json.dumps(function_schema(function)) == json.dumps(expected)


GOOGLE = """Find a place.

    Args:
        name: Its name,
            in full.
        day: The day
    """
NUMPY = """Find a place.

    Parameters
    ----------
    name : str
        Its name,
        in full.
    day
        The day
    """
REST = """Find a place.

    :param str name: Its name,
        in full.
    :param day: The day
    :returns: nothing
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST], ids=["Google", "NumPy", "reST"])
def test_docstrings_of_every_style_are_read(docstring: str) -> None:
    def find(name: str, day: str = "today") -> None: ...

    find.__doc__ = docstring
    assert function_schema(find) == {
        "name": "find",
        "description": "Find a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Its name, in full."},
                "day": {"type": "string", "description": "The day"},
            },
            "required": ["name"],
        },
    }


def test_a_function_needs_no_docstring_and_a_field_describes_a_parameter() -> None:
    def find(
        name: Annotated[str, pydantic.Field(description="Its name", min_length=2)],
        _day: Annotated[int, pydantic.Field(ge=1)] = 1,
        json: str = "",
    ) -> None: ...

    assert function_schema(find) == {
        "name": "find",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 2, "description": "Its name"},
                "_day": {"type": "integer", "minimum": 1},
                "json": {"type": "string"},
            },
            "required": ["name"],
        },
    }


@dataclass
class Point:
    x: float
    y: float = 0.0


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


class Address(pydantic.BaseModel):  # type: ignore[misc,name-defined]
    """Where somebody lives."""

    street: str = pydantic.Field(description="with the number")
    place: Point | None = None


def test_dataclasses_and_models_are_nested() -> None:
    def move(start: Point, end: Point, home: Address, tree: Tree) -> None:
        """Move.

        Args:
            home: Back to here.
        """

    schema = function_schema(move)["parameters"]
    point = {
        "type": "object",
        "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
        "required": ["x"],
    }
    tree = {
        "type": "object",
        "properties": {
            "value": {"type": "integer"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
        },
        "required": ["value"],
    }
    assert schema == {
        "type": "object",
        "properties": {
            "start": {"$ref": "#/$defs/Point"},
            "end": {"$ref": "#/$defs/Point"},
            "home": {
                "type": "object",
                "properties": {
                    "street": {"type": "string", "description": "with the number"},
                    "place": {"$ref": "#/$defs/Point", "nullable": True},
                },
                "required": ["street"],
                "description": "Back to here.",
            },
            "tree": {"$ref": "#/$defs/Tree"},
        },
        "required": ["start", "end", "home", "tree"],
        "$defs": {"Point": point, "Tree": tree},
    }


def test_partials_hide_what_they_give() -> None:
    (tool,) = read_definitions([functools.partial(basic, "given", flag=True, mapping={})])
    assert tool.name == "basic" and [*tool.schema["properties"]] == ["count", "ratio", "values"]


def test_a_model_is_a_tool_of_its_fields() -> None:
    (tool,) = read_definitions([Address])
    assert (tool.name, tool.description) == ("Address", "Where somebody lives.")
    assert tool.schema["required"] == ["street"] and "$defs" not in tool.schema


def test_an_object_that_is_called_is_named_by_its_class() -> None:
    (tool,) = read_definitions([Thing()])
    assert (tool.name, tool.schema["required"]) == ("Thing", ["name"])


def test_forms_of_all_kinds_stand_side_by_side_and_objects_say_what_they_offer() -> None:
    one, two = ToolDefinition(name="one"), ToolDefinition(name="two")
    server, wrapped = SimpleNamespace(definitions=[one, two]), SimpleNamespace(definition=ToolDefinition(name="three"))
    names = [tool.name for tool in read_definitions([nothing, server, {"name": "math.sin"}, wrapped])]
    assert names == ["nothing", "one", "two", "math.sin", "three"]
    assert read_definitions([SimpleNamespace(definitions=[])]) == []
    with pytest.raises(SettingError, match="2 tools have the name 'one'"):
        read_definitions([one, server])


def star(*names: str) -> None: ...
def double_star(**names: str) -> None: ...
def by_position(name: str, /) -> None: ...
def unhinted(name) -> None: ...  # type: ignore[no-untyped-def]
def unknown(name: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def strange(name: object(), thing: SimpleNamespace) -> None: ...  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (star, r"the tool star has the parameter \*names, and a model gives every argument by name"),
        (double_star, r"the tool double_star has the parameter \*\*names"),
        (by_position, "the tool by_position has the parameter name"),
        (unhinted, "the parameter name of the tool unhinted has no type hint: give it one, as in name: str"),
        (unknown, "the signature of the tool unknown cannot be read: name 'Missing' is not defined"),
        (strange, "the parameters of the tool strange have no JSON schema: Unable to generate .* for <object"),
        (lambda: None, "a lambda has no name"),
        (Thing, "Thing is a class: give a function"),
        (Thing.do, "the parameter self of the tool do has no type hint"),
        (3, "found 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_a_function_that_cannot_be_described_is_refused_by_name(function: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        read_definitions([function])


@pytest.mark.parametrize("library", ["pydantic", "docstring_parser"])
def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{library} is not installed: run .*tools"):
        function_schema(nothing)
