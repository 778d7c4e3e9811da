"""The code interpreter as a tool: code in, what it printed, its value, its error and its figures out, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qwen7b.dialects import ToolDefinition
from qwen7b.dialects.arguments import load_code
from qwen7b.errors import SettingError, quoted
from qwen7b.sandbox import SESSION_LIMITS, CellOutcome, CodeSession, ProgramLimits

_DEFINITION = ToolDefinition(
    name="code_interpreter",
    human_name="Code Interpreter",
    description=(
        "Code interpreter that can execute Python code. Variables are kept from call to call. What is printed, the "
        "value of the last expression and matplotlib's figures are returned."
    ),
    parameters=[{"name": "code", "description": "Code to be executed", "required": True, "schema": {"type": "string"}}],
    args_format="code",
)
"""Name and parameter as the original's examples have them: its chats were trained with these."""


class CodeInterpreter:
    """A persistent Python session in the sandbox, as a tool for an agent. Nothing runs unless `allow_code` is True.

        >>> with CodeInterpreter(allow_code=True) as interpreter:  # doctest: +SKIP
        ...     print(interpreter.call("code_interpreter", {"code": "6 * 7"}))
        execute_result:
        <BLANKLINE>
        ```
        42
        ```

    `files` are copied into the session's folder; `session` has what the code wrote. Figures go to `figures_folder`,
    or to a folder that is gone when the interpreter is closed. Raises SettingError where code is not allowed, and
    SandboxError where this machine has no sandbox for it.
    """

    def __init__(
        self,
        *,
        allow_code: bool = False,
        limits: ProgramLimits = SESSION_LIMITS,
        idle_seconds: float = 1800.0,
        site_packages: bool = True,
        files: Sequence[str | Path] = (),
        figures_folder: str | Path | None = None,
    ) -> None:
        if allow_code is not True:
            raise SettingError(
                "the code interpreter runs code that a model writes, in a sandbox: allow that with allow_code=True"
            )
        self.session = CodeSession(
            limits=limits,
            idle_seconds=idle_seconds,
            site_packages=site_packages,
            figures_folder=None if figures_folder is None else Path(figures_folder),
        )
        try:
            for path in map(Path, files):
                self.session.put(path.name, path.read_bytes())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CodeInterpreter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session, and remove its folder."""
        self.session.close()

    @property
    def definitions(self) -> Sequence[ToolDefinition]:
        return [_DEFINITION]

    def is_read_only(self, name: str) -> bool:
        """Nobody can say of a program that it changes nothing."""
        return False

    def call(self, name: str, arguments: Mapping[str, Any] | str) -> str:
        """Run the code of a call, which may be a mapping, JSON, or code with a fence or without."""
        code = read_code(arguments)
        return describe(self.session.run(code)) if code.strip() else ""


def read_code(arguments: Mapping[str, Any] | str) -> str:
    """The code in a call's arguments. Raises SettingError where it is missing, or no text.

    >>> read_code({"code": "1 + 1"}), read_code("```py\\n1 + 1\\n```"), read_code({"code": "```py\\n1 + 1\\n```"})
    ('1 + 1', '1 + 1\\n', '1 + 1\\n')
    """
    code = (load_code(arguments) if isinstance(arguments, str) else arguments).get("code")
    if not isinstance(code, str):
        raise SettingError(f"the code interpreter takes its code as a text named 'code', found {quoted(arguments)}")
    return str(load_code(code)["code"]) if code.lstrip().startswith("```") else code


def describe(outcome: CellOutcome) -> str:
    """An outcome as the text that a model reads, in the form that the original's interpreter gives it."""
    blocks = {
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "execute_result": outcome.value,
        "error": outcome.error,
    }
    parts = [f"{name}:\n\n```\n{text.rstrip()}\n```" for name, text in blocks.items() if text]
    parts += [f"![{figure.stem}]({figure})" for figure in outcome.figures]
    if outcome.files:
        parts.append(f"files: {', '.join(outcome.files)}")
    if outcome.notice:
        parts.append(f"{outcome.notice[0].upper()}{outcome.notice[1:]}.")
    return "\n\n".join(parts) or "Finished execution."
