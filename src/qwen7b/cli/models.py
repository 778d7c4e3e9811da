"""`qwen7b pull` and `qwen7b models …`: fetch, list and remove models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from qwen7b.cli import options
from qwen7b.cli.examples import examples
from qwen7b.errors import SettingError
from qwen7b.terminal.streams import print_json

if TYPE_CHECKING:
    from qwen7b.packing.cached import Leftover

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")]


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that qwen7b models lists, or a hub id.")],
    offline: options.Offline = False,
) -> None:
    """Fetch a model unless it is cached, and print its path."""
    from qwen7b.hub import locate

    typer.echo(locate(name, offline=offline or None))


models = typer.Typer(rich_markup_mode=None)


@models.callback(invoke_without_command=True)
def list_all(context: typer.Context, as_json: options.Json = False) -> None:
    """List the models there are, packed copies, and disk use.

    The models are those that can be fetched by a name, and those that are cached.
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise SettingError(
                f"--json goes after {context.invoked_subcommand}: type qwen7b models {context.invoked_subcommand} … "
                "--json"
            )
        return
    from qwen7b.hub import list_models, list_official_models
    from qwen7b.packing.cached import disk_use, list_packed

    listed, packed, used = [*list_models(), *list_official_models()], list_packed(), disk_use()
    if as_json:
        document = {
            "models": [
                {
                    "name": model.name,
                    "title": model.title,
                    "licence": model.licence,
                    "size": model.size,
                    "cached": model.is_cached,
                    "path": None if model.path is None else str(model.path),
                }
                for model in listed
            ],
            "packed": [
                {
                    "name": copy.name,
                    "format": copy.format,
                    "source": None if copy.source is None else str(copy.source),
                    "state": copy.state,
                    "size": copy.size,
                    "path": str(copy.path),
                }
                for copy in packed
            ],
            "disk_use": {str(folder): size for folder, size in used.items()},
        }
        print_json(document)
        return
    _print_table(
        ("NAME", "CACHED", "SIZE", "LICENCE", "TITLE"),
        [
            (model.name, "yes" if model.is_cached else "no", _size(model.size), model.licence or "?", model.title)
            for model in listed
        ],
    )
    if packed:
        typer.echo()
        rows = [(copy.name, copy.format, _size(copy.size), copy.state, str(copy.source or "?")) for copy in packed]
        _print_table(("PACKED COPY", "FORMAT", "SIZE", "STATE", "MADE FROM"), rows)
    typer.echo()
    _print_table(("DISK USE", "FOLDER"), [(_size(size), str(folder)) for folder, size in used.items()])


def complete_names(incomplete: str) -> list[str]:
    from qwen7b.packing.removal import removable_names

    return [name for name in removable_names() if name.startswith(incomplete)]


@models.command(epilog=examples("rm"))
def rm(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Fetched models and packed copies, as qwen7b models lists them.",
            autocompletion=complete_names,
        ),
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Delete fetched models or packed copies from the cache.

    A model goes with its packed copies. Only qwen7b's own cache is touched.
    """
    from qwen7b.packing.removal import named_files

    _remove(lambda: named_files(names), yes=yes, dry_run=dry_run, as_json=as_json)


@models.command(epilog=examples("prune"))
def prune(yes: Yes = False, dry_run: DryRun = False, as_json: options.Json = False) -> None:
    """Delete from the cache what will not be used again.

    These are packed copies whose source is gone or changed, old files and unfinished ones.
    """
    from qwen7b.packing.cached import leftovers

    _remove(leftovers, yes=yes, dry_run=dry_run, as_json=as_json)


def _remove(find: Callable[[], list[Leftover]], *, yes: bool, dry_run: bool, as_json: bool) -> None:
    """List what would be deleted, ask for confirmation on a terminal, and delete it."""
    from qwen7b.packing.removal import remove

    files = find()
    if not as_json:
        _print_files(files)
    if files and not dry_run and not yes and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm("Delete these?", abort=True)
    removed = [] if dry_run else remove(files, still=find)
    freed = sum(file.size for file in removed)
    if as_json:
        document = {
            "found": [{"path": str(file.path), "size": file.size, "reason": file.reason} for file in files],
            "removed": [str(file.path) for file in removed],
            "freed": freed,
        }
        print_json(document)
    elif not files:
        typer.echo("Nothing to delete.")
    elif dry_run:
        typer.echo(f"{_size(sum(file.size for file in files))} would be free.")
    else:
        typer.echo(f"Deleted: {_size(freed)} are free now.")


def _print_files(files: Iterable[Leftover]) -> None:
    rows = [(_size(file.size), file.reason, str(file.path)) for file in files]
    if rows:
        _print_table(("SIZE", "WHAT", "FILE"), rows)


def _print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e10 else f"{num_bytes / 1e6:,.0f} MB"
