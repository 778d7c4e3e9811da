"""Which byte strings may become tokens: whole characters, of the right scripts, that change no text that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import regex

from qwen7b.errors import SettingError, quoted

CUTS_CHARACTERS = "cuts a character"
OTHER_SCRIPT = "is of another script"
CHANGES_KEPT = "changes a kept text"

_CONTINUATION = range(0x80, 0xC0)
_LENGTHS = {length: range(first, stop) for length, first, stop in ((2, 0xC2, 0xE0), (3, 0xE0, 0xF0), (4, 0xF0, 0xF5))}


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRules:
    """The rules for a token that is to be added."""

    scripts: tuple[str, ...] = ()
    """Unicode's names of the scripts that a token must be of, such as Greek; empty for any."""
    kept_joins: frozenset[bytes] = frozenset()
    """What two neighbours join to anywhere in the texts that are kept: none of it may become a token."""

    def __post_init__(self) -> None:
        for script in self.scripts:
            try:
                is_name = bool(regex.fullmatch(r"[A-Za-z_ ]+", script) and regex.compile(_of_script(script)))
            except regex.error:
                is_name = False
            if not is_name:
                raise SettingError(
                    f"there is no script {quoted(script)}: give Unicode's name of one, such as Greek or Thai"
                )

    def refusal(self, token: bytes) -> str | None:
        """Why a token may not be added; None where it may.

        It must be whole characters, or else lie within one character, as a step towards it. With scripts, a token must
        hold a character of them and no letter of another, so that no text without such a character ever changes; but
        for the few signs that begin with the same bytes, such as ฿ in the midst of Thai.
        """
        try:
            text = token.decode()
        except UnicodeDecodeError:
            if not lies_within_character(token):
                return CUTS_CHARACTERS
            if self.scripts and not self._begins_only_own(token):
                return OTHER_SCRIPT
        else:
            if self.scripts and not self._is_own(text):
                return OTHER_SCRIPT
        return CHANGES_KEPT if token in self.kept_joins else None

    def _is_own(self, text: str) -> bool:
        own = [self._is_of_scripts(character) for character in text]
        return any(own) and all(is_own or not character.isalpha() for character, is_own in zip(text, own, strict=True))

    def _is_of_scripts(self, character: str) -> bool:
        return any(regex.match(_of_script(script), character) for script in self.scripts)

    def _begins_only_own(self, part: bytes) -> bool:
        """Whether characters of the scripts begin with this part, and no letter or mark of another."""
        characters = _characters_from(part)
        own = [self._is_of_scripts(character) for character in characters]
        return any(own) and not any(
            regex.match(r"[\p{L}\p{M}]", character)
            for character, is_own in zip(characters, own, strict=True)
            if not is_own
        )


def _of_script(script: str) -> str:
    return rf"\p{{Script={script}}}"


def lies_within_character(token: bytes) -> bool:
    """Whether bytes are a part of one character: its beginning, or bytes that only continue one.

    >>> lies_within_character("的".encode()[:2]), lies_within_character("的的".encode()[2:4])
    (True, False)
    """
    if all(byte in _CONTINUATION for byte in token):
        return len(token) <= 3
    length = _length_of(token[0])
    return len(token) < length and all(byte in _CONTINUATION for byte in token[1:])


def _length_of(lead: int) -> int:
    """The bytes of a character that begins with this byte; 0 for a byte that begins none of several bytes."""
    return next((length for length, leads in _LENGTHS.items() if lead in leads), 0)


def _characters_from(part: bytes) -> Sequence[str]:
    """All characters of UTF-8 whose bytes begin with these."""
    missing = _length_of(part[0]) - len(part)
    if missing < 1:  # bytes that only continue a character may continue any
        return ()
    ends = map(bytes, product(_CONTINUATION, repeat=missing))
    return [character for end in ends if (character := (part + end).decode(errors="ignore"))]
