"""Texts of all scripts and oddities go through every verb and every way in as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import qwen7b
import tiny
from qwen7b.text.normalization import to_nfc
from talking import ENTER, Talk

Run = Callable[..., Result]

TEXTS = {
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
    "Arabic": "مُحَمَّدٌ يَقْرَأُ",
    "Thai": "สวัสดีครับ",
    "jamo": "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "line ends": "a\r\nb\rc\n\n\td\r\n",
    "tabs": "\ta\t\tb\t",
    "digits": "1234567890" * 300,
    "no-break": "a\u00a0b\u202fc\u2007d",
    "private use": "\ue000\uf8ff\U000f0000",
    "unassigned": "\u0378\U000e0fff\uffff",
    "separators": "a\u2028b\u2029c\u0085d",
    "controls": "a\x01b\x07\x1b[31mc\x7f\x9b2J",
    "marks": "e" + "\u0323\u0301" * 50,
    "control tokens": "<|im_end|> a\n<|extra_0|>",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_folder(
        tmp_path_factory.mktemp("odd") / "m", tiny.QWEN2_CONFIG, tiny.qwen2_tensors(), tokenizer=True
    )


@pytest.mark.parametrize("what", TEXTS)
def test_tokens_hold_the_text_whole(run: Run, model: Path, what: str) -> None:
    text, tokenizer = TEXTS[what], qwen7b.load_tokenizer(model)
    for result in (run("tokenize", text, "-m", str(model), "--json"), run(
        "tokenize", "-m", str(model), "--json", input=text.encode()
    )):  # fmt: skip
        document = json.loads(result.stdout)
        assert document["text"] == text and document["counts"]["characters"] == len(text)
        assert tokenizer.decode(document["ids"]) == to_nfc(text)
    shown = run("tokenize", text, "-m", str(model))
    assert shown.exit_code == 0 and "\x1b" not in shown.stdout and "\x9b" not in shown.stdout


@pytest.mark.parametrize("verb", ["chat", "complete"])
@pytest.mark.parametrize("what", TEXTS)
def test_prompts_arrive_as_they_are(run: Run, fake, verb: str, what: str) -> None:
    text = TEXTS[what]
    run(verb, text)
    run(verb, input=text.encode())
    asked = [given if isinstance(given, str) else given[-1]["content"] for given, _ in fake.asked]
    assert asked == [text.removesuffix("\n").removesuffix("\r")] * 2


@pytest.mark.parametrize("what", TEXTS)
def test_files_arrive_as_they_are(talk: Talk, fake, tmp_path: Path, what: str) -> None:
    text = TEXTS[what]
    (tmp_path / "a.txt").write_bytes(text.encode())
    talk(f"/file {tmp_path / 'a.txt'}", ENTER, "What?", ENTER)
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # as everywhere in text files
    newline = "" if text.endswith("\n") else "\n"
    assert fake.asked[0][0][-1]["content"] == f"a.txt:\n```\n{text}{newline}```\n\nWhat?"


def test_a_file_with_a_byte_order_mark_and_one_that_is_no_utf_8(talk: Talk, fake, tmp_path: Path) -> None:
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfhello")
    for name, data in [("bad.txt", b"a\xed\xa0\x80"), ("wide.txt", "hello".encode("utf-16"))]:
        (tmp_path / name).write_bytes(data)
        assert "is not UTF-8" in talk(f"/file {tmp_path / name}", ENTER)[1]
    talk(f"/file {tmp_path / 'bom.txt'}", ENTER, "What?", ENTER)
    assert fake.asked[-1][0][-1]["content"] == "bom.txt:\n```\nhello\n```\n\nWhat?"
