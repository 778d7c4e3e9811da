"""The dialects by their names, and which of them a model was trained on."""

from __future__ import annotations

import re
from dataclasses import replace

from qwen7b.dialects.coder import CoderDialect
from qwen7b.dialects.dialect import Dialect
from qwen7b.dialects.qwen_fn import QwenFnDialect
from qwen7b.dialects.react_api import REACT_API
from qwen7b.dialects.react_demo import REACT_DEMO
from qwen7b.dialects.react_page import REACT_PAGE
from qwen7b.dialects.react_zh import REACT_ZH
from qwen7b.dialects.tool_call import ToolCallDialect
from qwen7b.errors import SettingError, quoted
from qwen7b.text import Tokenizer

_REACT: tuple[Dialect, ...] = (REACT_PAGE, REACT_DEMO, REACT_API, REACT_ZH)
DIALECTS = {dialect.name: dialect for dialect in (*_REACT, ToolCallDialect(), CoderDialect(), QwenFnDialect())}
_CODER = re.compile(r"qwen-?_?2[._]?5[-_ ]?coder", re.IGNORECASE)


def find_dialect(dialect: str | Dialect, tokenizer: Tokenizer | None = None) -> Dialect:
    """The dialect of this name, as the model of this tokenizer needs it; one that a caller made stays as it is.

    Raises SettingError for unknown names.
    """
    if isinstance(dialect, str) or not callable(getattr(dialect, "write", None)):
        if not isinstance(dialect, str) or dialect not in DIALECTS:
            raise SettingError(f"dialect must be one of {', '.join(DIALECTS)}, found {quoted(dialect)}")
        dialect = DIALECTS[dialect]
    is_ours = dialect is DIALECTS.get(dialect.name)
    return _fit(dialect, tokenizer) if is_ours and tokenizer is not None else dialect


def dialect_of(tokenizer: Tokenizer, *, name: str = "") -> Dialect:
    """The dialect of a model, by its vocabulary; `name` is the model's, where it has one.

    A vocabulary with <tool_call> is Qwen2.5's or later: the dialect is `tool_call`, and `coder` where the name or the
    tokenizer's file says Qwen2.5-Coder, since its vocabulary and template are the same. All others get `react-api`,
    on which the first generation was trained, and which asks for nothing but lines of text.

    >>> dialect_of(load_tokenizer("qwen.tiktoken")).name  # doctest: +SKIP
    'react-api'
    """
    if "<tool_call>" not in tokenizer.control_tokens:
        return find_dialect("react-api", tokenizer)
    is_coder = _CODER.search(name) or _CODER.search(str(tokenizer.vocabulary.source))
    return find_dialect("coder" if is_coder else "tool_call", tokenizer)


def _fit(dialect: Dialect, tokenizer: Tokenizer) -> Dialect:
    if isinstance(dialect, ToolCallDialect):
        return replace(dialect, has_control_tokens="<tool_call>" in tokenizer.control_tokens)
    return dialect
