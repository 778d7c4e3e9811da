"""`data`: folders of documents with a card, what is dropped and why, and mistakes in one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from data.texts import CHINESE, ENGLISH, PROGRAM, SHORT
from qwen7b.data import Intake, NearCopySettings, Sources, Weights, read_documents

pytest.importorskip("datatrove")
pytest.importorskip("rensa")

Run = Callable[..., Result]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    (folder / "src").mkdir(parents=True)
    lines = [
        {"text": ENGLISH},
        {"text": CHINESE, "url": "u|`x`"},
        {"text": SHORT},
        {"text": ENGLISH + "That is the end of it."},
    ]
    (folder / "web.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    (folder / "src" / "count.py").write_text(PROGRAM)
    return folder


def texts(folder: Path) -> list[str]:
    return [document.text.strip() for document in read_documents(Sources.parsed([str(folder)]), Intake())]


def test_cleaning_keeps_what_the_rules_keep_and_says_why(run: Run, raw: Path, tmp_path: Path) -> None:
    result = run("data", "clean", f"web={raw}", "--out", str(tmp_path / "clean"), "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "gopher-repetition            1 documents dropped" in result.stdout
    assert "kept 4 of 5 documents" in result.stdout
    assert texts(tmp_path / "clean") == [
        ENGLISH.strip(),
        CHINESE.strip(),
        (ENGLISH + "That is the end of it.").strip(),
        PROGRAM.strip(),
    ]
    page = (tmp_path / "clean" / "card.md").read_text("utf-8")
    assert "| gopher-repetition | top 2 gram | 1 | 24 |" in page and f"`{SHORT}`" in page
    assert (tmp_path / "clean" / "card.png").stat().st_size > 1000


def test_json_is_the_card(run: Run, raw: Path, tmp_path: Path) -> None:
    result = run("data", "clean", str(raw), "--out", str(tmp_path / "clean"), "--jobs", "1", "--json")
    card = json.loads(result.stdout)
    assert card == json.loads((tmp_path / "clean" / "card.json").read_text("utf-8"))
    assert card["before"]["documents"] == 5 and card["kept"]["documents"] == card["written"]["documents"] == 4
    assert card["before"]["by_language"].keys() == {"en", "zh", "code"}
    dropped = sum(rule["characters"] + rule["removed_characters"] for rule in card["rules"])
    assert card["before"]["characters"] == card["kept"]["characters"] + dropped


def test_near_copies_are_dropped_and_the_longest_stays(run: Run, raw: Path, tmp_path: Path) -> None:
    result = run("data", "dedup", str(raw), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "near-copies                  1 documents dropped" in result.stdout
    assert texts(tmp_path / "out") == [CHINESE.strip(), SHORT, ENGLISH + "That is the end of it.", PROGRAM.strip()]
    assert "of raw/web.jsonl:4" in (tmp_path / "out" / "card.md").read_text("utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "out"}  # nothing else is left


def test_steps_follow_each_other_with_weights_in_the_last(run: Run, raw: Path, tmp_path: Path) -> None:
    run("data", "clean", f"code={raw / 'src'}", str(raw / "web.jsonl"), "--out", str(tmp_path / "a"), "--jobs", "1")
    weights = "code=3,web:en=0"
    result = run("data", "dedup", str(tmp_path / "a"), "--out", str(tmp_path / "b"), "--weights", weights)
    assert texts(tmp_path / "b") == [PROGRAM.strip()] * 3 + [CHINESE.strip()], result.output
    settings = json.loads((tmp_path / "b" / "card.json").read_text("utf-8"))["settings"]
    assert (settings["seed"], settings["weights_seed"]) == (NearCopySettings().seed, Weights().seed) == (1, 0)


def test_the_same_input_gives_the_same_bytes(run: Run, raw: Path, tmp_path: Path) -> None:
    for name, jobs in (("a", "1"), ("b", "2")):
        run("data", "clean", str(raw), "--out", str(tmp_path / name), "--jobs", jobs)
    for file in (tmp_path / "a").iterdir():
        if file.suffix != ".png":
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize("verb", ["clean", "dedup"])
def test_damage_stops_with_its_place_and_leaves_nothing(run: Run, tmp_path: Path, verb: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "a"}\n{"text": "caf\xe9"}\n')
    result = run("data", verb, str(tmp_path / "x.jsonl"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 1 and "file (0.0 MB).\nerror: " in result.stderr and result.stderr.count("\n") == 2
    assert "x.jsonl, line 2 (byte 14): byte 27 is 0xe9" in result.stderr and "--errors skip" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]
    result = run("data", verb, str(tmp_path / "x.jsonl"), "--out", str(tmp_path / "out"), "--errors", "skip")
    assert result.exit_code == 0 and "1 skipped" in result.stdout
    assert "not UTF-8 1" in (tmp_path / "out" / "card.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jsonl"], "there is no file or folder nothing.jsonl"),
        (["--rules", "gofer"], "--rules takes one or more of no-words"),
        (["--rules", "c4", "--without", "c4"], "give one of them"),
        (["--languages", "english"], "no language is called 'english'"),
        (["--weights", "a"], "weights are a list"),
        (["--jobs", "0"], "--jobs"),
        (["--benchmarks", "absent"], "there is no file or folder absent"),
    ],
)
def test_mistakes_are_one_sentence(run: Run, raw: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run("data", "clean", str(raw), "--out", str(tmp_path / "out"), *arguments)
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_never_replaced(run: Run, raw: Path, tmp_path: Path) -> None:
    for out in (raw, tmp_path / "no" / "out"):
        result = run("data", "dedup", str(raw), "--out", str(out))
        assert result.exit_code == 1 and "there" in result.stderr


def test_a_weight_that_fits_nothing_is_said(run: Run, raw: Path, tmp_path: Path) -> None:
    result = run("data", "dedup", str(raw), "--out", str(tmp_path / "out"), "--weights", "wiki=2")
    assert "no document has the source or language wiki" in result.stderr


def test_nothing_in_gives_an_empty_corpus_with_a_card(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("")
    for verb in ("clean", "dedup"):
        result = run("data", verb, str(tmp_path / "x.jsonl"), "--out", str(tmp_path / verb))
        assert result.exit_code == 0 and "kept 0 of 0 documents" in result.stdout, result.output
        assert {path.name for path in (tmp_path / verb).iterdir()} == {"card.json", "card.md"}


def test_the_group_shows_its_verbs(run: Run) -> None:
    assert "dedup" in run("data").stdout


@pytest.mark.parametrize(("verb", "library"), [("clean", "datatrove"), ("dedup", "rensa"), ("dedup", "matplotlib")])
def test_a_missing_library_is_named_with_its_extra(
    run: Run, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, library: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library or name.endswith("published_rules")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    result = run("data", verb, str(raw), "--out", str(tmp_path / "out"))
    assert result.exit_code == 1 and f"{library} is not installed" in result.stderr and "train" in result.stderr
    assert not (tmp_path / "out").exists()
