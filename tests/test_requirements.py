"""The locked packages in requirements/ are what pyproject.toml asks for, on every Python that is supported."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def locked_lines(name: str) -> list[str]:
    """A file's requirements, each with its hashes on one line."""
    text = (ROOT / "requirements" / name).read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def locked_versions(name: str, python: str) -> dict[str, str]:
    requirements = [Requirement(line.split(" --hash")[0]) for line in locked_lines(name)]
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return {
        requirement.name: str(requirement.specifier).removeprefix("==")
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def wanted(*extras: str) -> Iterator[Requirement]:
    lines = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]
    for extra in extras:
        lines += PROJECT["project"]["optional-dependencies"][extra]
    for requirement in map(Requirement, lines):
        if requirement.name == "qwen7b":
            yield from wanted(*requirement.extras)
        else:
            yield requirement


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("name", "extras"), [("run.txt", ()), ("dev.txt", ("dev",))])
def test_the_lock_holds_what_pyproject_asks_for(name: str, extras: tuple[str, ...], python: str) -> None:
    versions = locked_versions(name, python) | locked_versions("torch.txt", python)
    for requirement in wanted(*extras):
        spelled = requirement.name.replace("_", "-").lower()
        assert spelled in versions, f"{requirement} is not locked: run make lock"
        assert versions[spelled] in requirement.specifier, f"{requirement} is locked otherwise: run make lock"


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_every_package_is_locked_by_version_and_hash(name: str) -> None:
    for line in locked_lines(name):
        assert re.match(r"[a-z0-9-]+(\[\w+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tests_run_on_what_users_run(python: str) -> None:
    assert locked_versions("run.txt", python).items() <= locked_versions("dev.txt", python).items()


def test_the_lock_was_resolved_for_the_torch_that_is_installed() -> None:
    [metadata] = PROJECT["tool"]["uv"]["dependency-metadata"]
    assert locked_versions("torch.txt", PYTHONS[0]) == {"torch": metadata["version"]}


def test_the_oldest_python_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    assert PROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + PYTHONS[0].replace(".", "")
