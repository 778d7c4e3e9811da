"""The language of a conversation's own messages: Chinese in a Chinese locale, else English."""

from __future__ import annotations

import locale
import os

from qwen7b.terminal.chinese import CHINESE


def translated(message: str) -> str:
    """An English message, or a template of one, in the user's language."""
    return CHINESE[message] if is_chinese() else message


def is_chinese() -> bool:
    """Tell whether the locale for messages is Chinese, by the environment and in the order that gettext reads it."""
    named = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), None)
    if named is None:  # as on Windows, which says "Chinese (Simplified)_China"
        named = locale.getlocale()[0] or ""
    if named.split(".")[0] not in ("C", "POSIX"):
        named = os.environ.get("LANGUAGE") or named
    return named.lower().startswith(("zh", "chinese"))
