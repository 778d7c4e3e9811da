"""Renders chat templates, which are programs in untrusted files: sandboxed, and limited in time and size.

The environment is set up as Transformers does it, so that a template says here what it says there.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, wraps
from types import FrameType
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_SECONDS = 5.0
GENERATION_MARKS = ("_generation_begins", "_generation_ends")
"""Variables that are written where a generation tag begins and ends; without them nothing is."""
MAX_TEMPLATE = 1 << 18
"""The most characters that a template may have; those of known models have fewer than 20,000."""
_MAX_WORK = 1 << 26
"""The most characters that one operation may produce, estimated from the sizes of its inputs."""
_MAX_WRITTEN, _MAX_GROWTH = 1 << 20, 4
"""The most characters that a template may write: for an empty conversation, and for each character of a longer one."""
_SHORT_CONVERSATION = 4096
"""A conversation of at most this many characters is short: no sound template takes long for it."""
_LIST_FILTERS = frozenset(
    [
        *("attr", "batch", "count", "d", "default", "dictsort", "first", "groupby", "items", "last", "length", "list"),
        *("map", "max", "min", "random", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort"),
        *("sum", "unique"),
    ]
)
"""The filters that do not turn a list into text."""
_MAX_FORMAT = 200
"""The most characters that a date's format may have: the C library enlarges its buffer for it again and again."""
_SLOW_FILTERS = frozenset(["striptags", "urlize"])
"""Filters whose time may grow with the square of a text's length, in one call that nothing interrupts."""
_ITEM_CHARACTERS = 16
"""An item of a list counts as this many characters."""
_FORMAT_WIDTH = re.compile(r"[%{][^%{}\sa-zA-Z]{0,9}?(\d{4,})")


class RaisedByTemplate(TemplateError):
    """A template refused a conversation in its own words."""


def render(source: str, variables: Mapping[str, Any]) -> str:
    """Render a template. Raises RaisedByTemplate, or any other exception for a template that is broken."""
    if len(source) > MAX_TEMPLATE:
        raise SecurityError(f"it has {len(source)} characters, more than the {MAX_TEMPLATE} that are rendered")
    compiled = _compiled(source)  # takes time in proportion to its length
    if compiled.timeout is not None:
        raise SecurityError(compiled.timeout)
    try:
        with _Deadline(MAX_SECONDS):
            text: str = compiled.template.render(**variables)
    except _TooLong as error:
        if _text_size(variables) <= _SHORT_CONVERSATION:
            compiled.timeout = str(error)
        raise
    if len(text) > _MAX_WRITTEN + _MAX_GROWTH * _text_size(variables):
        raise SecurityError(f"it makes a prompt of {len(text):,} characters, far more than the conversation has")
    return text


def _text_size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return sum(map(_text_size, values))


class _TooLong(SecurityError):
    """A template did not end within the time limit."""


@dataclass(slots=True)
class _Compiled:
    template: Any
    timeout: str | None = None
    """The error of a template that took too long for a short conversation: it will for every other."""


@lru_cache(maxsize=8)
def _compiled(source: str) -> _Compiled:
    return _Compiled(_environment().from_string(source))


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = _BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=_check_written
    )
    environment.filters = {name: _bounded(filter, name) for name, filter in environment.filters.items()}
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _now
    return environment


class _Generation(Extension):
    """The tag around the text that a trainer learns from: its contents, between the marks if any are given."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        line = next(parser.stream).lineno
        begin, end = (nodes.Output([nodes.Name(mark, "load")]).set_lineno(line) for mark in GENERATION_MARKS)
        return [begin, *parser.parse_statements(("name:endgeneration",), drop_needle=True), end]


class _BoundedCode(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.join(")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")")


class _BoundedEnvironment(ImmutableSandboxedEnvironment):
    code_generator_class = _BoundedCode
    intercepted_binops = frozenset(["+", "*", "**", "%", "-", "//", "/"])

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join the parts that a template, a macro or a block writes."""
        written, size = [], 0
        for part in parts:
            size += len(part)
            _check_size(size)
            written.append(part)
        return "".join(written)

    def join(self, *parts: Any) -> str:
        return self.concat(str(_check_written(part)) for part in parts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("it calculates a power")
        if operator == "+":
            _check_size(_size(left) + _size(right))
        else:
            _check_work(left, right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if (wrapped := super().wrap_str_format(value)) is not None:
            _check_work(value.__self__)
        return wrapped

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        _check_work(getattr(__obj, "__self__", None), *args, *kwargs.values())
        return super().call(__context, __obj, *args, **kwargs)


def _bounded(filter: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(filter)  # keeps the attributes that tell Jinja what to pass
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _check_work(*args, *kwargs.values())
        if name in _SLOW_FILTERS:
            _check_work(*args, *args)
        if name not in _LIST_FILTERS:
            for value in args:
                _check_written(value)
        return filter(*args, **kwargs)

    return bounded


def _check_written(value: Any) -> Any:
    """Return a value that is to be written, or refuse it if its text is too long, as that of nested lists can be."""
    pending, size = [value], 0
    while pending and isinstance(pending[-1], (list, tuple, dict, str)):
        part = pending.pop()
        size += len(part)
        _check_size(16 * size)
        if isinstance(part, dict):
            pending += [*part.values()]
        elif not isinstance(part, str):
            pending += part
        while pending and not isinstance(pending[-1], (list, tuple, dict, str)):
            pending.pop()
    return value


def _check_work(*values: Any) -> None:
    work = 1
    for value in values:
        work *= max(_size(value), 1)
    _check_size(work)


def _check_size(size: int) -> None:
    if size > _MAX_WORK:
        raise SecurityError("it makes too long a text")


def _size(value: Any) -> int:
    """The size of a value or, for a number, the size that it can ask for."""
    if isinstance(value, (int, float)):
        return int(min(abs(value), _MAX_WORK + 1))
    if isinstance(value, str):  # a format string holds numbers, too
        return max([len(value), *(int(digits[:12]) for digits in _FORMAT_WIDTH.findall(value))])
    if isinstance(value, tuple):
        return max([len(value), *map(_size, value)])
    if isinstance(value, (list, dict)):
        return _ITEM_CHARACTERS * len(value)
    return len(value) if isinstance(value, bytes) else 1


def _now(format: str) -> str:
    if len(format) > _MAX_FORMAT:
        raise SecurityError(f"it asks for a date in a format of {len(format)} characters")
    return datetime.now().strftime(format)


def _raise_exception(message: object) -> None:
    raise RaisedByTemplate(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    _check_work(indent)
    _check_written(value)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _Deadline:
    """Ends a template that runs too long: a trace function checks the clock at each line of Python.

    A thread cannot be stopped from outside, and an alarm works in the main thread only.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._end = time.monotonic() + self._seconds
        self._previous_trace = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._previous_trace)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if time.monotonic() > self._end:
            raise _TooLong(f"it runs for more than {self._seconds:g} seconds")
        return self._trace
