"""The `qwen7b` command: its verbs, and how every one of them fails."""

from __future__ import annotations

import atexit
import gc
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC, EPIPE
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from qwen7b import __version__
from qwen7b.cli.bench import bench
from qwen7b.cli.chat import chat
from qwen7b.cli.complete import complete
from qwen7b.cli.convert import convert
from qwen7b.cli.doctor import doctor
from qwen7b.cli.evaluate import evaluate
from qwen7b.cli.examples import examples
from qwen7b.cli.models import models, pull
from qwen7b.cli.perplexity import perplexity
from qwen7b.cli.quantize import quantize
from qwen7b.cli.tokenize import tokenize
from qwen7b.errors import Qwen7bError
from qwen7b.system.importing import check_working_directory
from qwen7b.terminal.streams import LostOutputError, open_standard_streams

# click's own base of usage errors, which typer carries under a private name.
_UsageError: Any = typer.BadParameter.__mro__[1]


class Verbs(TyperGroup):
    """A user's mistake becomes one line and exit code 1, Ctrl-C exit code 130; a defect keeps its traceback."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        # Typer takes the escape sequences out of what it prints to a pipe, or out of nothing. Those of a file are the
        # file's and stay; those in which typer itself says that completion is installed are of no use.
        extra.setdefault("color", "--install-completion" not in args)
        with _one_line_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _one_line_errors():
            check_working_directory()
            result = super().invoke(ctx)
            sys.stdout.flush()  # where a failure is still told
            return result


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except Qwen7bError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except _UsageError as error:
        usage = error.ctx.command_path if error.ctx else "qwen7b"
        message = _one_line(error)
        typer.echo(f"error: {message}{'' if message.endswith('?') else ':'} see {usage} --help", err=True)
        raise typer.Exit(1) from error
    except LostOutputError as error:
        if error.errno != EPIPE:  # a reader that has gone needs no telling
            typer.echo(f"error: standard output cannot be written: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        if error.errno == ENOSPC:
            typer.echo("error: the output cannot be written: no space is left where it goes", err=True)
        elif error.filename is not None:  # the machine's doing, not ours
            typer.echo(f"error: {error.filename} cannot be used: {error.strerror}", err=True)
        else:
            raise
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _one_line(error: Any) -> str:
    """What a usage error says, with what was found where typer tells it only by pydantic's error behind its own."""
    message = " ".join(error.format_message().split()).rstrip(".")  # choices come a line each
    message = message.replace("Value error, ", "")
    if problems := getattr(error.__cause__, "errors", None):
        found = repr(problems()[0]["input"])
        message += "" if found in message else f", found {found}"
    return message


app = typer.Typer(
    cls=Verbs,
    epilog=examples(""),
    invoke_without_command=True,
    # Plain help takes a third of the time of a coloured one, and plain tracebacks show no prompts.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (chat, complete, pull, tokenize, convert, quantize, doctor, perplexity, bench):
    app.command(epilog=examples(verb.__name__))(verb)
app.add_typer(models, name="models", epilog=examples("models"))
app.add_typer(evaluate, name="eval", epilog=examples("eval"))


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qwen7b {__version__}")
        raise typer.Exit


@app.callback()
def qwen7b(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Run first-generation Qwen and its dense successors: chat, complete, and look inside."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Entry point of the command."""
    open_standard_streams()
    # What is alive at the end goes with the process: to look for garbage in it first would take as long as a reply.
    atexit.register(gc.freeze)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    app()
