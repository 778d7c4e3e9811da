"""A part of Python that only calls tools, evaluated as transformers 4.31 evaluates what its agents write.

It is a script for the sandbox: nothing is imported but the standard library, and of a task it is told as JSON. Code is
walked as a syntax tree, and never run: there are values, variables, calls of tools and of a few functions, lists and
dictionaries, indices, f-strings, `if` and `for`. Tools are no more than sentences about what they were given.
"""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class NotSupportedError(ValueError):
    """The code has what this part of Python lacks. Evaluation stops there, and keeps the last value before."""


def main(task: str) -> None:
    """Print which of a task's answers the code comes to, by its number, and which stands among a dictionary's values.

    A task has `code`, the `answers` as code, the `inputs` by name, and the `tools`.
    """
    told = json.loads(task)

    def evaluated(code: str) -> Any:
        return result_of(code, told["tools"], dict(told["inputs"]))

    found, right = evaluated(told["code"]), [evaluated(answer) for answer in told["answers"]]
    inside = list(found.values()) if isinstance(found, dict) else []
    verdict = {
        "equal": next((number for number, answer in enumerate(right) if found == answer), None),
        "inside": next((number for number, answer in enumerate(right) if answer in inside), None),
    }
    print(json.dumps(verdict))


def result_of(code: str, tools: Sequence[Mapping[str, Any]], state: dict[str, Any]) -> Any:
    """The last value of some code that is not None; None where it raises."""
    functions: dict[str, Callable[..., Any]] = {
        **{"range": range, "float": float, "int": int, "bool": bool, "str": str},
        "print": lambda *values, **settings: None,  # what is printed here is the verdict
        **{tool["name"]: tool_function(tool) for tool in tools if tool["name"] in code},
    }
    try:
        body = ast.parse(code).body
        result = None
        for statement in body:
            try:
                value = _Evaluator(functions, state).evaluate(statement)
            except NotSupportedError:
                break
            result = result if value is None else value
        return result
    except Exception:
        return None


def tool_function(tool: Mapping[str, Any]) -> Callable[..., str]:
    """A function of the tool's parameters, whose defaults make some of them optional."""
    names, defaults = list(tool["parameters"]), tool.get("defaults", {})

    def call(*arguments: Any, **keywords: Any) -> str:
        given = dict(zip(names, arguments, strict=False))
        if len(arguments) > len(names) or keywords.keys() & given.keys() or keywords.keys() - set(names):
            raise TypeError(f"{tool['name']} takes {names}")
        given = {**defaults, **given, **keywords}
        if missing := [name for name in names if name not in given]:
            raise TypeError(f"{tool['name']} lacks {missing}")
        for name, word in tool.get("needs", {}).items():
            if word not in given[name]:
                raise ValueError(f"{name} is no {word}")
        return str(tool["returns"].format(**given))

    return call


class _Evaluator:
    """Walks a syntax tree; variables are in `state`."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]], state: dict[str, Any]) -> None:
        self.functions = functions
        self.state = state

    def evaluate(self, node: Any) -> Any:
        way = getattr(self, f"_{type(node).__name__.lower()}", None)
        if way is None:
            raise NotSupportedError(f"{type(node).__name__} is not supported")
        return way(node)

    def _all(self, nodes: Sequence[Any]) -> list[Any]:
        return [self.evaluate(node) for node in nodes]

    def _last(self, nodes: Sequence[Any]) -> Any:
        result = None
        for value in map(self.evaluate, nodes):
            result = result if value is None else value
        return result

    def _assign(self, node: Any) -> Any:
        value = self.evaluate(node.value)
        if len(node.targets) == 1:
            self.state[node.targets[0].id] = value
            return value
        if len(value) != len(node.targets):
            raise NotSupportedError(f"{len(node.targets)} values are needed, found {len(value)}")
        for target, own in zip(node.targets, value, strict=True):  # of `a = b = value`, as the original has it
            self.state[target.id] = own
        return value

    def _call(self, node: Any) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id not in self.functions:
            raise NotSupportedError("only tools can be called")
        arguments = self._all(node.args)
        keywords: Any = {keyword.arg: self.evaluate(keyword.value) for keyword in node.keywords}
        return self.functions[node.func.id](*arguments, **keywords)

    def _constant(self, node: Any) -> Any:
        return node.value

    def _dict(self, node: Any) -> Any:
        return dict(zip(self._all(node.keys), self._all(node.values), strict=True))

    def _expr(self, node: Any) -> Any:
        return self.evaluate(node.value)

    def _formattedvalue(self, node: Any) -> Any:
        return self.evaluate(node.value)  # how it is to be formatted is left out

    def _joinedstr(self, node: Any) -> str:
        return "".join(map(str, self._all(node.values)))

    def _list(self, node: Any) -> list[Any]:
        return self._all(node.elts)

    def _name(self, node: Any) -> Any:
        if node.id in self.state:
            return self.state[node.id]
        if near := difflib.get_close_matches(node.id, list(self.state)):
            return self.state[near[0]]
        raise NotSupportedError(f"{node.id} is not defined")

    def _subscript(self, node: Any) -> Any:
        index, value = self.evaluate(node.slice), self.evaluate(node.value)
        if isinstance(value, (list, tuple)):
            return value[int(index)]
        if index in value:
            return value[index]
        is_named = isinstance(index, str) and isinstance(value, Mapping)
        if is_named and (near := difflib.get_close_matches(index, list(value))):
            return value[near[0]]
        raise NotSupportedError(f"there is no {index!r}")

    def _if(self, node: Any) -> Any:
        return self._last(node.body if self._holds(node.test) else node.orelse)

    def _holds(self, test: Any) -> Any:
        if len(test.ops) > 1:
            raise NotSupportedError("a condition has one comparison")
        left, right = self.evaluate(test.left), self.evaluate(test.comparators[0])
        comparisons: dict[type, Callable[[], Any]] = {
            ast.Eq: lambda: left == right,
            ast.NotEq: lambda: left != right,
            ast.Lt: lambda: left < right,
            ast.LtE: lambda: left <= right,
            ast.Gt: lambda: left > right,
            ast.GtE: lambda: left >= right,
            ast.Is: lambda: left is right,
            ast.IsNot: lambda: left is not right,
            ast.In: lambda: left in right,
            ast.NotIn: lambda: left not in right,
        }
        return comparisons[type(test.ops[0])]()

    def _for(self, node: Any) -> Any:
        result = None
        for item in self.evaluate(node.iter):
            self.state[node.target.id] = item
            value = self._last(node.body)
            result = result if value is None else value
        return result
