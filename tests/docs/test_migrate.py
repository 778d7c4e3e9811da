"""The guides' snippets, run one after another as a reader would, in a folder with tiny random checkpoints."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer.testing import CliRunner

from originals import modelscope_with, write_original
from qwen7b.cli.app import app
from text.conftest import qwen_vocabulary  # noqa: F401  # a fixture

DOCS = Path(__file__).resolve().parents[2] / "docs"
ENGLISH, CHINESE = DOCS / "migrate.md", DOCS / "migrate_CN.md"
USAGE = DOCS / "usage.md"
LIBRARIES = {
    "from transformers": ("transformers", "accelerate"),
    "from peft": ("peft",),
    "BitsAndBytesConfig": ("bitsandbytes",),
    "from modelscope": ("modelscope", "addict", "datasets", "PIL"),
}
"""What a snippet that holds these words cannot do without."""


def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def snippets(page: Path) -> list[Token]:
    return [token for token in tokens(page) if token.type == "fence"]


@pytest.fixture(scope="module")
def workplace(qwen_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A folder with Qwen-7B and Qwen-7B-Chat in it, to which snippets add what they make."""
    folder = tmp_path_factory.mktemp("workplace")
    write_original(folder / "Qwen-7B", qwen_vocabulary, chat=False)
    write_original(folder / "Qwen-7B-Chat", qwen_vocabulary)
    return folder


@pytest.fixture
def here(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work there, without a network, and with a ModelScope that has the model where its library is installed."""
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("QWEN7B_OFFLINE", "1")
    with ExitStack() as stack:
        if find_spec("modelscope_hub"):
            repositories = {"qwen/Qwen-7B-Chat": workplace / "Qwen-7B-Chat"}
            stack.enter_context(modelscope_with(repositories, tmp_path, monkeypatch))
        yield


def number(snippet: Token) -> str:
    assert snippet.map
    return f"line-{snippet.map[0] + 1}"


@pytest.mark.parametrize("snippet", snippets(ENGLISH) + snippets(USAGE), ids=number)
@pytest.mark.usefixtures("here")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 with transformers 5.23
def test_snippet(snippet: Token) -> None:
    for words, libraries in LIBRARIES.items():
        for library in libraries if words in snippet.content else ():
            pytest.importorskip(library, reason=f"the snippet needs {library}")
    if snippet.info == "python":
        names: dict[str, Any] = {}
        exec(compile(snippet.content, number(snippet), "exec"), names)
        return
    assert snippet.info == "sh", f"a snippet of another kind: {snippet.info}"
    for line in snippet.content.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "qwen7b"
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_the_extras_exist(page: Path) -> None:
    project = (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8")
    extras = set(",".join(re.findall(r"(?:qwen7b|'\.)\[([\w,-]+)\]", page.read_text(encoding="utf-8"))).split(","))
    assert extras and all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)
