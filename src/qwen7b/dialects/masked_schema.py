"""A JSON schema as llguidance is to read it: for JSON on one line, and with less that it would have to refuse.

https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from qwen7b.dialects.schema_references import Schema, has_end, map_parts, resolve
from qwen7b.errors import SettingError, counted, quoted

_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as `json.dumps` writes it, and as models saw it in training: there are fewer ways, so more tokens are forced."""
_OPTIONS = {*_STYLE, "whitespace_pattern", "coerce_one_of", "lenient"} | {
    "json_allowed_escapes",
    "json_allow_general_unicode_escapes",
}
_MAX_PROPERTIES = 2000
"""The most properties of one object: the time to compile them grows with their square, and is seconds from here on."""


def write_masked_schema(schema: Mapping[str, Any], *, lenient: bool = False, knows_nullable: bool = False) -> str:
    """A schema as JSON for llguidance. Its own "x-guidance" goes before the usual style.

    lenient         leaves out what cannot be promised, with a warning
    knows_nullable  reads OpenAPI's "nullable", which functions' schemas have and JSON schema does not know

    Raises SettingError for a schema that is not JSON, is too large, or requires itself without end.
    """
    try:
        root = json.loads(json.dumps(schema, allow_nan=False, default=_as_mapping))
        guidance = root.pop("x-guidance", {})
        root = _with_null(root) if knows_nullable else root
        simple = _simplify(root, root=root)
        ends = has_end(root)
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"a JSON schema cannot be read ({error}): correct it") from error
    if not ends:
        raise SettingError("a JSON schema requires itself again without end: make that property optional")
    if not isinstance(guidance, dict) or not _OPTIONS.issuperset(guidance):
        raise SettingError(
            f"x-guidance in a JSON schema must be an object of {', '.join(sorted(_OPTIONS))}, found {quoted(guidance)}"
        )
    style = {**_STYLE, **guidance, **({"lenient": True} if lenient else {})}
    return json.dumps({**simple, "x-guidance": style}, ensure_ascii=False)


def _as_mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"found {quoted(value)}")


def _with_null(schema: Schema) -> Schema:
    """The same schema with OpenAPI's "nullable" in JSON schema's own words."""
    plain = map_parts({key: value for key, value in schema.items() if key != "nullable"}, _with_null)
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


def _simplify(schema: Schema, *, root: Schema) -> Schema:
    """Write a oneOf whose alternatives exclude each other as anyOf, and leave out uniqueItems where it is false."""
    properties = schema.get("properties")
    if isinstance(properties, dict) and len(properties) > _MAX_PROPERTIES:
        raise SettingError(
            f"a JSON schema has {counted(len(properties), 'property', 'properties')} in one object, more than the "
            f"{_MAX_PROPERTIES} that replies can follow: leave some out"
        )
    simple = map_parts(schema, partial(_simplify, root=root))
    if simple.get("uniqueItems") is False:
        del simple["uniqueItems"]
    if (exclusive := _told_apart(simple.get("oneOf"), root)) and "anyOf" not in simple:
        simple = {key: value for key, value in simple.items() if key != "oneOf"} | {"anyOf": exclusive}
    return simple


def _told_apart(alternatives: object, root: Schema) -> list[Schema]:
    """Objects that a property tells apart, as in pydantic's discriminated unions, each with it required; else none."""
    if not isinstance(alternatives, list) or not all(isinstance(each, dict) for each in alternatives):
        return []
    resolved = [resolve(each, root) for each in alternatives]
    if not all(each.get("type") == "object" and isinstance(each.get("properties"), dict) for each in resolved):
        return []
    for name in resolved[0]["properties"] if resolved else ():
        values = [_strings_of(each["properties"].get(name)) for each in resolved]
        if all(values) and sum(map(len, values)) == len(frozenset().union(*values)):
            required = [dict.fromkeys([*each.get("required", ()), name]) for each in resolved]
            return [{**each, "required": [*names]} for each, names in zip(alternatives, required, strict=True)]
    return []


def _strings_of(schema: object) -> frozenset[str]:
    """The strings that are all that a schema allows; none where it allows anything else."""
    if not isinstance(schema, dict):
        return frozenset()
    values = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return frozenset(values if all(isinstance(each, str) for each in values) else ())
