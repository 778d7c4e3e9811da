"""An error that all ranks of a run meet is shown once; one of a single rank is shown by that one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of PyTorch is for one process")


def ranks_end(*mistakes: str | None) -> list[list[str]]:
    """The errors that each of some ranks, which all fail, shows on standard error; None: it never comes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank, mistake in enumerate(mistakes):
        if mistake is not None:
            group = {"WORLD_SIZE": str(len(mistakes)), "RANK": str(rank), "LOCAL_RANK": str(rank)}
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "qwen7b", "train", "recipe", mistake]
            environment = {**os.environ, **group, **place}
            processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    written = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [1] * len(processes)
    return [[line for line in text.splitlines() if line.startswith("error: ")] for text in written]


def test_a_mistake_of_all_ranks_is_shown_by_the_first() -> None:
    first, *others = ranks_end("huge", "huge", "huge")
    assert len(first) == 1 and "'huge'" in first[0] and others == [[], []]


def test_each_rank_shows_a_mistake_of_its_own() -> None:
    first, same, other = ranks_end("huge", "huge", "large")
    assert "'huge'" in first[0] and same == [] and "'large'" in other[0]


@pytest.mark.parametrize("mistakes", [("huge", None), (None, "huge")])
def test_a_rank_that_is_alone_with_its_mistake_shows_it(mistakes: tuple[str | None, ...]) -> None:
    ((shown,),) = ranks_end(*mistakes)
    assert "'huge'" in shown
