"""Settings as TOML and back: a frozen dataclass is a table, and its fields' documentation the comments.

Alternatives are types: where a field may be one of several dataclasses, the table's `kind` names one by its `KIND`.
TOML has no null: a field that is None is left out, and is shown as a comment.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import textwrap
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from qwen7b.errors import MissingExtraError, SettingError, quoted
from qwen7b.system.regular_file import named_text

T = TypeVar("T")
_COMMENT_WIDTH = 100


def read_recipe(path: Path, kind: type[T]) -> T:
    """The recipe in a file, as a dataclass of this kind.

    Raises SettingError for what is no TOML, for an unknown setting, with the nearest known name, for a value of
    another type and for what the dataclass itself refuses.
    """
    return settings_from(read_table(path), kind, source=str(path))


def read_table(path: Path) -> dict[str, Any]:
    """The settings in a file, whatever they are. Raises SettingError for what is no TOML."""
    try:
        return tomllib.loads(named_text(path))
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path} is not valid TOML: {error}") from None


def settings_from(table: Mapping[str, Any], kind: type[T], *, source: str, name: str = "") -> T:
    """The settings in a table; `name` is the table's own, for messages."""
    where = f"{source}, [{name}]" if name else source
    hints, fields = typing.get_type_hints(kind), dataclasses.fields(kind)  # type: ignore[arg-type]
    known = [field.name for field in fields]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            advice = f"did you mean {near[0]}?" if near else f"it knows {', '.join(known)}"
            raise SettingError(f"{where} has the unknown setting {quoted(key)}: {advice}")
    for field in fields:
        is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_required and field.name not in table:
            about = field_docs(kind).get(field.name, "")
            raise SettingError(f"{where} does not say {field.name}{f' ({first_sentence(about)})' if about else ''}")
    values = {key: _value(value, hints[key], where=where, key=key, name=name) for key, value in table.items()}
    try:
        return kind(**values)
    except SettingError as error:
        raise SettingError(f"{where}: {error}") from None


def _value(value: Any, hint: Any, *, where: str, key: str, name: str) -> Any:
    """A value of a field's type. A whole number is taken where a float is meant, but nothing else is converted."""
    kinds = [kind for kind in _alternatives(hint) if kind is not type(None)]
    tables: list[Any] = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    if tables:
        if not isinstance(value, dict):
            raise SettingError(f"{where}: {key} must be a table, found {quoted(value)}")
        path = f"{name}.{key}" if name else key
        source = where.partition(", [")[0]
        if len(tables) == 1:
            return settings_from(value, tables[0], source=source, name=path)
        by_kind = {kind.KIND: kind for kind in tables}
        rest = dict(value)
        chosen = rest.pop("kind", None)
        if chosen not in by_kind:
            raise SettingError(
                f"{source}, [{path}]: kind must be one of {', '.join(map(repr, by_kind))}, found {quoted(chosen)}"
            )
        return settings_from(rest, by_kind[chosen], source=source, name=path)
    (kind,) = kinds
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingError(f"{where}: {key} must be a list, found {quoted(value)}")
        return tuple(_value(item, arguments[0], where=where, key=key, name=name) for item in value)
    if origin is typing.Literal:
        if value not in arguments:
            choices = ", ".join(map(repr, arguments))
            raise SettingError(f"{where}: {key} must be one of {choices}, found {quoted(value)}")
        return value
    value = _as_float(value, kind)
    if type(value) is not kind:
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text in quotes"}
        raise SettingError(f"{where}: {key} must be {names[kind]}, found {quoted(value)}")
    return value


def _as_float(value: Any, hint: Any) -> Any:
    """A value of a field of this type; where a float is meant a whole number is one, so that 16 is 16.0."""
    return float(value) if type(value) is int and float in _alternatives(hint) else value


def _alternatives(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def recipe_text(settings: Any) -> str:
    """The TOML of a recipe, with the documentation of every field before it."""
    try:
        import tomlkit
    except ImportError as error:
        raise MissingExtraError("tomlkit", extra="train") from error
    document = tomlkit.document()
    for line in textwrap.wrap(inspect.getdoc(type(settings)) or "", _COMMENT_WIDTH):
        document.add(tomlkit.comment(line))
    _fill_table(document, settings)
    return tomlkit.dumps(document)


def _fill_table(table: Any, settings: Any) -> None:
    import tomlkit

    docs, fields = field_docs(type(settings)), dataclasses.fields(settings)
    hints = typing.get_type_hints(type(settings))
    if hasattr(settings, "KIND"):
        table.add("kind", settings.KIND)
    plain = [field for field in fields if not dataclasses.is_dataclass(getattr(settings, field.name))]
    for field in [*plain, *(field for field in fields if field not in plain)]:
        value = getattr(settings, field.name)
        is_table = dataclasses.is_dataclass(value)
        if is_table:
            table.add(tomlkit.nl())
        for line in textwrap.wrap(docs.get(field.name, ""), _COMMENT_WIDTH):
            table.add(tomlkit.comment(line))
        if is_table:
            inner = tomlkit.table()
            _fill_table(inner, value)
            table.add(field.name, inner)
        elif value is None:
            table.add(tomlkit.comment(f"{field.name} ="))
        else:
            table.add(field.name, list(value) if isinstance(value, tuple) else _as_float(value, hints[field.name]))


def field_docs(kind: type) -> dict[str, str]:
    """The docstrings that stand below a dataclass's fields, in one line each."""
    docs = field_docs(kind.__base__) if kind.__base__ and dataclasses.is_dataclass(kind.__base__) else {}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    for statement, after in zip(definition.body, definition.body[1:], strict=False):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and is_text:
            docs[statement.target.id] = " ".join(str(after.value.value).split())  # type: ignore[attr-defined]
    return docs


def first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".")
