"""The tools of a chat's call: which are offered, how the model may choose, and whether its calls are constrained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypedDict

from qwen7b.config.checked import flag
from qwen7b.dialects import Dialect, ToolChoice, ToolDefinition, read_definitions
from qwen7b.dialects.lark import arguments, called_tools
from qwen7b.errors import MissingExtraError, SettingError, quoted
from qwen7b.generate.grammar import Grammar, GrammarCompiler
from qwen7b.generate.response_format import Lark

_NAME = "the tools' arguments"


class ToolSettings(TypedDict, total=False):
    """The keywords of `Qwen.chat` and the like that are about tools; None or absent means the default."""

    tools: Sequence[object] | None
    """The tools that the reply may call: Python functions, functions in OpenAI's form or the original's, MCP servers
    and other `qwen7b.tools.ToolSource`s. None are run: `qwen7b.Agent` does that."""
    tool_choice: ToolChoice | Mapping[str, object] | None
    """Whether the reply calls tools: "auto" leaves it to the model, "required" demands a call, and the name of a tool,
    also as OpenAI's {"type": "function", "function": {"name": …}}, one of it. With "none" the model is told of none."""
    parallel_tool_calls: bool | None
    """Whether a reply may make several calls; True by default. Else it ends with its first."""
    constrain_calls: bool | None
    """Whether calls are held to the tools' names and schemas, by masks; needs qwen7b[tools]. By default they are where
    that is installed, and what masks cannot promise of a schema is left out with a warning; True refuses it, and so
    does "strict": true in a tool of OpenAI's form."""
    dialect: str | Dialect | None
    """How tools are described and calls are written, by name or as it is; by default the model's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OfferedTools:
    """The tools that a reply may call; none where nothing is offered."""

    definitions: tuple[ToolDefinition, ...] = ()
    choice: ToolChoice = "auto"
    parallel: bool = True
    constrain: bool | None = None

    def grammar(self, dialect: Dialect, compiler: GrammarCompiler) -> Grammar | None:
        """The grammar of the replies; None where calls are free. Raises SettingError for what cannot be promised."""
        if not self.definitions or self.constrain is False:
            return None
        compiled = partial(self._compiled, dialect=dialect, compiler=compiler)
        try:
            try:
                grammar = compiled(self.definitions)
            except SettingError:
                return compiled([self._promised(tool, compiler) for tool in self.definitions])
        except MissingExtraError as error:
            if self.constrain:
                raise
            warnings.warn(f"calls of tools are not held to the tools' schemas: {error}", stacklevel=5)
            return None
        for ignored in grammar.ignored:
            warnings.warn(f"{_NAME}: {ignored}", stacklevel=5)
        return grammar

    def _compiled(self, tools: Sequence[ToolDefinition], *, dialect: Dialect, compiler: GrammarCompiler) -> Grammar:
        written = dialect.grammar(tools, choice=self.choice, parallel=self.parallel)
        return compiler.compile(Lark(written), name=_NAME)

    def _promised(self, tool: ToolDefinition, compiler: GrammarCompiler) -> ToolDefinition:
        """The tool with as much of its schema as masks can promise. Raises SettingError where that must be all."""
        for way in (tool,) if self.constrain else (tool, _lenient(tool)):
            try:
                alone = compiler.compile(Lark(f"%llguidance {{}}\nstart: {arguments(way)}"), name="its arguments")
            except SettingError as error:
                refusal = error
            else:
                for ignored in alone.ignored:
                    warnings.warn(f"the tool {quoted(tool.name)}: its arguments: {ignored}", stacklevel=6)
                return way
        if self.constrain:
            raise SettingError(f"the tool {quoted(tool.name)}: {refusal}") from refusal
        warnings.warn(f"calls of the tool {quoted(tool.name)} are held to no schema: {refusal}", stacklevel=6)
        return replace(tool, parameters={"type": "object"})


def read_tool_settings(settings: ToolSettings) -> OfferedTools:
    """Check the settings about tools. Raises SettingError."""
    tools, parallel, constrain = map(settings.get, ("tools", "parallel_tool_calls", "constrain_calls"))
    definitions = () if tools is None else tuple(read_definitions(tools))  # type: ignore[arg-type]
    choice = _read_choice(settings.get("tool_choice"))
    for name, value in (("parallel_tool_calls", parallel), ("constrain_calls", constrain)):
        if value is None:
            continue
        flag(name, value)
        if not definitions:
            raise SettingError(f"{name}={value} is of no use without tools: give some, or leave it out")
    if not definitions and choice in ("auto", "none"):
        return OfferedTools()
    called_tools(definitions, choice)  # raises for a name that is none of theirs
    if choice == "none":
        return OfferedTools()
    if constrain is None and any(definition.strict for definition in definitions):
        constrain = True
    return OfferedTools(
        definitions=definitions,
        choice=choice,
        parallel=parallel is not False,
        constrain=constrain,  # type: ignore[arg-type]
    )


def _read_choice(choice: object) -> ToolChoice:
    if choice is None:
        return "auto"
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) and choice.get("type") == "function" else None
    else:
        name = choice
    if not isinstance(name, str):
        raise SettingError(
            "tool_choice must be 'auto', 'none', 'required', a tool's name or {'type': 'function', 'function': "
            f"{{'name': …}}}}, found {quoted(choice)}"
        )
    return name


def _lenient(definition: ToolDefinition) -> ToolDefinition:
    """The tool with what a grammar cannot promise of its schema left out, of which llguidance tells."""
    guidance = definition.schema.get("x-guidance", {})
    if not isinstance(guidance, Mapping):
        return definition
    return replace(definition, parameters={**definition.schema, "x-guidance": {**guidance, "lenient": True}})
