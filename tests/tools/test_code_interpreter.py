"""The code interpreter as a tool: code in any form that a model gives it, and a text that a model reads."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen7b.dialects import read_definitions
from qwen7b.errors import SandboxError, SettingError
from qwen7b.sandbox import CellOutcome, CodeSession, ProgramLimits, find_protection
from qwen7b.tools import CodeInterpreter, Toolbox, ToolCall
from qwen7b.tools.code_interpreter import describe, read_code


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeInterpreter]:
    try:
        find_protection()
    except SandboxError as error:
        pytest.skip(str(error))
    data = tmp_path_factory.mktemp("data") / "data.csv"
    data.write_text("1\n2\n")
    limits = ProgramLimits(seconds=30, memory_bytes=4 << 30)
    with CodeInterpreter(allow_code=True, limits=limits, files=[data]) as interpreter:
        yield interpreter


def test_it_is_off_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CodeSession, "__init__", lambda *_, **__: pytest.fail("a session was made"))
    for allowed in ({}, {"allow_code": False}, {"allow_code": "yes"}):
        with pytest.raises(SettingError, match=r"allow that with allow_code=True"):
            CodeInterpreter(**allowed)  # type: ignore[arg-type]


def test_it_is_defined_as_the_original_s_examples_have_it(interpreter: CodeInterpreter) -> None:
    (definition,) = read_definitions(interpreter.definitions)
    assert (definition.name, definition.args_format) == ("code_interpreter", "code")
    assert definition.schema["required"] == ["code"] and not interpreter.is_read_only("code_interpreter")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"code": "1 + 1"}, "1 + 1"),
        ('{"code": "1 + 1"}', "1 + 1"),
        ('{"code": "```py\\n1 + 1\\n```"}', "1 + 1\n"),
        ('{"code": "x = 1\ny = 2"}', "x = 1\ny = 2"),  # a line break as it is, which JSON forbids
        ("```py\n1 + 1\n```", "1 + 1\n"),
        ("```\n1 + 1\n``` and then", "1 + 1\n"),
        ("Run this:\n```python\n1 + 1\n```\n```\n2\n```", "1 + 1\n"),
        ("```py\n1 + 1", "1 + 1"),
        ("1 + 1", "1 + 1"),
        ("{'a': 1}", "{'a': 1}"),
        ('{"a": 1}', '{"a": 1}'),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
        ({"code": "s = '''\n```\nx\n```\n'''"}, "s = '''\n```\nx\n```\n'''"),
    ],
)
def test_code_is_read_in_any_form(arguments: object, code: str) -> None:
    assert read_code(arguments) == code  # type: ignore[arg-type]


def test_a_toolbox_gives_it_code_as_it_is(interpreter: CodeInterpreter) -> None:
    for arguments in (
        "```py\nprint(6 * 7)\n```",
        "print(6 * 7)",
        '{"code": "print(6 * 7)"}',
        "{'code': 'print(6 * 7)',}",
    ):
        result = Toolbox([interpreter]).run(ToolCall(name="code_interpreter", arguments=arguments))
        assert (result.text, result.is_error) == ("stdout:\n\n```\n42\n```", False), arguments
    refused = Toolbox([interpreter]).run(ToolCall(name="code_interpreter", arguments='{"code": 1}'))
    assert refused.is_error and "takes its code as a text" in refused.text


@pytest.mark.parametrize("arguments", [{}, {"code": 1}, '{"code": null}', {"source": "1"}])
def test_arguments_without_code_are_refused(arguments: object) -> None:
    with pytest.raises(SettingError, match="takes its code as a text named 'code'"):
        read_code(arguments)  # type: ignore[arg-type]


def test_variables_and_files_stay_between_calls(interpreter: CodeInterpreter) -> None:
    assert (
        interpreter.call("code_interpreter", {"code": "n = sum(map(int, open('data.csv')))"}) == "Finished execution."
    )
    text = interpreter.call("code_interpreter", "```py\nprint('sum')\nopen('out.txt', 'w').write(str(n))\n```")
    assert text == "stdout:\n\n```\nsum\n```\n\nexecute_result:\n\n```\n1\n```\n\nfiles: out.txt"
    assert interpreter.session.fetch("out.txt") == b"3"
    assert interpreter.call("code_interpreter", " ") == ""


def test_an_error_is_told(interpreter: CodeInterpreter) -> None:
    text = interpreter.call("code_interpreter", {"code": "1 / 0"})
    assert re.fullmatch(r"error:\n\n```\nTraceback .*ZeroDivisionError: division by zero\n```", text, re.DOTALL)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
def test_figures_are_named_by_their_paths(interpreter: CodeInterpreter) -> None:
    text = interpreter.call("code_interpreter", {"code": "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"})
    found = re.fullmatch(r"!\[fig-001\]\((.*fig-001\.png)\)", text)
    assert found and Path(found[1]).read_bytes().startswith(b"\x89PNG")


def test_figures_can_be_kept(interpreter: CodeInterpreter, tmp_path: Path) -> None:
    code = {"code": "class P:\n    def _repr_png_(self): return bytes.fromhex('89504e470d0a1a0a')\ndisplay(P())"}
    kept = tmp_path / "figures"
    for number in (1, 2):
        with CodeInterpreter(allow_code=True, site_packages=False, figures_folder=kept) as keeping:
            assert keeping.call("code_interpreter", code) == f"![fig-00{number}]({kept}/fig-00{number}.png)"
    assert sorted(path.name for path in kept.iterdir()) == ["fig-001.png", "fig-002.png"]


def test_what_ended_a_session_is_told() -> None:
    outcome = CellOutcome(
        status="timed out",
        stdout="",
        stderr="x\n",
        value=None,
        error=None,
        figures=(),
        files=(),
        notice="the cell ran for more than 3 seconds: the next cell starts a new session",
        seconds=3,
    )
    assert describe(outcome) == (
        "stderr:\n\n```\nx\n```\n\nThe cell ran for more than 3 seconds: the next cell starts a new session."
    )


def test_a_missing_file_leaves_no_session(tmp_path: Path, interpreter: CodeInterpreter) -> None:
    with pytest.raises(FileNotFoundError):
        CodeInterpreter(allow_code=True, files=[tmp_path / "none.csv"])
