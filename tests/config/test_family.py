"""Families by name and as an enumeration: both make the same config, and files say the name."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import tiny
from qwen7b import SettingError
from qwen7b.checkpoint.own_config import config_fields, config_from
from qwen7b.config import Family

PACKAGE = Path(__file__).parents[2] / "src" / "qwen7b"


@pytest.mark.parametrize("family", Family)
def test_a_name_will_do_and_is_what_json_holds(family: Family) -> None:
    made = tiny.config(family=family.value)
    assert made.family is family and made == tiny.config(family=family)
    fields = json.loads(json.dumps(config_fields(made)))
    assert fields["family"] == family.value and type(config_fields(made)["family"]) is str
    assert config_from(fields).family is family


@pytest.mark.parametrize("family", ["gpt2", "Qwen", "", None, 3, ["qwen"]])
def test_others_are_refused(family: object) -> None:
    with pytest.raises(SettingError, match="family must be one of qwen, qwen2, llama, found"):
        tiny.config(family=family)


def test_no_source_compares_a_config_s_family_with_a_string() -> None:
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                if any(isinstance(side, ast.Attribute) and side.attr == "family" for side in sides) and any(
                    isinstance(part, ast.Constant) for side in sides for part in ast.walk(side)
                ):
                    found.append(f"{path}:{node.lineno}")
    assert found == []
