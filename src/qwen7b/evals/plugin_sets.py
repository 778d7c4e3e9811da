"""Two sets of questions for the benchmark of plugins: half in Chinese, half in English; no tool is in both sets.

Those of the one need a tool that is offered, and name all its arguments; those of the other need none of those offered.
A seed draws them from what `plugin_tools.json` has, the same each time.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from qwen7b.dialects.definition import read_definitions
from qwen7b.dialects.react_page import REACT_PAGE
from qwen7b.errors import SettingError
from qwen7b.system.whole_file import write_text_whole
from qwen7b.tasks.plugin import NEGATIVE, OWN_FILES, POSITIVE

SET_SIZE = 150
_LANGUAGES = ("zh", "en")
_THOUGHTS = {
    "zh": ("我需要用{human}来回答。", "这个问题不需要用工具，我现在知道答案了。"),
    "en": ("I need {human} to answer this.", "No tool is needed for this; I now know the final answer."),
}
"""What a reference says before it calls a tool, and where it calls none."""
_YES_OR_NO = {"zh": ("否", "是"), "en": ("no", "yes")}
_AND = {"zh": "和", "en": " and "}


def write_plugin_sets(folder: Path, *, seed: int = 0) -> list[Path]:
    """Write both sets into a folder as the original's files are, and return their paths. Raises SettingError."""
    paths = []
    for subject, rows in plugin_sets(seed).items():
        path = folder / OWN_FILES.format(subject=subject)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_text_whole(path, text)
        except OSError as error:
            raise SettingError(f"{path} cannot be written: {error.strerror or error}") from error
        paths.append(path)
    return paths


def plugin_sets(seed: int = 0) -> dict[str, list[dict[str, str]]]:
    """The rows of both sets, languages in turn."""
    random = Random(seed)
    found = json.loads(Path(__file__).with_name("plugin_tools.json").read_text("utf-8"))
    rows: dict[str, list[dict[str, str]]] = {}
    for subject in (POSITIVE, NEGATIVE):
        by_language = []
        for language in _LANGUAGES:
            tools = [tool for tool in found[subject] if tool["language"] == language]
            chats = [chat for chat in found["chats"] if chat["language"] == language]
            asked = list(_with_tool(tools) if subject == POSITIVE else _without_tool(chats, language))
            # As many of each tool or kind of chat, as far as there are.
            drawn = itertools.zip_longest(*(random.sample(kind, len(kind)) for kind in asked))
            chosen = [own for turn in drawn for own in turn if own is not None][: SET_SIZE // len(_LANGUAGES)]
            by_language.append([_row(own, tools, random) for own in chosen])
        rows[subject] = [row for pair in zip(*by_language, strict=True) for row in pair]
    return rows


_Asked = tuple[str, str, Mapping[str, Any] | None]
"""A question, the reference response, and the tool that it needs."""


def _with_tool(tools: Sequence[Mapping[str, Any]]) -> Iterator[list[_Asked]]:
    """All questions of each tool."""
    for tool in tools:
        language, names = tool["language"], list(tool["values"])
        own: list[_Asked] = []
        for question, *values in itertools.product(tool["questions"], *tool["values"].values()):
            arguments = dict(zip(names, values, strict=True))
            words = {name: _in_words(value, language) for name, value in arguments.items()}
            thought = _THOUGHTS[language][0].format(human=tool["human"])
            call = f"Action: {tool['name']}\nAction Input: {json.dumps(arguments, ensure_ascii=False)}"
            own.append((question.format(**words), f"Thought: {thought}\n{call}", tool))
        yield own


def _without_tool(chats: Sequence[Mapping[str, Any]], language: str) -> Iterator[list[_Asked]]:
    """All questions of each kind of chat."""
    thought = _THOUGHTS[language][1]
    for chat in chats:
        yield [
            (chat["question"].format(word), f"Thought: {thought}\nFinal Answer: {answer}", None)
            for word, answer in chat["answers"].items()
        ]


def _in_words(value: object, language: str) -> str:
    if isinstance(value, bool):
        return _YES_OR_NO[language][value]
    return _AND[language].join(value) if isinstance(value, list) else str(value)


def _row(asked: _Asked, tools: Sequence[Mapping[str, Any]], random: Random) -> dict[str, str]:
    question, response, tool = asked
    others = [other for other in tools if other is not tool]
    offered = random.sample(others, random.randint(1, 4)) + ([tool] if tool else [])
    random.shuffle(offered)
    return {"prompt": _prompt(question, [_definition(own) for own in offered]), "response": response}


def _definition(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool in the original's form."""
    return {
        "name_for_human": tool["human"],
        "name_for_model": tool["name"],
        "description_for_model": tool["description"],
        "parameters": [
            {"name": name, "description": description, "required": True, "schema": {"type": kind}}
            for name, (kind, description) in tool["parameters"].items()
        ],
    }


def _prompt(question: str, tools: Sequence[Mapping[str, Any]]) -> str:
    """The prompt of the original's first page on ReAct."""
    (message,) = REACT_PAGE.write([{"role": "user", "content": question}], read_definitions(tools))
    return str(message["content"])
