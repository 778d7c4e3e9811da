"""The `qwen7b` command: its verbs, and how their errors are reported."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings
from collections import UserDict
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC, EPIPE
from pkgutil import resolve_name
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from qwen7b import __version__
from qwen7b.cli.examples import examples
from qwen7b.errors import Qwen7bError
from qwen7b.system.importing import check_working_directory
from qwen7b.system.progress import is_first_rank
from qwen7b.terminal.streams import LostOutputError, open_standard_streams

# click's base class of usage errors, which typer has only under a private name.
_UsageError: Any = typer.BadParameter.__mro__[1]


VERBS = {
    "chat": "chat:chat",
    "complete": "complete:complete",
    "pull": "models:pull",
    "tokenize": "tokenize:tokenize",
    "convert": "convert:convert",
    "quantize": "quantize:quantize",
    "doctor": "doctor:doctor",
    "perplexity": "perplexity:perplexity",
    "bench": "bench:bench",
    "models": "models:models",
    "eval": "evaluate:evaluate",
    "data": "data:data",
    "train": "train:train",
    "vocab": "vocab:vocab",
}
"""Where in `qwen7b.cli` each verb is."""


class LazyCommands(UserDict[str, Any]):
    """The commands of verbs by name; a verb is imported when its command is asked for."""

    def __getitem__(self, name: str) -> Any:
        verb = resolve_name(f"qwen7b.cli.{self.data[name]}")
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name, epilog=examples(name))
            return get_group(app).commands[name]
        app.command(name, epilog=examples(name))(verb)
        return get_command(app)


class Verbs(TyperGroup):
    """Turns a user's mistake into one line and exit code 1, Ctrl-C into exit code 130; a bug keeps its traceback."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands(VERBS)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        # Typer removes escape sequences from output to a pipe, or never. Here they stay, as they may belong to a
        # file's content; only the message that completion is installed is better without them.
        extra.setdefault("color", "--install-completion" not in args)
        with _one_line_errors():
            check_working_directory()  # before libraries are imported that fail without one
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _one_line_errors():
            result = super().invoke(ctx)
            sys.stdout.flush()  # here a failure is still reported
            return result


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except Qwen7bError as error:
        _show_error(str(error))
        raise typer.Exit(1) from error
    except _UsageError as error:
        usage = error.ctx.command_path if error.ctx else "qwen7b"
        message = _one_line(error)
        _show_error(f"{message}{'' if message.endswith('?') else ':'} see {usage} --help")
        raise typer.Exit(1) from error
    except LostOutputError as error:
        if error.errno != EPIPE:  # if the reader has closed the pipe, nobody reads the message
            _show_error(f"standard output cannot be written: {error.strerror}")
        raise typer.Exit(1) from error
    except OSError as error:
        if error.errno == ENOSPC:
            _show_error("the output cannot be written: no space is left where it goes")
        elif error.filename is not None:  # a problem of the machine, not a bug
            _show_error(f"{error.filename} cannot be used: {error.strerror}")
        else:
            raise
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _show_error(message: str) -> None:
    where = "" if is_first_rank() else f" (rank {os.environ['RANK']})"
    typer.echo(f"error{where}: {message}", err=True)


def _one_line(error: Any) -> str:
    """The message of a usage error in one line, with the invalid value, which typer may leave to pydantic's error."""
    message = " ".join(error.format_message().split()).rstrip(".")  # typer puts each choice on its own line
    message = message.replace("Value error, ", "")
    if problems := getattr(error.__cause__, "errors", None):
        invalid_value = repr(problems()[0]["input"])
        message += "" if invalid_value in message else f", found {invalid_value}"
    return message


app = typer.Typer(
    cls=Verbs,
    epilog=examples(""),
    invoke_without_command=True,
    # Plain help takes a third of the time of a coloured one, and plain tracebacks do not reveal prompts.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(is_given: bool) -> None:
    if is_given:
        typer.echo(f"qwen7b {__version__}")
        raise typer.Exit


@app.callback()
def qwen7b(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run first-generation Qwen and its dense successors: chat, complete, and look inside."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command; this is its entry point."""
    open_standard_streams()
    # Freezing skips the garbage collection at exit, which would take as long as a reply.
    atexit.register(gc.freeze)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    if not is_first_rank():  # the first warns of the same
        warnings.simplefilter("ignore")
    app()
