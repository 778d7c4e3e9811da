"""Which language a text is in, by py3langid, whose model comes in its wheel."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from qwen7b.errors import MissingExtraError, SettingError

_SAMPLE = 1000
"""Characters of each of the places that are looked at: reading all of a text would take longer than the other rules."""

_CHINESE = ("zh", "wuu", "yue")
"""Languages that share nearly all characters, so that texts of Mandarin with foreign words in them are unclear."""
_CLEAR = 0.9


def identify_language(text: str) -> tuple[str, float]:
    """The ISO 639 code of a text's language and how probable it is, from its beginning, middle and end.

    Chinese is zh, with what is probable of its languages together, unless it clearly is Wu or Cantonese.
    """
    if len(text) > 3 * _SAMPLE:
        middle = len(text) // 2
        text = f"{text[:_SAMPLE]}\n{text[middle : middle + _SAMPLE]}\n{text[-_SAMPLE:]}"
    probabilities = dict(_identifier().rank(text))  # the likeliest comes first
    language, probability = next(iter(probabilities.items()))
    if language in _CHINESE and (language == "zh" or probability < _CLEAR):
        language, probability = "zh", min(sum(probabilities[name] for name in _CHINESE), 1.0)
    return language, round(float(probability), 4)


def check_languages(languages: frozenset[str]) -> None:
    """Raise SettingError for a code that is never found."""
    known = set(_identifier().labels)
    if unknown := sorted(languages - known):
        raise SettingError(f"no language is called {unknown[0]!r}: choose among {', '.join(sorted(known))}")


@lru_cache(1)
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("py3langid", extra="train") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
