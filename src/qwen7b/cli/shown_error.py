"""How an error is shown: by one line on standard error, which of the ranks of a run only the first writes.

Ranks are started by the same command, so a mistake in it is met by all of them. The first shows it and tells the others
by the store at which they meet; another rank shows what the first does not tell.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from typing import Any

import typer

from qwen7b.system.progress import is_first_rank, num_ranks

_SECONDS = 10.0
"""How long ranks wait for each other's word."""


def show_error(message: str) -> None:
    """Show an error of this process, unless the first rank of its run has shown the same one."""
    others = [str(rank) for rank in range(1, num_ranks())]
    if is_first_rank() or not (others and _first_rank_shows(message)):
        typer.echo(f"error: {message}", err=True)
    if is_first_rank() and others:
        with suppress(ImportError, KeyError, RuntimeError, ValueError):  # no ranks of torchrun, or they are gone
            store = _open_store()
            store.set("error", message)
            store.wait([f"heard/{rank}" for rank in others])  # before the store goes with this process


def _first_rank_shows(message: str) -> bool:
    try:
        store = _open_store()
        is_the_same: bool = store.get("error").decode() == message
        store.set(f"heard/{os.environ['RANK']}", "")
    except (ImportError, KeyError, RuntimeError, ValueError):
        return False
    return is_the_same


def _open_store() -> Any:
    """The store that torchrun has for the ranks of a run; without one the first rank has it, as torch does it."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    is_kept_by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=is_first_rank() and not is_kept_by_torchrun,
        timeout=timedelta(seconds=_SECONDS),
        wait_for_workers=False,
        multi_tenant=True,
    )
