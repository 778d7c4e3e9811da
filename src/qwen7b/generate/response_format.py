"""What a reply must look like: a JSON schema, a regular expression or a grammar, read from what a caller gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwen7b.errors import SettingError, quoted

ResponseFormat = Mapping[str, Any] | type
"""A JSON schema, a pydantic model class, or {"type": …} as OpenAI's API has it: json_schema with "json_schema" (name,
schema, strict), json_object and text; beside these regex with "regex", and grammar with "grammar"."""

_FORMS = {"text": None, "json_object": None, "json_schema": "json_schema", "regex": "regex", "grammar": "grammar"}
"""The forms by their type, each with the name of the field that holds its content."""
_SCHEMA_FIELDS = {"name", "description", "schema", "strict"}


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The reply is JSON that satisfies a schema."""

    schema: Mapping[str, Any]
    lenient: bool = False
    """True where keywords that cannot be promised are left out with a warning, instead of refused."""


@dataclass(frozen=True, slots=True)
class Regex:
    """The whole reply matches a regular expression, in the syntax of Rust's regex crate."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Lark:
    """The reply is a sentence of a grammar in llguidance's variant of Lark."""

    text: str


Constraint = JsonSchema | Regex | Lark


def read_response_format(value: object) -> Constraint | None:
    """Read a `ResponseFormat`; None for text without a constraint. Raises SettingError.

    >>> read_response_format({"type": "regex", "regex": "yes|no"})
    Regex(pattern='yes|no')
    """
    if value is None:
        return None
    if isinstance(value, type) and callable(schema_of := getattr(value, "model_json_schema", None)):
        try:
            return JsonSchema(_close(schema_of()))
        except Exception as error:  # whatever a model class of the caller raises
            raise SettingError(f"response_format {value.__name__} has no JSON schema: {error}") from error
    if not isinstance(value, Mapping):
        raise SettingError(
            f"response_format must be a JSON schema, a pydantic model class or a {{'type': ...}} of OpenAI's API, "
            f"found {quoted(value)}"
        )
    form = value.get("type")
    if not isinstance(form, str) or form not in _FORMS:
        return JsonSchema(value)
    field = _FORMS[form]
    if unknown := value.keys() - {"type", field}:
        raise SettingError(f"a response_format of type {form} has no field {quoted(min(unknown, key=str))}")
    if field is None:
        return JsonSchema({"type": "object"}) if form == "json_object" else None
    content = value.get(field)
    if form == "json_schema":
        return _read_json_schema(content)
    if not isinstance(content, str):
        raise SettingError(f"a response_format of type {form} needs a string as its {field}, found {quoted(content)}")
    return Regex(content) if form == "regex" else Lark(content)


def _read_json_schema(content: object) -> JsonSchema:
    """OpenAI's form, in which "strict": false asks to leave out what cannot be promised."""
    if not isinstance(content, Mapping) or not isinstance(content.get("schema"), Mapping):
        raise SettingError(f"json_schema in response_format must be an object with a 'schema', found {quoted(content)}")
    if unknown := content.keys() - _SCHEMA_FIELDS:
        raise SettingError(f"json_schema in response_format has no field {quoted(min(unknown, key=str))}")
    strict = content.get("strict")
    if strict not in (None, True, False):
        raise SettingError(f"strict in response_format must be true or false, found {quoted(strict)}")
    return JsonSchema(content["schema"], lenient=strict is False)


def _close(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a pydantic model, in which an object has no fields but its own unless the model asks for others."""
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    return schema
