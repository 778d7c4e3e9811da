"""A schema by pydantic as plain as models saw schemas in training: the way Transformers writes it, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

_REF = "#/$defs/"
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_FIRST = ("type", "enum", "items", "prefixItems", "additionalProperties", "properties", "required", "anyOf")
_LAST = ("nullable", "description", "$defs")


def simplify_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out titles, defaults and what says nothing; write unions and choices as Transformers does.

    A definition is put in where it is used, unless it is used twice, or by itself.
    """
    definitions = schema.get("$defs", {})
    uses = Counter(_references(schema))
    inlined = {
        name: definition
        for name, definition in definitions.items()
        if "enum" in definition or "const" in definition or (uses[name] == 1 and not _reaches(name, name, definitions))
    }
    kept = {name: definition for name, definition in definitions.items() if name not in inlined}
    plain = _simplify({key: value for key, value in schema.items() if key != "$defs"}, inlined)
    if kept:
        plain["$defs"] = {name: _simplify(definition, inlined) for name, definition in kept.items()}
    return plain


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(name := value.get("$ref"), str) and name.startswith(_REF):
            yield name.removeprefix(_REF)
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _reaches(start: str, name: str, definitions: Mapping[str, Any]) -> bool:
    """Whether a definition refers to this name, in one step or many."""
    seen, waiting = set[str](), [start]
    while waiting:
        for found in _references(definitions.get(waiting.pop(), {})):
            if found == name:
                return True
            if found not in seen:
                seen.add(found)
                waiting.append(found)
    return False


def _simplify(schema: Mapping[str, Any], inlined: Mapping[str, Any]) -> dict[str, Any]:
    name = str(schema.get("$ref", "")).removeprefix(_REF)
    if name in inlined:
        own = {key: value for key, value in schema.items() if key != "$ref"}
        definition = inlined[name]
        hidden = {"description"} if "enum" in definition or "const" in definition else set()
        return _simplify({**{key: definition[key] for key in definition.keys() - hidden}, **own}, inlined)
    plain = {key: value for key, value in schema.items() if key not in ("title", "default", "const", "anyOf")}
    if "const" in schema:
        plain["enum"] = [schema["const"]]
    if "properties" in plain:
        plain["properties"] = {key: _simplify(value, inlined) for key, value in plain["properties"].items()}
    if "prefixItems" in plain:
        plain["prefixItems"] = [_simplify(each, inlined) for each in plain["prefixItems"]]
    for key in ("items", "additionalProperties"):
        if isinstance(plain.get(key), Mapping):
            plain[key] = _simplify(plain[key], inlined)
        if plain.get(key) in ({}, True):
            del plain[key]
    if "anyOf" in schema:
        plain |= _join([_simplify(each, inlined) for each in schema["anyOf"]])
    if "enum" in plain and "type" not in plain:
        types = [*dict.fromkeys(_TYPES[type(value)] for value in plain["enum"] if type(value) in _TYPES)]
        plain["type"] = types[0] if len(types) == 1 else types
    return _in_order(plain)


def _join(members: list[dict[str, Any]]) -> dict[str, Any]:
    """A union; null among its members becomes OpenAPI's "nullable"."""
    others = [member for member in members if member != {"type": "null"}]
    if len(others) == 1:
        joined = others[0]
    elif all(member.keys() == {"type"} and isinstance(member["type"], str) for member in others):
        types = sorted({member["type"] for member in others})
        joined = {"type": types[0] if len(types) == 1 else types}
    else:
        joined = {"anyOf": others}
    return {**joined, "nullable": True} if len(others) < len(members) else joined


def _in_order(schema: dict[str, Any]) -> dict[str, Any]:
    first = [key for key in _FIRST if key in schema]
    last = [key for key in _LAST if key in schema]
    middle = [key for key in schema if key not in (*first, *last)]
    return {key: schema[key] for key in (*first, *middle, *last)}
