from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from qwen7b.cli.option_groups import expand, without


@dataclass
class Point:
    """Where to look."""

    x: Annotated[int, typer.Option("--x", help="Across.")] = 1
    y: Annotated[int, typer.Option("--y", help="Up.")] = 2


def show(name: str, *, point: Point, loudly: Annotated[bool, typer.Option("--loudly")] = False) -> None:
    """Show a point."""
    typer.echo(f"{name} {point} {loudly}")


def test_a_group_stands_where_its_parameter_stood() -> None:
    verb = expand(point=Point)(show)
    assert list(inspect.signature(verb).parameters) == ["name", "x", "y", "loudly"]
    assert (verb.__name__, verb.__doc__) == ("show", "Show a point.")
    app = typer.Typer()
    app.command()(verb)
    assert CliRunner().invoke(app, ["here", "--y", "5"]).stdout == "here Point(x=1, y=5) False\n"


def test_what_is_left_out_stays_as_it_is_by_default() -> None:
    verb = expand(point=without(Point, "x"))(show)
    assert list(inspect.signature(verb).parameters) == ["name", "y", "loudly"]
    app = typer.Typer()
    app.command()(verb)
    result = CliRunner().invoke(app, ["here", "--y", "5", "--loudly"])
    assert result.stdout == "here Point(x=1, y=5) True\n"
    assert CliRunner().invoke(app, ["here", "--x", "5"]).exit_code == 2


def test_only_options_that_there_are_can_be_left_out() -> None:
    with pytest.raises(TypeError, match="Point has no z"):
        without(Point, "x", "z")
