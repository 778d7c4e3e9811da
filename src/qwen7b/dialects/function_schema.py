"""What a model is told of a Python function: a JSON schema from its type hints, and descriptions from its docstring."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from qwen7b.dialects.plain_schema import simplify_schema
from qwen7b.errors import MissingExtraError, SettingError

_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


def function_schema(function: Callable[..., object]) -> dict[str, Any]:
    """Describe a function as OpenAI's API does: its "name", "description" and "parameters".

    The docstring may follow Google, NumPy or reST, or describe nothing. A parameter may be anything that pydantic can
    put into a schema, nested dataclasses and models included, and `Annotated[…, Field(description=…)]` describes it
    too. Methods that are bound, partials and async functions are functions; a pydantic model is one of its fields.
    Equal to Transformers' `get_json_schema` where that takes the function, less its "return", which no model is asked
    for. Raises SettingError where a parameter cannot be described, and MissingExtraError without pydantic.

    >>> def weather(city: str, days: int = 1) -> str:
    ...     '''Look up the weather.
    ...
    ...     Args:
    ...         city: Where, as in "Paris".
    ...     '''
    >>> function_schema(weather)["parameters"]["properties"]
    {'city': {'type': 'string', 'description': 'Where, as in "Paris".'}, 'days': {'type': 'integer'}}
    """
    try:
        import docstring_parser
        import pydantic
    except ImportError as error:
        raise MissingExtraError(error.name or "pydantic", extra="tools") from error
    target = _unwrap(function)
    name = getattr(target, "__name__", type(target).__name__)
    if name == "<lambda>":
        raise SettingError("a lambda has no name that a model could call it by: write a function with def")
    is_model = isinstance(target, type) and issubclass(target, pydantic.BaseModel)
    if isinstance(target, type) and not is_model:
        raise SettingError(f"{name} is a class: give a function, or one of its methods with its object, as in thing.do")
    docstring = docstring_parser.parse(inspect.getdoc(target) or "")
    if is_model:
        parameters = _schema_of(name, lambda: target.model_json_schema())
    else:
        fields = _read_fields(function, name)
        parameters = _schema_of(name, lambda: pydantic.create_model("Arguments", **fields).model_json_schema())
    parameters.pop("description", None)  # which is that of the whole tool
    for parameter in docstring.params:
        if (described := parameters["properties"].get(parameter.arg_name)) is not None:
            _describe(described, re.sub(r"\s*\n+\s*", " ", (parameter.description or "").strip()))
    return {"name": name, "description": (docstring.description or "").strip(), "parameters": parameters}


def _unwrap(function: object) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _read_fields(function: Callable[..., object], name: str) -> dict[str, Any]:
    """A field for each parameter that the model is to give. Names may be any: pydantic sees them as aliases only."""
    from pydantic import Field

    try:
        hints = get_type_hints(_with_hints(_unwrap(function)), include_extras=True)
        parameters = inspect.signature(function).parameters
    except (NameError, TypeError, ValueError) as error:
        raise SettingError(f"the signature of the tool {name} cannot be read: {error}") from error
    given = function.keywords if isinstance(function, functools.partial) else {}
    fields = {}
    for place, (key, parameter) in enumerate(parameters.items()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise SettingError(
                f"the tool {name} has the parameter {str(parameter).partition(':')[0]}, and a model gives every "
                "argument by name: list the parameters one by one, without * or /"
            )
        if key in given:
            continue
        if key not in hints:
            raise SettingError(
                f"the parameter {key} of the tool {name} has no type hint: give it one, as in {key}: str"
            )
        default = ... if parameter.default is parameter.empty else None
        fields[f"field_{place}"] = (hints[key], Field(default, alias=key))
    return fields


def _with_hints(target: Any) -> Any:
    """The object itself, or the method that is called where it is called."""
    return target if inspect.isroutine(target) else type(target).__call__


def _schema_of(name: str, make_schema: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    from pydantic.errors import PydanticUserError

    try:
        schema = simplify_schema(make_schema())
    except PydanticUserError as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise SettingError(f"the parameters of the tool {name} have no JSON schema: {reason}") from error
    schema.setdefault("properties", {})
    return schema


def _describe(schema: dict[str, Any], description: str) -> None:
    """Add a docstring's description, and the choices at its end, which Transformers reads as well."""
    if match := _CHOICES.search(description):
        try:
            schema["enum"] = [each.strip() if isinstance(each, str) else each for each in json.loads(match[1])]
            description = description[: match.start()].strip()
        except (ValueError, TypeError):
            pass
    if description:
        schema.pop("description", None)
        schema["description"] = description
