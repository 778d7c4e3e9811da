"""The language of a conversation's own messages: Chinese in a Chinese locale, else English."""

from __future__ import annotations

import locale
import os

from qwen7b.terminal.chinese import CHINESE


def translated(message: str) -> str:
    """Translate an English message, or a template of one, into the user's language."""
    return CHINESE[message] if is_chinese() else message


def is_chinese() -> bool:
    """Tell whether the locale for messages is Chinese, by the environment variables that gettext reads."""
    locale_name = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), None)
    if locale_name is None:  # as on Windows, which says "Chinese (Simplified)_China"
        locale_name = locale.getlocale()[0] or ""
    if locale_name.split(".")[0] not in ("C", "POSIX"):
        locale_name = os.environ.get("LANGUAGE") or locale_name
    return locale_name.lower().startswith(("zh", "chinese"))
