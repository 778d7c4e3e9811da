"""What a model is told of a tool: its name, what it is for, and what arguments it takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen7b.dialects.function_schema import function_schema
from qwen7b.errors import SettingError, quoted

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A JSON schema of an object, or the original's list of {"name", "description", "required", "schema"}."""

JSON_HINT = "Format the arguments as a JSON object."
CODE_HINT = "Enclose the code within triple backticks (`) at the beginning and end of the code."
"""What the original's demo and Qwen-Agent ask a tool's arguments to be, by its `args_format`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolDefinition:
    """A tool as a dialect describes it to the model.

    name         the name by which the model calls it
    description  what it is for; "" where nothing is said
    parameters   as given; None for a tool that takes no arguments
    human_name   the name that people know it by, where it has another: the original's `name_for_human`
    args_format  "json" or "code": what the original's demo asks the arguments to be; None where nothing is said
    strict       True where calls must be held to all that the parameters say, as OpenAI's field of that name asks
    openai       the tool as OpenAI's API has it, where it was given so: templates show models every key of that
    """

    name: str
    description: str = ""
    parameters: Parameters | None = None
    human_name: str | None = None
    args_format: str | None = None
    strict: bool = False
    openai: Mapping[str, Any] | None = field(default=None, compare=False)

    @property
    def takes_code(self) -> bool:
        """Whether the arguments are code in a fence rather than JSON; as in Qwen-Agent, a code_interpreter's are."""
        return self.args_format == "code" or (self.args_format is None and self.name == "code_interpreter")

    @property
    def written_parameters(self) -> str:
        """The parameters as they were given, as JSON on one line."""
        return json.dumps(self.schema if self.parameters is None else self.parameters, ensure_ascii=False)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        if self.parameters is None:
            return {"type": "object", "properties": {}}
        if isinstance(self.parameters, Mapping):
            return {**self.parameters}
        properties = {
            each["name"]: {**each.get("schema", {}), "description": each.get("description", "")}
            for each in self.parameters
        }
        required = [each["name"] for each in self.parameters if each.get("required")]
        return {"type": "object", "properties": properties, "required": required}


def read_definitions(tools: Sequence[object]) -> list[ToolDefinition]:
    """Read tools in OpenAI's form, as its bare functions, in the original's form (`name_for_model`), or as functions.

    A function is described as `function_schema` says. An object may say by itself what it offers, in an attribute
    `definition` or, as a server of many tools, `definitions`. Raises SettingError for anything else, and for two tools
    of one name.
    """
    found = [definition for place, tool in enumerate(listed_tools(tools)) for definition in _read_all(tool, place)]
    for name, count in Counter(definition.name for definition in found).items():
        if count > 1:
            raise SettingError(f"{count} tools have the name {quoted(name)}: give each its own")
    return found


def listed_tools(tools: object) -> Sequence[object]:
    """The tools themselves. Raises SettingError where they are no list."""
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Sequence):
        raise SettingError(f"tools must be a list, found {quoted(tools)}")
    return tools


def openai_form(tool: ToolDefinition) -> Mapping[str, Any]:
    """A tool as OpenAI's API describes it: as it was given, where it was given so."""
    if tool.openai is not None:
        return tool.openai
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


def _read_all(tool: object, place: int) -> Sequence[ToolDefinition]:
    """The definitions of a tool, or of all tools of a set."""
    if isinstance(own := getattr(tool, "definition", None), ToolDefinition):
        return [own]
    several = getattr(tool, "definitions", None)
    if isinstance(several, (list, tuple)) and all(isinstance(each, ToolDefinition) for each in several):
        return several
    return [_read(tool, place)]


def _read(tool: object, place: int) -> ToolDefinition:
    if isinstance(tool, ToolDefinition):
        return tool
    if callable(tool) and not isinstance(tool, Mapping):
        return ToolDefinition(**function_schema(tool))
    openai = None
    if isinstance(tool, Mapping) and tool.get("type") == "function" and isinstance(tool.get("function"), Mapping):
        openai, tool = tool, tool["function"]
    if not isinstance(tool, Mapping):
        raise SettingError(f"tools[{place}] must be a function, or one in JSON's form, found {quoted(tool)}")
    name = tool.get("name_for_model") or tool.get("name")
    description = tool.get("description_for_model") or tool.get("description") or ""
    parameters, args_format = tool.get("parameters"), tool.get("args_format")
    if not isinstance(name, str) or not name.strip() or "\n" in name:
        raise SettingError(f"tools[{place}] must have a 'name' of one line, found {quoted(name)}")
    if not isinstance(description, str):
        raise SettingError(f"the description of the tool {name} must be a string, found {quoted(description)}")
    human_name = tool.get("name_for_human") or None
    if human_name is not None and not isinstance(human_name, str):
        raise SettingError(f"name_for_human of the tool {name} must be a string, found {quoted(human_name)}")
    if args_format not in (None, "json", "code"):
        raise SettingError(f"args_format of the tool {name} must be 'json' or 'code', found {quoted(args_format)}")
    if (strict := tool.get("strict")) is not None and not isinstance(strict, bool):
        raise SettingError(f"strict of the tool {name} must be true or false, found {quoted(strict)}")
    _check_parameters(name, tool)
    return ToolDefinition(
        name=name.strip(),
        description=description,
        parameters=parameters,
        human_name=human_name,
        args_format=args_format,
        strict=strict is True,
        openai=openai,
    )


def _check_parameters(name: str, tool: Mapping[str, Any]) -> None:
    parameters = tool.get("parameters")
    try:
        json.dumps(tool)
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingError(f"the parameters of the tool {name} cannot be written as JSON: {error}") from error
    if parameters is None or (isinstance(parameters, Mapping) and parameters.get("type", "object") == "object"):
        return
    listed = parameters if isinstance(parameters, Sequence) and not isinstance(parameters, str) else (None,)
    if all(map(_is_parameter, listed)):
        return
    raise SettingError(
        f"the parameters of the tool {name} must be a JSON schema of an object, or a list of parameters with a "
        f"'name' each and a JSON object as 'schema', found {quoted(parameters)}"
    )


def _is_parameter(value: object) -> bool:
    """Whether a value is a parameter in the original's form."""
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("name"), str) and isinstance(value.get("schema", {}), Mapping)
