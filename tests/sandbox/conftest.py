"""The ways to run a program that the tests try, each where it can be had."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hostile import ORDINARY_USER, Sandbox, Way, run, why_not

WAYS = [Way("landlock", False), Way("bubblewrap", False), Way("landlock", True), Way("bubblewrap", True)]


def opened(folder: str) -> Path:
    """A folder that an ordinary user may use too."""
    os.chmod(folder, 0o777)
    return Path(folder)


@pytest.fixture(scope="session")
def reasons() -> dict[Way, str | None]:
    """Why each way cannot be tried."""
    with tempfile.TemporaryDirectory(prefix="sandbox-test-") as folder:
        return {way: why_not(way, folder=opened(folder)) for way in WAYS}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for the folders of programs, empty again when a test ends."""
    with tempfile.TemporaryDirectory(prefix="sandbox-test-") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield opened(name)
        assert os.listdir(name) == []


def usable(way: Way, reasons: dict[Way, str | None]) -> Way:
    if reason := reasons[way]:
        pytest.skip(reason)
    return way


@pytest.fixture(params=WAYS[:2], ids=str)
def sandbox(request: pytest.FixtureRequest, reasons: dict[Way, str | None], folder: Path) -> Sandbox:
    """Runs a program as the user who runs the tests: code, check, and limits by name."""
    return partial(run, way=usable(request.param, reasons), folder=folder)


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest, reasons: dict[Way, str | None]) -> Way:
    return usable(request.param, reasons)


@pytest.fixture
def any_sandbox(way: Way, folder: Path) -> Sandbox:
    """The same, where the tests are root's as an ordinary user too."""
    return partial(run, way=way, folder=folder)


@pytest.fixture
def user(way: Way) -> int:
    """The user who runs programs in that way."""
    return ORDINARY_USER if way.ordinary else os.geteuid()
