"""The arguments of a call as a model wrote them, read leniently."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from qwen7b.dialects.json_scan import BracketScan
from qwen7b.errors import ArgumentsError, MissingExtraError, quoted

_FENCE = re.compile(r"```[\w-]*\n(.*?)\n?```", re.DOTALL)
_OPEN_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_MAX_LENIENT = 50_000
"""The characters that are read leniently, which is slow; JSON itself may be as long as memory allows."""


def load_object(text: str) -> dict[str, Any]:
    """Read the text of a call's arguments; no text at all stands for no arguments.

    What is not JSON is read as JSON5 (trailing commas, single quotes, comments, bare keys), then as a Python
    dictionary. A fence around it and words behind it are left out. Raises ArgumentsError for anything else, for a key
    that has two different values, and MissingExtraError where json5 is needed but not installed.

    >>> load_object("{'city': 'Paris',}  // as asked")
    {'city': 'Paris'}
    """
    text = text.strip()
    if match := _FENCE.fullmatch(text):
        text = match[1].strip()
    try:
        return _checked(json.loads(text or "{}", strict=False, object_pairs_hook=_join_pairs))
    except (ValueError, RecursionError):
        pass
    written, rest = _first_object(text)
    if len(written) > _MAX_LENIENT:
        raise ArgumentsError(
            f"the arguments are {len(written)} characters that are not JSON: write a JSON object, found {quoted(text)}"
        )
    if re.search(r"[{}\[\]]", rest):
        raise ArgumentsError(f"the arguments go on after their end with {quoted(rest)}: write one JSON object")
    for load in (_load_json, _load_json5, _load_python):
        try:
            return _checked(load(written))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    raise ArgumentsError(f"the arguments cannot be read: write one JSON object, found {quoted(text)}")


def load_code(text: str) -> dict[str, Any]:
    """Read the text of a call's arguments where a tool's args_format is "code": an object that has `code`, or code.

    As the original read it: what is no such object is code, of which only what the first fence holds counts. A fence
    that a reply's end cut off ends there.

    >>> load_code("Run this:\\n```py\\n1 + 1\\n```")
    {'code': '1 + 1\\n'}
    """
    code = text
    if not text.lstrip().startswith("{") and (match := _OPEN_FENCE.search(text)):
        code = match[1]
    if code.lstrip().startswith("{"):
        with suppress(ArgumentsError, MissingExtraError):
            found = load_object(code)
            if "code" in found:
                return found
    return {"code": code}


def _first_object(text: str) -> tuple[str, str]:
    if text.startswith("{"):
        scan = BracketScan()
        end = scan.push(text)
        if end is not None and not scan.is_broken:
            return text[:end], text[end:]
    return text, ""


def _load_json(text: str) -> Any:
    return json.loads(text, strict=False, object_pairs_hook=_join_pairs)


def _load_json5(text: str) -> Any:
    try:
        import json5
    except ImportError as error:
        raise MissingExtraError("json5", extra="tools") from error
    load: Callable[..., Any] = json5.loads
    return load(text, object_pairs_hook=_join_pairs)


def _load_python(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that mean nothing
        tree = ast.parse(text.lstrip(), mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            named = [(key.value, value) for key, value in pairs if isinstance(key, ast.Constant)]
            if len(dict(named)) < len(named):
                _join_pairs([(str(key), ast.literal_eval(value)) for key, value in named])
    return json.loads(json.dumps(_checked(ast.literal_eval(tree))))  # a list for a tuple; sets and bytes are refused


def _join_pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    joined = dict(pairs)
    if len(joined) < len(pairs):
        for key, value in pairs:
            if repr(joined[key]) != repr(value):  # 1 and True are equal
                raise ArgumentsError(
                    f"the arguments say two things of {quoted(key)}, {quoted(value)} and {quoted(joined[key])}: "
                    "write each key once"
                )
    return joined


def _checked(read: object) -> dict[str, Any]:
    if not isinstance(read, dict) or not all(isinstance(key, str) for key in read):
        raise ArgumentsError(f"the arguments must be a JSON object, found {quoted(read)}")
    return read
