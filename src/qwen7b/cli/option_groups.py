"""Options that verbs share as a group: one parameter of a verb's function stands for all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def expand(**makers: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put, in a verb's signature as typer reads it, the options of a maker in place of what it makes.

    >>> @expand(point=complex)  # doctest: +SKIP
    ... def show(name: str, *, point: complex) -> None: ...  # takes name, real and imag
    """

    def expanded(verb: Callable[..., Any]) -> Callable[..., Any]:
        groups = {name: inspect.signature(maker, eval_str=True).parameters for name, maker in makers.items()}
        parameters = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, own in inspect.signature(verb, eval_str=True).parameters.items()
            for each in (groups[name].values() if name in groups else [own])
        ]

        def run(**given: Any) -> Any:
            made = {name: makers[name](**{each: given.pop(each) for each in group}) for name, group in groups.items()}
            return verb(**given, **made)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__name__, run.__doc__, run.__module__ = verb.__name__, verb.__doc__, verb.__module__
        return run

    return expanded


def without(maker: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """The maker with fewer options: those of these names are left as they are by default."""

    def make(**given: Any) -> Any:
        return maker(**given)

    parameters = inspect.signature(maker, eval_str=True).parameters
    if unknown := set(names) - parameters.keys():
        raise TypeError(f"{maker.__name__} has no {', '.join(sorted(unknown))}")
    kept = [parameter for name, parameter in parameters.items() if name not in names]
    make.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    return make
