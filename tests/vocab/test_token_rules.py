"""Which byte strings may become tokens."""

from __future__ import annotations

import pytest

from qwen7b.errors import SettingError
from qwen7b.vocab.token_rules import CHANGES_KEPT, CUTS_CHARACTERS, OTHER_SCRIPT, TokenRules

GEORGIAN = "ა".encode()  # E1 83 90; all characters that begin with E1 83 are Georgian


@pytest.mark.parametrize("token", ["και".encode(), b" the", GEORGIAN[:2], GEORGIAN[1:], "𐌰".encode()[:3], b"\x80"])
def test_whole_characters_and_steps_within_one_may(token: bytes) -> None:
    assert TokenRules().refusal(token) is None


@pytest.mark.parametrize(
    "token",
    [b"a" + GEORGIAN[:2], GEORGIAN[1:] + b"a", GEORGIAN[2:] + GEORGIAN[:1], GEORGIAN + GEORGIAN[:1], b"\x80" * 4],
)
def test_tokens_across_characters_may_not_cut_one(token: bytes) -> None:
    assert TokenRules().refusal(token) == CUTS_CHARACTERS


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (" και".encode(), None),
        ("ς,".encode(), None),
        (b"the", OTHER_SCRIPT),
        ("αb".encode(), OTHER_SCRIPT),
        ("αბ".encode(), None),
        (b"...", OTHER_SCRIPT),
        ("你好".encode(), OTHER_SCRIPT),
        (GEORGIAN[:2], None),
        (GEORGIAN[1:], OTHER_SCRIPT),
        ("ไ".encode()[:2], OTHER_SCRIPT),
        ("😀".encode()[:3], OTHER_SCRIPT),
    ],
)
def test_scripts(token: bytes, reason: str | None) -> None:
    assert TokenRules(scripts=("Greek", "Georgian")).refusal(token) == reason


def test_kept_texts() -> None:
    rules = TokenRules(kept_joins=frozenset([b"the"]))
    assert rules.refusal(b"the") == CHANGES_KEPT
    assert rules.refusal(b"then") is None


@pytest.mark.parametrize("script", ["Klingon", "Greek}|.", "", "el"])
def test_unknown_scripts_are_refused(script: str) -> None:
    with pytest.raises(SettingError, match="there is no script"):
        TokenRules(scripts=(script,))
