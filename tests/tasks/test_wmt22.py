"""WMT22: prompts as lm-eval 0.3.0's own task makes them, and as lm-eval 0.4.13's would be; scores as sacrebleu's."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

from qwen7b.errors import MissingExtraError, PromptError, SettingError
from qwen7b.evals.preparation import prepared
from qwen7b.tasks.item import Item, Outcome, Text
from qwen7b.tasks.procedure import Procedure, TaskPlan
from qwen7b.tasks.wmt22 import TextPair, Wmt22, Wmt22ChineseEnglish, Wmt22EnglishChinese

pytest.importorskip("sacrebleu", reason="translations are scored by the extra eval")
pytest.importorskip("jieba", reason="translations are scored by the extra eval")

ENGLISH = (
    *("The inn is full.", "The inn is full.", " Who is there?  ", "Nobody is there.", "It rains, again.\u3000"),
    *("A bird sings.", "The road is long.", "He left at 1,080.", "Tea or coffee?", "\u201cYes\u201d, she said."),
)
CHINESE = (
    *("客栈满了。", "客栈满了。", "谁在那里？", "那里没有人。", "又下雨了。", "一只鸟在唱歌。", "路很长。"),
    *("他1,080点走了。", "茶还是咖啡？", "“是的”，她说。"),
)
ORIGINALS = [Procedure.ORIGINAL_2023_08, Procedure.ORIGINAL_2023_12]
# The SHA-256 of all prompts, a null byte between two, as lm-eval 0.3.0's class makes them with these files.
MADE_UP = {
    "en-zh": "2b44e087bae00ac6ca30fe5a33c4e6ac21110ed0543fce98dc4444bd2efd2b64",
    "zh-en": "9b613075aaaa42a0c29202baf2c3bc4ec69b44c6cd817a55e7be34ae4b5da206",
}
SHARED = {
    "en-zh": "3e330924b638516475653ab6ffdba5009ca93d44b4f94086347a9c96775b1217",
    "zh-en": "6730b5016a6686349c292c54a7ff9938c8519084f2c1798f3aedc2f82a64ea94",
}
DIRECTIONS: list[type[Wmt22]] = [Wmt22EnglishChinese, Wmt22ChineseEnglish]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both directions of ten segments, under our names; the first segment stands there twice."""
    for source, target, lines in (("en", "zh", (ENGLISH, CHINESE)), ("zh", "en", (CHINESE, ENGLISH))):
        for name, text in zip((f"src.{source}", f"ref.{target}"), lines, strict=True):
            (tmp_path / f"{source}-{target}.{name}").write_text("\n".join(text) + "\n", "utf-8")
    return tmp_path


def texts(folder: Path, name: str, lines: slice) -> TextPair:
    paths = [folder / f"{name}.en", folder / f"{name}.zh"]
    for path, text in zip(paths, (ENGLISH, CHINESE), strict=True):
        path.write_text("\n".join(text[lines]) + "\n", "utf-8")
    return TextPair(source=paths[0], reference=paths[1])


def items_of(task: Wmt22, folder: Path, **settings: Any) -> list[Item]:
    return task.items(folder, task.completed(TaskPlan(**settings)))


def hash_of(items: list[Item]) -> str:
    return hashlib.sha256("\0".join(item.prompt for item in items).encode()).hexdigest()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("procedure", ORIGINALS)
def test_original_prompts_are_those_of_lm_eval_0_3_0(
    folder: Path, direction: type[Wmt22], procedure: Procedure
) -> None:
    task = direction()
    items = items_of(task, folder, procedure=procedure)
    assert hash_of(items) == MADE_UP[task.pair]
    assert [item.row for item in items] == [7, 3, 2, 8, 5, 6, 9, 4, 0, 1]
    # Of six drawn examples two are the row's own text, which stands in the file twice.
    assert [item.prompt.count(" phrase:") // 2 - 1 for item in items] == [5, 5, 5, 5, 5, 5, 5, 5, 4, 5]
    assert items_of(task, folder, procedure=procedure, limit=3) == items[:3]
    for item in items:
        source, reference = item.source["source"], item.source["reference"]
        assert f" phrase: {source}\n" not in item.prompt.rpartition("\n\n")[0] + "\n"
        assert item.answer == reference == reference.rstrip() and item.id == f"{task.pair}/{item.row}"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_original_prompts_of_the_real_files_are_too(shared: Path, direction: type[Wmt22]) -> None:
    task = direction()
    items = items_of(task, shared / "data" / "wmt22", procedure=Procedure.ORIGINAL_2023_08)
    assert hash_of(items) == SHARED[task.pair]
    assert items_of(task, shared / "data" / "wmt22", procedure=Procedure.ORIGINAL_2023_12, limit=8) == items[:8]


def test_standard_prompts_show_nothing_of_the_texts_to_translate(folder: Path) -> None:
    task = Wmt22EnglishChinese()
    assert task.completed(TaskPlan()).shots == 0
    items = items_of(task, folder, limit=9)
    assert [item.row for item in items] == list(range(9))
    assert items[8].prompt == "English phrase: Tea or coffee?\nChinese phrase:"


def test_standard_examples_are_drawn_from_other_texts_as_lm_eval_0_4_13_does(tmp_path: Path) -> None:
    task = Wmt22EnglishChinese(texts(tmp_path, "test", slice(8, 10)), texts(tmp_path, "other", slice(8)))
    plan = task.completed(TaskPlan())
    assert plan.shots == 5
    items = task.items(tmp_path, plan)
    shown = [item.prompt.split("\n\n")[:-1] for item in items]
    drawn = [[7, 0, 6, 5, 4], [0, 0, 2, 7, 6]]
    assert shown == [
        [f"English phrase: {ENGLISH[row].rstrip()}\nChinese phrase:  {CHINESE[row]}" for row in rows] for rows in drawn
    ]
    assert [path.name for path in task.files(tmp_path, plan)] == ["test.en", "test.zh", "other.en", "other.zh"]


def test_names_of_sacrebleus_files_are_known(folder: Path) -> None:
    task = Wmt22EnglishChinese()
    before = items_of(task, folder)
    (folder / "en-zh.src.en").rename(folder / "wmt22.en-zh.src")
    (folder / "en-zh.ref.zh").rename(folder / "wmt22.en-zh.ref-A")
    assert items_of(task, folder) == before
    assert [path.name for path in task.files(folder, task.completed(TaskPlan()))] == [
        "wmt22.en-zh.src",
        "wmt22.en-zh.ref-A",
    ]


def test_lines_end_in_any_way_and_begin_after_a_byte_order_mark(folder: Path) -> None:
    before = items_of(Wmt22EnglishChinese(), folder, procedure=Procedure.ORIGINAL_2023_08)
    for path in folder.glob("en-zh.*"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert items_of(Wmt22EnglishChinese(), folder, procedure=Procedure.ORIGINAL_2023_08) == before


def test_numbers_of_lines_must_be_equal(folder: Path) -> None:
    path = folder / "en-zh.ref.zh"
    path.write_text("\n".join(CHINESE[:9]) + "\n", "utf-8")
    with pytest.raises(PromptError, match=r"en-zh.src.en has 10 lines and .*en-zh.ref.zh has 9: a line should"):
        items_of(Wmt22EnglishChinese(), folder)


@pytest.mark.parametrize(
    ("lines", "settings", "message"),
    [
        (0, {}, r"en-zh.src.en is empty"),
        (5, {"procedure": Procedure.ORIGINAL_2023_08}, r"shows 5 other lines before each, and there are 5"),
    ],
)
def test_a_file_has_enough_lines(folder: Path, lines: int, settings: Any, message: str) -> None:
    for path in folder.glob("en-zh.*"):
        path.write_text("".join(line + "\n" for line in ENGLISH[:lines]), "utf-8")
    with pytest.raises(PromptError, match=message):
        items_of(Wmt22EnglishChinese(), folder, **settings)


def test_an_empty_line_is_refused_as_all_behind_it_may_be_shifted(folder: Path) -> None:
    for name in ("en-zh.src.en", "en-zh.ref.zh"):
        path = folder / name
        whole = path.read_text("utf-8")
        path.write_text("\n".join([*whole.splitlines()[:3], "", *whole.splitlines()[4:]]), "utf-8")
        with pytest.raises(PromptError, match=rf"{name}, line 4: the line is empty"):
            items_of(Wmt22EnglishChinese(), folder)
        path.write_text(whole, "utf-8")


def test_examples_are_not_the_texts_themselves(tmp_path: Path) -> None:
    task = Wmt22EnglishChinese(texts(tmp_path, "test", slice(2, 8)), texts(tmp_path, "other", slice(9)))
    with pytest.raises(PromptError, match=r"other.en has all lines of the texts to translate, and .*other.zh their"):
        items_of(task, tmp_path)


def test_swapped_languages_are_refused(folder: Path) -> None:
    source, reference = folder / "en-zh.src.en", folder / "en-zh.ref.zh"
    english = source.read_bytes()
    source.write_bytes(reference.read_bytes())
    reference.write_bytes(english)
    with pytest.raises(PromptError, match=r"src.en should be English and .*ref.zh Chinese, and .*: are they swapped"):
        items_of(Wmt22EnglishChinese(), folder)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"en-zh.src.en is not there"):
        items_of(Wmt22EnglishChinese(), tmp_path)


@pytest.mark.parametrize(
    ("settings", "has_examples", "message"),
    [
        ({"procedure": Procedure.ORIGINAL_2023_08, "shots": 3}, False, r"shows 5 examples, found 3"),
        ({"procedure": Procedure.ORIGINAL_2023_12}, True, r"takes its examples from the texts to translate"),
        ({"shots": 5}, False, r"shows 5 examples, and texts to take them from are missing"),
        ({"shots": 0}, True, r"shows 0 examples, and texts to take them from are given"),
        ({"split": "train"}, False, r"has no split 'train'"),
        ({"subjects": ("zh-en",)}, False, r"has no subjects: drop them"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    tmp_path: Path, settings: Any, has_examples: bool, message: str
) -> None:
    other = TextPair(source=tmp_path, reference=tmp_path)
    with pytest.raises(SettingError, match=message):
        Wmt22EnglishChinese(examples=other if has_examples else None).completed(TaskPlan(**settings))


def test_too_few_other_texts_are_refused(tmp_path: Path) -> None:
    task = Wmt22EnglishChinese(texts(tmp_path, "test", slice(8, 10)), texts(tmp_path, "other", slice(3)))
    with pytest.raises(PromptError, match=r"other.en has 3 lines, fewer than the 5 to show"):
        items_of(task, tmp_path)


@pytest.mark.parametrize("library", ["sacrebleu", "jieba"])
def test_a_missing_library_is_named_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert items_of(Wmt22EnglishChinese(), folder)  # which only a score needs
    with pytest.raises(MissingExtraError, match=rf"{library} is not installed: run .*eval"):
        prepared(Wmt22EnglishChinese(), folder, TaskPlan())


def test_a_model_writes_one_line(folder: Path) -> None:
    task = Wmt22EnglishChinese()
    for procedure in Procedure:
        assert task.wanted(task.completed(TaskPlan(procedure=procedure))) == Text(max_new_tokens=256, stop=("\n",))


def summary_of(task: Wmt22, folder: Path, outputs: list[str], **settings: Any) -> tuple[float, dict[str, Any]]:
    plan = task.completed(TaskPlan(**settings))
    items = task.items(folder, plan)
    outcomes = [
        Outcome(item=item, output=output, reading=task.read(item, output, plan))
        for item, output in zip(items, outputs, strict=True)
    ]
    summary = task.summarize(outcomes, plan)
    assert summary.score is not None and summary.interval is not None
    assert summary.interval[0] <= summary.score <= summary.interval[1]
    return summary.score, dict(summary.more)


def made_up_outputs(items: list[Item]) -> list[str]:
    """Two thirds of each reference; behind two of three an x."""
    return [
        f" {item.answer[: max(1, len(item.answer) * 2 // 3)]}{'x' if number % 3 else ''}"
        for number, item in enumerate(items)
    ]


@pytest.mark.parametrize(
    ("direction", "bleu", "chrf"),
    [
        (Wmt22EnglishChinese, 38.84201520337375, 38.19871633348843),
        (Wmt22ChineseEnglish, 34.11586668067576, 52.962701899657326),
    ],
)
def test_original_scores_are_those_of_lm_eval_0_3_0(
    folder: Path, direction: type[Wmt22], bleu: float, chrf: float
) -> None:
    task = direction()
    outputs = made_up_outputs(items_of(task, folder, procedure=Procedure.ORIGINAL_2023_08))
    score, more = summary_of(task, folder, outputs, procedure=Procedure.ORIGINAL_2023_08)
    assert score == pytest.approx(bleu) and more == {"chrF": pytest.approx(chrf)}


def test_standard_scores_cut_chinese_into_characters(folder: Path) -> None:
    from sacrebleu import BLEU

    task = Wmt22EnglishChinese()
    outputs = made_up_outputs(items_of(task, folder))
    expected = BLEU(tokenize="zh").corpus_score(outputs, [list(CHINESE)]).score
    assert summary_of(task, folder, outputs)[0] == pytest.approx(expected)
    assert summary_of(task, folder, [f" {line}" for line in CHINESE])[0] == pytest.approx(100)


def test_a_score_says_how_it_came_about() -> None:
    task, other = Wmt22EnglishChinese(), Wmt22ChineseEnglish()
    standard, original = task.completed(TaskPlan()), task.completed(TaskPlan(procedure=Procedure.ORIGINAL_2023_08))
    assert "|tok:zh|" in task.scored_by(standard) and "|tok:13a|" in task.scored_by(original)
    assert "|tok:13a|" in other.scored_by(standard)
    assert "cannot be compared with any BLEU of Chinese by sacrebleu's tokenizer zh" in task.remark(original)
    assert task.remark(standard) == other.remark(original) == ""
    assert (task.seed(standard), task.seed(original)) == (None, 42)
    asked = other.completed(TaskPlan(procedure=Procedure.ORIGINAL_2023_08, chat=True))
    assert other.remark(asked).startswith("The original let base models translate, and never asked in a chat")
