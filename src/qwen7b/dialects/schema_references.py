"""The parts of a JSON schema, what its references lead to, and whether they ever come to an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]

_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_COMBINED = ("allOf", "anyOf", "oneOf")
_IN_LISTS = (*_COMBINED, "prefixItems")
_SINGLE = ("items", "additionalProperties")


def map_parts(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """A schema in which each schema that stands directly in it is changed."""

    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, dict) else value

    mapped = dict(schema)
    for key, value in schema.items():
        if key in _BY_NAME and isinstance(value, dict):
            mapped[key] = {name: changed(part) for name, part in value.items()}
        elif key in _IN_LISTS and isinstance(value, list):
            mapped[key] = [*map(changed, value)]
        elif key in _SINGLE:
            mapped[key] = changed(value)
    return mapped


def resolve(schema: Schema, root: Schema) -> Schema:
    """What a schema's "$ref" leads to within the root, in one step or many; anything else as it is."""
    seen = set[str]()
    while isinstance(ref := schema.get("$ref"), str) and ref not in seen and (target := _find(ref, root)) is not None:
        seen.add(ref)
        schema = target
    return schema


def has_end(root: Schema) -> bool:
    """Whether something finite satisfies a schema, as far as its references and what they require go.

    References are taken to be endless until what they lead to is seen to end without those that still are.
    """
    targets = {ref: target for ref in _references(root) if (target := _find(ref, root)) is not None}
    endless = {*targets}
    while ending := {ref for ref in endless if _ends(targets[ref], endless)}:
        endless -= ending
    return _ends(root, endless)


def _find(ref: str, root: Schema) -> Schema | None:
    """The schema at a JSON pointer within the root; None where there is none, or where it leads elsewhere."""
    document, *steps = ref.split("/")
    found: object = root if document == "#" else None
    for step in steps:
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _references(schema: Schema) -> Iterator[str]:
    if isinstance(ref := schema.get("$ref"), str):
        yield ref
    parts: list[Schema] = []
    map_parts(schema, lambda part: parts.append(part) or part)  # type: ignore[func-returns-value]
    for part in parts:
        yield from _references(part)


def _ends(schema: object, endless: set[str]) -> bool:
    if not isinstance(schema, dict):
        return True
    required: list[object] = []
    names, properties = schema.get("required"), schema.get("properties")
    if schema.get("type") == "object" and isinstance(names, list) and isinstance(properties, dict):
        required = [properties[name] for name in names if isinstance(name, str) and name in properties]
    elif schema.get("type") == "array" and isinstance(count := schema.get("minItems", 0), int):
        first = schema.get("prefixItems", [])
        required = [*first[:count], *([schema.get("items")] if count > len(first) else [])]
    together, *choices = (listed if isinstance(listed := schema.get(key), list) else [] for key in _COMBINED)
    return (
        schema.get("$ref") not in endless
        and all(_ends(part, endless) for part in [*required, *together])
        and all(any(_ends(part, endless) for part in alternatives) for alternatives in choices if alternatives)
    )
