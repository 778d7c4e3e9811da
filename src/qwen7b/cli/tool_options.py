"""The options of tools that `chat` takes, and the tools that they amount to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.errors import SettingError

if TYPE_CHECKING:
    from qwen7b.text.messages import ToolCall
    from qwen7b.tools.toolbox import Toolbox

Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        metavar="FILE.py",
        help="Let the model call the functions of a Python file, which is run; repeatable. You are asked before each "
        "call, but of functions marked by qwen7b.tools.read_only.",
        show_default=False,
    ),
]
Mcp = Annotated[
    list[str] | None,
    typer.Option(
        "--mcp",
        metavar="COMMAND|URL",
        help="Let the model call the tools of an MCP server; repeatable.",
        show_default=False,
    ),
]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Let the model run Python code, in a sandbox, after asking you.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Run all calls of tools without asking.")]
DialectName = Annotated[
    str | None,
    typer.Option("--dialect", metavar="NAME", help="How tools are described and called; by default the model's way."),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolOptions:
    """The options of tools as typed."""

    files: Sequence[str]
    servers: Sequence[str]
    allow_code: bool
    yes: bool

    def __post_init__(self) -> None:
        if self.yes and not self.are_given:
            raise SettingError("--yes runs calls of tools: give --tools, --mcp or --allow-code, or leave it out")

    @property
    def are_given(self) -> bool:
        return bool(self.files or self.servers or self.allow_code)

    @contextmanager
    def opened(self) -> Iterator[Toolbox | None]:
        """The tools, whose servers run meanwhile; None where no option asks for any."""
        if not self.are_given:
            yield None
            return
        from qwen7b.tools.module_tools import load_tools
        from qwen7b.tools.toolbox import Toolbox

        tools = [tool for file in self.files for tool in load_tools(file)]
        with ExitStack() as servers:
            if self.servers:
                from qwen7b.tools.mcp_server import read_server_option

                tools += [servers.enter_context(read_server_option(server)) for server in self.servers]
            if self.allow_code:
                from qwen7b.tools.code_interpreter import CodeInterpreter

                tools.append(servers.enter_context(CodeInterpreter(allow_code=True)))
            yield Toolbox(tools)


def approval_of_one_reply(*, yes: bool) -> Callable[[ToolCall], bool] | None:
    """Whoever is asked before a call, where a single prompt is answered: nobody, or a user if one is at a terminal."""
    if yes:
        return None
    from qwen7b.terminal.tool_use import ask_first

    return ask_first(_ask if sys.stdin.isatty() else _refuse, lambda line: typer.echo(line, err=True))


def _ask(question: str) -> str:
    answer: str = typer.prompt(question, default="n", show_default=False, prompt_suffix=" ", err=True)
    return answer


def _refuse(question: str) -> str:
    typer.echo(f"{question} Nobody is there to answer: --yes runs all calls.", err=True)
    return "n"
