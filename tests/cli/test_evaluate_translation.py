"""`eval wmt22-en-zh` and `wmt22-zh-en`: their files, their scores, and what is said beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]

pytest.importorskip("sacrebleu", reason="translations are scored by the extra eval")
pytest.importorskip("jieba", reason="translations are scored by the extra eval")


@pytest.fixture
def translate(run: Run, tiny_chat_checkpoint: Path, tmp_path: Path) -> Run:
    (tmp_path / "en-zh.src.en").write_text("".join(f"in there {number}\n" for number in range(7)), "utf-8")
    (tmp_path / "en-zh.ref.zh").write_text("".join(f"在那里 {number}\n" for number in range(7)), "utf-8")
    return lambda *arguments: run("eval", "wmt22-en-zh", "--model", str(tiny_chat_checkpoint), *arguments)


def test_a_score_is_printed_with_what_must_be_known_of_it(translate: Run, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"), "--procedure", "original-2023-08", "--limit", "2")
    result = translate("--data", str(tmp_path), *out)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("WMT22 en-zh (original-2023-08, test, 5-shot, base, q8): ")
    assert lines[1].startswith("  chrF ") and lines[2].startswith("2 items")
    assert "cannot be compared with any BLEU of Chinese by sacrebleu's tokenizer zh" in lines[4]
    records = [json.loads(line) for line in (tmp_path / "out" / "wmt22-en-zh.jsonl").read_text("utf-8").splitlines()]
    assert len(records) == 2 and all(record["correct"] is None and "output" in record for record in records)
    document = json.loads((tmp_path / "out" / "wmt22-en-zh.json").read_text("utf-8"))
    signature = document["signature"]
    assert "|tok:13a|" in signature["scored_by"] and signature["versions"]["sacrebleu"] in signature["scored_by"]
    assert signature["versions"]["jieba"] and document["remark"] == lines[4]
    assert translate("--data", str(tmp_path), *out, "--resume").stdout == result.stdout


def test_two_files_serve_as_well_as_a_folder(translate: Run, tmp_path: Path) -> None:
    named = ("--src", str(tmp_path / "en-zh.src.en"), "--ref", str(tmp_path / "en-zh.ref.zh"))
    prompts = [
        json.loads(translate(*where, "--dry-run", "--json").stdout) for where in (named, ("--data", str(tmp_path)))
    ]
    assert prompts[0] == prompts[1]
    assert prompts[0][6] == {
        "id": "en-zh/6",
        "subject": "en-zh",
        "row": 6,
        "prompt": "English phrase: in there 6\nChinese phrase:",
        "answer": "在那里 6",
    }
    for file in (tmp_path / "en-zh.src.en", tmp_path / "en-zh.ref.zh"):
        file.with_name(f"other-{file.name}").write_text(file.read_text("utf-8").partition("\n")[2], "utf-8")
    others = [part.replace("en-zh.", "other-en-zh.") for part in _as_shots(named)]
    shown = json.loads(translate(*named, *others, "--dry-run", "--json").stdout)
    assert shown[0]["prompt"].count("English phrase: ") == 6


def _as_shots(named: tuple[str, ...]) -> list[str]:
    return [part.replace("--", "--shots-") for part in named]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "FOLDER/none"], "en-zh.src.en is not there: fetch the files by 'qwen7b eval --fetch wmt22 --data"),
        (["--src", "FOLDER/a"], "--src is given without --ref"),
        (["--shots-ref", "FOLDER/a", "--data", "FOLDER"], "--shots-ref is given without --shots-src"),
        (["--src", "FOLDER/a", "--ref", "FOLDER/b", "--data", "FOLDER"], "give --data, or --src and --ref"),
        (["--src", "FOLDER/a", "--ref", "FOLDER/b"], "a is not there"),
        (["--data", "FOLDER", "--shots", "5"], "shows 5 examples, and texts to take them from are missing"),
        (["--data", "FOLDER", "--subjects", "news"], "has no subjects: drop them"),
    ],
)
def test_mistakes_are_one_line(translate: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = translate(*(argument.replace("FOLDER", str(tmp_path)) for argument in arguments))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1
