"""The command that adds an extra fits the way in which qwen7b was installed."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from qwen7b import installation
from qwen7b.errors import MissingExtraError
from qwen7b.installation import install_command

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Noted:
    """A distribution of which pip noted this."""

    def __init__(self, noted: object) -> None:
        self.noted = noted

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.noted if self.noted is None or isinstance(self.noted, str) else json.dumps(self.noted)


@pytest.fixture(autouse=True)
def active_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)


@pytest.mark.parametrize(
    ("noted", "command"),
    [
        (None, "pip install 'qwen7b[hf]'"),
        ("", "pip install 'qwen7b[hf]'"),
        ({"url": "file:///home/me/qwen7b", "dir_info": {"editable": True}}, "pip install -e '/home/me/qwen7b[hf]'"),
        ({"url": "file:///a/my%20code", "dir_info": {"editable": True}}, "pip install -e '/a/my code[hf]'"),
        ({"url": "file:///home/me/qwen7b", "dir_info": {}}, "pip install '/home/me/qwen7b[hf]'"),
        (
            {"url": "file:///a/qwen7b-0.1.0-py3-none-any.whl", "archive_info": {}},
            "pip install 'qwen7b[hf] @ file:///a/qwen7b-0.1.0-py3-none-any.whl'",
        ),
        (
            {"url": "https://host/qwen7b-0.1.0.tar.gz", "archive_info": {}, "subdirectory": "deep"},
            "pip install 'qwen7b[hf] @ https://host/qwen7b-0.1.0.tar.gz#subdirectory=deep'",
        ),
        (
            {"url": "https://host/qwen7b.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"pip install 'qwen7b[hf] @ git+https://host/qwen7b.git@{COMMIT}'",
        ),
    ],
)
def test_it_is_installed_again_as_it_was(monkeypatch: pytest.MonkeyPatch, noted: object, command: str) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Noted(noted))
    assert install_command("hf") == command
    assert shlex.split(command)[-1].count("[hf]") == 1
    assert install_command("hf", "eval", upgrade=True) == command.replace("install", "install -U").replace(
        "[hf]", "[hf,eval]"
    )
    assert str(MissingExtraError("transformers", extra="hf")) == f"transformers is not installed: run {command}"


def test_a_library_that_is_there_but_cannot_be_imported_says_why() -> None:
    def raised(cause: ImportError) -> str:
        with pytest.raises(MissingExtraError) as caught:
            raise MissingExtraError("trafilatura", extra="train") from cause
        return str(caught.value)

    assert raised(ModuleNotFoundError("No module named 'trafilatura'")).startswith("trafilatura is not installed: run ")
    broken = raised(ImportError("lxml.html.clean is a separate project"))
    assert broken.startswith("trafilatura cannot be imported ('lxml.html.clean is a separate project'): run ")


def test_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def distribution(name: str) -> Noted:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setattr(installation, "_CHECKOUT", tmp_path)
    assert install_command("hf") == "pip install 'qwen7b[hf]'"
    (tmp_path / "pyproject.toml").touch()
    assert install_command("hf") == f"pip install -e '{tmp_path}[hf]'"


def test_another_environment_s_pip_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/elsewhere/.venv")
    monkeypatch.setattr(sys, "executable", "/elsewhere/.venv/bin/python")
    assert install_command("hf").startswith("/elsewhere/.venv/bin/python -m pip install ")


def test_no_message_has_a_command_of_its_own() -> None:
    package = Path(installation.__file__).parent
    for path in package.rglob("*.py"):
        if path.name != "installation.py":
            assert not re.search(r"pip install [^\n]*qwen7b", path.read_text("utf-8")), path
