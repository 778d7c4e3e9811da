"""--response-format FILE: what the file holds arrives, and a file that holds nothing usable is told before loading."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

import qwen7b

Run = Callable[..., Result]
SCHEMA = {"type": "object", "properties": {"城市": {"enum": ["a", "b"]}}, "required": ["城市"]}


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_the_schema_arrives(run: Run, fake: Any, tmp_path: Path, verb: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA), "utf-8")
    assert run(verb, "Hi", "--response-format", str(file)).exit_code == 0
    assert fake.asked[0][1]["response_format"] == SCHEMA


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "schema.json cannot be read: No such file"),
        ("{", "schema.json is not valid JSON"),
        ("[" * 100_000, "schema.json is not valid JSON"),
        ("3", "must be a JSON schema"),
        ('{"type": "regex"}', "needs a string as its regex"),
    ],
)
def test_a_file_of_no_use_is_told_before_a_model_is_loaded(
    run: Run, fake: Any, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_text(content)
    result = run("complete", "Hi", "--response-format", str(file))
    assert result.exit_code == 1 and message in result.stderr and not fake.loaded


def test_replies_of_a_file_follow_it(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> None:
    schema, requests = tmp_path / "schema.json", tmp_path / "in.jsonl"
    schema.write_text(json.dumps(SCHEMA))
    own = {"prompt": "x", "response_format": {"type": "regex", "regex": "[0-9]{3}"}}
    requests.write_text('"Hi"\n' + json.dumps(own) + "\n")
    model = ("--model", str(tiny_chat_checkpoint), "--quantize", "none")
    result = run("complete", "--input", str(requests), *model, "--response-format", str(schema))
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert json.loads(first["reply"])["城市"] in ("a", "b")
    assert second["reply"].isdigit() and len(second["reply"]) == 3
    qwen = qwen7b.load(tiny_chat_checkpoint, quantize="none")
    assert qwen.complete("Hi", response_format=SCHEMA).text == first["reply"]
