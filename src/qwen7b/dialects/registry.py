"""The dialects by their names."""

from __future__ import annotations

from qwen7b.dialects.dialect import Dialect
from qwen7b.dialects.react_api import REACT_API
from qwen7b.dialects.react_demo import REACT_DEMO
from qwen7b.dialects.react_page import REACT_PAGE
from qwen7b.dialects.react_zh import REACT_ZH
from qwen7b.dialects.tool_call import ToolCallDialect
from qwen7b.errors import SettingError, quoted
from qwen7b.text import Tokenizer

_ALL: tuple[Dialect, ...] = (REACT_PAGE, REACT_DEMO, REACT_API, REACT_ZH, ToolCallDialect())
DIALECTS = {dialect.name: dialect for dialect in _ALL}


def find_dialect(dialect: str | Dialect) -> Dialect:
    """The dialect of this name; one that is given itself is used as it is. Raises SettingError for unknown names."""
    if not isinstance(dialect, str) and callable(getattr(dialect, "write", None)):
        return dialect
    if not isinstance(dialect, str) or dialect not in DIALECTS:
        raise SettingError(f"dialect must be one of {', '.join(DIALECTS)}, found {quoted(dialect)}")
    return DIALECTS[dialect]


def dialect_of(tokenizer: Tokenizer) -> Dialect:
    """The dialect that the model of this tokenizer was trained on, as far as its vocabulary and template tell."""
    if "<tool_call>" in tokenizer.control_tokens:
        return DIALECTS["tool_call"]
    return DIALECTS["react-api"]
