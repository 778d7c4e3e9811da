"""Dialects by their names."""

from __future__ import annotations

import pytest

from qwen7b.dialects.registry import DIALECTS, find_dialect
from qwen7b.errors import SettingError


def test_every_dialect_is_found_by_its_name_and_by_itself() -> None:
    assert {"react-page", "react-demo", "react-api", "react-zh", "tool_call"} <= DIALECTS.keys()
    for name, dialect in DIALECTS.items():
        assert find_dialect(name) is find_dialect(dialect) is dialect and dialect.name == name


@pytest.mark.parametrize("dialect", ["react", "", None, 3, dict])
def test_an_unknown_one_is_refused_with_the_list(dialect) -> None:
    with pytest.raises(SettingError, match=r"dialect must be one of react-page, react-demo, .*, found "):
        find_dialect(dialect)
